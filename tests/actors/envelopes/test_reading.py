"""Strict reading of bodies."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.envelopes import reading
from actors.envelopes.reading import MEMBERS_STORED_MAX, SEQUENCE_MAX, Attestation, Envelope, read_envelope
from actors.envelopes.refusals import Refusal, RefusalCode
from actors.envelopes.settings import SchemaSettings

HMAC = "ab" * 32
BODIES = [
    json.loads(line)["body"].encode()
    for line in (Path(__file__).parents[2] / "vectors" / "attestation.jsonl").read_text("utf-8").split("\n")
    if line
]


def read(body: bytes | str, *, nesting_max: int = 64) -> Envelope:
    """Read a body that must be an envelope."""
    envelope = read_envelope(body.encode() if isinstance(body, str) else body, nesting_max=nesting_max)
    assert isinstance(envelope, Envelope), envelope
    return envelope


def refused(body: bytes | str, *, nesting_max: int = 64) -> Refusal:
    """Read a body that must be refused."""
    refusal = read_envelope(body.encode() if isinstance(body, str) else body, nesting_max=nesting_max)
    assert isinstance(refusal, Refusal), refusal
    return refusal


def signed(body: bytes | str) -> bytes:
    """The signed text of a body."""
    return b"".join(read(body).signed_parts())


def without(body: bytes, name: str) -> dict[str, Any]:
    """The object that a body is, without one member."""
    return {key: value for key, value in json.loads(body).items() if key != name}


@pytest.mark.parametrize("body", BODIES)
def test_bodies_of_real_clients(body: bytes) -> None:
    """A real body is read; what is signed and what is stored are its own bytes without one member."""
    envelope = read(body)
    fields = json.loads(body)
    assert envelope.session_id == fields["session_id"]
    assert envelope.type == fields.get("type")
    assert envelope.attestation == Attestation(**fields["attestation"])
    assert envelope.member_names() == tuple(fields)
    start, end = body.index(b'"attestation":'), body.index(b"},", body.index(b'"attestation":')) + 2
    assert b"".join(envelope.signed_parts()) == body[:start] + body[end:]
    assert b"{" + envelope.stored_members() + b"}" == b"{" + body[body.index(b'"session_id"') :]
    assert all(part.obj is body for part in envelope.signed_parts())


ATTESTATION = '"attestation":{"session_hmac":"x","sequence":1}'


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{%,"session_id":"s","b":[1,2]}', '{"session_id":"s","b":[1,2]}'),
        ('{"session_id":"s",%,"b":[1,2]}', '{"session_id":"s","b":[1,2]}'),
        ('{"session_id":"s","b":[1,2],%}', '{"session_id":"s","b":[1,2]}'),
        ('{"session_id":"s","b":[1,2]}', '{"session_id":"s","b":[1,2]}'),
        ('{\n  %,\n  "session_id": "s"\n}', '{\n  "session_id": "s"\n}'),
        ('{\n  "session_id": "s",\n  %,\n  "b": 1\n}', '{\n  "session_id": "s",\n  "b": 1\n}'),
        ('{\n  "session_id": "s",\n  %\n}\n', '{\n  "session_id": "s"\n}\n'),
        ('{"session_id":"s" , % ,\t"b":1}', '{"session_id":"s" , "b":1}'),
        (
            '{"session_id":"s","b":"%"}'.replace("%", r"\"attestation\":{}"),
            r'{"session_id":"s","b":"\"attestation\":{}"}',
        ),
        ('{"session_id":"s","b":{%}}', '{"session_id":"s","b":{%}}'),
    ],
)
def test_only_the_top_level_attestation_is_taken_out(body: str, expected: str) -> None:
    """The attestation goes with one comma, wherever it stands; all else stays, also a deeper member of that name."""
    assert signed(body.replace("%", ATTESTATION)) == expected.replace("%", ATTESTATION).encode()


def test_names_may_be_spelt_with_escapes() -> None:
    """A member is known by its resolved name."""
    body = r'{"s\u0065ssion_id":"s","\u0061ttestation":{"session_hmac":"x","sequence":1},"envelope\u005fid":"e","b":1}'
    envelope = read(body)
    assert envelope.session_id == "s"
    assert envelope.attestation is not None
    assert b"".join(envelope.signed_parts()) == rb'{"s\u0065ssion_id":"s","envelope\u005fid":"e","b":1}'
    assert envelope.stored_members().endswith(b'"sequence":1},"b":1')


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9)
)
VALUES = st.recursive(SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=3), v, max_size=3))
NAMES = st.sampled_from(["attestation", "envelope_id", "type", "é", "日", 'q"', "\\", "", "\n"]) | st.text(max_size=3)
FORMATS: list[dict[str, Any]] = [
    {"separators": (",", ":")},
    {"separators": (",", ":"), "ensure_ascii": False},
    {"indent": 1},
    {"separators": (" \n,\t", "\r: ")},
]


@given(st.dictionaries(NAMES, VALUES, max_size=5), st.integers(0, 5), st.sampled_from(FORMATS))
def test_members_are_found_in_any_format(members: dict[str, Any], place: int, style: dict[str, Any]) -> None:
    """Whatever the names, values and white space: each member's text is found, and taking one out leaves the others."""
    items = [item for item in members.items() if item[0] != "session_id"]
    items.insert(place, ("session_id", "s"))
    body = json.dumps(dict(items), **style).encode()
    envelope = read(body)
    assert envelope.member_names() == tuple(name for name, _ in items)
    for name, value in items:
        text = envelope.member(name)
        assert text is not None
        assert json.loads(text) == value
        assert text == text.strip()
    assert json.loads(b"".join(envelope.signed_parts())) == without(body, "attestation")
    stored = envelope.stored_members()
    assert json.loads(b"{" + stored + b"}") == without(body, "envelope_id")
    assert not {b"\n", b"\r"} & {stored[i : i + 1] for i in range(len(stored))}


