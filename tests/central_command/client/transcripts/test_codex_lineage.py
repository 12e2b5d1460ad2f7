"""Forks and sub-agents of Codex: what their files copied from another session is no step of theirs."""

from typing import Any

import pytest
from hypothesis import given

from central_command.client.transcripts.reader import Usage
from tests.central_command.client.transcripts.rollouts import (
    JSON_VALUES,
    Line,
    clock,
    contents,
    copied,
    event,
    item,
    line,
    meta,
    read,
    said,
    seconds,
    turn,
    user,
)

PARENT = "01f30000-0000-7000-8000-000000000001"
CHILD = "01f30000-0000-7000-8000-000000000002"
THIRD = "01f30000-0000-7000-8000-000000000003"
SPAWNED = {"subagent": {"thread_spawn": {"parent_thread_id": PARENT, "depth": 1, "agent_path": "/root/logs"}}}
COPIES = "lines copied from an earlier session"
PARENTS = [*turn("P1", "09:00:01.000", usage=1000), *turn("P2", "09:00:10.000", usage=2000)]
OWN = ["Ask C", "Using exec_command", "output C", "Answer C"]


def minted(at: str, number: int = 0) -> str:
    """A turn's id (UUIDv7) of that time on the day of these tests."""
    ms = 1795737600000 + round(seconds(at) * 1000)
    text = f"{ms:012x}7{number:03x}8{number:015x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def fork(*lines: Line, created: str = "15:00:00.000", at: str = "15:00:00.500", **members: Any) -> list[Line]:
    return [meta(CHILD, created, at, **members), *lines]


@pytest.mark.parametrize(
    ("members", "copying", "own_at"),
    [
        ({"forked_from_id": PARENT}, "15:00:00.120", "15:00:01.000"),
        ({"forked_from_id": PARENT}, "15:00:00.500", "15:04:01.000"),
        ({"source": SPAWNED, "forked_from_id": PARENT, "session_id": PARENT}, "15:00:01.500", "15:00:01.000"),
        ({"source": SPAWNED}, "15:00:00.501", "15:00:00.801"),
        ({"source": SPAWNED}, "15:00:00.501", "15:00:00.521"),
    ],
)
def test_a_copy_with_the_time_of_the_fork_is_left_out(members: dict[str, Any], copying: str, own_at: str) -> None:
    """Nothing but times tells the two apart, and the own turn may even be dated before the copying."""
    parents = copied([meta(PARENT), *PARENTS], copying)
    transcript = read(*fork(*parents, *turn("C", own_at), **members))
    assert contents(transcript) == OWN
    assert transcript.left_out[COPIES] == len(parents)
    assert (transcript.session_key, transcript.model, transcript.settled_steps) == (CHILD, "gpt-5.5", 4)


def test_a_copy_with_its_own_times_is_left_out() -> None:
    """Pauses of the parent are none between it and the fork."""
    transcript = read(*fork(meta(PARENT), *PARENTS, *turn("C", "15:00:01.000"), forked_from_id=PARENT))
    assert contents(transcript) == OWN


def test_a_chain_of_forks_leaves_all_ancestors_out() -> None:
    """Their session_metas stand together at the beginning, or each before its own lines."""
    ancestors = [meta(PARENT), meta(THIRD, "10:00:00.000", forked_from_id=PARENT)]
    together = copied([ancestors[1], ancestors[0], *PARENTS, *turn("T", "10:00:00.000")], "15:00:00.130")
    apart = copied([ancestors[1], ancestors[0], *PARENTS, ancestors[1], *turn("T", "10:00:00.000")], "15:00:00.130")
    for copy in (together, apart):
        transcript = read(*fork(*copy, *turn("C", "15:00:03.000"), forked_from_id=THIRD))
        assert contents(transcript) == OWN
        assert transcript.left_out == {COPIES: len(copy)}


def test_a_copy_that_took_seconds_ends_with_the_first_turn_that_is_newer_than_the_session() -> None:
    """Turns have ids that tell when they began; neither times nor names do here."""
    created = "15:00:00.000"
    child = minted(created)
    parents = [
        *turn("P1", "15:00:00.600", turn_id=minted("09:00:00.000"), pace_s=0.4),
        *turn("P2", "15:00:04.800", turn_id=minted("14:59:59.000"), pace_s=0.4),
    ]
    own = turn("C", "15:00:08.700", turn_id=minted("15:00:00.030"), pace_s=0.1)
    lines = [meta(child, created, forked_from_id=PARENT), line("session_meta", "15:00:00.500", id=PARENT), *parents]
    assert contents(read(*lines[:2], *copied(parents, "15:00:00.500"), *own)) == OWN
    together = [event("agent_message", "15:00:08.650", message="still the parent's")]
    assert contents(read(*lines[:2], *copied([*parents, *together], "15:00:08.650"), *own)) == OWN


