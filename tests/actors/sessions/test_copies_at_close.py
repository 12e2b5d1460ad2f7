"""A step is credited once: whatever comes between two closes, a crash, a rebuild, another contributor."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from actors.audit.examination import Examination
from actors.sessions.outcomes import Accepted, Closed, CloseOutcome, Credit, StorageFull
from actors.sessions.recent_runs import RecentRuns
from actors.trajectories.settings import ScoringSettings
from persistence.databases.fingerprints import FirstSeen
from persistence.format.records import JournalName
from persistence.settings.storage import StorageSettings
from persistence.upkeep.rebuilding import rebuild
from persistence.upkeep.verification import verify
from tests.persistence.upkeep.harms import change
from tests.running_service import Running, running, settings_with
from tests.signing_client import SigningClient
from tests.stored_state import at_once, finished, stored_state

AT = "2026-11-20T10:00:00.000000Z"
OTHER = "f" * 32


def texts(name: str, count: int) -> list[str]:
    """What so many steps say."""
    return [f"{name} says something of its own, number {number}" for number in range(count)]


def log(client: SigningClient, contents: Sequence[str], kind: str = "thought") -> list[dict[str, Any]]:
    return [client.step(kind, content=content) for content in contents]


async def credited(
    run: Running, session_id: str, contents: Sequence[str], *, contributor_id: str = "0" * 32, chunk_steps: int = 4
) -> Credit:
    """Send a session of these steps and close it; return what it was worth."""
    client = await run.open(session_id, contributor_id=contributor_id)
    for start in range(0, len(contents), chunk_steps):
        assert isinstance(await run.send(client.chunk_of(log(client, contents[start : start + chunk_steps]))), Accepted)
    await run.send(client.close())
    return credit_of(await finished(run, session_id))


def credit_of(outcome: CloseOutcome) -> Credit:
    assert isinstance(outcome, Closed), outcome
    assert outcome.credit is not None
    return outcome.credit


async def deep_findings(root: Path) -> tuple[list[str], list[str]]:
    """What `verify --deep` finds, and what it says besides."""
    look = Examination(ScoringSettings())
    return await verify(root, StorageSettings(), applied_at=AT, closer_look=look), look.notes()


def line_of(run: Running, session_id: str) -> dict[str, Any]:
    return next(line for line in run.lines(JournalName.TRAJECTORIES) if line["session_id"] == session_id)


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Running]:
    """A service; what it leaves behind passes every check."""
    async with running(tmp_path) as service:
        yield service
    found, notes = await deep_findings(tmp_path)
    assert found == []
    assert not any("otherwise" in note for note in notes)


@pytest.mark.parametrize("contributor_id", ["0" * 32, OTHER])
@pytest.mark.parametrize("waits", [True, False])
async def test_a_session_that_is_wholly_a_copy_earns_nothing_and_says_whose(
    run: Running, contributor_id: str, *, waits: bool
) -> None:
    """From the same contributor or another, in other chunks, whether or not the first one has its rows yet."""
    said = texts("first", 9)
    assert await credited(run, "sess_a", said) == Credit(total_points=45, total_steps=9)
    if waits:
        await run.projected()
    again = await credited(run, "sess_b", said, contributor_id=contributor_id, chunk_steps=2)
    assert again == Credit(total_points=0, total_steps=9, copied_steps=9, copied_from="sess_a")
    line = line_of(run, "sess_b")
    assert [step["content"] for step in line["trajectory_log"]] == said
    source = {"session_id": "sess_a", "trajectory_id": line_of(run, "sess_a")["trajectory_id"]}
    assert line["copied_from"] == [{"from_step": 1, "to_step": 9, **source}]
    assert (line["copied_steps"], line["score"]["totalPoints"]) == (9, 0)
    await run.projected()
    assert await run.service.close_session("sess_b") == Closed(already_closed=True, credit=again)


async def test_what_is_new_of_a_fork_is_scored_as_if_it_stood_alone(run: Running) -> None:
    """Shares, bounds and bonuses are those of the new steps."""
    history = texts("history", 20)
    await credited(run, "sess_a", history)
    client = await run.open("sess_fork")
    alone = await run.open("sess_alone")
    for each, before in ((client, history), (alone, [])):
        own = texts(each.session_id, 5)
        steps = log(each, before) + log(each, own[:3]) + log(each, own[3:4], "error") + log(each, own[4:], "resolution")
        await run.send(each.chunk_of(steps, task_complexity="heavy"))
        await run.send(each.close())
    fork, whole = [credit_of(await finished(run, name)) for name in ("sess_fork", "sess_alone")]
    assert (fork.copied_steps, fork.copied_from) == (20, "sess_a")
    assert fork.total_points == whole.total_points == 36
    assert line_of(run, "sess_fork")["step_type_distribution"] == {"thought": 23, "error": 1, "resolution": 1}


async def test_a_resend_and_a_second_close_make_no_copies(run: Running) -> None:
    client = await run.open()
    chunk = client.chunk_of(log(client, texts("a", 5)))
    for _ in range(2):
        assert isinstance(await run.send(chunk), Accepted)
    await run.send(client.close())
    assert credit_of(await run.service.close_session("sess_1")).copied_steps == 0
    assert credit_of(await run.service.close_session("sess_1")) == Credit(total_points=25, total_steps=5)


async def test_a_session_says_the_same_of_its_copies_after_a_restart(tmp_path: Path) -> None:
    said = texts("a", 6)
    async with running(tmp_path) as run:
        await credited(run, "sess_a", said)
        await credited(run, "sess_b", [*said, *texts("b", 2)])
    async with running(tmp_path) as run:
        outcome = await run.service.close_session("sess_b")
        assert credit_of(outcome) == Credit(total_points=10, total_steps=8, copied_steps=6, copied_from="sess_a")
        assert (await credited(run, "sess_c", [*said, *texts("b", 2)])).total_points == 0
    assert (await deep_findings(tmp_path))[0] == []


@pytest.mark.parametrize("stitches", [1, 3])
async def test_sessions_that_are_closed_at_once_are_credited_once(tmp_path: Path, stitches: int) -> None:
    """However their closes interleave: one of them has the credit, and the others name it."""
    said = texts("a", 6)
    settings = settings_with(sessions={"stitches_at_once_max": stitches})
    names = [f"sess_{number}" for number in range(6)]
    async with running(tmp_path, settings=settings) as run:
        clients = [await run.open(name) for name in names]
        for client in clients:
            await run.send(client.chunk_of(log(client, said)))
        outcomes = await at_once([lambda name=name: run.service.close_session(name) for name in names])
        found = [credit_of(outcome) for outcome in outcomes]
    (first,) = [name for name, credit in zip(names, found, strict=True) if credit.total_points]
    assert sorted(credit.total_points for credit in found) == [0, 0, 0, 0, 0, 30]
    assert {credit.copied_from for credit in found} == {None, first}
    assert (await deep_findings(tmp_path))[0] == []


async def test_what_was_closed_and_not_stitched_at_a_crash_is_credited_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two equal sessions whose closes are on disk: the start that finds them credits one."""
    said = texts("a", 6)

    async def no_room(*_args: object) -> dict[int, object]:
        raise RuntimeError

    async with running(tmp_path) as run:
        monkeypatch.setattr("actors.sessions.recent_runs.RecentRuns.first_seen", no_room)
        for name in ("sess_a", "sess_b"):
            client = await run.open(name)
            await run.send(client.chunk_of(log(client, said)))
            await run.send(client.close())
            await finished(run, name)
        monkeypatch.undo()
        assert run.lines(JournalName.TRAJECTORIES) == []
    async with running(tmp_path) as run:
        await run.projected()
        assert sorted(run.rows("ledger.db", "SELECT points FROM credits")) == [(0,), (30,)]
        before = await stored_state(run)
    rebuilt = await rebuild(tmp_path, StorageSettings(), applied_at=AT)
    assert rebuilt.lines["trajectories"] == 2
    async with running(tmp_path) as run:
        after = await stored_state(run)
    for name in ("credits", "fingerprints", "gathered_fingerprints", "fingerprinted"):
        assert after[f"ledger.db {name}"] == before[f"ledger.db {name}"], name
    assert before["ledger.db gathered_fingerprints"]
    assert after["sessions.db trajectories"] == before["sessions.db trajectories"]
    assert (await deep_findings(tmp_path))[0] == []


