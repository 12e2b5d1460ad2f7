"""Looking into a data directory that a real service wrote."""

import json
import shutil
from pathlib import Path
from typing import cast

import pytest
import trio

from actors.sessions.outcomes import Closed
from persistence.databases.session_index import SessionIndex, SessionRow
from persistence.files.failures import NoDataDirectory, StorageDamage
from persistence.format.records import ClosedBy
from persistence.settings.storage import StorageSettings
from persistence.upkeep import inspection
from persistence.upkeep.rebuilding import rebuild
from tests.running_service import running, settings_with
from tests.stored_state import findings, finished

SETTINGS = StorageSettings()


async def test_a_trajectory_is_found_by_its_session(stored: Path) -> None:
    """Or a sentence says why there is none."""
    line = await inspection.trajectory_line(stored, SETTINGS, "sess_told")
    assert isinstance(line, bytes)
    assert b'"session_id":"sess_told"' in line
    reasons = [await inspection.trajectory_line(stored, SETTINGS, f"sess_{name}") for name in ("open", "unused", "no")]
    assert [str(reason).split(";")[0] for reason in reasons] == [
        "Session sess_open is still open",
        "Session sess_unused was closed without a chunk, so it has no trajectory.",
        f"There is no session 'sess_no' in {stored}.",
    ]


def test_of_a_close_that_is_under_way_it_is_said_that_its_trajectory_is_not_written_yet(tmp_path: Path) -> None:
    """A session with a chunk has one sooner or later."""
    row = SessionRow(
        session_id="s",
        provider="codex",
        model="o3",
        closed=True,
        closed_by=ClosedBy.HTTP_CLOSE,
        envelopes=1,
        chunks=1,
        steps=1,
        points=None,
        created_at=0.0,
        last_activity_at=0.0,
    )
    assert inspection._why_none(tmp_path, "s", row) == "Session s is closed, but its trajectory is not written yet."


class Many:
    """An index with more sessions of any beginning than anybody asks for."""

    async def one(self, _session_id: str) -> None:
        await trio.lowlevel.checkpoint()

    async def beginning_with(self, text: str, limit: int) -> list[str]:
        await trio.lowlevel.checkpoint()
        return [f"{text}{n}" for n in range(limit)] if text.startswith("sess_") else []


@pytest.mark.parametrize("beginning", ["sess_a", "a"])
async def test_of_many_sessions_as_many_are_looked_for_as_say_that_there_are_more(beginning: str) -> None:
    """One more than are named."""
    found = await inspection._named(cast("SessionIndex", Many()), beginning)
    assert found == [f"sess_a{n}" for n in range(inspection._CANDIDATES_MAX + 1)]


async def test_a_session_is_found_by_any_beginning_that_no_other_has(stored: Path) -> None:
    """With `sess_` or without; one that several have is answered with their names."""
    whole = await inspection.trajectory_line(stored, SETTINGS, "sess_told")
    for beginning in ("sess_t", "t", "told"):
        assert await inspection.trajectory_line(stored, SETTINGS, beginning) == whole
    several = await inspection.trajectory_line(stored, SETTINGS, "sess_")
    assert several == ("More than one session begins with 'sess_': sess_http, sess_open, sess_told, sess_unused.")
    assert await inspection.trajectory_line(stored, SETTINGS, "") == f"There is no session '' in {stored}."


async def test_a_session_is_shown_as_soon_as_its_close_is_answered(tmp_path: Path) -> None:
    """Whatever the databases hold of it by then: the journals are read where those end."""
    settings = settings_with(storage={"projection_interval_s": 3_600.0})
    async with running(tmp_path, settings=settings) as run:
        for name in ("sess_a", "sess_b"):
            client = await run.open(name)
            await run.send(client.chunk(2))
            assert isinstance(await run.service.close_session(name), Closed)
        await run.send(client.feedback("rejected"))
        assert run.rows("sessions.db", "SELECT count(*) FROM trajectories") == [(0,)]
        for name, given in (("sess_a", []), ("sess_b", ["rejected"])):
            line = await inspection.trajectory_line(tmp_path, SETTINGS, name)
            assert isinstance(line, bytes)
            told = json.loads(line)
            assert (told["session_id"], told["total_steps"]) == (name, 2)
            assert [each["signal"] for each in told["feedback"]] == given
        await run.open("sess_c")
        reason = await inspection.trajectory_line(tmp_path, SETTINGS, "sess_c")
        assert reason == "Session sess_c is still open; its trajectory is written when it closes."


