"""Claude Code's sessions that go on in a second file: what the file marks as copied is left out, the rest is kept."""

from pathlib import Path
from typing import Any

import pytest

from central_command.client.transcripts.claude_code import ClaudeCodeReader
from central_command.client.transcripts.opening import open_transcript
from central_command.client.transcripts.reader import Usage
from tests.central_command.client.transcripts.claude_code_events import (
    OLDER,
    SESSION,
    answered,
    attachment,
    called,
    event,
    lines,
    queue,
    read,
    said,
    shapes,
    user,
)
from tests.central_command.client.transcripts.whole import whole

NAME = f"{SESSION}.jsonl"
COPIED = "events copied from another session"


def history(session: str) -> list[dict[str, Any]]:
    return [
        user("Make it faster", session),
        said("I measure.", session),
        called("t1", session),
        answered("t1", session),
    ]


def branched(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As `/branch` writes them: the same uuids, each with where it comes from."""
    return [
        {**each, "sessionId": SESSION, "forkedFrom": {"sessionId": OLDER, "messageUuid": each["uuid"]}}
        for each in events
    ]


def test_a_branch_holds_what_was_done_in_it() -> None:
    """The history is counted, and no step."""
    transcript = read(*branched(history(OLDER)), user("Try a cache"), said("Done."))
    assert shapes(transcript) == [("instruction", "user", "Try a cache"), ("thought", None, "Done.")]
    assert transcript.left_out == {COPIED: 4}
    assert transcript.session_key == SESSION


def test_a_fork_of_the_sdk_has_new_uuids_and_a_new_last_time() -> None:
    """`fork_session` writes everything anew; a title behind it is a record of another kind."""
    forked = [{**each, "uuid": f"new{number}"} for number, each in enumerate(branched(history(OLDER)))]
    forked[-1]["timestamp"] = "2026-11-28T00:00:00.000Z"
    title = {"type": "custom-title", "sessionId": SESSION, "customTitle": "faster (fork)"}
    transcript = read(*forked, title, user("Try threads"), said("Done."))
    assert [step.content for step in transcript.steps] == ["Try threads", "Done."]
    assert transcript.left_out == {COPIED: 4, "custom-title": 1}


def test_a_branch_that_was_written_twice_is_left_out_twice() -> None:
    """Large sessions: once more under the same uuids, without a mark."""
    older = history(OLDER)
    again = [{**each, "sessionId": SESSION, "parentUuid": None} for each in older]
    transcript = read(*branched(older), *again, user("Try a cache"))
    assert [step.content for step in transcript.steps] == ["Try a cache"]
    assert transcript.left_out == {COPIED: 4, "events that occur twice": 4}


def test_a_branch_in_the_middle_of_a_call_keeps_the_tool_of_its_result() -> None:
    """The call is the older session's, its result this one's; the same call again is known."""
    copied = branched([user("go", OLDER), called("t1", OLDER), called("t2", OLDER), answered("t2", OLDER)])
    transcript = read(*copied, called("t1"), answered("t1"), answered("t2"), said("Done."))
    assert [(step.type, step.tool, step.call_id) for step in transcript.steps] == [
        ("observation", "Bash", "t1"),
        ("thought", None, None),
    ]


def test_usage_and_model_are_those_of_what_is_kept() -> None:
    """Tokens of copied messages were reported by the older session."""
    usage = {"input_tokens": 10, "output_tokens": 5}
    older, own = said("old", OLDER), said("new")
    older["message"]["usage"] = own["message"]["usage"] = usage
    older["message"]["model"] = "claude-haiku-4-5"
    transcript = read(*branched([older, {**older, "uuid": "x"}]), own)
    assert transcript.usage == Usage(10, 5)
    assert transcript.model == "claude-opus-4-6"


def test_a_session_that_is_a_branch_and_no_more_has_no_steps() -> None:
    """All of it is another's."""
    transcript = read(*branched(history(OLDER)))
    assert transcript.steps == ()
    assert transcript.left_out == {COPIED: 4}


def test_history_under_the_older_sessions_id_is_left_out_of_a_file_named_for_the_newer_one() -> None:
    """With what the program wrote for the newer one before it, such as a hook's word."""
    start = attachment("hook_success", hookEvent="SessionStart", hookName="SessionStart:resume", content="Welcome.")
    older = [*history(OLDER), event("attachment", OLDER, attachment={"type": "file"}), queue("enqueue", "x")]
    older[-1]["sessionId"] = OLDER
    transcript = read(start, *older, user("Go on"), said("Yes."), name=NAME)
    assert [step.content for step in transcript.steps] == ["SessionStart:resume:\nWelcome.", "Go on", "Yes."]
    assert transcript.left_out == {COPIED: 6}
    assert transcript.session_key == SESSION
    assert transcript.settled_steps == 3


@pytest.mark.parametrize("name", [f"{OLDER}.jsonl", "", "saved.jsonl"])
def test_what_comes_behind_the_sessions_own_is_kept(name: str) -> None:
    """`/resume` writes what is new into the file that was open before: it is nowhere else."""
    transcript = read(*history(OLDER), user("Go on"), said("Yes."), name=name)
    assert len(transcript.steps) == 6
    assert transcript.left_out == {}
    assert transcript.session_key == OLDER


def test_a_file_named_for_a_session_that_has_not_begun_is_not_settled() -> None:
    """A copy under another name is read; what it is will show with the first message of that session."""
    older = history(OLDER)
    transcript = read(*older, name=NAME)
    assert (len(transcript.steps), transcript.settled_steps) == (4, 0)
    assert read(*older, name=f"{OLDER}.jsonl").settled_steps == 4


def test_a_file_on_disk_is_known_by_its_name(tmp_path: Path) -> None:
    """Through what opens session files."""
    path = tmp_path / NAME
    path.write_bytes(lines(*history(OLDER), user("Go on"), said("Yes.")))
    with open_transcript(path) as file:
        assert whole(ClaudeCodeReader(), file).step_count == 2


def test_sub_agents_of_one_session_are_told_apart_by_their_ids() -> None:
    """The same task in the same millisecond: each has a key of its own, which begins with its parent's."""
    task = user("Review this", isSidechain=True)
    keys = {
        read({**task, "agentId": agent, "uuid": agent}, said("I read.", isSidechain=True, agentId=agent)).session_key
        for agent in ("a7a0000", "a7b0000", "a7c0000")
    }
    assert keys == {f"{SESSION}/a7a0000", f"{SESSION}/a7b0000", f"{SESSION}/a7c0000"}


def test_the_task_of_a_sub_agent_is_another_agents_word() -> None:
    """No user wrote it; what a user says to it is told by its origin."""
    side = {"isSidechain": True, "agentId": "a1"}
    transcript = read(
        user("Review this", **side), said("I read.", **side), user("Faster", origin={"kind": "peer"}, **side)
    )
    assert shapes(transcript) == [
        ("instruction", "agent", "Review this"),
        ("thought", None, "I read."),
        ("instruction", "agent", "Faster"),
    ]


def test_a_sessions_own_key_has_no_agent_in_it() -> None:
    """Events of the main agent may name the agent that they started."""
    assert read(user("go", agentId="a1"), said("ok")).session_key == SESSION
    assert read(user("go", isSidechain=True)).session_key == SESSION
