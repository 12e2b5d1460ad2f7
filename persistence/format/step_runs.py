"""Fingerprints of steps in a row: what tells that they stand in a trajectory already. Pure.

A step is compared by what it says: its type, tool, content and arguments, as they look (`_comparable`), and without the
ids of calls. Its number, its times and counts, and whatever else it has are not looked at. Its digest and those of the
two steps behind it make the fingerprint of a run: so copies are found wherever they begin.

Everything here is part of the format on disk (docs/format.md, "Fingerprints"): another way to compute it takes a
migration of ledger.db, where fingerprints are looked up.
"""

import re
import struct
import unicodedata
from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

import msgspec

from persistence.format import json_text

RUN_STEPS: Final = 3
"""Steps in a row that one fingerprint stands for; only at a trajectory's end, and as a whole, are there fewer."""

DIGEST_BYTES: Final = 8
BITS: Final = 2**64 - 1
FACTOR: Final = 0x9E3779B97F4A7C15
"""By which the digests of a run are multiplied, so that their order counts; odd, so that no bit is lost."""

IDS: Final = frozenset({"call_id", "callId", "tool_call_id", "toolCallId", "tool_use_id", "toolUseId"})
"""Members of `arguments` that name a call: a copy has others."""

ASCII: Final = bytes(range(0x80))
CONTINUATION: Final = bytes(range(0x80, 0xC0))
"""Bytes that begin no character."""
UNSEEN_ASCII: Final = bytes([*range(0x21), 0x7F])
"""White space and controls."""
UNSEEN_BUT_LF: Final = UNSEEN_ASCII.replace(b"\n", b"")
UNSEEN: Final = re.compile(
    r"[\x80-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f"
    r"\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\U000e0000-\U000e0fff\ufdfa\ufdfb]"
)
"""All others of Unicode: White_Space, controls, and Default_Ignorable_Code_Point, with places that are not taken yet.

The last two are seen, and left out because NFKC makes 18 and 8 characters of them.
"""
UNSEEN_ESCAPES: Final = re.compile(rb"\\(?:[bfnrt]|u00[01][0-9a-f])")
"""As JSON text has them within texts."""

JOINING: Final = re.compile(r"[\u0300-\u036f]")
"""All characters that NFKC joins to an ASCII character before them, and others beside."""

PIECE_CHARS: Final = 128
PIECES: Final = re.compile(rf"(?s:.{{{PIECE_CHARS}}}[^\x00-\x7f]{{0,{PIECE_CHARS}}}+|.+)")
"""What of a text is normalised at a time: it takes time that grows with the square of the marks in a row.

An ASCII character composes with nothing before it, so cuts before one change nothing.
"""
VALUE_BYTES_MAX: Final = 1_048_576
"""Longer names and arguments are compared as they stand there: read, they may take twenty times as much memory."""
NAME_BYTES_MAX: Final = 1_000
"""Longer names are not remembered."""

ELLIPSIS: Final = "\u2026"
"""Dots in NFKC: the character that agents use most of those that are other ones there, so it has a way of its own."""
NOTHING: Final = (b"", 0)

TOGETHER_BYTES: Final = 32_768
"""Contents and arguments that are decoded together: no more than so much, and the last of them.

More is memory that the allocator fetches from the kernel and gives back, which takes longer than all else.
"""

HASHED_BYTES: Final = 2_047
"""Bytes that are hashed at a time: with more, `hashlib` lets other threads run, and then waits for its turn again."""

_CONTENTS = msgspec.json.Decoder(list[str | None])
_TEXT = msgspec.json.Decoder(str)
_VALUE = msgspec.json.Decoder(Any)
_VALUES = msgspec.json.Decoder(list[Any])
_PLAIN = msgspec.json.Encoder()
_SORTED = msgspec.json.Encoder(order="sorted")


class StepTexts(msgspec.Struct, frozen=True, gc=False):
    """What of a step's JSON text is compared. The raw members are empty where they are missing.

    `tool` and `arguments` may be any value, also one that cannot be decoded, such as the number 1e400. `content` is a
    text or null; it is decoded some at a time, because all of a chunk's may take four times the chunk's own bytes.
    """

    type: str = ""
    tool: msgspec.Raw = msgspec.Raw()
    content: msgspec.Raw = msgspec.Raw()
    arguments: msgspec.Raw = msgspec.Raw()


