"""What a client sees depends neither on the way that a request takes nor on how its bytes come."""

import pytest

from tests.differential.comparison import Comparison, differences
from tests.differential.drawn import drawn
from tests.differential.sabotage import SABOTAGES, sabotaged
from tests.differential.target import Target

SEQUENCES = 600
NOTICED_WITHIN = 300


def test_every_sequence_looks_alike_in_all_ways() -> None:
    """`python -m tests.differential --sequences 20000` runs more; one that fails is shown as small as it gets."""
    target = Target()
    found, comparison = differences(target, range(1, SEQUENCES + 1))
    assert not found, "\n\n".join(map(str, found[:3]))
    assert comparison.answers > 2 * SEQUENCES
    assert target.answered_in_place > SEQUENCES // 2, "the short way was hardly taken"


def test_the_same_seed_is_the_same_sequence() -> None:
    """So that what is found can be found again."""
    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)


@pytest.mark.parametrize("name", SABOTAGES)
def test_a_planted_difference_is_noticed(name: str) -> None:
    """Whether it depends on the way, on how the bytes were cut, or on what had come by then."""
    with sabotaged(name):
        comparison = Comparison(Target())
        assert any(comparison.first_difference(seed) for seed in range(1, NOTICED_WITHIN + 1))


def test_what_differs_is_made_small() -> None:
    """To the one request that shows it, with what came of it in each way."""
    with sabotaged("no cors in place"):
        comparison = Comparison(Target())
        found = next(filter(None, map(comparison.difference, range(1, NOTICED_WITHIN + 1))))
    assert sum(piece.data.count(b" HTTP/1.1\r\n") for piece in found.pieces) == 2
    assert "without the short way:" in str(found)
    assert "access-control-expose-headers" in str(found)
