"""Counts over a stream of any length in bounded memory, with a stated error.

Each can `merge` the counts of what comes after it, so that a scan can be done in parts: as long as nothing had to be
dropped, the merged counts are those of one pass, to the order of equals; else their stated errors add up.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from vedette.sinks.scan_summary import Counted, TimeBin, Unreadable, WorstFinding

_MAX_KEY_CHARS = 256


@dataclass(slots=True)
class _Count:
    count: int = 0
    worst: float = 0.0
    classes: set[str] = field(default_factory=set)


class TopCounter:
    """The most frequent keys of a stream: Misra and Gries, Finding repeated elements (1982).

    At most `capacity` keys are held. When one more comes, every count is lowered by one, so a count is too low by at
    most the number of lowerings, which is at most N / (capacity + 1) after N additions: whatever occurs more often than
    that is held. Amortised O(1): each lowering is paid for by the additions that it undoes.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._counts: dict[str, _Count] = {}
        self.missed = 0

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, key: str, score: float = 0.0, attack_class: str | None = None) -> None:
        """Count `key` once."""
        key = key[:_MAX_KEY_CHARS]
        held = self._counts.get(key)
        if held is None:
            if len(self._counts) >= self._capacity:
                self._lower()
                return
            held = self._counts[key] = _Count()
        held.count += 1
        held.worst = max(held.worst, score)
        if attack_class is not None:
            held.classes.add(attack_class)  # a closed set of names, so bounded

    def merge(self, later: TopCounter) -> None:
        """Add the counts of what came after: Agarwal and others, Mergeable Summaries (2012).

        Where more than `capacity` keys come together, all are lowered by the largest count that has no place.
        """
        self.missed += later.missed
        for key, other in later._counts.items():
            held = self._counts.setdefault(key, _Count())
            held.count += other.count
            held.worst = max(held.worst, other.worst)
            held.classes |= other.classes
        if len(self._counts) > self._capacity:
            counts = sorted((held.count for held in self._counts.values()), reverse=True)
            self._lower(counts[self._capacity])

    def top(self, count: int) -> tuple[Counted, ...]:
        """Return the `count` most frequent keys, the most frequent first."""
        ranked = sorted(self._counts.items(), key=lambda item: (-item[1].count, item[0]))[:count]
        return tuple(
            Counted(key, held.count, self.missed, held.worst, tuple(sorted(held.classes))) for key, held in ranked
        )

    def _lower(self, by: int = 1) -> None:
        self.missed += by
        for held in self._counts.values():
            held.count -= by
        self._counts = {key: held for key, held in self._counts.items() if held.count > 0}


