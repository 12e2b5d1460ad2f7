"""What was sent before is known again, wherever its file lies and whatever it has become: nothing is sent twice."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import zstandard

from central_command.client.spool.records import SessionState
from central_command.client.spool.spool import Spool
from central_command.client.uploading.options import Options
from central_command.client.uploading.recognition import old_digest
from central_command.client.uploading.survey import survey
from central_command.commands.printing.contributions import contributions_listing
from tests.central_command.client.uploading.conftest import Command


def test_what_was_uploaded_completely_is_skipped_and_this_is_said(command: Command, transcripts: Path) -> None:
    """The table names its session again; `--no-resume` sends it anew, and after that it is skipped again."""
    command.run(transcripts / "short.jsonl")
    sent = len(command.server.requests)
    again = command.run(transcripts / "short.jsonl")
    assert again.exit_code == 0
    assert "already uploaded completely: skipped" in again.stdout
    assert command.server.envelopes[0]["session_id"] in again.stdout
    assert len(command.server.requests) == sent
    anew = command.run(transcripts / "short.jsonl", "--no-resume")
    assert anew.exit_code == 0
    assert len(command.server.requests) == 2 * sent
    assert command.server.envelopes[-1]["session_id"] != command.server.envelopes[0]["session_id"]
    assert "skipped" in command.run(transcripts / "short.jsonl").stdout
    assert len(command.server.requests) == 2 * sent


def test_what_was_credited_stays_credited_when_its_file_is_sent_anew(
    command: Command, transcripts: Path, tmp_path: Path
) -> None:
    """In `mine`, whose sum is then the server's; so does a session that was refused, with its own reason."""
    command.run(transcripts / "short.jsonl")
    command.server.refuse = lambda _envelope: "The model is unknown."
    command.run(transcripts / "long.jsonl")
    command.server.refuse = lambda _envelope: None
    assert command.run(transcripts / "short.jsonl", transcripts / "long.jsonl", "--no-resume").exit_code == 0
    with Spool(tmp_path / "state" / "central-command" / "spool.db") as spool:
        sessions = spool.sessions_to(Options().url, limit=9)
        assert spool.totals_to(Options().url).points == 12.5 * 4, "the server closes what it refused, too"
    rows = [line.split("\t") for line in contributions_listing(sessions).lines() if line.startswith("sess_")]
    by_file = sorted((row[1], row[3], row[7]) for row in rows)
    assert by_file == [
        ("long.jsonl", "delivered", ""),
        ("long.jsonl", "not whole", "Chunk 1 was refused: The model is unknown."),
        ("short.jsonl", "delivered", ""),
        ("short.jsonl", "delivered", ""),
    ]


