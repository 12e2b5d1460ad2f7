"""What was sent before is known again: by what steps say and when, and files by what they hold."""

from array import array
from typing import Any

import msgspec
import pytest

from central_command.client.contract.steps import Step
from central_command.client.uploading.recognition import Sent, Steps, copied_steps, digest, likeness, marked, old_digest

ACTION = Step(
    step=1, type="action", timestamp=5.0, tool="Bash", arguments={"b": 1, "a": [2]}, content="x", token_count=1
)


def held(*texts: str, start: int = 0) -> Steps:
    """A file's steps of these texts, a minute apart, from minute `start` on."""
    made = [
        Step(step=n, type="thought", timestamp=60.0 * n, content=text, token_count=1)
        for n, text in enumerate(texts, start=start)
    ]
    times = array("d", [each.timestamp for each in made])
    return Steps(b"".join(map(digest, made)), times, lambda: b"".join(map(old_digest, made)))


def sent(steps: Steps, *, path: str = "/a.jsonl", is_subagent: bool = False) -> Sent:
    return Sent(path=path, is_subagent=is_subagent, records=b"".join(steps.records()), old_digests=b"")


@pytest.mark.parametrize(
    "change",
    [
        {"step": 7, "token_count": 9, "source": "user", "intent": "interruption", "truncated": True},
        {"content": "Using Bash", "call_id": "1", "timestamp_adjusted": True},
        {"arguments": {"a": [2], "b": 1}},
    ],
)
def test_what_a_reader_adds_does_not_count(change: dict[str, Any]) -> None:
    """Nor the order of arguments, nor white space."""
    assert digest(msgspec.structs.replace(ACTION, **change)) == digest(ACTION)
    said = msgspec.structs.replace(ACTION, type="thought", content="one  two\n")
    again = msgspec.structs.replace(said, type="instruction", content=" one two", source="queue")
    assert digest(said) == digest(again) != digest(ACTION)
    assert digest(msgspec.structs.replace(ACTION, tool="Read")) != digest(ACTION)
    assert digest(msgspec.structs.replace(ACTION, arguments={"b": 1})) != digest(ACTION)


def test_the_digests_of_earlier_versions_are_those_of_then() -> None:
    """A value that was written by one of them."""
    old = Step(step=3, type="thought", timestamp=1_790_000_000.5, content="hello", source="thinking", token_count=2)
    assert old_digest(old).hex() == "7fe65c2e0062004f"
    assert old_digest(msgspec.structs.replace(old, step=9, timestamp_adjusted=True)) == old_digest(old)


def test_what_was_sent_is_marked_and_the_rest_is_left() -> None:
    """Of a file that grew, and of one whose beginning is gone; twice is twice."""
    whole = held("a", "ok", "b", "ok")
    assert list(marked(whole, [])) == [0, 0, 0, 0]
    assert list(marked(whole, [sent(held("a", "ok"))])) == [1, 1, 0, 0]
    assert list(marked(held("b", "ok", "c", start=2), [sent(whole)])) == [1, 1, 0]
    assert list(marked(whole, [sent(held("a", "ok")), sent(held("b", start=2))])) == [1, 1, 2, 0]


def test_the_same_again_is_new_also_where_its_first_time_is_gone() -> None:
    """A command that is run again after the agent has shortened the file."""
    assert list(marked(held("b", "run", "end", "run", start=1), [sent(held("run", "b", "run", "end"))])) == [1, 1, 1, 0]


def test_steps_are_known_when_a_later_reader_gives_them_other_times() -> None:
    """Then by their text alone."""
    assert list(marked(held("a", "b", "c", start=5), [sent(held("a", "b", "c"))])) == [1, 1, 1]


def test_steps_that_earlier_versions_sent_are_known() -> None:
    """Beside those that were noted as now."""
    whole = held("a", "b", "c")
    before = Sent(path="/a.jsonl", is_subagent=False, records=b"", old_digests=whole.old_digests()[:16])
    after = msgspec.structs.replace(before, records=b"".join(whole.records()[2:]))
    assert list(marked(whole, [before])) == [1, 1, 0]
    assert list(marked(whole, [after])) == [1, 1, 1]


def like(
    steps: Steps, known: Sent, *, path: str = "/other/a.jsonl", is_subagent: bool = False, same: bool = True
) -> bool:
    return likeness(path, is_subagent=is_subagent, steps=steps, sent=[known], has_same_id=same) > 0


PARENT = held("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("steps", "is_same"),
    [
        (PARENT, True),
        (held("b", "c", "d", start=1), True),
        (held("a", "b"), True),
        (held("summary", "d", "e", start=2), True),
        (held("a", "b", "c", "d", "e"), True),
        (held("a", "b", "x", "y"), False),
        (held("a", "b", "c", "d", start=100), False),
        (held("x", "y"), False),
    ],
)
def test_a_file_elsewhere_is_the_same_session_when_it_holds_its_end_or_nothing_else(
    steps: Steps, *, is_same: bool
) -> None:
    """A copy, one that begins later, grew or is older; neither a fork nor another session with the same words."""
    assert like(steps, sent(PARENT)) is is_same
    assert not like(steps, sent(PARENT), same=False)