class StepDigests:
    """The digests of steps in a row, and how many characters of content and arguments each has."""

    def __init__(self) -> None:
        self._digests = bytearray()
        self._chars = array("l")

    def __len__(self) -> int:
        return len(self._chars)

    def __repr__(self) -> str:
        return f"<StepDigests {len(self)}>"

    def add(self, steps: Sequence[StepTexts]) -> bool:
        """Take in the next steps.

        Answers whether all of their arguments are written as their values would be: then no object in them has a name
        twice, and nobody has to look. False says nothing.
        """
        digest, chars = self._digests, self._chars
        are_plain = True
        for group in _groups(steps):
            compared, group_is_plain = _compared_together(group)
            are_plain &= group_is_plain
            for text, text_chars in compared:
                hashed = blake2b(text[:HASHED_BYTES], digest_size=DIGEST_BYTES)
                for start in range(HASHED_BYTES, len(text), HASHED_BYTES):
                    hashed.update(text[start : start + HASHED_BYTES])
                digest += hashed.digest()
                chars.append(text_chars)
        return are_plain

    def in_order(self, places: Sequence[int]) -> "StepDigests":
        """The same steps in another order, given by their places."""
        if places == list(range(len(self))):
            return self
        other = StepDigests()
        for place in places:
            other._digests += self.digest(place)
            other._chars.append(self._chars[place])
        return other

    def digest(self, place: int) -> bytes:
        """The digest of a step."""
        return bytes(self._digests[place * DIGEST_BYTES : (place + 1) * DIGEST_BYTES])

    def have_chars(self, first: int, last: int, least: int) -> bool:
        """Whether steps from one place to another, both included, have so many; of equal steps those of one count."""
        found, chars = set[bytes](), 0
        for place in range(first, last + 1):
            if chars >= least:
                break
            digest = self.digest(place)
            if digest not in found:
                found.add(digest)
                chars += self._chars[place]
        return chars >= least

    def fingerprints(self) -> "array[int]":
        """The fingerprint of the run that begins with each step, by its place; 64 bits, signed.

        The last two have those of the steps that are left, two and one: what somebody sends who leaves the steps before
        them out, because they were sent.
        """
        digests = struct.unpack(f">{len(self)}Q", self._digests)
        square = FACTOR * FACTOR & BITS
        found = [a * square + b * FACTOR + c for a, b, c in zip(digests, digests[1:], digests[2:], strict=False)]
        signed = array("q")
        signed.frombytes(array("Q", [each & BITS for each in found]).tobytes())
        signed.extend(self.fingerprint(place, len(self) - 1) for place in range(max(0, len(self) - 2), len(self)))
        return signed

    def fingerprint(self, first: int, last: int) -> int:
        """That of one step or two, from one place to another, as if a trajectory consisted of them; 64 bits, signed."""
        assert first <= last < first + RUN_STEPS - 1
        digests = struct.unpack(
            f">{last - first + 1}Q", self._digests[first * DIGEST_BYTES : (last + 1) * DIGEST_BYTES]
        )
        found: int = digests[0] * FACTOR + sum(digests[1:]) + len(digests)
        return (found + 2**63 & BITS) - 2**63


def fingerprints_of(steps: Sequence[StepTexts]) -> "array[int]":
    """The fingerprints of a trajectory's steps."""
    found = StepDigests()
    found.add(steps)
    return found.fingerprints()


def compared_texts(steps: Iterable[StepTexts]) -> Iterator[tuple[bytes, int]]:
    """Yield what is compared of each step, and how many characters of content and arguments that has.

    Four lines without an LF at the end: type, tool, content, arguments.
    """
    for group in _groups(steps):
        yield from _compared_together(group)[0]


def _groups(steps: Iterable[StepTexts]) -> Iterator[Sequence[StepTexts]]:
    """Yield some steps at a time: together they are decoded in a tenth of the time of each alone."""
    held: list[StepTexts] = []
    held_bytes = 0
    for step in steps:
        held.append(step)
        held_bytes += len(memoryview(step.content)) + len(memoryview(step.arguments))
        if held_bytes > TOGETHER_BYTES:
            yield held
            held, held_bytes = [], 0
    yield held


def _compared_together(steps: Sequence[StepTexts]) -> tuple[Iterable[tuple[bytes, int]], bool]:
    """What is compared of each step and its characters; and whether all arguments are as their values are written."""
    arguments, are_plain = _arguments(steps)
    # None of them holds an LF, because none holds a control.
    found = [
        (b"%s\n%s\n%s\n%s" % (step.type.encode(), _tool(bytes(step.tool)), said, asked), said_chars + asked_chars)
        for step, (said, said_chars), (asked, asked_chars) in zip(steps, _contents(steps), arguments, strict=True)
    ]
    return found, are_plain


