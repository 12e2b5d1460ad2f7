"""Decoding of JSON text with lone surrogates."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.format.json_text import NestingError, decode, lone_surrogates_replaced

TEXT = msgspec.json.Decoder(str)
RAW = msgspec.json.Decoder(msgspec.Raw)
OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])

TOKENS = [
    r"\ud83d",
    r"\uD83D",
    r"\udbff",
    r"\ude00",
    r"\uDC00",
    r"\udfFF",
    r"\ud7ff",
    r"\ue000",
    r"\\",
    r"\"",
    r"\n",
    "u",
    "x",
    "🚀",
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (rb'"\ud83d"', rb'"\ufffd"'),
        (rb'"\uDE00"', rb'"\ufffd"'),
        (rb'"\ud83d\ude00"', rb'"\ud83d\ude00"'),
        (rb'"\uD83D\uDE00"', rb'"\uD83D\uDE00"'),
        (rb'"\ud83d\ud83d\ude00"', rb'"\ufffd\ud83d\ude00"'),
        (rb'"\ud83d\ude00\ude00"', rb'"\ud83d\ude00\ufffd"'),
        (rb'"\\ud83d"', rb'"\\ud83d"'),
        (rb'"\\\ud83d"', rb'"\\\ufffd"'),
        (rb'"\ud83d\\ude00"', rb'"\ufffd\\ude00"'),
        (rb'"\"\udc00"', rb'"\"\ufffd"'),
        (rb'"\ud7ff\ue000"', rb'"\ud7ff\ue000"'),
    ],
)
def test_only_lone_surrogate_escapes_are_replaced(text: bytes, expected: bytes) -> None:
    """Pairs, escaped backslashes and neighbouring code points stay as they are."""
    assert lone_surrogates_replaced(text) == expected


@given(st.lists(st.sampled_from(TOKENS)))
def test_decoding_agrees_with_a_decoder_that_keeps_lone_surrogates(tokens: list[str]) -> None:
    """Any mixture of escapes decodes to what Python's json makes of it, with U+FFFD for what is lone."""
    text = f'"{"".join(tokens)}"'
    expected = "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in json.loads(text))
    assert decode(TEXT, text.encode()) == expected
    assert len(lone_surrogates_replaced(text.encode())) == len(text.encode())


@given(st.binary(max_size=60).map(lambda noise: noise.replace(b"0", rb"\ud8").replace(b"1", b"\\")))
def test_any_bytes_keep_their_length(text: bytes) -> None:
    """Replacing needs no well-formed text, and never moves an offset."""
    assert len(lone_surrogates_replaced(text)) == len(text)


def test_text_without_lone_surrogates_is_not_copied() -> None:
    """The usual text costs no copy."""
    for text in (b'{"a":1}', rb'"\ud83d\ude00"', rb'"\\ud83d"'):
        assert lone_surrogates_replaced(text) is text


def test_raw_members_keep_their_lengths() -> None:
    """Lengths of raw values are those in the original text."""
    values = decode(OBJECT, rb'{"a":"x\ud83d","b":[1, 2]}')
    assert {name: len(bytes(value)) for name, value in values.items()} == {"a": 9, "b": 6}


def test_long_runs_are_handled_in_one_pass() -> None:
    """Text made to be slow (runs of backslashes, of pairs, of halves) is still decoded, in linear time."""
    assert decode(TEXT, b'"' + rb"\\" * 200_000 + rb'\ud800"') == "\\" * 200_000 + "\ufffd"
    assert decode(TEXT, b'"' + rb"\ud83d\ude00" * 50_000 + rb'\ud83d"') == "\U0001f600" * 50_000 + "\ufffd"
    assert decode(TEXT, b'"' + rb"\ude00" * 50_000 + b'"') == "\ufffd" * 50_000


@pytest.mark.parametrize("text", [b"", b'{"a":', b"{'a':1}", b'"\xff"', rb'"\ud83d', rb'"\ud83"', rb'["\ud83d",]'])
def test_malformed_text_is_a_decode_error(text: bytes) -> None:
    """What is not JSON is refused with msgspec's own error, invalid UTF-8 included."""
    with pytest.raises(msgspec.DecodeError):
        decode(msgspec.json.Decoder(list[str] | str), text)


def test_a_wrong_type_is_a_validation_error() -> None:
    """A text that does not fit the type stays distinguishable from one that is not JSON."""
    with pytest.raises(msgspec.ValidationError):
        decode(TEXT, rb'["\ud83d"]')


def test_endless_nesting_is_a_decode_error() -> None:
    """Nesting that would exhaust the stack is an error of its own."""
    with pytest.raises(NestingError, match="nested too deeply"):
        decode(RAW, b"[" * 100_000 + b"]" * 100_000)
