"""Strict reading of a received body: from bytes to an envelope whose members are still the client's own bytes.

An HMAC is over bytes, and a stored line keeps bytes, so reading must find where each top-level member stands in the
body instead of building objects and writing them again. Clients send `JSON.stringify(object)`, and for that one pass of
msgspec is enough: it validates all of the text and hands out each member's value, whose lengths give its place. Only
the lengths have to be proved right, see `_members_of_compact`. Anything else is scanned (`_members_scanned`).

Where members are taken out (the attestation before hashing, the client's envelope id before storing), the separators
go with them like this: a member that has a successor goes from the quote that opens its name up to the quote that opens
the successor's; the last member goes from the end of the value before it to the end of its own; an only member goes
alone. In compact text that leaves what JSON.stringify writes without the member, and in text indented in the usual way
too. For a text that signs some other white space the canonical text decides (`actors.envelopes.attestation.verify`).
"""

import codecs
import itertools
import json
import operator
import re
from collections.abc import Iterator, Sequence

import msgspec

from actors.envelopes.refusals import Refusal, RefusalCode
from persistence.format.json_text import NestingError, decode

SEQUENCE_MAX = 2**32 - 1
"""The largest sequence that the HMAC's payload can hold: it is written as an unsigned 32-bit number."""

MEMBERS_STORED_MAX = 10_000 + 3
"""The most top-level members that a journal line can have: what the settings allow at most, and the server's own."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SHOWN_CHARS_MAX = 60
_LEAF_ROUNDS_MAX = 8
_UTF8_PIECE_BYTES = 16_384

_encode = msgspec.json.Encoder().encode
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)
_ANY = msgspec.json.Decoder(msgspec.Raw)
# Numbers are only passed over, and as floats no number of digits is too much.
_SCANNER = json.JSONDecoder(parse_int=float)
_WHITE_SPACE = re.compile(r"[ \t\n\r]*+")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_FAULT_PLACE = re.compile(r"\(byte ([0-9]+)\)")
_INTEGER = re.compile(rb"0|[1-9][0-9]{0,9}")
_NEITHER_QUOTE_NOR_BRACKET = bytes(set(range(256)) - set(b'"[]{}'))
_ALL_BRACES = bytes.maketrans(b"[]", b"{}")
_LINE_BREAKS_AS_SPACES = bytes.maketrans(b"\n\r", b"  ")


class Attestation(msgspec.Struct, frozen=True, omit_defaults=True):
    """The top-level member `attestation`, as far as verification needs it; types are checked, values are not.

    `sequence` is between 0 and SEQUENCE_MAX. `app_version_hash` is None when it is absent or not text.
    """

    session_hmac: str
    sequence: int
    app_version_hash: str | None = None

    def __repr__(self) -> str:
        return f"Attestation(sequence={self.sequence})"

    def stored_text(self) -> bytes:
        """Its JSON text with these members and no others, as published clients write it."""
        return _encode(self)


class Member(msgspec.Struct, frozen=True):
    """Where one top-level member stands in the body, as byte offsets: `start` is the quote that opens its name."""

    name: str
    start: int
    value_start: int
    value_end: int


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """A body that is one JSON object with a `session_id`; nothing else about it is known to be true yet.

    `body` is what was received, byte for byte. `type` is the text of the member `type`, None when absent; a `type` that
    is not text is given as its JSON text, which names no type. `attestation` is None when it is absent or not an object
    with a text `session_hmac` and an integer `sequence`. Lone surrogates in these texts are U+FFFD, so that all of them
    can be encoded. `members` are the top-level members in the order of the body, no two of the same name. `facts` is
    what `chunk_reading` found in it. `permit` is for whoever counts the memory of bodies: it is
    dropped with the envelope, and nothing here looks at it.
    """

    body: bytes
    session_id: str
    type: str | None
    attestation: Attestation | None
    members: tuple[Member, ...]
    facts: object | None = None
    permit: object | None = None

    def __repr__(self) -> str:
        sequence = None if self.attestation is None else self.attestation.sequence
        type_ = None if self.type is None else self.type[:_SHOWN_CHARS_MAX]
        return (
            f"Envelope(session_id={self.session_id[:_SHOWN_CHARS_MAX]!r}, type={type_!r}, sequence={sequence}, "
            f"body=<{len(self.body)} bytes>)"
        )

    def member_names(self) -> tuple[str, ...]:
        """The names of the top-level members, in the order of the body, with escapes resolved."""
        return tuple(member.name for member in self.members)

    def member(self, name: str) -> bytes | None:
        """The JSON text of a top-level member's value as it was received, None when there is no such member."""
        for member in self.members:
            if member.name == name:
                return self.body[member.value_start : member.value_end]
        return None

    def signed_parts(self) -> tuple[memoryview, ...]:
        """The received object without its top-level member `attestation`, every other byte kept, in parts to hash."""
        whole = memoryview(self.body)
        cut = self._span_with_separator("attestation")
        return (whole,) if cut is None else (whole[: cut[0]], whole[cut[1] :])

    def stored_members(self, before: bytes = b"") -> bytes:
        """The members to store, behind `before`: without the client's own `envelope_id`, the rest byte for byte.

        All of it is on one line: white space around the first and the last of them is left out, and line breaks, which
        can only be white space between tokens, become spaces. The attestation is not part of what is signed: of it is
        stored what verification needs, and nothing that somebody else could have put there.
        """
        cuts = [(*found, b"")] if (found := self._span_with_separator("envelope_id")) is not None else []
        if self.attestation is not None and self.facts is None:  # `chunk_reading` takes none that is written otherwise
            for member in self.members:
                if member.name == "attestation":
                    stored = self.attestation.stored_text()
                    if self.body[member.value_start : member.value_end] != stored:
                        cuts.append((member.value_start, member.value_end, stored))
            cuts.sort()
        text = self._members_text(before, cuts)
        if b"\n" in text or b"\r" in text:
            text = text.translate(_LINE_BREAKS_AS_SPACES)
        return text

    def _members_text(self, before: bytes, cuts: Sequence[tuple[int, int, bytes]]) -> bytes:
        """The text of all members behind `before`, with other bytes in the place of some, in order: copied once."""
        whole, position, end = memoryview(self.body), self.members[0].start, self.members[-1].value_end
        parts: list[bytes | memoryview] = [before]
        for cut_start, cut_end, other in cuts:
            parts += [whole[position:cut_start], other]
            position = cut_end
        parts.append(whole[position:end])
        return b"".join(parts)

    def _span_with_separator(self, name: str) -> tuple[int, int] | None:
        """What goes when the member `name` is taken out; the rule is at the head of this module."""
        for index, member in enumerate(self.members):
            if member.name == name:
                if index + 1 < len(self.members):
                    return member.start, self.members[index + 1].start
                return self.members[index - 1].value_end if index else member.start, member.value_end
        return None