class TimeHistogram:
    """Requests over time in at most `max_bins` bins; their width doubles whenever there would be more."""

    def __init__(self, max_bins: int = 512, width_s: float = 60.0) -> None:
        self.width_s = width_s
        self._max_bins = max_bins
        self._bins: dict[int, list[int]] = {}  # number of the bin -> [requests, anomalies]
        self.first: float | None = None
        self.last: float | None = None

    def add(self, time: float, *, anomaly: bool) -> None:
        """Count a request at `time` (Unix seconds)."""
        self.first = time if self.first is None else min(self.first, time)
        self.last = time if self.last is None else max(self.last, time)
        counts = self._bins.setdefault(int(time // self.width_s), [0, 0])
        counts[0] += 1
        counts[1] += anomaly
        while len(self._bins) > self._max_bins:
            self._widen()

    def merge(self, other: TimeHistogram) -> None:
        """Add the counts of another histogram that began with the same width."""
        if other.first is None or other.last is None:
            return
        self.first = other.first if self.first is None else min(self.first, other.first)
        self.last = other.last if self.last is None else max(self.last, other.last)
        while self.width_s < other.width_s:
            self._widen()
        factor = round(self.width_s / other.width_s)
        for number, (requests, anomalies) in other._bins.items():
            counts = self._bins.setdefault(number // factor, [0, 0])
            counts[0] += requests
            counts[1] += anomalies
        while len(self._bins) > self._max_bins:
            self._widen()

    def bins(self) -> tuple[TimeBin, ...]:
        """Return the bins that hold anything, by time."""
        return tuple(TimeBin(number * self.width_s, *self._bins[number]) for number in sorted(self._bins))

    def _widen(self) -> None:
        self.width_s *= 2
        wide: dict[int, list[int]] = {}
        for number, (requests, anomalies) in self._bins.items():
            counts = wide.setdefault(number // 2, [0, 0])
            counts[0] += requests
            counts[1] += anomalies
        self._bins = wide


class ReasonCounter:
    """Unreadable lines by reason. Reasons are fixed texts; should there ever be more than 64, the rest is one."""

    def __init__(self, samples: int = 3, max_reasons: int = 64) -> None:
        self._samples = samples
        self._max_reasons = max_reasons
        self._reasons: dict[str, tuple[int, list[tuple[int, str]]]] = {}  # samples by number of the line
        self.total = 0

    def add(self, reason: str, line: int, sample: str) -> None:
        """Count a line and keep it as a sample if it is one of the first of its kind."""
        self._add(reason, 1, [(line, sample)])

    def merge(self, later: ReasonCounter, *, lines_before: int = 0) -> None:
        """Add the counts of what came after; its lines count from `lines_before` on."""
        for reason, (count, samples) in later._reasons.items():
            self._add(reason, count, [(lines_before + line, sample) for line, sample in samples])

    def reasons(self) -> tuple[Unreadable, ...]:
        """Return reasons, the most frequent first."""
        ranked = sorted(self._reasons.items(), key=lambda item: -item[1][0])
        return tuple(
            Unreadable(reason, count, tuple(f"line {line}: {sample}" for line, sample in samples))
            for reason, (count, samples) in ranked
        )

    def _add(self, reason: str, count: int, samples: list[tuple[int, str]]) -> None:
        if reason not in self._reasons and len(self._reasons) >= self._max_reasons:
            reason = "other reasons"
        before, held = self._reasons.get(reason, (0, []))
        self._reasons[reason] = (before + count, (held + samples)[: self._samples])
        self.total += count


class WorstList:
    """The worst finding of each kind, the worst `size` kinds; four times as many are held so that counts last."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kinds: dict[tuple[str, ...], WorstFinding] = {}

    def add(self, found: WorstFinding) -> None:
        """Take `found` in if its kind is new and bad enough, or count it with its kind."""
        path = "" if found.location in ("header", "cookie") else found.path
        kind = (found.attack_class, path, found.location, found.name)
        held = self._kinds.get(kind)
        if held is not None:
            worst = found if found.score > held.score else held
            self._kinds[kind] = replace(worst, seen=held.seen + found.seen)
            return
        self._kinds[kind] = found
        if len(self._kinds) > 8 * self._size:
            kept = sorted(self._kinds.items(), key=lambda item: -item[1].score)[: 4 * self._size]
            self._kinds = dict(kept)

    def merge(self, later: WorstList, *, lines_before: int = 0) -> None:
        """Take in the findings of what came after; their lines count from `lines_before` on."""
        for found in later._kinds.values():
            self.add(replace(found, line=lines_before + found.line))

    def worst(self) -> tuple[WorstFinding, ...]:
        """Return the kinds, worst first, and the more frequent first where scores are equal to three digits."""
        ranked = sorted(self._kinds.values(), key=lambda found: (-round(found.score, 3), -found.seen))
        return tuple(ranked[: self._size])


class ScanCounts:
    """All that is counted over the requests of a scan, or of a part of one. Can be pickled.

    `clients`, `paths`, `statuses` and `classes` are those of anomalies; `other` lines hold no request by design.
    """

    def __init__(self, *, tracked: int, samples: int, worst: int) -> None:
        self.lines = self.requests = self.anomalies = self.other = self.not_judged = self.partly = 0
        self.unreadable = ReasonCounter(samples)
        self.classes = TopCounter(64)
        self.clients = TopCounter(tracked)
        self.paths = TopCounter(tracked)
        self.statuses = TopCounter(1024)
        self.times = TimeHistogram()
        self.worst = WorstList(worst)

    def add(self, found: WorstFinding) -> None:
        """Count an anomaly."""
        self.anomalies += 1
        self.classes.add(found.attack_class, found.score)
        self.clients.add(found.client or "(not logged)", found.score, found.attack_class)
        self.paths.add(found.path, found.score, found.attack_class)
        self.statuses.add("(not logged)" if found.status is None else str(found.status), found.score)
        self.worst.add(found)

    def merge(self, later: ScanCounts, *, lines_before: int = 0) -> None:
        """Add the counts of what came after; its lines count from `lines_before` on."""
        self.lines += later.lines
        self.requests += later.requests
        self.anomalies += later.anomalies
        self.other += later.other
        self.not_judged += later.not_judged
        self.partly += later.partly
        self.unreadable.merge(later.unreadable, lines_before=lines_before)
        self.classes.merge(later.classes)
        self.clients.merge(later.clients)
        self.paths.merge(later.paths)
        self.statuses.merge(later.statuses)
        self.times.merge(later.times)
        self.worst.merge(later.worst, lines_before=lines_before)
