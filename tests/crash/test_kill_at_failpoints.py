"""`kill -9` at each failpoint there is: every restart mends everything, and can itself be killed anywhere."""

from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL

import pytest
import trio
from msgspec import structs

from tests.crash.acknowledged import lines_of, tables
from tests.crash.failpoint_list import INTERRUPTED_SEEDS, JOURNALS, PLACES, Place
from tests.crash.failpoints import Moment
from tests.crash.lives import CROWDED_ACTORS_MAX, Known, Runner, restarted, running_program
from tests.running_service import running


@pytest.fixture(scope="module")
def runner(memory_folder: Path) -> Iterator[Runner]:
    """One program for all tests here."""
    with running_program(memory_folder) as program:
        yield program


@pytest.mark.parametrize("place", PLACES, ids=lambda place: str(place.operation))
def test_a_death_at(runner: Runner, place: Place) -> None:
    """What was acknowledged is there after the restart, once; `verify` finds nothing; a rebuild changes nothing."""
    for moment in place.moments:
        for index, life in enumerate(runner.deaths(place, moment)):
            runner.restarted_after(life, rebuilt=not index)


def test_every_operation_is_a_failpoint(runner: Runner) -> None:
    """Whatever the service does to files and databases in these lives, the list has it."""
    lives = [
        runner.life("all-crowded", seed=2, actors_max=CROWDED_ACTORS_MAX, midnights=True),
        runner.life("all-unprojected", seed=1, projects=False),
        *(runner.copy_of(runner.interrupted(seed), f"all-recovery-{seed}") for seed in INTERRUPTED_SEEDS),
    ]
    done: set[str] = set()
    for life in lives:
        noted = structs.replace(life, events=f"{life.root}.all-events")
        assert runner.run(noted) == 0
        done |= {name for name in Known(Path(noted.events)).operations if not name.endswith(": ")}
    assert done - {str(place.operation) for place in PLACES} == set()


@pytest.mark.parametrize("seed", INTERRUPTED_SEEDS)
def test_a_recovery_that_dies_before_each_of_its_operations_in_turn(runner: Runner, seed: int) -> None:
    """It gets a step further each time, on the same data, and what it leaves in the end is whole."""
    life = runner.copy_of(runner.interrupted(seed), f"in-turn-{seed}")
    known = Known(Path(life.events))
    count = 0
    status = -SIGKILL
    while status == -SIGKILL:
        count += 1
        assert count < 500, "it never ends"
        status = runner.run(
            structs.replace(life, operation="recovery: ", count=count, moment=Moment.BEFORE, events=f"{life.root}.rest")
        )
    assert status == 0
    assert count > 30, "recovery has more to do than that"
    assert len(list((Path(life.root) / "torn").iterdir())) == len(JOURNALS), "each journal's torn line was kept once"
    trio.run(restarted_whole, Path(life.root), known)


async def restarted_whole(root: Path, known: Known) -> None:
    """Check a directory on which everything is done: nothing is left to mend."""
    found = await restarted(root, known, rebuilt=True)
    assert (found.torn_bytes, found.lines_projected, found.closes_finished) == (0, 0, 0)


async def test_nothing_is_found_twice_however_often_it_is_recovered(runner: Runner) -> None:
    """Further starts change no row and no line."""
    root = Path(runner.copy_of(runner.interrupted(1), "often").root)
    async with running(root):
        pass
    before = tables(root), [lines_of(root, name) for name in JOURNALS]
    for _ in range(3):
        async with running(root):
            pass
    assert (tables(root), [lines_of(root, name) for name in JOURNALS]) == before
