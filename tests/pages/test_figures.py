"""Numbers, sizes, durations and times as people read them."""

import pytest

from central_command.web.figures import NONE, counted, duration, number, percentage, short_number, size, time_element

NOON = "2026-11-20T12:12:17.123000Z"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (number(1234567), "1,234,567"),
        (number(0.256, 2), "0.26"),
        (number(None), NONE),
        (counted(1, "job"), "1 job"),
        (counted(0, "job"), "0 jobs"),
        (counted(1_200, "job"), "1,200 jobs"),
        (short_number(999), "999"),
        (short_number(999.6), "1k"),
        (short_number(12_345), "12.3k"),
        (short_number(999_900), "1M"),
        (short_number(4_500_000_000), "4.5G"),
        (size(0), "0 B"),
        (size(1023), "1.0 KiB"),
        (size(999), "999 B"),
        (size(1.5 * 2**30), "1.5 GiB"),
        (size(300 * 2**20), "300 MiB"),
        (duration(0), "0 ms"),
        (duration(0.0004), "0.4 ms"),
        (duration(0.25), "250 ms"),
        (duration(3.14), "3.1 s"),
        (duration(59.4), "59 s"),
        (duration(200), "3 min 20 s"),
        (duration(7_500), "2 h 5 min"),
        (duration(7_200), "2 h"),
        (duration(350_000), "4 d 1 h"),
        (duration(None), NONE),
        (percentage(0.425, 1), "42.5 %"),
        (time_element(None), NONE),
        (time_element(1_795_176_737.123), f'<time datetime="{NOON}" title="{NOON}">2026-11-20 12:12 UTC</time>'),
        (time_element('"><b>'), '"><b>'),
    ],
)
def test_figures(shown: str, expected: str) -> None:
    assert shown == expected
