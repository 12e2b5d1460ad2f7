"""A line that is read once gives what it gives when each part reads it by itself, whatever it holds."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persistence.format import indexed_line as reading
from persistence.format.indexed_line import indexed_line, read_one_by_one
from persistence.format.searched_steps import PLAIN_BYTES_MAX
from persistence.format.step_places import LARGE_BYTES

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
odd = st.none() | st.booleans() | st.integers(-3, 3) | texts | st.lists(texts, max_size=2)
ids = st.sampled_from(["a", "b", "", 'q"', "ü"])
as_they_should_be = {
    "type": st.sampled_from(["instruction", "action", "edit", "observation", "error", "thought"]),
    "content": texts | st.none(),
    "tool": st.sampled_from(["Bash", "Read", "", "x" * 300]) | st.none(),
    "arguments": st.dictionaries(texts, odd, max_size=3) | odd,
    "timestamp": st.integers(0, 2_000_000_000_000) | st.floats(0, 2e9),
    "call_id": ids,
    "source": st.sampled_from(["program", "user"]) | st.none(),
    "is_error": st.booleans() | st.none(),
    "unknown": odd,
}
plain_steps = st.fixed_dictionaries({}, optional=as_they_should_be)
odd_steps = st.dictionaries(st.sampled_from([*as_they_should_be]), odd, max_size=4) | odd
members = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.just({"domain_tags": {"primary": {"domain": "web"}}, "continues_session": "sess_1"}) | odd,
        "outcome": st.just({"status": "done"}) | odd,
        "ended_at": texts | odd,
        "score": st.just({"totalPoints": 4.5}) | odd,
        "scrubbed": st.just({"by_category": {"EMAIL": 2, "KEY": 0}}) | odd,
    },
)


@settings(max_examples=300, deadline=None)
@given(st.lists(plain_steps | odd_steps, max_size=6) | odd, members)
def test_both_ways_to_read_a_line_give_the_same(steps: Any, others: dict[str, Any]) -> None:
    line = msgspec.json.encode({**others, "trajectory_log": steps, "n": 1})
    assert_same(line)


@settings(max_examples=100, deadline=None)
@given(st.lists(plain_steps, max_size=6), members)
def test_lines_with_white_space_give_the_same(steps: list[dict[str, Any]], others: dict[str, Any]) -> None:
    line = msgspec.json.encode({**others, "trajectory_log": steps})
    assert_same(msgspec.json.format(line, indent=1))
    assert_same(line.replace(b"},{", b"} ,{"))


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"[]",
        b'{"trajectory_log":[{"content":"half \\ud800 of a pair"},{"type":"error"}]}',
        b'{"trajectory_log":[{"content":"no \xff UTF-8"}]}',
        b'{"trajectory_log":[{"source":"no \xff UTF-8","content":"said"}]}',
        b'{"trajectory_log":[{"call_id":"\\u0061","type":"action","tool":"x"},{"call_id":"a","type":"observation"}]}',
        b'{"trajectory_log":[{"arguments":[1e400,7]}]}',
        b'{"trajectory_log":[{"content":"one"}],"trajectory_log":[{"content":"two"}]}',
        b'{"scrubbed":{"by_category":{"EMAIL":1}},"trajectory_log":[{"call_id":null,"type":"action","tool":"x"}]}',
        b'{"trajectory_log":[{"content":"%b","tool":"x"}]}' % (b"word " * (LARGE_BYTES // 5)),
        b'{"trajectory_log":[{"content":"%b","tool":"x"}]}' % (b"word " * (PLAIN_BYTES_MAX // 5)),
        b'{"trajectory_log":%b%b}' % (b"[" * 2_000, b"]" * 2_000),
    ],
)
def test_odd_lines_give_the_same(line: bytes) -> None:
    assert_same(line)


def test_what_curation_writes_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "read_one_by_one", None)
    steps = [
        {"step": 1, "timestamp": 1, "type": "instruction", "content": "do it"},
        {"step": 2, "timestamp": 2.5, "type": "action", "tool": "Bash", "arguments": {"c": "ls"}, "call_id": "a"},
        {"step": 3, "timestamp": 3, "type": "observation", "content": "no", "call_id": "a", "is_error": True},
    ]
    found = indexed_line(msgspec.json.encode({"metadata": {}, "trajectory_log": steps, "ended_at": None}))
    assert [(step.place, step.text, step.tool, step.arguments) for step in found.steps] == [
        (1, "do it", "", ""),
        (2, "", "Bash", "ls"),
        (3, "no", "", ""),
    ]
    assert [place.partner for place in found.blocks[0].step_places()] == [0, 3, 2]
    assert [(each.tool, each.failures) for each in found.figures.tools] == [("Bash", 1)]


def assert_same(line: bytes) -> None:
    try:
        expected = read_one_by_one(line)
    except msgspec.DecodeError:
        with pytest.raises(msgspec.DecodeError):
            indexed_line(line)
    else:
        assert indexed_line(line) == expected