def test_an_unknown_member_has_no_text() -> None:
    """Asking for a member that is not there gives None."""
    assert read('{"session_id":"s"}').member("type") is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"envelope_id":"e","session_id":"s"}', '"session_id":"s"'),
        ('{"session_id":"s","envelope_id":"e"}', '"session_id":"s"'),
        ('{"session_id":"s","envelope_id":{"a":[1]},"b":1}', '"session_id":"s","b":1'),
        ('{"session_id":"s","b":{"envelope_id":1}}', '"session_id":"s","b":{"envelope_id":1}'),
        (' {\r\n "session_id" :\n"s" ,\n"b":"\\n" }\n', '"session_id" : "s" , "b":"\\n"'),
        ('{"session_id":"s","b":1.0,"c":"\\ud83d\u2028é\\/"}', '"session_id":"s","b":1.0,"c":"\\ud83d\u2028é\\/"'),
    ],
)
def test_stored_members(body: str, expected: str) -> None:
    """What is stored is on one line, and but for the client's envelope id byte for byte what was received."""
    assert read(body).stored_members() == expected.encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"session_id":"s"',
        b'{"session_id":"s"}}',
        b'{"session_id":"s",}',
        b"{'session_id':'s'}",
        b'{"session_id":"s","x":01}',
        b'{"session_id":"s","x":{"y":[1,]}}',
        b'{"session_id":"s","x":"\x01"}',
        b'{"session_id":"s","x":"\n"}',
        b'{"session_id":"s","x":"\\x41"}',
        b'{"session_id":"s","x":"\\u12"}',
        b'{"session_id":"s","x":nul}',
        b'{"session_id":"s"}\x00',
        b'{"session_id":"s","\\ud83d":"\\x"}',
        b'["session_id"',
        b"[" * 30 + b"]" * 29,
    ],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    """Every part must be well-formed JSON in UTF-8, also members that nobody decodes."""
    assert refused(body).code is RefusalCode.INVALID_JSON


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'\xef\xbb\xbf{"session_id":"s"}', RefusalCode.BYTE_ORDER_MARK),
        (b'{"session_id":"s","x":"\xff"}', RefusalCode.INVALID_UTF8),
        (b'{"session_id":"s","x":"\xed\xa0\x80"}', RefusalCode.INVALID_UTF8),
        (b'{"session_id":"s","x":"\xc0\xaf"}', RefusalCode.INVALID_UTF8),
        ('{"session_id":"s"}'.encode("utf-16"), RefusalCode.INVALID_UTF8),
        (b'{"session_id":"s","x":NaN}', RefusalCode.NOT_A_NUMBER),
        (b'{"session_id":"s","x":[-Infinity]}', RefusalCode.NOT_A_NUMBER),
        (b'{"session_id":"s","x":{"y":Infinity}}', RefusalCode.NOT_A_NUMBER),
        (b'{"session_id":"NaN","x":nan}', RefusalCode.INVALID_JSON),
    ],
)
def test_what_json_does_not_have_is_named(body: bytes, code: RefusalCode) -> None:
    """A byte order mark, another encoding and numbers that are none have codes of their own."""
    assert refused(body).code is code


