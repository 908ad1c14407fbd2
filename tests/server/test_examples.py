"""The example runs as it stands in the documentation, against the shipped model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.server.test_run import environment

EXAMPLE = Path(__file__).parents[2] / "examples" / "async_waf_example.py"


def test_the_example_runs(tmp_path):
    result = subprocess.run(
        [sys.executable, str(EXAMPLE)],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    for text in (
        "sqli in json 'filter.name'",
        "traversal in path",
        "xss in query 'q'",
        "200 verdicts in",
        "20 of them block",
        "ok ok ok ok ok 429 429",
        "refused, the queue is full",
        "too late",
    ):
        assert text in result.stdout
