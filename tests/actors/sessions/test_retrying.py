"""Dead letters taken in late: once, by the same checks, and without a second trajectory."""

import shutil
import sqlite3
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from actors.audit.examination import Examination
from actors.envelopes.refusals import Refusal, RefusalCode
from actors.sessions.messages import RetryLetters
from actors.sessions.outcomes import (
    Accepted,
    Closed,
    RetryOutcome,
    StaysRefused,
    StorageFull,
    TakenIn,
)
from actors.trajectories.settings import ScoringSettings
from persistence.databases.letters import LetterFilter
from persistence.format.records import JournalName
from persistence.settings.storage import StorageSettings
from persistence.upkeep.rebuilding import rebuild
from persistence.upkeep.verification import verify
from tests.dead_letters import with_body_changed
from tests.running_service import Clock, Running, running, settings_with
from tests.stored_state import at_once, findings, stored_state

AT = "2026-11-20T10:00:00.000000Z"

STRICT = settings_with(schema={"team_size_max": 3})
"""Refuses what the settings of `LAX` take."""

LAX = settings_with()


async def refused(run: Running, body: bytes) -> str:
    """Send what is refused; return its letter's id."""
    outcome = await run.send(body)
    assert isinstance(outcome, Refusal), outcome
    return str(run.lines(JournalName.REFUSED)[-1]["envelope_id"])


async def tried(run: Running, *letter_ids: str, session_id: str = "sess_1") -> Sequence[TakenIn | StaysRefused]:
    outcome: RetryOutcome = await run.service._directory.ask(session_id, RetryLetters(letter_ids))
    assert isinstance(outcome, tuple), outcome
    return outcome


def envelopes(run: Running) -> list[dict[str, object]]:
    return run.lines(JournalName.ENVELOPES)


async def examined(root: Path) -> None:
    """Nothing is wrong with what is stored, also when it is stitched again and made anew from the journals."""
    assert await findings(root) == []
    assert await verify(root, StorageSettings(), applied_at=AT, closer_look=Examination(ScoringSettings())) == []
    async with running(root, settings=LAX) as run:
        before = await stored_state(run)
    await rebuild(root, StorageSettings(), applied_at=AT)
    async with running(root, settings=LAX) as run:
        assert await stored_state(run) == before


async def test_other_settings_take_in_what_an_open_session_had_refused(tmp_path: Path) -> None:
    """It is in the trajectory, credited with it, and counted once."""
    async with running(tmp_path, settings=STRICT) as run:
        client = await run.open()
        assert isinstance(await run.send(client.chunk(2)), Accepted)
        letter = await refused(run, client.chunk(3, team_size=4))
        assert isinstance(await run.send(client.chunk(2)), Accepted)
        (stays,) = await tried(run, letter)
        assert isinstance(stays, StaysRefused)
        assert stays.code == RefusalCode.SCHEMA
    async with running(tmp_path, settings=LAX) as run:
        (taken,) = await tried(run, letter)
        assert taken == TakenIn(
            letter_id=letter, envelope_id=str(envelopes(run)[-1]["envelope_id"]), already=False, is_stitched=True
        )
        line = envelopes(run)[-1]
        assert line["received"]["letter"] == 1  # type: ignore[index]
        assert line["attestation"]["sequence"] == 1  # type: ignore[index]
        assert isinstance(await run.send(client.chunk(1)), Accepted)  # its sequence is what it was
        closed = await run.service.close_session("sess_1")
        assert isinstance(closed, Closed)
        assert closed.credit is not None
        assert closed.credit.total_steps == 8
        assert run.rows("sessions.db", "SELECT envelope_count, chunk_count, step_count FROM sessions") == [(4, 4, 8)]
    await examined(tmp_path)


async def test_a_letter_is_taken_in_once_however_often_it_is_tried(tmp_path: Path) -> None:
    """Also by several at once, after a restart, and when its client sends the same envelope again."""
    async with running(tmp_path, settings=STRICT) as run:
        client = await run.open()
        body = client.chunk(3, team_size=4)
        letter = await refused(run, body)
    async with running(tmp_path, settings=LAX) as run:
        outcomes = await at_once([lambda: tried(run, letter)] * 4 + [lambda: run.send(body)] * 4)  # type: ignore[list-item]
        taken = [each[0] for each in outcomes if isinstance(each, tuple)]
        assert sorted(each.already for each in taken) == [False, True, True, True]  # type: ignore[union-attr]
        assert len({each.envelope_id for each in taken}) == 1  # type: ignore[union-attr]
        again = await run.send(body)
        assert isinstance(again, Accepted)
        assert again.duplicate
        assert len(envelopes(run)) == 1
    async with running(tmp_path, settings=LAX) as run:
        (taken_in,) = await tried(run, letter)
        assert isinstance(taken_in, TakenIn)
        assert taken_in.already
        assert len(envelopes(run)) == 1
    await examined(tmp_path)