async def test_a_line_that_found_no_room_takes_no_credit_from_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was looked up for it is forgotten: the other session is first then."""
    said = texts("a", 6)
    async with running(tmp_path) as run:
        for name in ("sess_a", "sess_b"):
            client = await run.open(name)
            await run.send(client.chunk_of(log(client, said)))
        trajectories = run.service._storage.trajectories
        write, fails = trajectories._write, True
        monkeypatch.setattr(trajectories, "_write", lambda batch: None if fails else write(batch))
        assert isinstance(await run.service.close_session("sess_a"), StorageFull)
        fails = False
        assert credit_of(await run.service.close_session("sess_b")).total_points == 30
        assert credit_of(await run.service.close_session("sess_a")).copied_from == "sess_b"
    assert (await deep_findings(tmp_path))[0] == []


async def test_what_other_settings_took_for_new_is_told_and_no_fault(tmp_path: Path) -> None:
    """The line says what was decided; `verify --deep` says what would be now."""
    settings = settings_with(scoring={"copied_chars_min": 10**9, "copied_start_chars_min": 10**9})
    async with running(tmp_path, settings=settings) as run:
        for name in ("sess_a", "sess_b"):
            assert (await credited(run, name, texts("a", 6))).total_points == 30
    found, notes = await deep_findings(tmp_path)
    assert found == []
    assert any("1 trajectories of model 'gpt-5.5' would be scored otherwise" in note for note in notes)
    assert any("(copied_from, basePoints; the first is line 2)" in note for note in notes)


async def test_lines_of_a_version_that_did_not_look_are_whole_and_count_for_those_after_them(tmp_path: Path) -> None:
    """They say nothing of copies, earned their points, and whoever copies them earns none."""
    said = texts("a", 6)
    async with running(tmp_path) as run:
        await credited(run, "sess_a", said)
    change(tmp_path, "trajectories", b"sess_a", b'"copied_steps":0,"copied_from":[],', b"")
    await rebuild(tmp_path, StorageSettings(), applied_at=AT)
    async with running(tmp_path) as run:
        assert (await credited(run, "sess_b", said)).copied_from == "sess_a"
    found, notes = await deep_findings(tmp_path)
    assert found == []
    assert not any("otherwise" in note for note in notes)


async def test_what_waits_for_its_rows_in_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the bound a close waits for the database instead, and finds the same."""
    waiting: list[int] = []
    look = RecentRuns.first_seen

    async def first_seen(self: RecentRuns, *arguments: Any) -> dict[int, FirstSeen]:
        found = await look(self, *arguments)
        waiting.append(len(arguments[1].fingerprints._sources))
        return found

    monkeypatch.setattr(RecentRuns, "first_seen", first_seen)
    settings = settings_with(sessions={"recent_runs_max": 9}, storage={"projection_interval_s": 60.0})
    async with running(tmp_path, settings=settings) as run:
        for number in range(8):
            await credited(run, f"sess_{number}", texts(f"own {number}", 7))
        again = await credited(run, "sess_again", texts("own 0", 7))
        assert (again.total_points, again.copied_from) == (0, "sess_0")
    assert max(waiting) == 1
    assert (await deep_findings(tmp_path))[0] == []