def read_envelope(
    body: bytes,
    *,
    nesting_max: int,
    members_max: int = MEMBERS_STORED_MAX,
    is_text: bool = False,
    permit: object | None = None,
) -> Envelope | Refusal:
    """Read `body`, or say in one sentence why it is no envelope (codes: the 400 group of `RefusalCode`).

    All of the body is checked to be UTF-8 without a byte order mark and well-formed JSON (RFC 8259). `nesting_max` is
    how deep objects and arrays may stand in each other, the envelope itself counted: at most 200, far below the point
    where decoding would exhaust the stack. `members_max` is how many top-level members it may have; the slow scan of
    unusual texts takes time in proportion. By default it takes whatever can be stored. A top-level member that occurs
    twice is refused, however its name is spelt.

    Of stored text `is_text` says that it is UTF-8 and nests no deeper than `nesting_max`, which was found out before it
    was stored, and is not looked at again. The envelope carries `permit`.
    """
    values = decode(_OBJECT, body) if is_text else _values(body)
    if isinstance(values, Refusal):
        return values
    if not is_text and _is_deeper_than(nesting_max, body):
        return _too_deep(nesting_max)
    if len(values) > members_max:
        return _too_many(members_max)
    members = _members_of_compact(body, values) or _members_scanned(body, members_max)
    if isinstance(members, Refusal):
        return members
    session_id = _text(values.get("session_id"))
    if not session_id:
        fault = "is missing" if "session_id" not in values else "must be text that is not empty"
        return Refusal(RefusalCode.MISSING_SESSION_ID, f"The envelope's session_id {fault}.")
    return Envelope(
        body=body,
        session_id=session_id,
        type=_type(values.get("type")),
        attestation=_attestation(values.get("attestation")),
        members=members,
        permit=permit,
    )