def test_a_turn_that_began_before_the_session_is_copied_whatever_its_id_is() -> None:
    """Older versions gave turns random ids; the beginning is in the event."""
    old = turn("P", "15:00:00.900", turn_id="8b2f6c1e-0000-4000-8000-000000000002", started_at=1795770000)
    own = turn("C", "15:00:01.100", turn_id="8b2f6c1e-0000-4000-8000-000000000003", started_at=1795791601)
    assert contents(read(*fork(meta(PARENT), *old, *own, source=SPAWNED))) == OWN


def test_a_sub_agent_names_whose_it_is() -> None:
    """A fork has no parent in this sense, and neither has what names none."""
    own = turn("C", "15:00:02.000")
    assert read(*fork(*own, source=SPAWNED)).parent_key == PARENT
    assert read(*fork(*own, source={"subagent": "review"})).parent_key == ""
    assert read(*fork(*own, forked_from_id=PARENT)).parent_key == ""


@pytest.mark.parametrize("keep", [0, 2, 6])
def test_a_copy_of_the_last_turns_alone_is_left_out(keep: int) -> None:
    """It has no session_meta of the parent, and may begin with a turn, a prompt or an answer."""
    part = copied(PARENTS[10 + keep :], "15:00:00.600")
    lines = fork(*part, *turn("C", "15:00:02.000"), source=SPAWNED, forked_from_id=PARENT)
    transcript = read(*lines)
    assert contents(transcript) == OWN
    assert transcript.left_out == {COPIES: len(part)}


def test_a_copied_prompt_without_its_answer_is_left_out() -> None:
    """A sub-agent's own turn begins with an event, so what stands before it is the parent's."""
    lines = fork(user("Ask P2", "15:00:00.600"), *turn("C", "15:00:00.610"), source=SPAWNED)
    assert contents(read(*lines)) == OWN


def test_a_sub_agent_that_was_told_its_task_begins_there() -> None:
    """What another agent says to this one's name is no copy, whatever came before."""
    told = "Message Type: NEW_TASK\nTask name: /root/logs\nSender: /root\nPayload:\nFind it"
    to_other = told.replace("/root/logs", "/root/other")
    lines = fork(
        *copied([meta(PARENT), *PARENTS], "15:00:00.600"),
        item(
            "agent_message", "15:00:00.600", recipient="/root/other", content=[{"type": "input_text", "text": to_other}]
        ),
        item("agent_message", "15:00:00.601", recipient="/root/logs", content=[{"type": "input_text", "text": told}]),
        said("Found", "15:00:00.700"),
        source=SPAWNED,
    )
    assert contents(read(*lines)) == ["Find it", "Found"]
    triggered = {"author": "/root", "recipient": "/root/logs", "content": "Find it", "trigger_turn": True}
    lines = fork(user("Ask P2"), line("inter_agent_communication", **triggered), said("Found"), source=SPAWNED)
    assert contents(read(*lines))[-2:] == ["Find it", "Found"]


def test_lines_are_told_by_their_numbers_where_the_session_names_its_first() -> None:
    """Newer versions count lines on over the parent's, and mark the prompts that they copy."""
    lines = fork(*PARENTS, *turn("C", "15:00:02.000"), source=SPAWNED, subagent_history_start_ordinal=21)
    numbered = [{**each, "ordinal": number} for number, each in enumerate(lines)]
    assert contents(read(*numbered)) == OWN
    inherited = {**user("Ask P2", "15:00:00.600"), "metadata": {"inherited_user_message": True}}
    assert contents(read(*fork(inherited, *turn("C", "15:00:02.000"), source=SPAWNED))) == OWN


def test_events_tell_whose_they_are_by_their_thread() -> None:
    """The program names it in its settings and in completed items."""
    settings = event("thread_settings_applied", "15:00:00.600", thread_id=CHILD, thread_settings={})
    theirs = event("thread_settings_applied", "15:00:00.600", thread_id=PARENT, thread_settings={})
    lines = fork(*copied(PARENTS, "15:00:00.600"), theirs, settings, *turn("C", "15:00:00.610", pace_s=0.001))
    lines[0]["payload"]["forked_from_id"] = PARENT
    assert contents(read(*lines)) == OWN


