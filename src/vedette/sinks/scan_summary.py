"""What a scan found: plain numbers and texts, ready for a terminal, JSON or HTML.

Texts that came from a log are cut and masked, not yet escaped: each renderer escapes for its own medium.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Counted:
    """How often something occurred: at least `count`, at most `count + missed` times (see `TopCounter`)."""

    key: str
    count: int
    missed: int = 0
    worst_score: float = 0.0
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Lines that hold no request, by reason, with the first few as samples (``line 17: ...``)."""

    reason: str
    count: int
    samples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TimeBin:
    """Requests and anomalies in `ScanSummary.bin_s` seconds from `start` (Unix seconds)."""

    start: float
    requests: int
    anomalies: int


@dataclass(frozen=True, slots=True)
class WorstFinding:
    """The worst request of one kind: same class, path and field; of headers and cookies, which a scanner sends with
    every path, same class and name. `seen` such requests were found, or more.

    `mark` is the range of `excerpt` that was found to be the attack, None where it is masked. `path` has no query,
    since queries may hold secrets. `time` is in Unix seconds.
    """

    source: str
    line: int
    time: float | None
    client: str | None
    method: str
    host: str | None
    path: str
    status: int | None
    user_agent: str | None
    score: float
    attack_class: str
    location: str
    name: str
    excerpt: str
    mark: tuple[int, int] | None
    decoded_by: tuple[str, ...]
    seen: int = 1


@dataclass(frozen=True, slots=True)
class ScannedSource:
    """One file of the scan. `problem` says why it was not read at all, or None."""

    name: str
    format: str
    lines: int
    requests: int
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ScanSummary:
    """All that a scan tells. ``lines = requests + unreadable_lines + other_lines`` (blank lines, directives).

    `attackers` counts the clients of anomalies, or those held of them where `clients` says that some were missed.
    `not_judged` requests have no verdict because the model failed; of `partly_inspected` ones a part lies beyond a
    bound. Neither is counted as clean. `bins` are ordered by time and hold no empty ones; `statuses` are those that the
    server answered anomalies with.
    """

    sources: tuple[ScannedSource, ...]
    model_version: str
    threshold: float
    lines: int
    requests: int
    anomalies: int
    attackers: int
    not_judged: int
    partly_inspected: int
    unreadable_lines: int
    other_lines: int
    unreadable: tuple[Unreadable, ...]
    elapsed_s: float
    requests_per_s: float
    first_time: float | None
    last_time: float | None
    bin_s: float
    bins: tuple[TimeBin, ...]
    classes: tuple[Counted, ...]
    clients: tuple[Counted, ...]
    paths: tuple[Counted, ...]
    statuses: tuple[Counted, ...]
    worst: tuple[WorstFinding, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as JSON types (tuples as lists)."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value