def _values(body: bytes) -> dict[str, msgspec.Raw] | Refusal:
    """The values of the top-level members, of the same lengths as in the body (`json_text.decode`)."""
    if body.startswith(_BYTE_ORDER_MARK):
        return Refusal(RefusalCode.BYTE_ORDER_MARK, "The body must be JSON in UTF-8 without a byte order mark.")
    if not body.isascii() and (offset := _not_utf8(body)) is not None:
        return Refusal(RefusalCode.INVALID_UTF8, f"The body is not valid UTF-8 (byte {offset}).")
    try:
        try:
            return decode(_OBJECT, body)
        except msgspec.ValidationError:
            decode(_ANY, body)  # The type is judged at the first byte: is the rest JSON at all?
            return Refusal(RefusalCode.NOT_AN_OBJECT, "The body must be a JSON object.")
    except NestingError:
        return Refusal(RefusalCode.NESTING_TOO_DEEP, "The body nests objects and arrays far too deeply.")
    except msgspec.DecodeError as error:
        fault = str(error).removeprefix("JSON is malformed: ")
        place = _FAULT_PLACE.search(fault)
        if place is not None and body.startswith((b"NaN", b"Infinity"), int(place[1])):
            return Refusal(
                RefusalCode.NOT_A_NUMBER, f"The body holds NaN or Infinity, which JSON does not have: {fault}."
            )
        return Refusal(RefusalCode.INVALID_JSON, f"The body is not valid JSON: {fault}.")


def _not_utf8(body: bytes) -> int | None:
    """Where `body` stops being UTF-8, as the offset of a byte; None when all of it is.

    Piece by piece, because the text itself is not wanted: a string of a large body, two or four bytes a character, is
    memory that the allocator fetches from the kernel and gives back, which takes ten times as long as decoding.
    """
    whole = memoryview(body)
    position = 0
    while position < len(body):
        piece = whole[position : position + _UTF8_PIECE_BYTES]
        try:
            _, used = codecs.utf_8_decode(piece, "strict", position + len(piece) == len(body))
        except UnicodeDecodeError as error:
            return position + error.start
        position += used
    return None


def _too_deep(nesting_max: int) -> Refusal:
    return Refusal(
        RefusalCode.NESTING_TOO_DEEP,
        f"The body nests objects and arrays more than {nesting_max} levels deep.",
    )


def _too_many(members_max: int) -> Refusal:
    return Refusal(
        RefusalCode.TOO_MANY_MEMBERS,
        f"The envelope has more than {members_max} top-level members, which is the most that is allowed.",
    )


def _is_deeper_than(nesting_max: int, body: bytes) -> bool:
    """Whether well-formed JSON nests deeper: whole-text operations, since a loop over 135 KiB costs more than the HMAC.

    Escapes go first, so that each quote is the end of a string; then what is neither quote nor bracket; then the
    strings; then braces and brackets are alike and `{}` is a leaf: each removal of all leaves lowers the text by
    exactly one level. Real envelopes are gone after a few rounds; for what is left of a text made to be deep, counting
    along it is cheaper than more rounds.
    """
    text = _without_escapes(body)
    # Two quotes side by side are a string with no bracket in it, or the end of one and the beginning of the next with
    # nothing between them: either way what is inside of strings and what is outside stays so without them.
    text = text.translate(None, _NEITHER_QUOTE_NOR_BRACKET).replace(b'""', b"")
    braces = b"".join(text.split(b'"')[::2]).translate(_ALL_BRACES)
    for _ in range(min(_LEAF_ROUNDS_MAX, nesting_max)):
        if not braces:
            return False
        braces = braces.replace(b"{}", b"")
        nesting_max -= 1
    # Before the n-th closing brace (from 0), n of the braces opened so far are closed again.
    opened = itertools.accumulate(map(len, braces.split(b"}")))
    deepest: int = max(map(operator.sub, opened, itertools.count()))
    return deepest > nesting_max


