"""Print constraints.txt: the exact version of every package that an extra brings in, as installed here.

    pin_constraints.py dev                  in the environment of the tests
    pin_constraints.py ray --beside FILE    in that of Ray, where FILE holds the pins of the first, which stand

Walks the requirements from `vedette[EXTRA]` on, so that tools somebody installed beside them are not pinned. Local
version labels (2.13.0+cpu) are left off: the pin then fits every build of that version.
"""

from __future__ import annotations

import argparse
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HEADER = """\
# Exact versions that the tests passed with (Python 3.11, Linux x86-64); make installs with them.
# Written by `make constraints` from the test environment.
"""


def closure(root: Requirement) -> dict[str, str]:
    """Return {normalised name: version} of everything `root` needs in this environment, itself left out."""
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    todo = [(root.name, extra) for extra in ("", *root.extras)]
    while todo:
        name, extra = todo.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        distribution = metadata.distribution(name)
        found[canonicalize_name(name)] = distribution.version.partition("+")[0]
        for line in distribution.requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                todo += [(requirement.name, wanted) for wanted in ("", *requirement.extras)]
    found.pop(canonicalize_name(root.name), None)
    return found


def pins_of(path: Path) -> dict[str, str]:
    """Return {name: version} of a file of pins."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split("==", 1) for line in lines if line and not line.startswith("#"))


def main() -> None:
    """Write the constraints to standard output."""
    parser = argparse.ArgumentParser(description="Print the exact versions that an extra brings in.")
    parser.add_argument("extra")
    parser.add_argument("--beside", type=Path, metavar="FILE", help="pins that stand")
    chosen = parser.parse_args()
    pins = closure(Requirement(f"vedette[{chosen.extra}]"))
    if chosen.beside is not None:
        pins |= pins_of(chosen.beside)
    print(HEADER + "\n".join(f"{name}=={version}" for name, version in sorted(pins.items())))


if __name__ == "__main__":
    main()
