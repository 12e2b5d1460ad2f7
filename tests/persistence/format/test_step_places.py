"""Each step's place leads to its JSON text, whatever it holds, and its call and result know each other."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persistence.format.step_places import BLOCK_STEPS, LARGE_BYTES, StepPlace, blocks, log_place, step_places


def line_of(steps: list[Any], **members: Any) -> bytes:
    return msgspec.json.encode({"metadata": {"x": '"trajectory_log":[1]'}, **members, "trajectory_log": steps, "n": 1})


def places_of(line: bytes) -> list[StepPlace]:
    return list(step_places(*log_place(line)))


def action(call_id: str, **members: Any) -> dict[str, Any]:
    return {"type": "action", "tool": "Bash", "call_id": call_id, **members}


def result(call_id: str, **members: Any) -> dict[str, Any]:
    return {"type": "observation", "call_id": call_id, **members}


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('abc"\\:{}[],', max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.dictionaries(st.sampled_from(["type", "tool", "content", "call_id", "x"]), values), max_size=6), values
)
def test_every_place_leads_to_its_step(steps: list[dict[str, Any]], other: object) -> None:
    line = line_of(steps, other=other, unknown={"trajectory_log": [other]})
    log, _ = log_place(line)
    assert json.loads(line[log.start : log.end]) == steps
    places = places_of(line)
    assert [json.loads(line[each.offset : each.offset + each.length]) for each in places] == steps
    assert [each.place for each in places] == list(range(1, len(steps) + 1))


def test_a_result_and_its_call_are_partners() -> None:
    steps = [
        action("a"),
        action("b"),
        result("b"),
        {"type": "thought"},
        result("a"),
        result("c"),
        result("a"),
        action(""),
    ]
    assert [each.partner for each in places_of(line_of(steps))] == [5, 3, 2, 0, 1, 0, 0, 0]


def test_calls_of_the_same_id_are_answered_in_their_order() -> None:
    steps = [action("a"), action("a"), result("a"), result("a")]
    assert [each.partner for each in places_of(line_of(steps))] == [3, 4, 1, 2]


def test_turns_begin_where_somebody_asks() -> None:
    prompt = {"type": "instruction", "source": "user"}
    attached = {"type": "instruction", "source": "attachment"}
    steps = [{"type": "thought"}, prompt, prompt, {"type": "thought"}, attached, {"type": "thought"}, prompt]
    places = places_of(line_of(steps))
    assert [each.turn for each in places] == [0, 1, 1, 1, 1, 1, 2]
    assert [each.place for each in places if each.begins_turn] == [2, 7]


@pytest.mark.parametrize(
    ("step", "has_failed"),
    [({"type": "error"}, True), ({"type": "observation", "is_error": True}, True), ({"type": "observation"}, False)],
)
def test_what_failed_is_known(step: dict[str, Any], has_failed: bool) -> None:  # noqa: FBT001 (a case)
    assert [each.has_failed for each in places_of(line_of([step]))] == [has_failed]


def test_members_of_other_types_than_the_contracts_count_as_missing() -> None:
    step = {"type": "action", "tool": 7, "call_id": ["a"], "timestamp": "now", "is_error": "yes"}
    (found,) = places_of(line_of([step]))
    assert (found.type, found.tool, found.at, found.partner, found.has_failed) == ("action", "", 0.0, 0, False)


def test_the_members_of_a_large_step_have_places() -> None:
    step = {"step": 1, "type": "observation", "content": 'é"\\' * LARGE_BYTES, "a:b": [1], "tool": "Bash"}
    line = line_of([{"type": "thought"}, step])
    small, large = places_of(line)
    assert small.members == ()
    begin = large.offset
    found = {each.name: line[begin + each.offset : begin + each.offset + each.length] for each in large.members}
    assert {name: json.loads(text) for name, text in found.items()} == step


def test_blocks_hold_all_places_and_count_them() -> None:
    steps = [{"type": "thought"}, {"type": "error"}] * BLOCK_STEPS
    places = places_of(line_of(steps))
    found = list(blocks(places))
    assert [(each.first, each.steps, each.failed) for each in found] == [
        (1, BLOCK_STEPS, BLOCK_STEPS // 2),
        (BLOCK_STEPS + 1, BLOCK_STEPS, BLOCK_STEPS // 2),
    ]
    assert found[0].type_counts() == {"error": BLOCK_STEPS // 2, "thought": BLOCK_STEPS // 2}
    assert [place for each in found for place in each.step_places()] == places


@pytest.mark.parametrize("line", [b"{}", b"[]", b"", b'{ "trajectory_log": [] }', b'{"trajectory_log":1}'])
def test_what_is_no_such_line_has_no_places(line: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        places_of(line)
