"""Counts over a stream of any length in bounded memory, with a stated error."""

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

    def top(self, count: int) -> tuple[Counted, ...]:
        """Return the `count` most frequent keys, the most frequent first."""
        ranked = sorted(self._counts.items(), key=lambda item: (-item[1].count, item[0]))[:count]
        return tuple(
            Counted(key, held.count, self.missed, held.worst, tuple(sorted(held.classes))) for key, held in ranked
        )

    def _lower(self) -> None:
        self.missed += 1
        for held in self._counts.values():
            held.count -= 1
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
        self._reasons: dict[str, tuple[int, list[str]]] = {}
        self.total = 0

    def add(self, reason: str, sample: str) -> None:
        """Count a line and keep it as a sample if it is one of the first of its kind."""
        if reason not in self._reasons and len(self._reasons) >= self._max_reasons:
            reason = "other reasons"
        count, samples = self._reasons.get(reason, (0, []))
        if len(samples) < self._samples:
            samples.append(sample)
        self._reasons[reason] = (count + 1, samples)
        self.total += 1

    def reasons(self) -> tuple[Unreadable, ...]:
        """Return reasons, the most frequent first."""
        ranked = sorted(self._reasons.items(), key=lambda item: -item[1][0])
        return tuple(Unreadable(reason, count, tuple(samples)) for reason, (count, samples) in ranked)


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
            self._kinds[kind] = replace(worst, seen=held.seen + 1)
            return
        self._kinds[kind] = found
        if len(self._kinds) > 8 * self._size:
            kept = sorted(self._kinds.items(), key=lambda item: -item[1].score)[: 4 * self._size]
            self._kinds = dict(kept)

    def worst(self) -> tuple[WorstFinding, ...]:
        """Return the kinds, worst first, and the more frequent first where scores are equal to three digits."""
        ranked = sorted(self._kinds.values(), key=lambda found: (-round(found.score, 3), -found.seen))
        return tuple(ranked[: self._size])
