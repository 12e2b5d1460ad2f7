"""Numbers, sizes, durations, times and stable names as people read them. Pure."""

import re
from datetime import UTC, datetime
from typing import Final

from markupsafe import Markup

from persistence.format import times

NONE: Final = "—"
"""What stands where there is no value."""

_SIZES: Final = ("KiB", "MiB", "GiB", "TiB", "PiB")
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400


_WORD_BEGINS: Final = re.compile(r"_|(?<=[a-z])(?=[A-Z])")


def words(name: str) -> str:
    """A name of the program's own as words: `Base points` of `basePoints`, `Ends whole` of `ends_whole`."""
    return _WORD_BEGINS.sub(" ", name).capitalize()


def number(value: float | None, decimals: int = 0) -> str:
    """A number with its thousands apart: `1,234,567`, `0.25`."""
    return NONE if value is None else f"{value:,.{decimals}f}"


def counted(value: float, noun: str) -> str:
    """How many there are of something, one or several: `1 job`, `1,200 jobs`."""
    return f"{number(value)} {noun}{'' if value == 1 else 's'}"


def short_number(value: float | None) -> str:
    """A number in at most five characters: `999`, `12.3k`, `4.5M`."""
    if value is None:
        return NONE
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size * 0.9995:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}" if value % 1 else f"{value:.0f}"


def size(value_bytes: float | None) -> str:
    """A size in units of 1,024: `17 B`, `4.0 KiB`, `1.5 GiB`."""
    if value_bytes is None:
        return NONE
    value, unit = float(value_bytes), "B"
    for larger in _SIZES:
        if abs(value) < 1_000:
            break
        value, unit = value / 1_024, larger
    return f"{value:.0f} B" if unit == "B" else f"{value:,.{0 if value >= 100 else 1}f} {unit}"


def duration(value_s: float | None) -> str:
    """A duration in its two largest units: `0.4 ms`, `12 s`, `3 min 20 s`, `2 h 5 min`, `4 d 1 h`."""
    if value_s is None:
        return NONE
    if value_s < 1:
        return f"{value_s * 1_000:.{1 if 0 < value_s < 0.01 else 0}f} ms"
    if value_s < _MINUTE_S:
        return f"{value_s:.{1 if value_s < 10 else 0}f} s"
    whole = round(value_s)
    for large, large_name, small, small_name in (
        (_DAY_S, "d", _HOUR_S, "h"),
        (_HOUR_S, "h", _MINUTE_S, "min"),
        (_MINUTE_S, "min", 1, "s"),
    ):
        if whole >= large:
            rest = whole % large // small
            return f"{whole // large} {large_name}{f' {rest} {small_name}' if rest else ''}"
    return f"{whole} s"


def percentage(share: float | None, decimals: int = 0) -> str:
    """A share of one as a percentage: `42 %`."""
    return NONE if share is None else f"{share * 100:.{decimals}f} %"


def time_element(value: str | float | None) -> str | Markup:
    """A moment in UTC, of a text of ours or seconds since the epoch; a script shows it in the reader's zone."""
    if value is None or value == "":
        return NONE
    exact = value if isinstance(value, str) else times.to_text(value)
    try:
        moment = datetime.fromisoformat(exact).astimezone(UTC)
    except ValueError:
        return exact
    shown = f"{moment:%Y-%m-%d %H:%M}"
    return Markup('<time datetime="{}" title="{}">{} UTC</time>').format(exact, exact, shown)
