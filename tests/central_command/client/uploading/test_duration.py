"""How long sending takes under a server's limits."""

import pytest

from central_command.client.uploading.duration import OPENS_PER_H, REQUESTS_PER_MINUTE, duration_s, in_words
from central_command.http.settings import HttpSettings


def test_the_limits_are_those_of_a_server_with_default_settings() -> None:
    """Of requests; openings come from the settings themselves."""
    assert HttpSettings().requests_per_minute == REQUESTS_PER_MINUTE
    assert OPENS_PER_H == 20


@pytest.mark.parametrize(
    ("sessions", "opens_per_h", "words"),
    [
        (1, 20, "less than a minute"),
        (20, 20, "less than a minute"),
        (21, 20, "3 min"),
        (365, 20, "17 h 15 min"),
        (365, 1_000, "3 min"),
    ],
)
def test_what_does_not_go_at_once_takes_its_turn(sessions: int, opens_per_h: int, words: str) -> None:
    """An hour's openings and a minute's; what is accepted behind them costs a server's budgets nothing."""
    assert in_words(duration_s(sessions=sessions, opens_per_h=opens_per_h)) == words