@pytest.mark.parametrize("ends", ["well", "killed"])
async def test_feedback_that_came_after_the_close_is_shown_with_the_rest(tmp_path: Path, ends: str) -> None:
    """After a restart, a death before its rows were written, and a rebuild; the journal's line stays as it was."""
    served, killed = tmp_path / "served", tmp_path / "killed"
    async with running(served) as run:
        client = await run.open()
        await run.send(client.chunk(2))
        await run.send(client.feedback("modified", sequence=7))
        await run.send(client.close())
        await finished(run)
        await run.projected()
        (stored,) = (served / "trajectories").iterdir()
        before = stored.read_bytes()
        shutil.copytree(served, killed)
        for number, signal in enumerate(("rejected", "iterated"), start=8):
            await run.send(client.feedback(signal, sequence=number))
        shutil.copytree(served / "envelopes", killed / "envelopes", dirs_exist_ok=True)
    root = killed if ends == "killed" else served

    async def shown() -> tuple[list[str], bool]:
        line = await inspection.trajectory_line(root, SETTINGS, "sess_1")
        assert isinstance(line, bytes)
        told = json.loads(line)
        return [each["signal"] for each in told["feedback"]], "crc32" in told

    assert await shown() == (["modified", "rejected", "iterated"], False)
    async with running(root):
        pass
    assert await shown() == (["modified", "rejected", "iterated"], False)
    await rebuild(root, SETTINGS, applied_at="2026-11-20T10:00:00.000000Z")
    assert await shown() == (["modified", "rejected", "iterated"], False)
    assert (root / "trajectories" / stored.name).read_bytes() == before
    assert await findings(root) == []


async def test_a_trajectory_that_was_changed_is_not_shown(stored: Path) -> None:
    """Nor one whose line stands elsewhere than the index says."""
    path = min((stored / "trajectories").iterdir())
    text = path.read_bytes()
    for changed in (text.replace(b"thought", b"thoughT", 1), b" " + text, b""):
        path.write_bytes(changed)
        with pytest.raises(StorageDamage, match=rf"the trajectories journal is damaged: .* byte 0 of {path.name}"):
            await inspection.trajectory_line(stored, SETTINGS, "sess_told")


async def test_a_file_that_is_none_of_a_journal_s_is_in_no_figure(stored: Path) -> None:
    before = await inspection.read_statistics(stored, SETTINGS, days=1, leaders=1)
    (stored / "envelopes" / "notes.jsonl").write_bytes(b"mine")
    assert await inspection.read_statistics(stored, SETTINGS, days=1, leaders=1) == before


async def test_lists_and_figures_are_read_beside_the_server(stored: Path) -> None:
    """Filters count before the limit; a folder that is no data directory is said to be none."""
    rows = await inspection.list_sessions(stored, SETTINGS, closed=True, limit=2)
    assert [row.session_id for row in rows] == ["sess_unused", "sess_http"]
    (row,) = await inspection.list_sessions(stored, SETTINGS, closed=False, limit=9)
    assert (row.session_id, row.steps, row.points) == ("sess_open", 1, None)
    (row,) = await inspection.list_sessions(stored, SETTINGS, closed=None, limit=9, contributor="ffff")
    assert (row.session_id, row.contributor_id) == ("sess_http", "f" * 32)
    figures = await inspection.read_statistics(stored, SETTINGS, days=2, leaders=1)
    assert (figures.summary.total_sessions, figures.summary.active_sessions) == (4, 1)
    assert len(figures.leaderboard) == 1
    with pytest.raises(NoDataDirectory, match=r"is .* a server's data directory"):
        await inspection.list_sessions(stored / "keys", SETTINGS, closed=None, limit=1)
