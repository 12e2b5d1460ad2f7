"""What must hold for any bytes at all that the strict reader and the canonical writer are given.

The oracle is Python's json, a third reader beside msgspec and the reader's own scan: where the two agree that a text is
good they must agree on what it means, and neither may take what the other refuses.
"""

import json
import math
import re
from typing import Any, NoReturn

import msgspec

from actors.envelopes import attestation, journal_lines
from actors.envelopes.canonical_json import canonicalise
from actors.envelopes.chunk_reading import ChunkReader
from actors.envelopes.reading import Envelope, read_envelope
from actors.envelopes.refusals import Refusal, RefusalCode
from actors.envelopes.schema import check
from actors.envelopes.settings import SchemaSettings
from tests.dead_letters import body_of

NESTING_MAX = 64
MEMBERS_MAX = 64
NOW_S = 1_800_000_000.0
ENVELOPE_ID = "env_00000000-0000-4000-8000-000000000000"

_SECRET = b"k" * 32
_SCHEMA = SchemaSettings()
_CHUNKS = ChunkReader(_SCHEMA, lambda: NOW_S)
_READING_CODES = frozenset(
    {
        RefusalCode.BYTE_ORDER_MARK,
        RefusalCode.INVALID_UTF8,
        RefusalCode.NOT_A_NUMBER,
        RefusalCode.INVALID_JSON,
        RefusalCode.NOT_AN_OBJECT,
        RefusalCode.DUPLICATE_MEMBER,
        RefusalCode.NESTING_TOO_DEEP,
        RefusalCode.TOO_MANY_MEMBERS,
        RefusalCode.MISSING_SESSION_ID,
    }
)
_SCHEMA_CODES = frozenset({RefusalCode.SCHEMA, RefusalCode.UNKNOWN_TYPE, RefusalCode.RESERVED_MEMBER})
_DECODER = json.JSONDecoder()
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*+"')
_ANOTHER_SENTENCE = re.compile(r"[.!?]\s+[A-Z]")


class Members(list[tuple[str, Any]]):
    """An object as its members in order, those that occur twice included."""


class NoJson(Exception):  # noqa: N818 - a verdict of the oracle, not an error
    """Python's json does not take the text either."""


class TooDeep(Exception):  # noqa: N818 - as above
    """Python's json has not enough stack for the text."""


def check_all(data: bytes) -> None:
    """Raise AssertionError, or whatever was wrongly raised, when `data` breaks an invariant."""
    check_reader(data)
    check_writer(data)


def is_one_sentence(text: str) -> bool:
    """Whether a refusal's text is one sentence on one line, whatever it quotes."""
    plain = _QUOTED.sub('""', text)
    return (
        0 < len(text) <= 400 and plain.isprintable() and text.endswith(".") and _ANOTHER_SENTENCE.search(plain) is None
    )


def check_reader(data: bytes) -> None:
    """Reading refuses or takes, never raises; what it takes Python's json takes, with the same meaning, and no less."""
    found = read_envelope(data, nesting_max=NESTING_MAX, members_max=MEMBERS_MAX)
    try:
        expected: Any = python_reads(data)
    except NoJson:
        assert isinstance(found, Refusal), "the reader takes what is no JSON"
        expected = None
    except TooDeep:
        assert isinstance(found, Refusal), "the reader takes what is nested beyond all bounds"
        expected = None
    _check_shortcut(data, found)
    if isinstance(found, Refusal):
        _check_refusal(found)
        assert not _is_readable(expected), f"the reader refuses a good body: {found.reason}"
    else:
        assert _is_readable(expected), "the reader takes a body that it must refuse"
        _check_envelope(data, found, expected)


def _check_shortcut(data: bytes, found: Envelope | Refusal) -> None:
    """Chunks that are checked while they are read get the same verdicts as those that are read first."""
    short = _CHUNKS(data) or found
    if isinstance(short, Refusal) or isinstance(found, Refusal):
        assert short == found, (short, found)
        return
    assert msgspec.structs.replace(short, facts=None) == found
    assert check(short, _SCHEMA, NOW_S) == check(found, _SCHEMA, NOW_S)


def _check_refusal(refusal: Refusal) -> None:
    assert refusal.code in _READING_CODES, refusal
    assert is_one_sentence(refusal.reason), refusal.reason
    refusal.reason.encode()


def _is_readable(value: object) -> bool:
    """What the reader must take, by the rules of docs/protocol.md."""
    if not isinstance(value, Members) or len(value) > MEMBERS_MAX or _depth(value) > NESTING_MAX:
        return False
    names = [name for name, _ in value]
    session_id = dict(value).get("session_id")
    return len(set(names)) == len(names) and isinstance(session_id, str) and session_id != ""


def _stored(member: tuple[str, Any], envelope: Envelope) -> tuple[str, Any]:
    """A member as it is stored: of an attestation that can be read, what verification needs and no more."""
    if member[0] != "attestation" or envelope.attestation is None:
        return member
    return "attestation", python_reads(envelope.attestation.stored_text())