@pytest.mark.parametrize("path", ["/a.jsonl", "/a.jsonl.zst"])
def test_a_file_in_the_same_place_is_the_same_session_whatever_is_left_of_it(path: str) -> None:
    """Also compressed; without an id of the agent's some step must be the same."""
    assert like(held("x", "y"), sent(PARENT), path=path)
    assert not like(held("x", "y"), sent(PARENT), path=path, same=False)
    assert like(held("x", "d"), sent(PARENT), path=path, same=False)


@pytest.mark.parametrize(("start", "is_same"), [(0, True), (100, False)])
def test_a_place_that_is_used_again_is_told_by_the_times(start: int, *, is_same: bool) -> None:
    """The same words at another time are another session, where the id does not say that it is the same."""
    steps = held("a", "b", "new", start=start)
    found = likeness(
        "/a.jsonl", is_subagent=False, steps=steps, sent=[sent(PARENT)], has_same_id=False, needs_time=True
    )
    assert (found > 0) is is_same


def untimed(*texts: str) -> Steps:
    """A file's steps of these texts, without times."""
    made = [Step(step=n, type="thought", timestamp=0.0, content=text, token_count=1) for n, text in enumerate(texts)]
    old = b"".join(map(old_digest, made))
    return Steps(b"".join(map(digest, made)), array("d", [0.0] * len(made)), lambda: old, has_times=False)


@pytest.mark.parametrize(
    ("texts", "marks"),
    [
        ("abcd", [1, 1, 2, 2]),
        ("abcde", [1, 1, 2, 2, 0]),
        ("bacd", [0, 0, 0, 0]),
        ("bcd", [0, 0, 0]),
        ("xabcd", [0, 0, 0, 0, 0]),
        ("abc", [0, 0, 0]),
    ],
)
def test_without_times_what_was_sent_is_known_as_the_beginning_alone(texts: str, marks: list[int]) -> None:
    """All of it and in order, also where an earlier version sent a part; equal texts may be a second run."""
    first, then = untimed("a", "b"), untimed("c", "d")
    assert list(marked(untimed(*texts), [sent(first), sent(then)])) == marks
    earlier = Sent(path="/a.jsonl", is_subagent=False, records=b"", old_digests=first.old_digests())
    assert list(marked(untimed(*texts), [earlier, sent(then)])) == marks


@pytest.mark.parametrize(
    ("texts", "is_same"), [("abc", True), ("abcd", True), ("c", False), ("xc", False), ("ab", False), ("acb", False)]
)
def test_without_times_the_last_step_makes_no_file_the_same(texts: str, *, is_same: bool) -> None:
    """A copy, or one that grew, is the same; a resumed thread that ends with the same words is not."""
    known = sent(untimed("a", "b", "c"))
    assert like(untimed(*texts), known) is is_same
    assert like(untimed(*texts), known, path="/a.jsonl") is is_same
    assert not like(untimed("a", "b", "new"), sent(untimed("a", "b"))), "too few to tell"


def test_without_times_a_session_of_which_nothing_was_taken_goes_on_in_its_place() -> None:
    """It was interrupted before its first chunk, or refused: no second one is begun."""
    begun = Sent(path="/a.jsonl", is_subagent=False, records=b"", old_digests=b"")
    assert like(untimed("a"), begun, path="/a.jsonl")
    assert not like(untimed("a"), begun)


def test_sub_agents_of_one_session_are_told_apart_by_their_files() -> None:
    """They share its id, and may have the same task and the same answer; a copy is still one."""
    known = sent(PARENT, path="/s/agent-1.jsonl", is_subagent=True)
    assert not like(PARENT, known, path="/s/agent-2.jsonl", is_subagent=True)
    assert not like(PARENT, known, path="/s/agent-1.jsonl")
    assert like(PARENT, known, path="/copy/agent-1.jsonl.gz", is_subagent=True)


@pytest.mark.parametrize(
    ("others", "count"),
    [
        ([], 0),
        ([PARENT], 4),
        ([held("a", "b", "c", "x")], 3),
        ([held("a", "b", "x")], 0),
        ([held("a", "b", "c", "d", start=100)], 0),
        ([held("a", "b", "c"), held("d", "e", start=3)], 5),
        ([held("y", "z", "a", "b", "c", "x", start=-2)], 3),
        ([held("z", "a", "b", start=-1)], 0),
        ([held("z", "a", "b", "c", start=-1), held("y", "z", "d", start=1)], 4),
    ],
)
def test_history_that_was_copied_without_a_word_is_known(others: list[Steps], count: int) -> None:
    """Three steps at least of the same words and times, wherever they stood; also a copy of a copy."""
    assert copied_steps(held("a", "b", "c", "d", "e", "new"), [[sent(each)] for each in others]) == count