async def test_a_trajectory_that_is_written_stays_as_it_is(tmp_path: Path) -> None:
    """What comes in late of its session is kept, and credited nothing."""
    async with running(tmp_path, settings=STRICT) as run:
        client = await run.open()
        assert isinstance(await run.send(client.chunk(2)), Accepted)
        letter = await refused(run, client.chunk(3, team_size=4))
        assert isinstance(await run.send(client.close()), Accepted)
    async with running(tmp_path, settings=LAX) as run:
        before = run.lines(JournalName.TRAJECTORIES), run.rows("ledger.db", "SELECT * FROM credits")
        (taken,) = await tried(run, letter)
        assert isinstance(taken, TakenIn)
        assert not taken.is_stitched
        await run.projected()
        assert (run.lines(JournalName.TRAJECTORIES), run.rows("ledger.db", "SELECT * FROM credits")) == before
        assert run.rows("sessions.db", "SELECT chunk_count, step_count FROM sessions") == [(2, 5)]
    await examined(tmp_path)


@pytest.mark.parametrize("ends_by_itself", [True, False])
async def test_a_session_of_letters_alone_is_stitched_from_all_of_them(tmp_path: Path, ends_by_itself: bool) -> None:  # noqa: FBT001
    """Whichever of them was asked for: it gets a trajectory, once, and is credited once."""
    async with running(tmp_path, settings=settings_with(schema={"providers": ("gemini",)})) as run:
        client = await run.open()
        ids = [await refused(run, client.chunk(3)) for _ in range(3)]
        end = await refused(run, client.close()) if ends_by_itself else ""
        if not ends_by_itself:
            assert isinstance(await run.service.close_session("sess_1"), Closed)
        assert run.lines(JournalName.TRAJECTORIES) == []
    async with running(tmp_path, settings=LAX) as run:
        outcomes = await tried(run, end or ids[1])
        assert [each.letter_id for each in outcomes] == [*ids, *([end] if end else [])]
        assert all(isinstance(each, TakenIn) and each.is_stitched for each in outcomes)
        (trajectory,) = run.lines(JournalName.TRAJECTORIES)
        assert (trajectory["total_steps"], trajectory["total_chunks"]) == (9, 3)
        assert trajectory["closed_by"] == ("session_close" if ends_by_itself else "http_close")
        assert all(isinstance(each, TakenIn) and each.already for each in await tried(run, *ids))
        await run.projected()
        assert run.rows("ledger.db", "SELECT count(*) FROM credits") == [(1,)]
    await examined(tmp_path)


async def test_late_feedback_belongs_to_a_closed_session(tmp_path: Path) -> None:
    async with running(tmp_path, settings=LAX) as run:
        client = await run.open()
        assert isinstance(await run.send(client.chunk()), Accepted)
        letter = await refused(run, client.feedback("shrug"))
        assert isinstance(await run.send(client.close()), Accepted)
        (stays,) = await tried(run, letter)
        assert isinstance(stays, StaysRefused)
        assert stays.code == RefusalCode.SCHEMA


async def test_an_end_is_not_taken_in_twice(tmp_path: Path) -> None:
    async with running(tmp_path, settings=settings_with(schema={"providers": ("gemini",)})) as run:
        client = await run.open()
        end = await refused(run, client.close())
        assert isinstance(await run.service.close_session("sess_1"), Closed)
    async with running(tmp_path, settings=LAX) as run:
        (stays,) = await tried(run, end)
        assert isinstance(stays, StaysRefused)
        assert stays.code == "session_closed"
    await examined(tmp_path)


async def test_time_that_passed_since_a_letter_came_is_not_held_against_it(tmp_path: Path) -> None:
    clock = Clock()
    async with running(tmp_path, settings=STRICT, clock=clock) as run:
        client = await run.open()
        letter = await refused(run, client.chunk(3, team_size=4))
    clock.jump(30 * 86_400.0)
    async with running(tmp_path, settings=settings_with(sessions={"abandon_after_h": 9e9}), clock=clock) as run:
        (taken,) = await tried(run, letter)
        assert isinstance(taken, TakenIn)


async def test_a_letter_says_what_no_settings_can_mend(tmp_path: Path) -> None:
    """Kept without its body, of a session whose keys are lost, or of one that nobody knows."""
    small = settings_with(schema={"team_size_max": 3}, storage={"refused_quota_bytes": 1})
    async with running(tmp_path, settings=small) as run:
        client = await run.open()
        without = await refused(run, client.chunk(team_size=4))
    async with running(tmp_path, settings=STRICT) as run:
        with_body = await refused(run, client.chunk(team_size=4))
        (stays,) = await tried(run, without)
        assert isinstance(stays, StaysRefused)
        assert stays.code == "without_body"
        assert await tried(run, "env_nobody") == ()
        assert await tried(run, with_body, session_id="sess_nobody") == ()
        await run.projected()
    with sqlite3.connect(tmp_path / "sessions.db") as database:
        database.execute("UPDATE sessions SET shared_secret = ''")
    database.close()
    async with running(tmp_path, settings=LAX) as run:
        (stays,) = await tried(run, with_body)
        assert isinstance(stays, StaysRefused)
        assert stays.code == "keys_lost"