def _without_escapes(body: bytes) -> bytes:
    """The text without its escapes, as far as they hide a quote: faster than any search for two bytes."""
    first, *others = body.split(b"\\")
    if b"" in others:
        # Escaped backslashes first: what then stands before a quote does escape it.
        return body.replace(b"\\\\", b"").replace(b'\\"', b"")
    return first + b"".join([after[1:] for after in others])


def _members_of_compact(body: bytes, values: dict[str, msgspec.Raw]) -> tuple[Member, ...] | None:
    """The members' places in a body without white space, escapes or duplicates at its top level; None for any other.

    The values are slices of the body (or of a copy of equal length), so writing `{"name":value,...}` from them gives
    the body again exactly if nothing was lost on the way. Whatever can be lost makes the body longer: white space, an
    escape in a name (longer than the UTF-8 of what it stands for), a member that another of the same name replaced. So
    comparing the length is comparing the text.
    """
    members = []
    position = 1
    for name, value in values.items():
        name_bytes = len(name) if name.isascii() else len(name.encode())
        value_start = position + name_bytes + 3
        value_end = value_start + len(memoryview(value))
        members.append(Member(name, position, value_start, value_end))
        position = value_end + 1
    return tuple(members) if position == len(body) else None


def _members_scanned(body: bytes, members_max: int) -> tuple[Member, ...] | Refusal:
    """The members' places in any well-formed JSON object, or the refusal of a name that occurs twice.

    They are counted here again: names that differ in lone surrogates alone were one name in the decoded copy.
    """
    members: list[Member] = []
    names: set[str] = set()
    for start, name_end, value_start, value_end in _spans(body):
        # Compared exactly, so before lone surrogates are replaced: ECMAScript holds them apart, too.
        name: str = json.loads(body[start:name_end].decode())
        if name in names:
            shown = json.dumps(name[:_SHOWN_CHARS_MAX])
            return Refusal(RefusalCode.DUPLICATE_MEMBER, f"The envelope's member {shown} occurs twice.")
        names.add(name)
        if len(names) > members_max:
            return _too_many(members_max)
        members.append(Member(_LONE_SURROGATE.sub("\ufffd", name), start, value_start, value_end))
    return tuple(members)


def _spans(body: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield start and end of the name, start and end of the value, of each member of a well-formed JSON object."""
    text = body.decode(
        "latin-1"
    )  # One character a byte: offsets stay those of the body, and JSON's own tokens are ASCII.
    position = _after_white_space(text, _after_white_space(text, 0) + 1)
    while text[position] != "}":
        start = position
        _, name_end = _SCANNER.raw_decode(text, start)
        value_start = _after_white_space(text, _after_white_space(text, name_end) + 1)
        _, value_end = _SCANNER.raw_decode(text, value_start)
        yield start, name_end, value_start, value_end
        position = _after_white_space(text, value_end)
        if text[position] == ",":
            position = _after_white_space(text, position + 1)


def _after_white_space(text: str, position: int) -> int:
    match = _WHITE_SPACE.match(text, position)
    assert match is not None
    return match.end()


def _text(value: msgspec.Raw | None) -> str | None:
    """The text that `value` is, None when there is no value or it is something else than text."""
    if value is None:
        return None
    try:
        return decode(_TEXT, bytes(value))
    except msgspec.ValidationError:
        return None


def _type(value: msgspec.Raw | None) -> str | None:
    if value is None:
        return None
    text = _text(value)
    return bytes(value).decode() if text is None else text


def _attestation(value: msgspec.Raw | None) -> Attestation | None:
    if value is None:
        return None
    try:
        fields = decode(_OBJECT, bytes(value))
    except msgspec.ValidationError:
        return None
    session_hmac = _text(fields.get("session_hmac"))
    sequence = bytes(fields.get("sequence", b""))
    # By its text: 1.0 and 1e0 are equal to an integer in ECMAScript, but no client writes them.
    if session_hmac is None or _INTEGER.fullmatch(sequence) is None or int(sequence) > SEQUENCE_MAX:
        return None
    return Attestation(session_hmac, int(sequence), _text(fields.get("app_version_hash")))
