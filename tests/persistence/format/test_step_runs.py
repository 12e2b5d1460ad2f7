"""What makes two steps the same, and what a run's fingerprint depends on."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.format import json_text
from persistence.format.step_runs import StepDigests, StepTexts, fingerprints_of

DECODER = msgspec.json.Decoder(StepTexts)
STEP = {"step": 1, "type": "action", "timestamp": 1.0, "tool": "Bash", "content": "List the files"}
CALL = {**STEP, "arguments": {"command": "ls -l", "call_id": "call_1"}}


def prints(*steps: dict[str, Any] | str) -> list[int]:
    """The fingerprints of steps, given as values or as JSON texts."""
    texts = [step if isinstance(step, str) else json.dumps(step, ensure_ascii=False) for step in steps]
    return list(fingerprints_of([json_text.decode(DECODER, text.encode()) for text in texts]))


@pytest.mark.parametrize(
    "other",
    [
        {**CALL, "step": 7},
        {**CALL, "timestamp": 2e9},
        {**CALL, "token_count": 99, "original_token_count": 100, "truncated": True},
        {**CALL, "call_id": "call_2", "is_error": False, "source": "model"},
        {**CALL, "content": " List\r\n\tthe   files\n"},
        {**CALL, "content": "List\u00a0the\u2003files"},
        {**CALL, "arguments": {"call_id": "call_2", "command": "ls -l"}},
        {**CALL, "arguments": {"command": "ls -l"}},
        {**CALL, "arguments": {"tool_use_id": "toolu_1", "command": "ls\n-l"}},
        json.dumps(CALL).replace("files", "f\\u0069les"),
        json.dumps(CALL, indent=2),
    ],
)
def test_a_step_is_what_it_says(other: dict[str, Any] | str) -> None:
    """Not its number, its times, its counts, its ids, or how its text is broken into lines."""
    assert prints(other) == prints(CALL)


@pytest.mark.parametrize(
    "other",
    [
        {**CALL, "type": "observation"},
        {**CALL, "tool": "Read"},
        {**CALL, "tool": None},
        {**CALL, "content": "List the Files"},
        {**CALL, "content": None},
        {**CALL, "arguments": {"command": "ls -a"}},
        {**CALL, "arguments": {"command": "ls -l", "id": "1"}},
        {**CALL, "arguments": None},
        {**STEP, "content": "List the files", "tool": "Bashl"},
    ],
)
def test_what_it_says_makes_another_step(other: dict[str, Any]) -> None:
    assert prints(other) != prints(CALL)


def test_composed_and_decomposed_letters_are_the_same() -> None:
    assert prints({**STEP, "content": "cafe\u0301 🚀"}) == prints({**STEP, "content": "café 🚀"})
    assert prints({**CALL, "arguments": {"a": "e\u0301"}}) == prints({**CALL, "arguments": {"a": "é"}})


@given(st.lists(st.text(st.sampled_from("aé—🚀 \n\x00\x1c\x85\u1680\u2003\u2028\u202f\u205f\u3000"), max_size=9)))
def test_all_that_unicode_calls_white_space_is_left_out(texts: Sequence[str]) -> None:
    """In each text alone, however many are looked at together."""
    bare = ["".join(text.split()) for text in texts]
    said, left = [prints(*({**STEP, "content": text} for text in each)) for each in (texts, bare)]
    assert said == left
    steps = [msgspec.Raw(json.dumps(text).encode()) for text in texts]
    digests = StepDigests()
    digests.add([StepTexts(type="thought", content=step) for step in steps])
    assert [digests.distinct_chars(place, place) for place in range(len(texts))] == [len(text) for text in bare]


def test_a_digit_in_a_text_is_part_of_the_text() -> None:
    """Numbers that are left out are those of the step, not those that it speaks of."""
    assert prints({**STEP, "content": "Step 3"}) != prints({**STEP, "content": "Step 4"})


@pytest.mark.parametrize("value", ["1e400", "123456789012345678901234567890", '"\\ud83d"', "[1,{}]", '{"a":1e400}'])
def test_members_of_any_value_have_a_digest(value: str) -> None:
    """The schema does not name them, so clients may write what few readers can hold."""
    step = f'{{"type":"action","tool":{value},"arguments":{value},"content":"x"}}'
    assert prints(step) == prints(step.replace(":", ": "))
    assert prints(step) != prints('{"type":"action","content":"x"}')


@given(st.lists(st.sampled_from("abcd"), max_size=8))
def test_each_three_steps_in_a_row_have_a_fingerprint(texts: Sequence[str]) -> None:
    """Wherever they stand; of fewer than three steps in all, all have one, which is that of no longer trajectory."""
    found = prints(*({**STEP, "content": text} for text in texts))
    runs = [tuple(texts[at : at + 3]) for at in range(max(0, len(texts) - 2))] or ([tuple(texts)] if texts else [])
    assert len(found) == len(runs)
    assert [found.index(each) for each in found] == [runs.index(each) for each in runs]


def test_fingerprints_are_those_of_the_format() -> None:
    """docs/format.md, "Fingerprints": whoever changes them adds a migration of ledger.db."""
    steps = [CALL, {**STEP, "content": "café", "tool": None}, {**STEP, "type": "thought", "content": None}]
    assert prints(*steps) == [88045383471399186]
