"""`kill -9` at each operation of a retry: a dead letter is taken in once, credited once, and never stays both."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from signal import SIGKILL

import msgspec
import pytest
import trio

from actors.envelopes.refusals import Refusal
from actors.sessions.outcomes import Accepted, Closed, TakenIn
from persistence.format.records import JournalName
from tests.crash.acknowledged import lines_of, points_of, rows
from tests.crash.failing_service import Run
from tests.crash.failpoint_list import DATABASES
from tests.crash.failpoints import Moment
from tests.crash.lives import Runner, running_program
from tests.running_service import Running, running, settings_with
from tests.stored_state import findings

STRICT = settings_with(schema={"team_size_max": 3})
STRICTER = settings_with(schema={"providers": ("gemini",)})
OPERATIONS_MIN = 30
"""What trying those letters takes at least: lines to read, write and sync, transactions, trajectories, answers."""


class Left(msgspec.Struct):
    """A data directory with dead letters that the default settings take in; `letters` are their envelopes by id."""

    root: Path
    letters: dict[str, bytes] = {}
    asked_for: tuple[str, ...] = ()
    """Of each session the letter that is tried: others come along."""

    async def refused(self, run: Running, body: bytes) -> str:
        """Send what becomes a dead letter; return its id."""
        outcome = await run.send(body)
        assert isinstance(outcome, Refusal), outcome
        letter_id = str(run.lines(JournalName.REFUSED)[-1]["envelope_id"])
        self.letters[letter_id] = body
        return letter_id


async def _leave(root: Path) -> Left:
    """Sessions that are open, have a trajectory, ended without a chunk, and whose very end was refused."""
    left = Left(root)
    async with running(root, settings=STRICT) as run:
        grows, done, ended = [await run.open(f"sess_{name}") for name in ("grows", "done", "ended")]
        await _accepted(run, grows.chunk(2))
        asked_for = [await left.refused(run, grows.chunk(3, team_size=4))]
        await _accepted(run, grows.chunk(2))
        await _accepted(run, done.chunk(2))
        asked_for.append(await left.refused(run, done.chunk(3, team_size=4)))
        await _accepted(run, done.close())
        asked_for.append([await left.refused(run, ended.chunk(count, team_size=4)) for count in (1, 2, 3)][1])
        assert isinstance(await run.service.close_session(ended.session_id), Closed)
    async with running(root, settings=STRICTER) as run:
        unended = await run.open("sess_unended")
        for count in (2, 1):
            await left.refused(run, unended.chunk(count))
        asked_for.append(await left.refused(run, unended.close()))
    left.asked_for = tuple(asked_for)
    return left


async def _accepted(run: Running, body: bytes) -> None:
    assert isinstance(await run.send(body), Accepted)


@pytest.fixture(scope="module")
def runner(memory_folder: Path) -> Iterator[Runner]:
    """One program for all tests here."""
    with running_program(memory_folder) as program:
        yield program


@pytest.fixture(scope="module")
def left(memory_folder: Path) -> Left:
    """Made once; each life has a copy of its own."""
    return trio.run(_leave, memory_folder / "left")


def _life(
    runner: Runner, left: Left, name: str, operation: str = "", count: int = 0, moment: Moment = Moment.BEFORE
) -> Run:
    life = runner.life(name, operation, count, moment, retries=left.asked_for)
    shutil.copytree(left.root, life.root)
    return life


def _answered(life: Run) -> dict[str, str]:
    """What the operator knows: for each letter the envelope that it became."""
    events = [json.loads(line) for line in Path(life.events).read_text().splitlines()]
    return {letter: envelope for event in events for letter, envelope in event.get("taken_in", {}).items()}


async def _restarted(left: Left, life: Run) -> None:
    """What was answered is so; what was not is taken in now; and everything is there once."""
    root, known = Path(life.root), _answered(life)
    async with running(root) as run:
        await run.projected()
        assert await findings(root) == []
        stored = _stored(root)
        assert {letter: stored.get(letter) for letter in known} == known
        for letter in left.asked_for:
            outcomes = await run.service.letters.retry(letter)
            assert isinstance(outcomes, tuple)
            for each in outcomes:
                assert isinstance(each, TakenIn), each
                assert each.already == (each.letter_id in stored)
                assert stored.setdefault(each.letter_id, each.envelope_id) == each.envelope_id
        await _try_the_rest(run, left, stored)
        for letter, body in left.letters.items():
            assert await run.send(body) == Accepted(stored[letter], duplicate=True)
        assert isinstance(await run.service.close_session("sess_grows"), Closed)
        await run.projected()
        assert await findings(root) == []
    assert _stored(root) == stored, "a letter was taken in twice, or not at all"
    assert stored.keys() == left.letters.keys()
    _check_credits(root)


async def _try_the_rest(run: Running, left: Left, stored: dict[str, str]) -> None:
    """What a death left out of a trajectory that the restart wrote is taken in late; but no end comes twice."""
    for letter in left.letters.keys() - stored.keys():
        outcomes = await run.service.letters.retry(letter)
        assert isinstance(outcomes, tuple)
        (taken,) = outcomes
        assert isinstance(taken, TakenIn), taken
        stored[letter] = taken.envelope_id


def _stored(root: Path) -> dict[str, str]:
    """For each letter that was taken in its envelope; AssertionError where it was twice."""
    places = {n: json.loads(line)["envelope_id"] for n, line in enumerate(lines_of(root, "refused"), start=1)}
    lines = [json.loads(line) for line in lines_of(root, "envelopes")]
    late = [line for line in lines if "letter" in line["received"]]
    found = {places[line["received"]["letter"]]: line["envelope_id"] for line in late}
    assert len(found) == len(late), "a letter was taken in twice"
    sequences = Counter(_sequence_of(line) for line in lines if "attestation" in line)
    assert {key: count for key, count in sequences.items() if count > 1} == {}
    return found


def _sequence_of(line: Mapping[str, object]) -> tuple[object, object]:
    attestation = line["attestation"]
    assert isinstance(attestation, dict)
    return line["session_id"], attestation["sequence"]


def _check_credits(root: Path) -> None:
    """Each session has one trajectory and is credited with it once, for the steps that it holds."""
    trajectories = [json.loads(line) for line in lines_of(root, "trajectories")]
    sessions = ["sess_done", "sess_ended", "sess_grows", "sess_unended"]
    assert sorted(each["session_id"] for each in trajectories) == sessions
    credited = sorted(rows(root / "ledger.db", "SELECT session_id, points FROM credits"))
    medium = {"model_engine": "gpt-5.5", "task_complexity": "medium"}
    worth = {each["session_id"]: points_of([{**each, "metadata": medium}]) for each in trajectories}
    assert credited == sorted(worth.items())
    steps = {each["session_id"]: each["total_steps"] for each in trajectories}
    assert (steps["sess_done"], steps["sess_grows"]) == (2, 7)
    assert steps["sess_ended"] in {1, 3, 6}, "what a death between two lines leaves, or all"


def _operations(life: Run) -> dict[str, int]:
    """How often each operation happened in a life that went to its end."""
    operations: dict[str, int] = json.loads(Path(life.events).read_text().splitlines()[-1])["operations"]
    return operations


def _check(left: Left, life: Run) -> None:
    try:
        trio.run(_restarted, left, life)
    except BaseException as problem:
        problem.add_note(str(life))
        raise
    finally:
        shutil.rmtree(life.root)


@pytest.fixture(scope="module")
def whole(runner: Runner, left: Left) -> Run:
    """A life in which nobody dies."""
    life = _life(runner, left, "whole")
    assert runner.run(life) == 0
    return life


def test_a_retry_takes_in_what_its_session_had_refused(left: Left, whole: Run) -> None:
    assert _answered(whole).keys() == left.letters.keys()
    assert _operations(whole)["serving: "] >= OPERATIONS_MIN
    _check(left, whole)


def _deaths(runner: Runner, left: Left, operation: str, moment: Moment) -> int:
    """Die at an operation, the first time, the second, and so on until a life comes to its end; return how often."""
    deaths, status = -1, -SIGKILL
    while status == -SIGKILL:
        deaths += 1
        name = f"{operation}-{moment}-{deaths}".replace(" ", "-").replace(":", "")
        life = _life(runner, left, name, operation=operation, count=deaths + 1, moment=moment)
        status = runner.run(life)
        _check(left, life)
    assert status == 0
    return deaths


def test_a_retry_that_dies_before_each_of_its_operations(runner: Runner, left: Left) -> None:
    """The moment after one is that before the next."""
    assert _deaths(runner, left, "serving: ", Moment.BEFORE) >= OPERATIONS_MIN


WRITES = ("write envelopes", "write trajectories", *(f"commit lines in {name}" for name in DATABASES))


@pytest.mark.parametrize("operation", WRITES)
def test_a_retry_that_dies_in_the_middle_of_what_can_be_cut(runner: Runner, left: Left, operation: str) -> None:
    """Each time that it happens; how often depends on how lines share a transaction."""
    assert _deaths(runner, left, f"serving: {operation}", Moment.HALFWAY) > 0
