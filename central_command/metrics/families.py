"""Metrics made of figures: a function for each kind, which gives names their prefix and their unit."""

from collections.abc import Mapping
from itertools import accumulate
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from persistence.files.durations import DurationStatistics

PREFIX: Final = "central_command_"

_UNITS: Final = ("bytes", "seconds")


def gauge(name: str, words: str, value: float) -> Metric:
    """A figure that rises and falls."""
    return GaugeMetricFamily(PREFIX + name, words, value=value, unit=_unit(name))


def gauges(name: str, words: str, label: str, values: Mapping[str, float]) -> Metric:
    """The same by a label."""
    family = GaugeMetricFamily(PREFIX + name, words, labels=[label], unit=_unit(name))
    for which, value in values.items():
        family.add_metric([which], value)
    return family


def counter(name: str, words: str, value: float) -> Metric:
    """A figure that only rises, until the process starts again."""
    return CounterMetricFamily(PREFIX + name, words, value=value, unit=_unit(name))


def counters(name: str, words: str, label: str, values: Mapping[str, float]) -> Metric:
    """The same by a label."""
    family = CounterMetricFamily(PREFIX + name, words, labels=[label], unit=_unit(name))
    for which, value in values.items():
        family.add_metric([which], value)
    return family


def histogram(
    name: str, words: str, labels: tuple[str, ...], durations: Mapping[tuple[str, ...], DurationStatistics]
) -> Metric:
    """Durations in buckets, by labels; the name is whole."""
    family = HistogramMetricFamily(name, words, labels=labels, unit="seconds")
    for which, found in durations.items():
        bounds = [*map(floatToGoString, found.bounds_s), "+Inf"]
        family.add_metric(which, list(zip(bounds, accumulate(found.counts), strict=True)), found.sum_s)
    return family


def _unit(name: str) -> str:
    ending = name.removesuffix("_total").rpartition("_")[2]
    return ending if ending in _UNITS else ""
