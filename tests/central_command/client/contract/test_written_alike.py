"""What msgspec writes is what the standard library writes, wherever the one is asked in place of the other."""

import hashlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from central_command.client.contract.chunking import as_written, encode_json, encode_step
from central_command.client.contract.steps import (
    ARGUMENTS_CHARS_MAX,
    ARGUMENTS_NESTING_MAX,
    Step,
    fit_arguments,
    json_text,
)
from central_command.client.contract.usage import ReportedUsage
from central_command.client.uploading.recognition import digest

TEXTS = st.text(st.characters(exclude_categories=()), max_size=12) | st.sampled_from(
    ["", "é", '"\\/\b\f\n\r\t\x00\x1f', "\x7f\x80\x85", "\u2028\u2029", "\ufeff", "\ud83d", "\udc00\ud800", "😀"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.integers(-(2**64), 2**65) | TEXTS
FLOATS = st.floats() | st.sampled_from([1e16, 1e15, 1e-4, 1e-5, 0.1, -0.0, 1e22, 5e-324])
VALUES = st.recursive(
    SCALARS | FLOATS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
ARGUMENTS = st.dictionaries(TEXTS, SCALARS, max_size=5) | st.dictionaries(TEXTS, VALUES, max_size=4)


def action(arguments: dict[str, Any], *, at: float = 1.5) -> Step:
    return Step(step=1, type="action", timestamp=at, tool="Bash", arguments=arguments, content="x", token_count=1)


@given(ARGUMENTS)
@settings(max_examples=1_000, deadline=None)
def test_arguments_count_as_their_json_text_does(arguments: dict[str, Any]) -> None:
    fitted = fit_arguments(arguments)
    assert fitted.members is arguments
    assert not fitted.is_cut
    assert fitted.whole_chars == len(json.dumps(arguments, ensure_ascii=False, separators=(",", ":")))


@pytest.mark.parametrize("brackets", ["", "[{" * 40])
@pytest.mark.parametrize("levels", [*range(ARGUMENTS_NESTING_MAX - 3, ARGUMENTS_NESTING_MAX + 3), 100_000])
def test_arguments_are_cut_that_are_nested_too_deeply_and_no_others(levels: int, brackets: str) -> None:
    value: Any = brackets
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    arguments = {"a": value}
    assert fit_arguments(arguments).is_cut == (levels + 1 > ARGUMENTS_NESTING_MAX)


@pytest.mark.parametrize("character", ["x", "é", "\n", "\x01"])
@pytest.mark.parametrize("over", [0, 1])
def test_arguments_are_cut_by_the_characters_of_their_text(character: str, over: int) -> None:
    whole = len(json_text({"a": ""}))
    written = len(json_text(character)) - 2
    text = character * ((ARGUMENTS_CHARS_MAX - whole) // written)
    arguments = {"a": text + "x" * (ARGUMENTS_CHARS_MAX - whole - len(text) * written + over)}
    assert fit_arguments(arguments).is_cut == bool(over)


@given(ARGUMENTS, FLOATS | st.floats(1e9, 4e9) | st.integers(0, 2**40).map(float))
@example({"a": "é\x7f"}, 1e-5)
@example({"a": "\ud800"}, 1e16)
@settings(max_examples=1_500, deadline=None)
def test_a_step_with_arguments_is_written_as_by_the_standard_library(arguments: dict[str, Any], at: float) -> None:
    step = msgspec.structs.replace(
        action(arguments), usage=ReportedUsage(input_tokens=3), call_id="c\ud800"[: len(arguments)]
    )
    try:
        sent = msgspec.structs.replace(step, timestamp=as_written(at))
        plain = encode_json(msgspec.to_builtins(sent))
    except (ValueError, OverflowError) as error:  # no number: neither writes it
        with pytest.raises(type(error)):
            encode_step(msgspec.structs.replace(step, timestamp=at))
    else:
        assert encode_step(msgspec.structs.replace(step, timestamp=at)) == plain


@given(ARGUMENTS)
@example({"b": "é", "a": "x"})
@example({"b\x7f": 1, "B": 2, "a": 3, "": 4, "aa": 5})
@settings(max_examples=1_000, deadline=None)
def test_an_action_is_recognised_by_its_arguments_as_the_standard_library_sorts_them(arguments: dict[str, Any]) -> None:
    text = "Bash\0" + json.dumps(arguments, sort_keys=True, separators=(",", ":"))
    assert digest(action(arguments)) == hashlib.blake2b(text.encode(), digest_size=8).digest()
