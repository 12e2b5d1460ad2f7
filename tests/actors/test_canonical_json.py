"""ECMAScript's JSON text."""

import json
import random
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from actors.canonical_json import canonicalise, number_text

VECTORS = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "vectors" / "canonical_json.jsonl").read_text("utf-8").split("\n")
    if line
]
NODE = shutil.which("node")
NODE_PROGRAM = """
const lines = require('fs').readFileSync(0, 'utf8').split('\\n').filter(line => line);
for (const line of lines) console.log(JSON.stringify(JSON.stringify(JSON.parse(JSON.parse(line)))));
"""


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


def _value(source: random.Random, depth: int) -> Any:
    kind = source.randrange(9 if depth else 7)
    if kind >= 7:
        count = source.randrange(5)
        if kind == 7:
            return [_value(source, depth - 1) for _ in range(count)]
        return {_text(source): _value(source, depth - 1) for _ in range(count)}
    return (
        None,
        source.random() < 0.5,
        source.randrange(-(10 ** source.randrange(1, 30)), 10 ** source.randrange(1, 30)),
        struct.unpack("<d", source.randbytes(8))[0],
        source.random() * 10.0 ** source.randrange(-12, 25),
        _text(source),
        source.randrange(2_000_000_000) + source.randrange(1000) / 1000,
    )[kind]


def _text(source: random.Random) -> str:
    if source.random() < 0.3:
        return str(source.choice([source.randrange(12), 2**32 - 2, 2**32 - 1, 2**32, "01", "-1", "1.5", "__proto__"]))
    alphabet = 'ab"\\/\b\n\r\x00\x1f\x7f\x85é\u2028\ud83d\ude00日😀'
    return "".join(source.choices(alphabet, k=source.randrange(8)))


@pytest.mark.skipif(NODE is None, reason="Node.js is not on the PATH: nothing to compare with")
def test_node_agrees_on_random_documents() -> None:
    """Documents in many spellings (indented, escaped or raw, in any order) are written as by Node.js."""
    assert NODE is not None
    source = random.Random(20_261_120)
    texts = []
    for _ in range(600):
        text = json.dumps(
            _value(source, 5),
            indent=source.choice([None, 1, "\t"]),
            separators=source.choice([None, (",", ":"), (" ,\n", "\t:\r\n ")]),
            ensure_ascii=source.random() < 0.5,
        )
        text = text.replace("NaN", "1E-7").replace("Infinity", "1e400").encode("utf-8", "backslashreplace").decode()
        texts.append(json.dumps(text))
    run = subprocess.run([NODE, "-e", NODE_PROGRAM], input="\n".join(texts), capture_output=True, text=True, check=True)
    answers = run.stdout.split("\n")[:-1]
    assert len(answers) == len(texts)
    for text, answer in zip(texts, answers, strict=True):
        assert canonicalise(json.loads(text).encode()) == json.loads(answer).encode(), text
