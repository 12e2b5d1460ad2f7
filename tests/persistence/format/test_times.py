"""Times and days as they stand in files."""

import pytest

from persistence.format.times import day_of, is_day


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