async def test_a_letter_whose_text_was_changed_is_not_authentic(tmp_path: Path) -> None:
    async with running(tmp_path, settings=STRICT) as run:
        client = await run.open()
        letter = await refused(run, client.chunk(team_size=4, note="aaaa"))
    (path,) = (tmp_path / "refused").glob("2*.jsonl")
    line = with_body_changed(path.read_bytes().rstrip(b"\n"), b"aaaa", b"bbbb")
    line = line[:-20] + b',"crc32":"%08x"}' % zlib.crc32(line[:-20])
    path.write_bytes(line + b"\n")
    with sqlite3.connect(tmp_path / "sessions.db") as database:
        database.execute("UPDATE refused_envelopes SET length = ?", (len(line) + 1,))
        database.execute("UPDATE projection_positions SET next_offset = ? WHERE journal = 'refused'", (len(line) + 1,))
    database.close()
    async with running(tmp_path, settings=LAX) as run:
        (stays,) = await tried(run, letter)
        assert isinstance(stays, StaysRefused)
        assert stays.code == RefusalCode.INVALID_HMAC
        assert envelopes(run) == []


async def test_without_room_nothing_is_taken_in(tmp_path: Path) -> None:
    async with running(tmp_path, settings=STRICT) as run:
        client = await run.open()
        letter = await refused(run, client.chunk(team_size=4))
    full = settings_with(storage={"quota_bytes": 1, "quota_warning_bytes": 1})
    async with running(tmp_path, settings=full) as run:
        outcome = await run.service._directory.ask("sess_1", RetryLetters((letter,)))
        assert isinstance(outcome, StorageFull)
        assert envelopes(run) == []
    async with running(tmp_path, settings=LAX) as run:
        (taken,) = await tried(run, letter)
        assert isinstance(taken, TakenIn)


async def test_letters_are_listed_newest_first_in_pages_and_by_what_they_are(tmp_path: Path) -> None:
    async with running(tmp_path, settings=STRICT) as run:
        client, other = await run.open(), await run.open("sess_2")
        ids = [await refused(run, each.chunk(team_size=4)) for each in (client, other, client)]
        ids.append(await refused(run, client.feedback("shrug")))
        await run.projected()
        letters = run.service._storage.letters
        every = await letters.page(LetterFilter(), 10)
        assert [each.envelope_id for each in every] == ids[::-1]
        first = await letters.page(LetterFilter(), 3)
        rest = await letters.page(LetterFilter(), 3, before_n=first[-1].position.n)
        assert [each.envelope_id for each in (*first, *rest)] == ids[::-1]
        of_other = await letters.page(LetterFilter(session="sess_2", code="schema", day=every[0].position.day), 10)
        assert [each.envelope_id for each in of_other] == [ids[1]]
        assert await letters.page(LetterFilter(code="unknown_type"), 10) == []
        assert await letters.page(LetterFilter(subject="sha256:" + "0" * 64), 10) == []


async def test_what_a_kill_leaves_of_a_try_is_found_by_the_next(tmp_path: Path) -> None:
    """The line is on disk, and no database knows it yet: it counts, once."""
    root, left = tmp_path / "data", tmp_path / "left"
    async with running(root, settings=STRICT) as run:
        client = await run.open()
        letter = await refused(run, client.chunk(3, team_size=4))
    before = tmp_path / "before"
    shutil.copytree(root, before)
    async with running(root, settings=LAX) as run:
        await tried(run, letter)
        shutil.copytree(before, left)
        shutil.copytree(root / "envelopes", left / "envelopes", dirs_exist_ok=True)
    async with running(left, settings=LAX) as run:
        (taken,) = await tried(run, letter)
        assert isinstance(taken, TakenIn)
        assert taken.already
        assert len(envelopes(run)) == 1
        assert run.rows("sessions.db", "SELECT envelope_count, chunk_count FROM sessions") == [(1, 1)]
    await examined(left)


async def test_a_kill_between_the_lines_of_a_session_s_letters_credits_it_once(tmp_path: Path) -> None:
    """A restart stitches what is there; the rest is taken in late, and no trajectory is written again."""
    root, left = tmp_path / "data", tmp_path / "left"
    async with running(root, settings=settings_with(schema={"providers": ("gemini",)})) as run:
        client = await run.open()
        ids = [await refused(run, client.chunk(3)) for _ in range(3)]
        assert isinstance(await run.service.close_session("sess_1"), Closed)
    shutil.copytree(root, left)
    async with running(root, settings=LAX) as run:
        await tried(run, ids[0])
    (path,) = (root / "envelopes").iterdir()
    torn = b"".join(path.read_bytes().splitlines(keepends=True)[:2]) + b'{"envelope_id":"env_'
    (left / "envelopes" / path.name).write_bytes(torn)
    async with running(left, settings=LAX) as run:
        (trajectory,) = run.lines(JournalName.TRAJECTORIES)
        assert trajectory["total_steps"] == 3
        outcomes = await tried(run, *ids)
        assert [isinstance(each, TakenIn) and each.already for each in outcomes] == [True, False, False]
        assert len(run.lines(JournalName.TRAJECTORIES)) == 1
        await run.projected()
        assert run.rows("ledger.db", "SELECT count(*) FROM credits") == [(1,)]
    await examined(left)