def _check_envelope(data: bytes, envelope: Envelope, expected: Members) -> None:
    """Each part that is taken out of the body means what the oracle says that it means."""
    assert envelope.body is data
    assert envelope.member_names() == tuple(_shown(name) for name, _ in expected)
    assert envelope.session_id == _shown(dict(expected)["session_id"])
    for (name, value), member in zip(expected, envelope.members, strict=True):
        assert _equal(python_reads(data[member.value_start : member.value_end]), value), name
        spelt, _ = _DECODER.raw_decode(data[member.start : member.value_start].decode())
        assert spelt == name
    signed = b"".join(envelope.signed_parts())
    assert _equal(python_reads(signed), Members(pair for pair in expected if pair[0] != "attestation"))
    stored = b"{%s}" % envelope.stored_members()
    assert b"\n" not in stored
    assert b"\r" not in stored
    assert _equal(
        python_reads(stored), Members(_stored(pair, envelope) for pair in expected if pair[0] != "envelope_id")
    )
    _check_beyond_reading(envelope, expected)


def _check_beyond_reading(envelope: Envelope, expected: Members) -> None:
    """What verification, schema and journal do with a body that was read never fails either."""
    assert attestation.verify(_SECRET, envelope) is False
    if envelope.attestation is not None:
        right = attestation.sign(_SECRET, envelope.attestation.sequence, envelope.signed_parts())
        signed = msgspec.structs.replace(envelope.attestation, session_hmac=right)
        assert attestation.verify(_SECRET, msgspec.structs.replace(envelope, attestation=signed))
        refusal = Refusal(RefusalCode.SCHEMA, "Text.")
        letter = b"{%s}" % journal_lines.refusal_members(ENVELOPE_ID, envelope, 0, refusal)
        assert body_of(dict(python_reads(letter))) == envelope.body
    outcome = check(envelope, _SCHEMA, NOW_S)
    if isinstance(outcome, Refusal):
        assert outcome.code in _SCHEMA_CODES, outcome
        assert is_one_sentence(outcome.reason), outcome.reason
        outcome.reason.encode()
    if [name for name, _ in expected] != ["envelope_id"]:
        line = b"{%s}" % journal_lines.envelope_members(ENVELOPE_ID, envelope)
        kept = Members(_stored(pair, envelope) for pair in expected if pair[0] != "envelope_id")
        assert _equal(python_reads(line), Members([("envelope_id", ENVELOPE_ID), *kept]))


def check_writer(data: bytes) -> None:
    """Writing raises nothing but ValueError, takes what Python's json takes, keeps the meaning and is idempotent."""
    try:
        value = python_reads(data)
    except NoJson:
        value = None
        is_json = False
    except TooDeep:
        return  # How deep it goes depends on the stack; only that it does not fail otherwise can be asked.
    else:
        is_json = True
    try:
        written = canonicalise(data)
    except ValueError:
        assert not is_json or _depth(value) > NESTING_MAX, "the writer refuses good JSON"
        return
    assert is_json, "the writer takes what is no JSON"
    again = python_reads(written)
    assert _as_ecmascript(again) == _as_ecmascript(value)
    assert canonicalise(written) == written
    json.loads(written, parse_int=_check_number, parse_float=_check_number)
    if isinstance(value, Members):
        without = dict(python_reads(canonicalise(data, without="attestation")))
        assert "attestation" not in without
        assert without.keys() == {name for name, _ in value} - {"attestation"}


def _check_number(text: str) -> None:
    """ECMA-262, Number::toString: the fewest digits, and an exponent only from 1e21 and below 1e-6."""
    number = float(text)
    digits, _, exponent = text.removeprefix("-").partition("e")
    assert bool(exponent) is not (number == 0 or 1e-6 <= abs(number) < 1e21), text
    assert text == "0" or number != 0, text
    assert not digits.endswith("."), text
    assert digits == "0" or not digits.startswith("0") or digits.startswith("0."), text
    assert "." not in digits or not digits.endswith("0"), text
    shortest = repr(number).removeprefix("-").partition("e")[0].replace(".", "").strip("0")
    assert digits.replace(".", "").strip("0") == shortest, text


def python_reads(text: bytes) -> Any:
    """The text's value, objects as `Members`, all numbers as floats; raises NoJson or TooDeep."""
    try:
        return json.loads(
            text.decode(), object_pairs_hook=Members, parse_int=float, parse_float=float, parse_constant=_no_constant
        )
    except RecursionError:
        raise TooDeep from None
    except ValueError:
        raise NoJson from None


def _no_constant(text: str) -> NoReturn:
    raise ValueError(text)


def _shown(text: str) -> str:
    return _LONE_SURROGATE.sub("\ufffd", text)


def _depth(value: object) -> int:
    """How deep objects and arrays stand in each other; a loop, for the stack may be short."""
    depth, level = 0, [value]
    while any(isinstance(each, list) for each in level):
        depth += 1
        level = [
            inner[1] if isinstance(outer, Members) else inner
            for outer in level
            if isinstance(outer, list)
            for inner in outer
        ]
    return depth


def _equal(left: object, right: object) -> bool:
    """Equal, members in order, and of the same kinds: `true` is not 1, and an array of pairs is no object."""
    if isinstance(left, Members) or isinstance(right, Members):
        return (
            isinstance(left, Members)
            and isinstance(right, Members)
            and [name for name, _ in left] == [name for name, _ in right]
            and all(_equal(mine, yours) for (_, mine), (_, yours) in zip(left, right, strict=True))
        )
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    return type(left) is type(right) and left == right


def _as_ecmascript(value: Any) -> Any:
    """What ECMAScript holds of a value, tagged by kind: the last member of a name counts, and infinity is null."""
    if isinstance(value, Members):
        return ("object", {name: _as_ecmascript(member) for name, member in value})
    if isinstance(value, list):
        return ("array", [_as_ecmascript(element) for element in value])
    if isinstance(value, float):
        return ("number", value) if math.isfinite(value) else None
    return value if not isinstance(value, bool) else ("boolean", value)
