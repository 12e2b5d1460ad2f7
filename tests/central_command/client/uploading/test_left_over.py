"""What was signed of a file that is gone is delivered once, or said to wait: the spool alone has it."""

import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import httpx
import pytest
import trio
from trio.testing import MockClock

from central_command.client.spool.records import SessionState
from central_command.client.spool.spool import Spool
from central_command.client.uploading import taking_back
from central_command.client.uploading.options import Options
from central_command.client.uploading.watch import Watcher
from tests.central_command.client.uploading.conftest import Command
from tests.central_command.client.uploading.watched import TIMES, URL, Folder

BANNED = {"error": "The server's operator has banned it.", "code": "banned"}
OPEN, CLOSE = "/v1/sessions/open", "/v1/sessions/close"


async def look_after(watcher: Watcher, seconds: float) -> None:
    await trio.sleep(seconds)
    await watcher.poll()


async def away(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def numbers(folder: Folder) -> list[int]:
    return [step["step"] for step in folder.steps()]


async def sign_while_banned(watcher: Watcher, folder: Folder, lines: list[bytes]) -> None:
    """A file of which all that can be signed is, while no session of it is opened."""
    folder.server.opening_refusal = BANNED
    folder.write("one.jsonl", lines)
    await watcher.poll()
    await look_after(watcher, TIMES.chunk_s)


async def test_what_no_server_opens_waits_when_its_file_is_gone_and_is_delivered_once_it_is_opened(
    folder: Folder, lines: list[bytes], autojump_clock: MockClock
) -> None:
    """Whether the file went before or after it was refused; it is said once that the steps are in no file any more."""
    async with folder.server.client() as client:
        with folder.watcher(client) as watcher:
            await sign_while_banned(watcher, folder, lines)
            (kept,) = folder.sessions()
            assert (kept.state, kept.problem, kept.steps > 0) == (
                SessionState.RECORDING,
                "The session was not opened: The server's operator has banned it.",
                True,
            )
            (folder.path / "one.jsonl").unlink()
            for _ in range(4):
                await look_after(watcher, TIMES.chunk_s)
            assert sum("in no file any more and are kept" in text for text in folder.said) == 1
            assert any(f"mine --forget {URL}" in text for text in folder.said)
        with folder.watcher(client) as watcher:
            await watcher.poll()
            folder.server.opening_refusal = {}
            await look_after(watcher, TIMES.chunk_s)
            await look_after(watcher, TIMES.chunk_s)
    assert numbers(folder) == list(range(1, kept.steps + 1))
    (session,) = folder.sessions()
    assert (session.session_id, session.state, session.problem) == (kept.session_id, SessionState.CLOSED, None)
    assert len(folder.server.bodies(CLOSE)) == 1


async def test_what_waited_longer_than_a_server_takes_steps_for_is_moved_in_time(
    folder: Folder, lines: list[bytes], autojump_clock: MockClock
) -> None:
    """A ban of a month costs nobody the steps of a file that was cleared away meanwhile; it is said by how much."""
    async with folder.server.client() as client:
        with folder.watcher(client) as watcher:
            await sign_while_banned(watcher, folder, lines)
            (folder.path / "one.jsonl").unlink()
            await trio.sleep(30 * 86_400)
            folder.server.opening_refusal = {}
            await watcher.poll()
            now_s = folder.now_s()
    times = [step["timestamp"] for step in folder.steps()]
    assert len(times) == folder.sessions()[0].steps
    assert now_s - 7 * 86_400 < min(times) <= max(times) <= now_s
    assert folder.server.envelopes[0]["metadata"]["time_shift_s"] > 30 * 86_400


@pytest.mark.parametrize("is_gone", [True, False])
async def test_refused_openings_are_not_asked_for_at_every_look(
    folder: Folder, lines: list[bytes], autojump_clock: MockClock, *, is_gone: bool
) -> None:
    async with folder.server.client() as client:
        with folder.watcher(client) as watcher:
            await sign_while_banned(watcher, folder, lines)
            if is_gone:
                (folder.path / "one.jsonl").unlink()
            asked = len(folder.server.bodies(OPEN))
            for _ in range(60):
                await look_after(watcher, TIMES.interval_s)
    assert len(folder.server.bodies(OPEN)) - asked == 600 / TIMES.chunk_s


async def test_a_server_that_was_away_when_a_file_went_is_tried_again_in_the_same_run(
    folder: Folder, lines: list[bytes], autojump_clock: MockClock
) -> None:
    async with folder.server.client() as client:
        with folder.watcher(client) as watcher:
            folder.write("one.jsonl", lines)
            await watcher.poll()
            folder.server.faults.extend([away] * 6)
            await look_after(watcher, TIMES.chunk_s)
            (folder.path / "one.jsonl").unlink()
            await watcher.poll()
            assert folder.steps() == []
            folder.server.faults.clear()
            await look_after(watcher, TIMES.chunk_s)
    (session,) = folder.sessions()
    assert numbers(folder) == list(range(1, session.steps + 1))
    assert session.state is SessionState.CLOSED


async def test_what_was_signed_of_a_file_that_is_written_over_by_another_session_is_delivered(
    folder: Folder, lines: list[bytes], transcripts: Path, autojump_clock: MockClock
) -> None:
    """The path is there, and what lay there is not: nothing else would ever send it."""
    async with folder.server.client() as client:
        with folder.watcher(client) as watcher:
            await sign_while_banned(watcher, folder, lines)
            (before,) = folder.sessions()
            folder.server.opening_refusal = {}
            folder.write("one.jsonl", (transcripts / "short.jsonl").read_bytes().splitlines(keepends=True))
            await watcher.poll()
            await look_after(watcher, TIMES.quiet_s)
    held = [each for each in folder.server.envelopes if each["session_id"] == before.session_id]
    assert sum(len(each.get("trajectory_log", ())) for each in held) == before.steps
    assert {each.state for each in folder.sessions()} == {SessionState.CLOSED}
    assert len(folder.sessions()) == 2


async def test_a_file_that_is_renamed_goes_on_in_its_session(
    folder: Folder, lines: list[bytes], autojump_clock: MockClock
) -> None:
    """What is followed under another name is not left over, however often one looks."""
    async with folder.server.client() as client:
        with folder.watcher(client) as watcher:
            folder.write("one.jsonl", lines[: len(lines) // 2])
            await watcher.poll()
            await look_after(watcher, TIMES.chunk_s)
            assert 0 < len(folder.steps()) < 18
            (folder.path / "one.jsonl").rename(folder.path / "two.jsonl")
            for _ in range(3):
                await look_after(watcher, TIMES.interval_s)
            folder.write("two.jsonl", lines)
            await look_after(watcher, TIMES.chunk_s)
            await look_after(watcher, TIMES.quiet_s)
    assert numbers(folder) == list(range(1, 19))
    assert len(folder.sessions()) == 1


@pytest.mark.parametrize("code", ["session_closed", "unknown_session", "sequence_mismatch", "envelope_limit"])
async def test_a_session_that_takes_no_more_is_gone_on_with_in_a_new_one(
    folder: Folder, lines: list[bytes], autojump_clock: MockClock, code: str
) -> None:
    """What waits of a file that is gone cannot be read again, so it is signed anew."""
    async with folder.server.client() as client:
        with folder.watcher(client) as watcher:
            folder.write("one.jsonl", lines[: len(lines) // 2])
            await watcher.poll()
            await look_after(watcher, TIMES.chunk_s)
            accepted = len(folder.steps())
            folder.server.faults.extend([away] * 2)
            folder.write("one.jsonl", lines[:-1])
            await watcher.poll()
            await look_after(watcher, TIMES.chunk_s)
            (session,) = folder.sessions()
            assert session.steps > session.steps_accepted == accepted > 0
            (folder.path / "one.jsonl").unlink()

            async def refuse(request: httpx.Request) -> httpx.Response:
                answer: httpx.Response = folder.server.refusing(request, code)
                return answer

            folder.server.faults.clear()
            folder.server.faults.append(refuse)
            await watcher.poll()
    assert numbers(folder) == list(range(1, session.steps + 1))
    assert len({each["session_id"] for each in folder.server.envelopes}) == 2
    assert not [each for each in folder.sessions() if each.state in {SessionState.RECORDING, SessionState.ENDED}]


async def test_what_is_refused_without_consent_waits_until_it_is_given_again(
    folder: Folder, lines: list[bytes], autojump_clock: MockClock
) -> None:
    """Nothing is opened meanwhile: the server is asked how consent stands."""
    server = folder.server
    async with server.client() as client:
        with folder.watcher(client) as watcher:
            server.faults.extend([away] * 2)
            folder.write("one.jsonl", lines)
            await watcher.poll()
            await look_after(watcher, TIMES.chunk_s)
            (session,) = folder.sessions()
            (folder.path / "one.jsonl").unlink()
            server.faults.clear()
            server.consent, server.refusal_code = "withdrawn", "consent_withdrawn"
            server.refuse = lambda _envelope: "The contributor has withdrawn their consent."
            await watcher.poll()
            assert any("in no file any more and are kept" in text for text in folder.said)
            opened = len(server.bodies(OPEN))
            for _ in range(3):
                await look_after(watcher, TIMES.chunk_s)
            assert len(server.bodies(OPEN)) == opened
            server.consent, server.refuse = "given", lambda _envelope: None
            await look_after(watcher, TIMES.chunk_s)
    assert numbers(folder) == list(range(1, session.steps + 1))
    assert folder.sessions()[-1].state is SessionState.CLOSED


async def test_a_spool_that_is_in_use_for_long_is_said_and_the_next_look_goes_on(
    folder: Folder, lines: list[bytes], autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Watching does not end for it, nor does it pass a file over."""
    async with folder.server.client() as client:
        with folder.watcher(client) as watcher:
            folder.write("one.jsonl", lines)
            await trio.sleep(1_000)
            await watcher.poll()
            with monkeypatch.context() as broken, closing(sqlite3.connect(folder.root / "spool.db")) as other:
                broken.setattr("central_command.client.spool.records._BUSY_TIMEOUT_S", 0)
                watcher._history.spool._connection.execute("PRAGMA busy_timeout = 0")
                other.execute("BEGIN EXCLUSIVE")
                for _ in range(3):
                    await look_after(watcher, TIMES.quiet_s)
            assert sum("cannot be used: database is locked" in text for text in folder.said) == 1
            await watcher.poll()
    assert numbers(folder) == list(range(1, 19))


# By upload


def spool_of(tmp_path: Path) -> Path:
    return tmp_path / "state" / "central-command" / "spool.db"


def begun_and_gone(command: Command, tmp_path: Path, name: str, text: bytes) -> Path:
    """A file that was signed and not opened, and is gone."""
    path = tmp_path / name
    path.write_bytes(text)
    command.server.opening_refusal = BANNED
    assert command.run(path).exit_code == 1
    path.unlink()
    return path


def test_the_next_upload_delivers_what_is_left_of_files_that_are_gone(
    command: Command, transcripts: Path, tmp_path: Path
) -> None:
    """Of whatever is uploaded; until then each says what waits, and how it is dropped; a dry run says it, too."""
    gone = begun_and_gone(command, tmp_path, "gone.jsonl", (transcripts / "tool_heavy.jsonl").read_bytes())
    refused = command.run(transcripts / "short.jsonl")
    said = " ".join(refused.output.split())
    assert refused.exit_code == 1
    assert f"{gone}: its file is gone: what was signed of it is sent from the spool" in said
    assert "18 step(s) of it are in no file any more and are kept: each upload to this server and each watch" in said
    assert f"until central-command mine --forget {Options().url} drops what waits" in said
    command.server.opening_refusal = {}
    planned = command.run(transcripts / "short.jsonl", "--dry-run")
    assert "18 step(s) that wait in the spool, of 1 file(s) that are gone, would be sent, too." in planned.output
    result = command.run(transcripts / "short.jsonl")
    assert result.exit_code == 0, result.output
    assert "accepted: 1 of 1 envelopes, 18 of 18 steps" in result.output
    assert sum(len(each.get("trajectory_log", ())) for each in command.server.envelopes) == 26
    assert "gone" not in command.run(transcripts / "short.jsonl").output


def test_an_entry_of_an_archive_is_not_gone(command: Command, transcripts: Path, tmp_path: Path) -> None:
    """Its path is below a file; one whose archive is gone is."""
    path = tmp_path / "backup.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(transcripts / "tool_heavy.jsonl", "projects/one.jsonl")
    command.server.opening_refusal = BANNED
    assert command.run(path).exit_code == 1
    assert "its file is gone" not in command.run(transcripts / "short.jsonl").output
    path.unlink()
    assert "its file is gone" in command.run(transcripts / "short.jsonl").output


def test_a_session_that_is_not_opened_begins_anew_with_another_model_where_its_file_is_there(
    command: Command, transcripts: Path, tmp_path: Path
) -> None:
    """As long as all of it can be read again; else what was signed stays as it is."""
    path = tmp_path / "one.jsonl"
    path.write_bytes((transcripts / "tool_heavy.jsonl").read_bytes())
    command.server.opening_refusal = BANNED
    for model in ("first", "second"):
        assert command.run(path, "--model", model).exit_code == 1
        with Spool(spool_of(tmp_path)) as spool:
            (session,) = spool.unfinished(Options().url)
        assert (session.opening.model, session.steps) == (model, 18)
    path.write_bytes(b"".join((transcripts / "tool_heavy.jsonl").read_bytes().splitlines(keepends=True)[:-4]))
    command.server.opening_refusal = {}
    assert command.run(path, "--model", "third").exit_code == 0
    assert {each["metadata"]["model_engine"] for each in command.server.envelopes if "metadata" in each} == {"second"}
    assert sum(len(each.get("trajectory_log", ())) for each in command.server.envelopes) == 18


def test_sending_anew_drops_nothing_that_the_file_does_not_hold(
    command: Command, transcripts: Path, tmp_path: Path
) -> None:
    """Its beginning was cleared away meanwhile: what was signed of it goes on."""
    lines = (transcripts / "tool_heavy.jsonl").read_bytes().splitlines(keepends=True)
    path = tmp_path / "one.jsonl"
    path.write_bytes(b"".join(lines))
    command.server.opening_refusal = BANNED
    assert command.run(path).exit_code == 1
    path.write_bytes(b"".join(lines[:-6]))
    command.server.opening_refusal = {}
    assert command.run(path, "--no-resume").exit_code == 0
    assert sum(len(each.get("trajectory_log", ())) for each in command.server.envelopes) == 18


def test_what_no_server_opens_leaves_room_for_others(
    command: Command, transcripts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past a share of the spool it is left to its file, where there is one; what is in no file stays."""
    assert command.run(transcripts / "short.jsonl").exit_code == 0
    monkeypatch.setattr(taking_back, "KEPT_ENVELOPES_MAX", 0)
    path = tmp_path / "one.jsonl"
    path.write_bytes((transcripts / "tool_heavy.jsonl").read_bytes())
    command.server.opening_refusal = BANNED
    assert command.run(path).exit_code == 1
    with Spool(spool_of(tmp_path)) as spool:
        assert (spool.unfinished(Options().url), spool.statistics().envelopes) == ([], 0)
    monkeypatch.setattr(taking_back, "KEPT_ENVELOPES_MAX", 9)
    assert command.run(path).exit_code == 1
    monkeypatch.setattr(taking_back, "KEPT_ENVELOPES_MAX", 0)
    path.unlink()
    refused = command.run(transcripts / "short.jsonl")
    assert "it was not tried" not in refused.output
    with Spool(spool_of(tmp_path)) as spool:
        assert [each.steps for each in spool.unfinished(Options().url)] == [18]


def test_a_file_goes_on_behind_what_was_forgotten_of_it(command: Command, transcripts: Path, tmp_path: Path) -> None:
    """Without those steps, which is said each time, and with all of them by `--no-resume`."""
    lines = (transcripts / "tool_heavy.jsonl").read_bytes().splitlines(keepends=True)
    path = tmp_path / "one.jsonl"
    path.write_bytes(b"".join(lines[: len(lines) // 2]))

    async def refuse(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(413, json={"error": "It is too large."})

    async def passes(_request: httpx.Request) -> None:
        return None

    command.server.faults.extend([passes, refuse])
    assert command.run(path).exit_code == 1
    with Spool(spool_of(tmp_path)) as spool:
        forgotten = spool.forget_waiting(Options().url).steps
    assert 0 < forgotten < 18
    told = f"{forgotten} of its steps were forgotten (mine --forget) and are not sent: --no-resume sends it anew"
    nothing_new = command.run(path)
    assert (nothing_new.exit_code, told in nothing_new.output) == (0, True)
    assert "already uploaded completely" not in nothing_new.output
    path.write_bytes(b"".join(lines))
    result = command.run(path)
    assert result.exit_code == 0, result.output
    assert told in result.output
    assert "were sent before" not in result.output
    held = [step for each in command.server.envelopes for step in each.get("trajectory_log", ())]
    assert len(held) == 18 - forgotten
    command.server.envelopes.clear()
    assert command.run(path, "--no-resume").exit_code == 0
    assert sum(len(each.get("trajectory_log", ())) for each in command.server.envelopes) == 18