@pytest.mark.parametrize("body", ["[]", "null", "1", '"session_id"', "true", ' [{"session_id":"s"}] ', r'"\ud83d"'])
def test_what_is_not_an_object_is_refused(body: str) -> None:
    """Other JSON than an object is named as such."""
    assert refused(body) == Refusal(RefusalCode.NOT_AN_OBJECT, "The body must be a JSON object.")


@pytest.mark.parametrize(
    "session_id", ["", '"session_id":null', '"session_id":""', '"session_id":["s"]', '"session_id":7']
)
def test_a_session_id_is_required(session_id: str) -> None:
    """A session id that is missing, empty or not text is refused by a sentence that names it."""
    refusal = refused("{" + session_id + "}")
    assert refusal.code is RefusalCode.MISSING_SESSION_ID
    fault = "must be text that is not empty" if session_id else "is missing"
    assert refusal.reason == f"The envelope's session_id {fault}."
    assert "session_id" in refusal.reason


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ('{"session_id":"s","session_id":"s"}', "session_id"),
        (r'{"session_id":"s","session\u005fid":"t"}', "session_id"),
        ('{"a":1,"session_id":"s","a":1}', '"a"'),
        ('{"session_id":"s","attestation":{},"attestation":{}}', "attestation"),
        (r'{"session_id":"s","\ud800":1,"\uD800":2}', r"\\ud800"),
        ('{"session_id":"s","%":1,"%":2}'.replace("%", "n" * 5_000), "nnn"),
    ],
)
def test_a_member_that_occurs_twice_is_refused(body: str, name: str) -> None:
    """No two parsers need agree on which of two members counts: neither does, however they are spelt."""
    refusal = refused(body)
    assert refusal.code is RefusalCode.DUPLICATE_MEMBER
    assert name.replace("\\\\", "\\") in refusal.reason
    assert len(refusal.reason.encode()) < 500


def test_what_only_looks_like_a_duplicate_is_read() -> None:
    """Different lone surrogates are different names, and members further down are not looked at."""
    assert len(read(r'{"session_id":"s","\ud800":1,"\ud801":2}').members) == 3
    assert len(read('{"session_id":"s","a":{"session_id":1,"session_id":2}}').members) == 2


def with_members(count: int, name: str) -> str:
    """An envelope with so many top-level members, a `%` in whose name stands for a number."""
    members = [f'"{name.replace("%", f"{number:04x}")}":0' for number in range(0xD800, 0xD800 + count - 1)]
    return '{"session_id":"s",' + ",".join(members) + "}"


@pytest.mark.parametrize("name", ["m%", "\\u%", "\\u%x"])
def test_members_are_bounded_exactly(name: str) -> None:
    """The last allowed member is read, one more is refused; names that differ in lone surrogates alone are many."""
    assert isinstance(read_envelope(with_members(64, name).encode(), nesting_max=64, members_max=64), Envelope)
    refusal = read_envelope(with_members(65, name).encode(), nesting_max=64, members_max=64)
    assert isinstance(refusal, Refusal)
    assert refusal.code is RefusalCode.TOO_MANY_MEMBERS
    assert "64" in refusal.reason


