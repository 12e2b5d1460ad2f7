"""ECMAScript's JSON text."""

import json
import random
import struct
from pathlib import Path

import pytest

from actors.envelopes.canonical_json import canonicalise, number_text
from tests.actors.envelopes.canonical_documents import Documents
from tests.actors.envelopes.node_json import needs_node, stringified

VECTORS = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "vectors" / "canonical_json.jsonl").read_text("utf-8").split("\n")
    if line
]


def test_vectors_of_node() -> None:
    """All 400 texts come out as Node.js wrote them."""
    assert len(VECTORS) == 400
    for row in VECTORS:
        assert canonicalise(row["body"].encode(), without="attestation") == row["canonical"].encode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-0", "0"),
        ("-0.0", "0"),
        ("1.0", "1"),
        ("1E+2", "100"),
        ("1e400", "null"),
        ("-1e400", "null"),
        ("9007199254740993", "9007199254740992"),
        ("123456789012345678901", "123456789012345680000"),
        ("999999999999999999999", "1e+21"),
        ("1e21", "1e+21"),
        ("1.5e300", "1.5e+300"),
        ("0.0001", "0.0001"),
        ("0.00001", "0.00001"),
        ("-0.000001234", "-0.000001234"),
        ("0.0000001", "1e-7"),
        ("1.25e-9", "1.25e-9"),
        ("5e-324", "5e-324"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ("1e16", "10000000000000000"),
        ("1.2e20", "120000000000000000000"),
        ("1" * 5_000, "null"),
        ("0." + "1" * 5_000, "0.1111111111111111"),
    ],
)
def test_numbers(text: str, expected: str) -> None:
    """Numbers are doubles in their shortest form, with ECMAScript's exponents."""
    assert canonicalise(text.encode()) == expected.encode()


def test_number_text_reads_back() -> None:
    """Any finite double is written so that it reads back as itself."""
    source = random.Random(1)
    for _ in range(5_000):
        (number,) = struct.unpack("<d", source.randbytes(8))
        if number == number and abs(number) != float("inf"):  # noqa: PLR0124 - NaN is the value that differs from itself
            assert float(number_text(number)) == number


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r'"\ud83d\ude00 \uD83D \udc00"', '"😀 \\ud83d \\udc00"'),
        (r'"\u0000\u001F\u007f\b\t\n\f\r\u000b\/\"\\"', '"\\u0000\\u001f\x7f\\b\\t\\n\\f\\r\\u000b/\\"\\\\"'),
        (r'"\u2028\u00E9"', '"\u2028é"'),
        (
            '{"b":1,"10":2,"9":3,"01":4,"a":5,"4294967294":6,"4294967295":7,"-1":8}',
            '{"9":3,"10":2,"4294967294":6,"b":1,"01":4,"a":5,"4294967295":7,"-1":8}',
        ),
        ('{"b":1,"a":2,"b":3,"\\u0061":4}', '{"b":3,"a":4}'),
        ('{"__proto__":{"x":1},"constructor":2}', '{"__proto__":{"x":1},"constructor":2}'),
        ('{"²":1,"٣":2,"":3}', '{"²":1,"٣":2,"":3}'),
        (" [ ] ", "[]"),
        ('{"a" : { } ,"b":[true,false,null]}', '{"a":{},"b":[true,false,null]}'),
    ],
)
def test_text_and_order(text: str, expected: str) -> None:
    """Escapes and the order of members are ECMAScript's."""
    assert canonicalise(text.encode()) == expected.encode()


def test_the_named_member_goes_at_the_top_only() -> None:
    """Removal is by the resolved name, and leaves members of that name further down alone."""
    text = rb'{"a":{"x":1},"\u0078":2,"b":3}'
    assert canonicalise(text, without="x") == b'{"a":{"x":1},"b":3}'
    assert canonicalise(b'["x"]', without="x") == b'["x"]'


@pytest.mark.parametrize(
    "text", [b"", b"{", b"NaN", b"[-Infinity]", b'"\xff"', b"\xef\xbb\xbf1", b"1 2", b'"\n"', b"[1,]"]
)
def test_what_is_not_json_is_a_value_error(text: bytes) -> None:
    """The only error is ValueError."""
    with pytest.raises(ValueError):  # noqa: PT011 - of whatever text
        canonicalise(text)


def test_nesting() -> None:
    """200 levels are written; where the stack ends, the error is still a ValueError."""
    text = b'[{"a":' * 100 + b"1" + b"}]" * 100
    assert canonicalise(text) == text
    with pytest.raises(ValueError, match="nested too deeply"):
        canonicalise(b"[" * 100_000 + b"]" * 100_000)


@needs_node
def test_node_agrees_on_twenty_thousand_random_documents() -> None:
    """Whatever the spelling of names, texts, numbers and white space, the text is the one that Node.js writes."""
    documents = Documents(seed=20_261_120)
    texts = [documents.body() if n % 2 else documents.any_text() for n in range(20_000)]
    for text, expected in zip(texts, stringified(texts), strict=True):
        assert canonicalise(text, without="attestation") == expected, text
