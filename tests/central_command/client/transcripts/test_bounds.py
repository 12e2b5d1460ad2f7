"""The bounds on what one JSON text holds."""

import json
import random
import time

import pytest

from central_command.client.transcripts import reader
from central_command.client.transcripts.bounds import VALUES_MAX, has_values_over
from central_command.client.transcripts.reader import decode_json


def commas_and_brackets(value: object) -> int:
    """Counted in the value itself."""
    if isinstance(value, dict | list):
        inner = list(value.values()) if isinstance(value, dict) else value
        return 1 + max(0, len(inner) - 1) + sum(map(commas_and_brackets, inner))
    return 0


def any_value(source: random.Random, depth: int = 0) -> object:
    """A value with strings full of what is no value in them."""
    match source.randrange(4 if depth < 5 else 2):
        case 0:
            return "".join(source.choices('{[,"\\ü\n', k=source.randrange(8)))
        case 1:
            return source.randrange(100)
        case 2:
            return [any_value(source, depth + 1) for _ in range(source.randrange(5))]
        case _:
            return {f'{n}",[{{\\': any_value(source, depth + 1) for n in range(source.randrange(5))}


@pytest.mark.parametrize("seed", range(50))
def test_values_are_counted_and_what_stands_in_strings_is_not(seed: int) -> None:
    """Exactly at the bound."""
    value = any_value(random.Random(seed))
    text, count = json.dumps(value).encode(), commas_and_brackets(value)
    assert not has_values_over(text, count)
    assert count == 0 or has_values_over(text, count - 1)


def test_a_text_of_commas_is_one_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a tool printed may be a table of any length."""
    monkeypatch.setattr(reader, "VALUES_MAX", 10)
    assert decode_json(json.dumps({"a": "1,2," * 1_000}).encode()) == {"a": "1,2," * 1_000}
    assert decode_json(json.dumps({"a": [1] * 20}).encode()) is None


@pytest.mark.parametrize(
    "text", [b'"' + b'\\"' * 4_000_000, b'["' + b"[" * 8_000_000, b"[" * 400_000 + b'"' * 400_001 + b"," * 7_000_000]
)
def test_counting_is_linear(text: bytes) -> None:
    """Strings that do not end, escaped quotes, quotes alone: what is no JSON takes no longer."""
    started = time.process_time()
    has_values_over(text + b"," * VALUES_MAX + b'"', VALUES_MAX)
    assert time.process_time() - started < 10, "quadratic, this takes days"