@pytest.mark.parametrize(
    "members", [{"forked_from_id": PARENT}, {"source": SPAWNED}, {"source": {"subagent": "review"}}]
)
def test_a_session_that_copied_nothing_has_all_its_steps(members: dict[str, Any]) -> None:
    """Newer forks hold only their own part; a sub-agent may have been given a task and no history."""
    for lines in (turn("C", "15:00:00.510", pace_s=0.05), turn("C", "15:00:00.510", pace_s=0.05)[1:]):
        transcript = read(*fork(*lines, **members))
        assert (contents(transcript), transcript.settled_steps) == (OWN, 4)
        assert COPIES not in transcript.left_out
    prompts = [user("Ask C", "15:00:00.510"), line("turn_context", "15:00:00.511", model="gpt-5.5")]
    assert contents(read(*fork(*prompts, said("Answer C", "15:00:03.000"), **members))) == ["Ask C", "Answer C"]


def test_an_empty_fork_has_no_steps() -> None:
    """Who forked a session and did nothing more has done nothing."""
    transcript = read(*fork(*copied([meta(PARENT), *PARENTS], "15:00:00.600"), forked_from_id=PARENT))
    assert (transcript.steps, transcript.left_out) == ((), {COPIES: 1 + len(PARENTS)})


def test_usage_is_that_of_the_own_part() -> None:
    """The program counts on from the copied figure, or anew; a model that only the copied part names is taken."""
    parents = copied([meta(PARENT), *PARENTS], "15:00:00.600")
    going_on = read(*fork(*parents, *turn("C", "15:00:02.000", usage=2500), forked_from_id=PARENT))
    anew = read(*fork(*parents, *turn("C", "15:00:02.000", usage=300), source=SPAWNED))
    assert (going_on.usage, anew.usage) == (Usage(500, 50), Usage(300, 30))
    unnamed = [each for each in turn("C", "15:00:02.000") if each["type"] != "turn_context"]
    assert read(*fork(*parents, *unnamed, forked_from_id=PARENT)).model == "gpt-5.5"


def test_a_fork_that_grows_never_changes_what_is_settled() -> None:
    """Neither while its beginning is copied nor when its own lines come."""
    for members in ({"forked_from_id": PARENT}, {"source": SPAWNED}):
        for parents in (copied([meta(PARENT), *PARENTS], "15:00:00.600"), copied(PARENTS[12:], "15:00:00.600"), []):
            lines = fork(*parents, *turn("C", "15:00:02.000"), **members)
            whole = read(*lines).steps
            for count in range(len(lines) + 1):
                part = read(*lines[:count])
                assert part.steps[: part.settled_steps] == whole[: part.settled_steps]
    assert read(*lines).settled_steps == 4


def test_times_without_sense_are_no_evidence() -> None:
    """A session whose lines have no times, or whose meta has none, keeps what is not known to be copied."""
    bare = [{key: value for key, value in each.items() if key != "timestamp"} for each in turn("C", "15:00:00.000")]
    assert contents(read({"type": "session_meta", "payload": {"id": CHILD, "forked_from_id": PARENT}}, *bare)) == OWN
    assert clock(seconds("15:00:08.700")) == "15:00:08.700"


@given(JSON_VALUES, JSON_VALUES)
def test_lines_of_any_shape_tell_nothing_wrong(value: Any, other: Any) -> None:
    """Whatever stands where a parent, a turn, an agent or a number is expected, steps keep their numbers."""
    names = ["id", "forked_from_id", "source", "timestamp", "agent_path", "subagent_history_start_ordinal"]
    names += ["turn_id", "started_at", "thread_id", "author", "recipient", "content", "trigger_turn", "role"]
    told = dict.fromkeys(names, value)
    kinds = ["session_meta", "event_msg", "response_item", "turn_context", "inter_agent_communication"]
    lines = [
        {"timestamp": other, "ordinal": value, "metadata": value, "type": kind, "payload": {**told, "type": each}}
        for kind in kinds
        for each in ("task_started", "agent_message", "message", "user_message", "new")
    ]
    for first in (told, told | {"forked_from_id": PARENT, "id": CHILD}, told | {"source": {"subagent": value}}):
        steps = read({"type": "session_meta", "payload": first}, *lines).steps
        assert [step.step for step in steps] == list(range(1, len(steps) + 1))
