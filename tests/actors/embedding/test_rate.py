"""What the engine takes, as measured."""

from actors.embedding.rate import EngineRate


def test_nothing_is_said_before_anything_was_measured() -> None:
    """Nobody is refused for a guess."""
    assert EngineRate().seconds(1_000, now=5.0) == 0


def test_what_was_measured_lately_counts_most() -> None:
    """Large batches more than small ones, and old ones are forgotten by and by."""
    rate = EngineRate()
    rate.measured(500, 1.0, now=1.0)
    assert rate.seconds(1_000, now=1.0) == 2.0
    rate.measured(5, 1.0, now=2.0)
    assert 2.0 < rate.seconds(1_000, now=2.0) < 5.0
    for _ in range(60):
        rate.measured(500, 0.1, now=3.0)
    assert 0.2 <= rate.seconds(1_000, now=3.0) < 0.21


def test_a_measurement_is_not_believed_for_ever() -> None:
    """Who was refused because of it could never show that it is no longer true."""
    rate = EngineRate()
    rate.measured(500, 1.0, now=1.0)
    assert rate.seconds(500, now=61.0) == 1.0
    assert rate.seconds(500, now=61.5) == 0.0
    assert repr(rate) == "<EngineRate 1 s for 500>"
