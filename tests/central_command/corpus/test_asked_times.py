"""Times as people ask for them: RFC 3339 with any offset, and the beginnings of times; never one that there is not."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central_command.corpus.asked_times import first_moment
from central_command.corpus.filters import Filters


@pytest.mark.parametrize(
    ("asked", "moment"),
    [
        ("2026", "2026-01-01T00:00:00.000000Z"),
        ("2026-11", "2026-11-01T00:00:00.000000Z"),
        ("2026-11-20", "2026-11-20T00:00:00.000000Z"),
        ("2026-11-20T10", "2026-11-20T10:00:00.000000Z"),
        ("2026-11-20T10:12", "2026-11-20T10:12:00.000000Z"),
        ("2026-11-20T10:12:17", "2026-11-20T10:12:17.000000Z"),
        ("2026-11-20T10:12:17Z", "2026-11-20T10:12:17.000000Z"),
        ("2026-11-20T10:12:17.5", "2026-11-20T10:12:17.500000Z"),
        ("2026-11-20t10:12:17.123456789z", "2026-11-20T10:12:17.123456Z"),
        ("2026-11-20T10:12+02:00", "2026-11-20T08:12:00.000000Z"),
        ("2026-01-01T00:30:00+05:30", "2025-12-31T19:00:00.000000Z"),
        ("0999-12-31T23:59:59-00:30", "1000-01-01T00:29:59.000000Z"),
    ],
)
def test_a_time_stands_for_its_first_moment(asked: str, moment: str) -> None:
    assert first_moment(asked) == moment


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("2026-13-45", "no time that there is"),
        ("2026-02-29", "no time that there is"),
        ("2026-11-20T24:00", "no time that there is"),
        ("2026-11-20T10:12:60Z", "no time that there is"),
        ("2026-11-20T10:12:17+99:00", "no time that there is"),
        ("0001-01-01T00:00+00:01", "no time that there is"),
        ("2026-1", "nor the beginning of one"),
        ("2026-11-20Z", "nor the beginning of one"),
        ("2026-11-20 10:12", "nor the beginning of one"),
        ("2026-11-20T10:12:17.", "nor the beginning of one"),
        ("2026-11-20\n", "nor the beginning of one"),
        ("yesterday", "nor the beginning of one"),
        ("٢٠٢٦", "nor the beginning of one"),
        ("", "nor the beginning of one"),
        ("2" * 5_000, "nor the beginning of one"),
    ],
)
def test_what_is_no_time_says_so(asked: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as found:
        Filters(before=asked)
    assert str(found.value).startswith("before is ")
    assert len(str(found.value)) < 150


@given(st.floats(-5e10, 2e11), st.integers(-1_439, 1_439))
def test_offsets_change_how_a_moment_is_written_and_not_which_it_is(seconds: float, minutes: int) -> None:
    moment = datetime.fromtimestamp(seconds, UTC)
    there = moment.astimezone(timezone(timedelta(minutes=minutes)))
    assert first_moment(there.isoformat()) == moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
