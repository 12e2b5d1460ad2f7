"""Times and days as they stand in files."""

import pytest

from persistence.format.times import day_of, duration_s, is_day


def test_a_day_is_one_of_the_calendar_as_it_is_written() -> None:
    assert is_day(day_of(1_795_169_541.0))
    assert is_day("2028-02-29")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-02-29",
        "2026-13-01",
        "2026-00-10",
        "0000-01-01",
        "20261120",
        "2026-W47-5",
        "2026-11-20\n",
        "٢٠٢٦-11-20",
    ],
)
def test_what_no_calendar_has_is_no_day(text: str) -> None:
    assert not is_day(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90d", 7_776_000),
        ("12h", 43_200),
        ("4w", 2_419_200),
        *((text, None) for text in ("", "d", "0d", "-1d", "1.5d", "90", "90 d", "90m", "100000d", "90d\n", "٣d")),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: int | None) -> None:
    assert duration_s(text) == seconds