def _tool(text: bytes) -> bytes:
    return _name(text) if len(text) <= NAME_BYTES_MAX else _value(text)[0]


@lru_cache(maxsize=256)
def _name(text: bytes) -> bytes:
    """A tool's name; remembered, because many steps share theirs."""
    return _value(text)[0]


def _contents(steps: Sequence[StepTexts]) -> Iterable[tuple[bytes, int]]:
    """What each step says, as it is compared, and its characters."""
    joined = b",".join([bytes(step.content) or b"null" for step in steps])
    return [_comparable(text) if text else NOTHING for text in json_text.decode(_CONTENTS, b"[%s]" % joined)]


def _comparable(text: str) -> tuple[bytes, int]:
    """A text as it is compared, and its characters.

    That is by how it looks: without what nobody sees, in NFKC, without white space, in UTF-8.
    """
    said = text.encode()
    if text.isascii():
        left = said.translate(None, UNSEEN_ASCII)
        return left, len(left)
    seen, others = text, said.translate(None, ASCII).decode()
    if UNSEEN.search(others):
        seen, others = UNSEEN.sub("", text), UNSEEN.sub("", others)
    if ELLIPSIS in others:
        seen, others = seen.replace(ELLIPSIS, "..."), others.replace(ELLIPSIS, "")
    # ASCII characters stay what they are, and parts of what is normalised are (UAX 15): so where nothing joins them, a
    # text is normalised if its other characters by themselves are, which are few.
    if JOINING.search(others) or not unicodedata.is_normalized("NFKC", others):
        pieces = [seen] if len(others) <= PIECE_CHARS else PIECES.findall(seen)
        seen = "".join([unicodedata.normalize("NFKC", piece) for piece in pieces])
    if seen is not text:
        said = seen.encode()
    left = said.translate(None, UNSEEN_ASCII)
    return left, len(seen) - (len(said) - len(left))  # what was left out last has a byte for each character


def _value(text: bytes) -> tuple[bytes, int]:
    """A JSON value's text as it is compared, and its characters: of a text what it says, of null nothing."""
    if text.startswith(b'"') and len(text) <= VALUE_BYTES_MAX:
        return _comparable(json_text.decode(_TEXT, text))
    said = b"" if text == b"null" else text.translate(None, UNSEEN_ASCII)
    return said, len(said.translate(None, CONTINUATION))


def _arguments(steps: Sequence[StepTexts]) -> tuple[Sequence[tuple[bytes, int]], bool]:
    """The arguments of each step's call, as they are compared, and their characters; whether all are written plainly.

    What is neither an object nor a list is: there is no name in it.
    """
    found = [NOTHING] * len(steps)
    together: dict[int, bytes] = {}
    are_plain = True
    for place, step in enumerate(steps):
        text = bytes(step.arguments)
        if not text:
            continue
        if not text.startswith((b"{", b"[")):
            found[place] = _value(text)
        elif len(text) <= VALUE_BYTES_MAX:
            together[place] = text
        else:
            found[place], are_plain = _value(text), False
    if together:
        written, written_plainly = _written([*together.values()])
        are_plain &= written_plainly
        for place, asked in zip(together, written, strict=True):
            found[place] = asked
    return found, are_plain


def _written(texts: Sequence[bytes]) -> tuple[Sequence[tuple[bytes, int]], bool]:
    """Objects and lists with their members in order and without a call's ids, as they are compared.

    Beside them is whether all of them are written as their values would be.
    """
    joined = b"[%s]" % b",".join(texts)
    are_plain = False
    try:
        values = json_text.decode(_VALUES, joined)
        are_plain = _PLAIN.encode(values) == joined
        for place, value in enumerate(values):
            if isinstance(value, dict) and not IDS.isdisjoint(value):
                values[place] = {name: each for name, each in value.items() if name not in IDS}
        lines = _SORTED.encode_lines(values)[:-1]
    except (msgspec.DecodeError, OverflowError, RecursionError):
        if len(texts) > 1:
            alone = [_written([text]) for text in texts]
            return [found for (found,), _ in alone], all(is_plain for _, is_plain in alone)
        # It holds a number such as 1e400, which nobody can hold: it is compared as it stands there.
        lines = texts[0].translate(None, UNSEEN_ASCII)
    if b"\\" in lines:
        lines = UNSEEN_ESCAPES.sub(b"", lines)
    if lines.isascii():
        return [(left, len(left)) for left in lines.translate(None, UNSEEN_BUT_LF).split(b"\n")], are_plain
    return [_comparable(line) for line in lines.decode(errors="replace").split("\n")], are_plain
