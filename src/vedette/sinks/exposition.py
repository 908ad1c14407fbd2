"""The sums over all workers as prometheus_client's families of metrics.

CPU time adds up over all workers, dead ones included, so that it never falls; memory and open files over those that
live, read from /proc when somebody asks; the rest of what is told of processes is that of the worker asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from prometheus_client import ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from vedette._version import __version__
from vedette.sinks.metric_cells import CPU_SECONDS, DISTRIBUTIONS, METRICS, OTHER, Distribution, Metric, Totals

_SUMMED = {
    "vedette_process_virtual_memory_bytes": "Virtual memory size in bytes, all workers.",
    "vedette_process_resident_memory_bytes": "Resident memory size in bytes, all workers; what they share counts "
    "for each.",
    "vedette_process_open_fds": "Number of open file descriptors, all workers.",
}


class CellsCollector(Collector):
    """Reads `totals` when somebody scrapes. `model_version` is the version of the model that this worker serves."""

    def __init__(self, totals: Callable[[], Totals]) -> None:
        self._totals = totals
        self.model_version = ""

    def describe(self) -> list[Family]:
        """Name nothing beforehand, so that registering this reads nothing."""
        return []

    def collect(self) -> Iterator[Family]:
        """Return all families."""
        totals = self._totals()
        yield from _processes(totals.pids)
        build = InfoMetricFamily("vedette_build", "Version of Vedette and of the model it serves.")
        build.add_metric([], {"version": __version__, "model_version": self.model_version})
        yield build
        yield GaugeMetricFamily("vedette_workers", "Service processes that live.", value=totals.workers)
        for metric in METRICS:
            yield _simple(metric, totals)
        for distribution in DISTRIBUTIONS:
            yield _histogram(distribution, totals)


def _simple(metric: Metric, totals: Totals) -> Family:
    labels = [] if metric.label is None else [metric.label]
    make = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family: CounterMetricFamily | GaugeMetricFamily = make(metric.name, metric.help, labels=labels)
    for value in metric.values:
        number = totals.value(metric, value)
        if number or not (metric.closed and value == OTHER):
            family.add_metric([value] if labels else [], number)
    return family


def _histogram(distribution: Distribution, totals: Totals) -> Family:
    counts, total = totals.buckets(distribution)
    bounds = [*map(floatToGoString, distribution.bounds), "+Inf"]
    return HistogramMetricFamily(
        distribution.name, distribution.help, buckets=list(zip(bounds, counts, strict=True)), sum_value=total
    )


def _processes(pids: list[int]) -> Iterator[Family]:
    """What /proc says, by the names of prometheus_client; nothing where there is no /proc."""
    sums = dict.fromkeys(_SUMMED, 0.0)
    for pid in pids:
        for family in ProcessCollector("vedette", pid=partial(int, pid), registry=None).collect():
            if family.name in sums:
                sums[family.name] += family.samples[0].value
    for family in ProcessCollector("vedette", registry=None).collect():
        if family.name in sums:
            yield GaugeMetricFamily(family.name, _SUMMED[family.name], value=sums[family.name])
        elif family.name != CPU_SECONDS.name:
            yield family