def test_what_was_taken_can_be_read_again_from_its_line() -> None:
    """A journal line has the server's own members besides as many as any setting allows."""
    allowed = msgspec.inspect.type_info(SchemaSettings)
    assert isinstance(allowed, msgspec.inspect.StructType)
    (members_max,) = (field.type for field in allowed.fields if field.name == "members_max")
    assert isinstance(members_max, msgspec.inspect.IntType)
    assert members_max.le is not None
    assert members_max.le + 3 == MEMBERS_STORED_MAX
    assert len(read(with_members(MEMBERS_STORED_MAX, "m%")).members) == MEMBERS_STORED_MAX


def nested(depth: int) -> str:
    """An envelope whose deepest value stands `depth` levels deep."""
    return '{"session_id":"s","x":' + "[" * (depth - 1) + "]" * (depth - 1) + "}"


@pytest.mark.parametrize("nesting_max", [8, 9, 10, 64, 200])
def test_nesting_is_bounded_exactly(nesting_max: int) -> None:
    """The last allowed level is read, one more is refused."""
    read(nested(nesting_max), nesting_max=nesting_max)
    refusal = refused(nested(nesting_max + 1), nesting_max=nesting_max)
    assert refusal.code is RefusalCode.NESTING_TOO_DEEP
    assert str(nesting_max) in refusal.reason


def test_endless_nesting_is_refused() -> None:
    """Nesting that would exhaust the stack is refused like any other that is too deep."""
    assert refused(nested(1_000_000)).code is RefusalCode.NESTING_TOO_DEEP


def test_brackets_in_text_do_not_nest() -> None:
    """Brackets in strings count for nothing, whatever escapes stand before the closing quote."""
    text = json.dumps(['[{"\\' * 100, "\\", '"' * 99 + "[" * 99, "\\" * 98, "[" * 99])
    assert read('{"session_id":"s","x":' + text + "}", nesting_max=8).session_id == "s"


def naive_depth(value: Any) -> int:
    """How deep objects and arrays stand in each other."""
    if isinstance(value, dict):
        return 1 + max(map(naive_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(naive_depth, value), default=0)
    return 0


DEEP = st.recursive(
    st.sampled_from(["[", '"}', "\\", '\\"{']),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.sampled_from(["a", "[", '"']), v, max_size=2),
    max_leaves=40,
)


@given(DEEP, st.integers(0, 20))
def test_nesting_is_what_a_walk_would_count(value: Any, wrapped: int) -> None:
    """In any document the deepest level decides, and it is found exactly."""
    for _ in range(wrapped):
        value = [value, [[]]]
    body = json.dumps({"session_id": "s", "x": value})
    depth = naive_depth(json.loads(body))
    read(body, nesting_max=depth)
    if depth > 1:
        assert refused(body, nesting_max=depth - 1).code is RefusalCode.NESTING_TOO_DEEP


@pytest.mark.parametrize(
    "attestation",
    [
        "null",
        "[]",
        '"x"',
        "{}",
        '{"session_hmac":"x"}',
        '{"sequence":1}',
        '{"session_hmac":null,"sequence":1}',
        '{"session_hmac":7,"sequence":1}',
        '{"session_hmac":"x","sequence":null}',
        '{"session_hmac":"x","sequence":"1"}',
        '{"session_hmac":"x","sequence":1.0}',
        '{"session_hmac":"x","sequence":1e0}',
        '{"session_hmac":"x","sequence":-1}',
        '{"session_hmac":"x","sequence":4294967296}',
        '{"session_hmac":"x","sequence":' + "9" * 5_000 + "}",
        '{"session_hmac":"x","sequence":true}',
    ],
)
def test_an_attestation_of_the_wrong_shape_is_none(attestation: str) -> None:
    """The envelope is read, and has no attestation."""
    assert read('{"session_id":"s","attestation":' + attestation + "}").attestation is None