def test_why_a_session_was_not_opened_is_kept_and_the_next_try_goes_on_with_it(
    command: Command, transcripts: Path, tmp_path: Path
) -> None:
    """`mine` says it of a machine that is banned, until it is so no more; tries do not pile up."""

    async def refuse(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(403, json={"error": "This machine may open no sessions here."})

    for _ in range(3):
        command.server.faults.append(refuse)
        refused = command.run(transcripts / "short.jsonl")
        assert (refused.exit_code, "sess_" in refused.stdout) == (1, False), "no server knows such a session"
    with Spool(tmp_path / "state" / "central-command" / "spool.db") as spool:
        sessions = spool.sessions_to(Options().url, limit=9)
        assert spool.totals_to(Options().url).sessions_delivered == 0
    why = ["not opened", "The session was not opened: This machine may open no sessions here."]
    assert [line.split("\t")[3::4] for line in list(contributions_listing(sessions).lines())[1:]] == [why]
    assert command.run(transcripts / "short.jsonl").exit_code == 0
    with Spool(tmp_path / "state" / "central-command" / "spool.db") as spool:
        (session,) = spool.sessions_to(Options().url, limit=9)
    assert (session.state, session.problem) == (SessionState.CLOSED, None)
    assert "already uploaded completely" in command.run(transcripts / "short.jsonl").stdout


def test_a_copy_or_a_moved_file_is_the_same_session(command: Command, transcripts: Path, tmp_path: Path) -> None:
    """Known by what it holds, not by its path."""
    command.run(transcripts / "short.jsonl")
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes((transcripts / "short.jsonl").read_bytes())
    sent = len(command.server.requests)
    assert "already uploaded completely" in command.run(copy).stdout
    assert len(command.server.requests) == sent


def test_a_file_that_has_grown_sends_only_its_new_steps_as_a_further_session(
    command: Command, transcripts: Path, tmp_path: Path
) -> None:
    """It says so, on the terminal and in its metadata; its steps are numbered from 1."""
    lines = (transcripts / "long.jsonl").read_bytes().splitlines(keepends=True)
    path = tmp_path / "growing.jsonl"
    path.write_bytes(b"".join(lines[:900]))
    assert command.run(path).exit_code == 0
    first = command.server.envelopes[0]["session_id"]
    before = sum(len(each.get("trajectory_log", ())) for each in command.server.envelopes)
    path.write_bytes(b"".join(lines))
    result = command.run(path)
    assert result.exit_code == 0, result.output
    assert f"{before} of its steps were sent before" in result.stdout
    assert "the new steps become a further session" in result.stdout
    assert "continues the one before" in result.stdout
    further = [each for each in command.server.envelopes if each["session_id"] != first]
    steps = [step for each in further for step in each.get("trajectory_log", ())]
    assert [step["step"] for step in steps] == list(range(1, 483 - before + 1))
    assert {each["metadata"]["continues_session"] for each in further if "metadata" in each} == {first}
    calls = [
        step["call_id"]
        for each in command.server.envelopes
        for step in each.get("trajectory_log", ())
        if step["type"] == "action"
    ]
    assert len(calls) == len(set(calls)) == 186


def test_what_was_signed_and_has_not_arrived_is_not_said_to_be_sent(command: Command, transcripts: Path) -> None:
    """An upload that never reached its server goes on with what it had signed; a dry run says so, too."""

    async def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed", request=request)

    command.server.faults.append(refuse)
    assert command.run(transcripts / "short.jsonl").exit_code == 1
    for options in (("--dry-run",), ()):
        result = command.run(transcripts / "short.jsonl", *options)
        assert result.exit_code == 0, result.output
        assert "8 of its steps were signed by an earlier try and have not arrived yet" in result.stdout
        assert "sent before" not in result.stdout


def test_a_dry_run_of_files_that_overlap_says_that_nothing_was_sent_yet(
    command: Command, transcripts: Path, tmp_path: Path
) -> None:
    """The second holds the first one's steps and more."""
    lines = (transcripts / "tool_heavy.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "a.jsonl").write_bytes(b"".join(lines[:20]))
    (tmp_path / "b.jsonl").write_bytes(b"".join(lines))
    planned = command.run(tmp_path / "a.jsonl", tmp_path / "b.jsonl", "--dry-run").stdout
    assert "of its steps would be sent with another of these files" in planned
    assert "their session would have ended by then: the new steps become a further session" in planned
    assert "sent before" not in planned
    assert "on the server has ended" not in planned


def test_a_refusal_is_remembered(command: Command, transcripts: Path) -> None:
    """The next run says it again without asking the server; `--no-resume` tries anew."""
    command.server.refuse = lambda _envelope: "The model is unknown."
    command.run(transcripts / "short.jsonl")
    sent = len(command.server.requests)
    again = command.run(transcripts / "short.jsonl")
    assert again.exit_code == 1
    assert "not delivered: Chunk 1 was refused: The model is unknown." in again.stdout
    assert "--no-resume sends the file anew" in again.stdout
    assert len(command.server.requests) == sent
    command.server.refuse = lambda _envelope: None
    assert command.run(transcripts / "short.jsonl", "--no-resume").exit_code == 0


def test_a_session_whose_beginning_is_gone_is_the_same(command: Command, transcripts: Path, tmp_path: Path) -> None:
    """Wherever its file lies; and what is new in it becomes a further session."""
    lines = (transcripts / "tool_heavy.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "a.jsonl").write_bytes(b"".join(lines))
    command.run(tmp_path / "a.jsonl")
    sent = len(command.server.requests)
    first = next(number for number, line in enumerate(lines) if b'"type":"user"' in line)
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_bytes(b"".join(lines[first + 1 :]))
        assert "already uploaded completely" in command.run(tmp_path / name).stdout
    assert len(command.server.requests) == sent
    new = json.loads(lines[first]) | {"uuid": "new", "timestamp": "2027-01-01T00:00:00Z"}
    new["message"] = {"role": "user", "content": "something new"}
    (tmp_path / "b.jsonl").write_bytes(b"".join(lines[first + 1 :]) + json.dumps(new).encode())
    result = command.run(tmp_path / "b.jsonl")
    assert "the new steps become a further session" in result.stdout
    assert [step["content"] for step in command.server.envelopes[-2]["trajectory_log"]] == ["something new"]


def test_a_compressed_twin_is_not_sent_twice(command: Command, transcripts: Path, tmp_path: Path) -> None:
    """In one run or in another, anew or not; a dry run counts it once, too."""
    text = (transcripts / "short.jsonl").read_bytes()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "s.jsonl").write_bytes(text)
    (tmp_path / "in" / "s.jsonl.zst").write_bytes(zstandard.compress(text))
    planned = command.run(tmp_path / "in", "--dry-run").stdout
    assert (planned.count("the same as another of these files"), "2 file(s)" in planned) == (1, True)
    assert "already uploaded completely" not in planned, "nothing was sent yet"
    for arguments, sessions in (((), 1), ((), 1), (("--no-resume",), 2)):
        assert command.run(tmp_path / "in", *arguments).exit_code == 0
        assert len({each["session_id"] for each in command.server.envelopes}) == sessions


def test_what_an_earlier_version_sent_is_not_sent_again(command: Command, transcripts: Path, tmp_path: Path) -> None:
    """Its spool has another form, and knows steps and sessions by other digests."""
    command.run(transcripts / "short.jsonl")
    known = survey(transcripts / "short.jsonl", None)
    old = b"".join(old_digest(step) for step in known.steps())
    (path,) = tmp_path.rglob("spool.db")
    with closing(sqlite3.connect(path)) as connection, connection:
        (state,) = connection.execute("SELECT source_state FROM sessions").fetchone()
        members = msgspec.msgpack.decode(state)
        members["taken"] = old
        del members["records"]
        source = f"{known.family}:{old[:8].hex()}"
        connection.execute(
            "UPDATE sessions SET source = ?, source_state = ?", (source, msgspec.msgpack.encode(members))
        )
        connection.execute("ALTER TABLE sessions DROP COLUMN close_answer")
        connection.execute("ALTER TABLE sessions DROP COLUMN contributor_id")
        connection.execute("PRAGMA user_version = 1")
    sent = len(command.server.requests)
    assert command.run(transcripts / "short.jsonl", "--dry-run").stdout.count("already uploaded completely") == 1
    assert "already uploaded completely" in command.run(transcripts / "short.jsonl").stdout
    assert len(command.server.requests) == sent


def test_a_fork_that_copied_its_history_sends_its_own_part(command: Command, transcripts: Path, tmp_path: Path) -> None:
    """Under an id of its own, in any order, as a session of its own; its parent's part is sent with the parent."""
    lines = (transcripts / "tool_heavy.jsonl").read_bytes().splitlines(keepends=True)
    key = json.loads(next(line for line in lines if b'"sessionId"' in line))["sessionId"].encode()
    own: dict[str, Any] = {"type": "user", "uuid": "own", "sessionId": "fork", "timestamp": "2027-01-01T00:00:00Z"}
    own["message"] = {"role": "user", "content": "another way"}
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_bytes(b"".join(lines))
    (tmp_path / "in" / "b.jsonl").write_bytes(b"".join(lines).replace(key, b"fork") + json.dumps(own).encode())
    planned = command.run(tmp_path / "in", "--dry-run").stdout
    result = command.run(tmp_path / "in", "--at-once", "1")
    for said in (planned, result.stdout):
        assert "18 of its steps are a copy of another session, and were sent with that one: left out" in said
    logs = [each.get("trajectory_log", ()) for each in command.server.envelopes]
    assert sorted(map(len, logs)) == [0, 0, 1, 18]
    assert "skipped" in command.run(tmp_path / "in").stdout
    assert len({each["session_id"] for each in command.server.envelopes}) == 2
    (tmp_path / "c.jsonl").write_bytes(b"".join(lines).replace(key, b"whole"))
    whole = command.run(tmp_path / "c.jsonl")
    assert (whole.exit_code, "a copy of another session" in whole.stdout) == (0, True)


def test_what_a_sub_agent_has_from_its_parents_history_is_the_parents(command: Command, tmp_path: Path) -> None:
    """However much of it, and although its file is the smaller one, or the first by name: the parent's goes first."""

    def event(number: int, text: str, **members: Any) -> bytes:
        at = f"2026-11-27T00:{number:02}:00Z"
        message = {"role": "user", "content": text}
        return json.dumps(
            {"type": "user", "sessionId": "f0", "uuid": text, "timestamp": at, "message": message, **members}
        ).encode()

    marks = {"isSidechain": True, "agentId": "acompact-1"}
    folder = tmp_path / "in"
    (folder / "f0" / "subagents").mkdir(parents=True)
    history = [f"part {number} of it" for number in range(40)]
    (folder / "f0.jsonl").write_bytes(b"\n".join(event(*each) for each in enumerate(history)))
    own = [*enumerate(history[36:], start=36), (50, "sum it up")]
    copied = b"\n".join(event(number, text, **marks) for number, text in own)
    (folder / "f0" / "subagents" / "agent-acompact-1.jsonl").write_bytes(copied)
    (folder / "agent-acompact-2.jsonl").write_bytes(
        copied.replace(b"acompact-1", b"acompact-2").replace(b"sum", b"add")
    )
    result = command.run(folder, "--model", "claude-opus-4-6")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("4 of its steps are a copy of another session, and were sent with that one") == 2
    assert sorted(logged(command)) == sorted([*history, "sum it up", "add it up"])
    logs = [len(each.get("trajectory_log", ())) for each in command.server.envelopes]
    assert sorted(logs) == [0, 0, 0, 1, 1, 40]


def logged(command: Command, since: int = 0) -> list[str]:
    """The texts of all steps that were sent, but for the first so many."""
    logs = (each.get("trajectory_log", ()) for each in command.server.envelopes)
    return [step["content"] for log in logs for step in log][since:]


def printed(key: str, day: int, *texts: str) -> str:
    """What a run of Claude Code printed on a day, under an id; of no day, without times; of no id, without."""
    lines = []
    for number, text in enumerate(texts):
        event: dict[str, Any] = {"type": "user", "uuid": f"{key}{number}", "message": {"role": "user", "content": text}}
        event |= {"sessionId": key} if key else {}
        event |= {"timestamp": f"2026-11-{day:02}T00:0{number}:00Z"} if day else {}
        lines.append(f"{json.dumps(event)}\n")
    return "".join(lines)


@pytest.mark.parametrize(
    ("key", "day", "texts"),
    [
        ("two", 21, ("task", "work", "done")),
        ("two", 21, ("task", "work", "other end")),
        ("two", 0, ("task", "work", "done")),
        ("", 21, ("task", "work", "done")),
    ],
)
def test_another_session_at_a_path_that_is_used_again_is_sent_whole(
    command: Command, tmp_path: Path, key: str, day: int, texts: tuple[str, ...]
) -> None:
    """A job that writes to the same file every night, and may say the same; each is sent once."""
    path = tmp_path / "stream.jsonl"
    options = ("--provider", "claude-code", "--model", "claude-opus-4-6")
    path.write_text(printed("one" if key else "", 20 if day else 0, "task", "work", "done"))
    assert command.run(path, *options).exit_code == 0
    for later in (0, 1):
        before = len(logged(command))
        path.write_text(printed(key and f"{key}{later}", day and day + later, *texts))
        assert command.run(path, *options).exit_code == 0
        assert logged(command, before) == list(texts)
        assert "already uploaded completely" in command.run(path, *options).stdout


def ran(*texts: str) -> str:
    """What `codex exec --json` printed of one thread: it has an id and no times."""
    items = [{"id": f"item_{n}", "type": "agent_message", "text": text} for n, text in enumerate(texts)]
    events: list[dict[str, Any]] = [{"type": "thread.started", "thread_id": "thread"}, {"type": "turn.started"}]
    events += [{"type": "item.completed", "item": item} for item in items]
    return "".join(f"{json.dumps(event)}\n" for event in events)


def test_a_resumed_thread_without_times_loses_no_step(command: Command, tmp_path: Path) -> None:
    """Its second run says the same in another order; what grew sends its new steps, a copy none."""
    options = ("--model", "gpt-5-codex")
    first, second, copy = (tmp_path / name for name in ("first.jsonl", "second.jsonl", "copy.jsonl"))

    def newly(path: Path, *texts: str) -> list[str]:
        before = len(logged(command))
        path.write_text(ran(*texts))
        result = command.run(path, *options)
        assert result.exit_code == 0, result.output
        return logged(command, before)

    assert newly(first, "look", "fix", "done") == ["look", "fix", "done"]
    assert newly(second, "fix", "done") == ["fix", "done"]
    assert newly(second, "fix", "done") == []
    assert newly(first, "look", "fix", "done", "look") == ["look"]
    assert newly(copy, "look", "fix", "done", "look") == []
    assert newly(first, "done", "fix") == ["done", "fix"]
    assert newly(first, "done", "fix", "look") == ["look"]
