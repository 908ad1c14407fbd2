"""Write the pages that are made from the code: `make docs`. With --check, only say which are out of date.

settings models -> docs/configuration.md, config/config.yaml, config/inference.yaml
command tree    -> docs/cli.md
OpenAPI         -> docs/openapi.json
shipped bundle  -> docs/model.md, the picture in README.md
"""

from __future__ import annotations

import io
import json
import re
import shlex
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from vedette.bundle import default_bundle_path, load_bundle
from vedette.cli.check import judge, span_texts
from vedette.cli.reference import cli_reference
from vedette.cli.render_verdict import render_verdict
from vedette.cli.request_input import from_url
from vedette.config import Settings
from vedette.config_keys import Key, keys, sections
from vedette.evaluation.model_page import model_page

ROOT = Path(__file__).resolve().parent.parent
GENERATED = "<!-- Written by `make docs`; edit the source it is made from, not this page. -->"

CONFIGURATION_HEAD = f"""\
# Configuration

{GENERATED}

Vedette serves with no configuration at all. What you set comes from four places; the upper beats the lower:

1. flags of `vedette serve`: `--host`, `--port`, `--workers`, `--model`
2. environment variables `VEDETTE_<SECTION>__<KEY>`, e.g. `VEDETTE_WAF_SERVICE__PORT=9000`
3. YAML files: `--config FILE` and `--inference-config FILE`, else `config/config.yaml` and `config/inference.yaml` in
   the working directory where they exist
4. the defaults below

Either file may hold either section (`waf_service`, `inference`), so one file can do; the same key in both is refused.
Unknown keys, unknown `VEDETTE_` variables and bad values stop the start with a line that names the place and the key.
YAML aliases and repeated keys are refused. In a variable, a list is comma-separated or JSON, and an empty value or
`null` means null where null is allowed. Variables that Kubernetes sets for a Service named `vedette` are not settings
and are passed over. Why each bound has its value: [RATIONALE.md](../RATIONALE.md).
"""


def configuration_page() -> str:
    """Return docs/configuration.md: every key with its meaning, type, default and variable."""
    parts = [CONFIGURATION_HEAD]
    for path, about in sections().items():
        members = [key for key in keys() if key.path[:-1] == path]
        if not path or not (members or about):
            continue
        parts.append(f"{'#' * (len(path) + 1)} `{'.'.join(path)}`\n\n{about}\n")
        if members:
            rows = ["| key | type | default | meaning |", "|---|---|---|---|", *map(_row, members)]
            parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def _row(key: Key) -> str:
    meaning = f"{key.field.description}<br>`{key.env}`"
    return f"| `{key.path[-1]}` | {key.type_name} | `{json.dumps(key.default)}` | {meaning} |"


def sample_file(section: str) -> str:
    """Return config/*.yaml for `section`: every key at its default, with its meaning."""
    lines = [
        "# Every key with its default; delete what you do not change. Reference: docs/configuration.md",
        "# (Written by `make docs`. Keep your own file elsewhere and name it with a flag of `vedette serve`.)",
    ]
    open_sections: list[tuple[str, ...]] = []
    for key in (key for key in keys() if key.path[0] == section):
        for depth in range(1, len(key.path)):
            head = key.path[:depth]
            if head not in open_sections:
                open_sections.append(head)
                indent = "  " * (depth - 1)
                lines += ["", *_comment(sections()[head], indent), f"{indent}{head[-1]}:"]
        indent = "  " * (len(key.path) - 1)
        lines += [*_comment(str(key.field.description), indent), f"{indent}{key.path[-1]}: {json.dumps(key.default)}"]
    return "\n".join(lines) + "\n"


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, 100, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


_PICTURE = re.compile(r"(?<=```console\n)\$ vedette check (?P<url>\S+)\n(?P<shown>.*?)(?=```)", re.DOTALL)


def readme() -> str:
    """Return README.md with its picture of a verdict as the shipped model gives it now."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = _PICTURE.search(text)
    if found is None:
        raise ValueError("README.md has no picture of a verdict")
    settings, request = Settings(), from_url(shlex.split(found["url"])[0])
    verdict = judge(settings, request)
    out = io.StringIO()
    render_verdict(Console(file=out, width=100, highlight=False), verdict, span_texts(settings, request, verdict))
    shown = out.getvalue().rpartition("\n\nmodel ")[0] + "\n"  # without times and identifiers
    return text[: found.start("shown")] + shown + text[found.end("shown") :]


def without_digits(text: str) -> str:
    """Return `text` with what hangs on the last bits of a score taken out: its digits and its bar."""
    return re.sub(r"[█▏▎▍▌▋▊▉·]+|\d\.\d{3,4}", "#", text)


def openapi() -> str:
    """Return docs/openapi.json."""
    from vedette.server.app import create_app

    return json.dumps(create_app(Settings()).openapi(), indent=2, ensure_ascii=False) + "\n"


def model() -> str:
    """Return docs/model.md: how the shipped model was made."""
    return model_page(load_bundle(default_bundle_path()).manifest, GENERATED)


PAGES: dict[str, Callable[[], str]] = {
    "docs/configuration.md": configuration_page,
    "config/config.yaml": lambda: sample_file("waf_service"),
    "config/inference.yaml": lambda: sample_file("inference"),
    "docs/cli.md": cli_reference,
    "docs/openapi.json": openapi,
    "docs/model.md": model,
}


def stale() -> list[str]:
    """Return the names of the pages that are out of date."""
    names = [name for name, make in PAGES.items() if not (ROOT / name).is_file() or (ROOT / name).read_text() != make()]
    if without_digits((ROOT / "README.md").read_text()) != without_digits(readme()):
        names.append("README.md")
    return names


def main() -> None:
    """Write every page, or with --check exit 1 where one differs."""
    names = stale()
    if "--check" in sys.argv[1:]:
        sys.exit(f"out of date (run `make docs`): {', '.join(names)}" if names else 0)
    for name, make in {**PAGES, "README.md": readme}.items():
        text = make()
        if not (ROOT / name).is_file() or (ROOT / name).read_text() != text:
            (ROOT / name).write_text(text)
            print(f"wrote {name}")


if __name__ == "__main__":
    main()