@pytest.mark.parametrize(
    ("attestation", "expected"),
    [
        ('{"session_hmac":"x","sequence":0}', Attestation("x", 0, None)),
        ('{ "sequence" : 4294967295 , "session_hmac" : "" }', Attestation("", SEQUENCE_MAX, None)),
        ('{"session_hmac":"x","sequence":1,"app_version_hash":7}', Attestation("x", 1, None)),
        (r'{"session_hmac":"\ud83d","sequence":1,"app_version_hash":"\u0061"}', Attestation("\ufffd", 1, "a")),
        ('{"session_hmac":"x","session_hmac":"y","sequence":1}', Attestation("y", 1, None)),
    ],
)
def test_an_attestation_is_read_as_it_is(attestation: str, expected: Attestation) -> None:
    """Types are checked, values are left to the checks that come later."""
    assert read('{"session_id":"s","attestation":' + attestation + "}").attestation == expected


@pytest.mark.parametrize(
    ("type_", "expected"),
    [
        ('"SESSION_CLOSE"', "SESSION_CLOSE"),
        (r'"SESSION\u005fCLOSE"', "SESSION_CLOSE"),
        ("null", "null"),
        ("[1]", "[1]"),
    ],
)
def test_types(type_: str, expected: str) -> None:
    """A type is its text; what is not text is no type that anybody knows."""
    assert read('{"session_id":"s","type":' + type_ + "}").type == expected


@pytest.mark.parametrize(
    ("session_id", "expected"),
    [
        (r"\ud83d", "\ufffd"),
        (r"\u0000", "\x00"),
        ("x" * 1_000_000, "x" * 1_000_000),
        (r"'; DROP TABLE sessions; --\n", "'; DROP TABLE sessions; --\n"),
        ("🚀", "🚀"),
    ],
)
def test_odd_session_ids(session_id: str, expected: str) -> None:
    """Any text is a session id, comes out encodable, and makes no long repr."""
    envelope = read('{"session_id":"' + session_id + '"}')
    assert envelope.session_id == expected
    envelope.session_id.encode()
    assert len(repr(envelope)) < 300


def test_repr_shows_neither_body_nor_hmac() -> None:
    """What is logged names the session, type, sequence and size, and nothing of the content."""
    body = (
        '{"session_id":"s","type":"USER_FEEDBACK","attestation":{"session_hmac":"%","sequence":5},"feedback":"private"}'
    )
    envelope = read(body.replace("%", HMAC))
    assert repr(envelope) == "Envelope(session_id='s', type='USER_FEEDBACK', sequence=5, body=<173 bytes>)"
    assert repr(envelope.attestation) == "Attestation(sequence=5)"


@pytest.mark.parametrize(
    "attestation",
    [
        '{"session_hmac":"x","sequence":1,"app_version_hash":"y","note":"not signed"}',
        '{"note":{"a":[1]},"app_version_hash":"y","session_hmac":"x","sequence":1}',
        '{ "session_hmac" : "x",\n"sequence": 1, "app_version_hash":"y"}',
        '{"session_hmac":"z","session_hmac":"x","sequence":1,"app_version_hash":"y"}',
    ],
)
def test_what_stands_in_the_attestation_beside_its_members_is_not_stored(attestation: str) -> None:
    """It is not signed: whoever passes an envelope on could have put it there."""
    body = f'{{"envelope_id":"e","session_id":"s","attestation":{attestation},"b":1}}'.encode()
    envelope = read(body)
    stored = b'"attestation":{"session_hmac":"x","sequence":1,"app_version_hash":"y"}'
    assert envelope.stored_members() == b'"session_id":"s",%s,"b":1' % stored
    assert b"".join(envelope.signed_parts()) == b'{"envelope_id":"e","session_id":"s","b":1}'


@pytest.mark.parametrize("body", ['{"session_id":"s"}', '{"session_id":"s","a":[1, 2],"é":{}}'])
def test_the_members_of_a_compact_body_are_found_without_reading_it_again(body: str) -> None:
    """In the same places in which reading it again finds them."""
    values = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    found = reading._members_of_compact(body.encode(), values)
    assert found is not None
    assert found == reading._members_scanned(body.encode(), 10)
