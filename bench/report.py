"""What a benchmark found: named measurements with named figures, as a table for people and JSON for `bench.compare`."""

import math
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

DRIVER_SHARE_MAX: Final = 0.8
"""Share of the wall clock above which the load itself may be what was measured."""


class Measurement(msgspec.Struct, frozen=True):
    """One thing measured; each figure's name ends in its unit, ratios have none."""

    name: str
    figures: dict[str, float]


class Report(msgspec.Struct, frozen=True):
    """All that one run of one benchmark measured."""

    benchmark: str
    measurements: list[Measurement]


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of all values do not exceed; `values` must not be empty."""
    return sorted(values)[max(0, math.ceil(len(values) * share) - 1)]


def latency_figures(seconds: Sequence[float]) -> dict[str, float]:
    """p50 and p99 in milliseconds."""
    return {"p50_ms": percentile(seconds, 0.5) * 1_000, "p99_ms": percentile(seconds, 0.99) * 1_000}


def medians(rounds: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The median of each figure over the rounds of a run."""
    collected: dict[str, list[float]] = {}
    for figures in rounds:
        for name, value in figures.items():
            collected.setdefault(name, []).append(value)
    return {name: statistics.median(values) for name, values in collected.items()}


def shown(value: float) -> str:
    """A figure with three significant digits, without an exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def publish(report: Report, json_path: Path | None) -> None:
    """Print the report, write it to `json_path` if there is one, and say where the load may be what was measured."""
    columns = list(dict.fromkeys(name for each in report.measurements for name in each.figures))
    table = Table(title=report.benchmark)
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    for each in report.measurements:
        table.add_row(each.name, *(shown(each.figures[name]) if name in each.figures else "" for name in columns))
    Console(width=200).print(table)
    if json_path is not None:
        json_path.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    for each in report.measurements:
        if each.figures.get("driver_share", 0) > DRIVER_SHARE_MAX:
            print(f"{each.name}: the load took most of a processor; this figure is its, too", file=sys.stderr)
