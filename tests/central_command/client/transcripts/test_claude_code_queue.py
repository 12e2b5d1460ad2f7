"""Text that the user queued while Claude Code worked: once, where the agent received it, and only if it did."""

from typing import Any

import pytest

from tests.central_command.client.transcripts.claude_code_events import (
    answered,
    attachment,
    called,
    queue,
    read,
    said,
    shapes,
    user,
)

ABSORBED = {"reason": "absorbed_mid_turn"}
NOTIFICATION = "<task-notification>\n<task-id>b1</task-id>\n<status>completed</status>\n</task-notification>"


def instructions(*events: dict[str, Any]) -> list[tuple[str | None, str]]:
    return [(step.source, step.content) for step in read(*events).steps if step.type == "instruction"]


def test_the_text_that_remove_names_is_the_one_that_was_received() -> None:
    """Also when another one waited longer, which begins a turn afterwards."""
    assert instructions(
        user("Build the page"),
        called("t1"),
        queue("enqueue", "When that is done, write the changelog"),
        queue("enqueue", "and use tabs"),
        queue("remove", "and use tabs", **ABSORBED),
        answered("t1"),
        queue("dequeue"),
        user("When that is done, write the changelog", promptSource="queued"),
    ) == [
        ("user", "Build the page"),
        ("queue", "and use tabs"),
        ("user", "When that is done, write the changelog"),
    ]


@pytest.mark.parametrize(
    "text", ["<nav> in header.html is not closed", "/srv/app/log.txt has the error", "/review all of it", "  spaces  "]
)
def test_text_is_text_however_it_begins(text: str) -> None:
    """A tag, a path, a command's name: what `remove` names as received, the agent has."""
    assert instructions(user("go"), queue("enqueue", text), queue("remove", text, **ABSORBED))[1:] == [("queue", text)]


@pytest.mark.parametrize("text", ["<nav> is not closed", "/srv/app/log.txt has the error"])
def test_versions_that_name_no_text_remove_what_waited_longest(text: str) -> None:
    """A command of the program's that waits before it is not it."""
    waiting = [queue("enqueue", "/compact"), queue("enqueue", NOTIFICATION), queue("enqueue", text)]
    assert instructions(user("go"), *waiting, queue("remove"))[1:] == [("queue", text)]


@pytest.mark.parametrize("reason", ["cancelled", "delivered_to_agent", "agent_gone"])
def test_what_was_removed_for_another_reason_was_not_received(reason: str) -> None:
    """It is counted."""
    transcript = read(user("go"), queue("enqueue", "never mind"), queue("remove", "never mind", reason=reason))
    assert [step.content for step in transcript.steps] == ["go"]
    assert transcript.left_out == {"queued texts that the agent never received": 1}


def test_what_goes_back_to_the_editor_or_waits_at_the_end_was_not_received() -> None:
    """`popAll` names one text, or none and means all."""
    transcript = read(
        user("go"),
        queue("enqueue", "first"),
        queue("enqueue", "second"),
        queue("popAll", "first"),
        queue("remove", "second", **ABSORBED),
        queue("enqueue", "third"),
        queue("enqueue", "fourth"),
        queue("popAll"),
        queue("enqueue", "fifth"),
    )
    assert [step.content for step in transcript.steps] == ["go", "second"]
    assert transcript.left_out == {"queued texts that the agent never received": 4}


def test_one_event_accounts_for_one_text() -> None:
    """The same word queued twice: once received in mid-turn without an event, once as a turn of its own."""
    text = "continue"
    assert instructions(
        user("go"),
        queue("enqueue", text),
        queue("enqueue", text),
        queue("remove", text, **ABSORBED),
        attachment("queued_command", prompt=text, commandMode="prompt"),
        called("t1"),
        queue("remove", text, **ABSORBED),
        said("Yes."),
    ) == [("user", "go"), ("queue", text), ("queue", text)]


def test_an_attachment_of_blocks_is_that_of_the_text_in_it() -> None:
    """With an image beside it."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A"}}
    blocks = [{"type": "text", "text": "like this"}, image]
    assert instructions(
        user("go"), queue("enqueue", "like this"), queue("remove", "like this", **ABSORBED),
        attachment("queued_command", prompt=blocks),
    )[1:] == [("queue", "like this"), ("queue", "[image: image/png]")]  # fmt: skip


def test_what_others_queued_is_theirs() -> None:
    """The end of a background task, and another agent's message, take the same way."""
    transcript = read(
        user("go"),
        queue("enqueue", NOTIFICATION),
        queue("remove", NOTIFICATION, **ABSORBED),
        attachment("queued_command", prompt=NOTIFICATION, commandMode="task-notification"),
        attachment("queued_command", prompt="I am done", origin={"kind": "peer"}),
        attachment("queued_command", prompt="b2 has ended", commandMode="task-notification"),
    )
    assert shapes(transcript)[1:] == [
        ("observation", "notification", NOTIFICATION),
        ("instruction", "agent", "I am done"),
        ("observation", "notification", "b2 has ended"),
    ]
