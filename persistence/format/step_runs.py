"""Fingerprints of runs of steps: what tells that steps stand in a trajectory already. Pure.

A step is compared by what it says: its type, tool, content and arguments, without white space, in Unicode's NFC, and
without the ids of calls. Its number, its times and counts, and whatever else it has are not looked at. Its digest and
those of its two neighbours make the fingerprint of a run: so copies are found wherever they begin.

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
"""Steps in a row that one fingerprint stands for; a trajectory with fewer has one for all of them."""

DIGEST_BYTES: Final = 8
BITS: Final = 2**64 - 1
FACTOR: Final = 0x9E3779B97F4A7C15
"""By which the digests of a run are multiplied, so that their order counts; odd, so that no bit is lost."""

IDS: Final = frozenset({"call_id", "callId", "tool_call_id", "toolCallId", "tool_use_id", "toolUseId"})
"""Members of `arguments` that name a call: a copy has others."""

WHITE_SPACE: Final = b" \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f"
RARE_WHITE_SPACE: Final = "\x85\xa0\u1680\u205f\u3000"
SPACES_START: Final = b"\xe2\x80"
SPACES: Final = re.compile(rb"\xe2\x80[\x80-\x8a\xa8\xa9\xaf]")
"""U+2000 to U+200A, U+2028, U+2029 and U+202F, in UTF-8. With those before them: what Unicode calls white space."""
CONTINUATION: Final = bytes(range(0x80, 0xC0))
"""Bytes that begin no character."""

SEPARATOR: Final = "\0"
TOGETHER_BYTES: Final = 32_768
"""Contents that are decoded together: no more than so much, and the last of them.

More is memory that the allocator fetches from the kernel and gives back, which takes longer than all else.
"""

HASHED_BYTES: Final = 2_047
"""Bytes that are hashed at a time: with more, `hashlib` lets other threads run, and then waits for its turn again."""

_CONTENTS = msgspec.json.Decoder(list[str | None])
_TEXT = msgspec.json.Decoder(str)
_VALUE = msgspec.json.Decoder(Any)
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

    def add(self, steps: Sequence[StepTexts]) -> None:
        """Take in the next steps."""
        digest, chars = self._digests, self._chars
        for text, text_chars in compared_texts(steps):
            hashed = blake2b(text[:HASHED_BYTES], digest_size=DIGEST_BYTES)
            for start in range(HASHED_BYTES, len(text), HASHED_BYTES):
                hashed.update(text[start : start + HASHED_BYTES])
            digest += hashed.digest()
            chars.append(text_chars)

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

    def distinct_chars(self, first: int, last: int) -> int:
        """Characters of the steps from one place to another, both included; of steps that are equal those of one."""
        return sum({self.digest(place): self._chars[place] for place in range(first, last + 1)}.values())

    def fingerprints(self) -> "array[int]":
        """The fingerprint of each run, by the place of its first step; 64 bits, signed."""
        digests = struct.unpack(f">{len(self)}Q", self._digests)
        if len(digests) < RUN_STEPS:
            found = [digests[0] * FACTOR + sum(digests[1:]) + len(digests)] if digests else []
        else:
            square = FACTOR * FACTOR & BITS
            found = [a * square + b * FACTOR + c for a, b, c in zip(digests, digests[1:], digests[2:], strict=False)]
        signed = array("q")
        signed.frombytes(array("Q", [each & BITS for each in found]).tobytes())
        return signed


def fingerprints_of(steps: Sequence[StepTexts]) -> "array[int]":
    """The fingerprints of a trajectory's steps."""
    found = StepDigests()
    found.add(steps)
    return found.fingerprints()


def compared_texts(steps: Iterable[StepTexts]) -> Iterator[tuple[bytes, int]]:
    """Yield what is compared of each step, and how many characters of content and arguments that has.

    Four lines without an LF at the end: type, tool, content, arguments. Some steps are read at a time: together they
    are decoded in a tenth of the time of each alone.
    """
    held: list[StepTexts] = []
    held_bytes = 0
    for step in steps:
        held.append(step)
        held_bytes += len(memoryview(step.content))
        if held_bytes > TOGETHER_BYTES:
            yield from _compared_together(held)
            held, held_bytes = [], 0
    yield from _compared_together(held)


def _compared_together(steps: Sequence[StepTexts]) -> Iterator[tuple[bytes, int]]:
    for step, (said, said_chars) in zip(steps, _contents(steps), strict=True):
        asked, asked_chars = _arguments(bytes(step.arguments))
        # None of them holds an LF, because none holds white space.
        yield b"%s\n%s\n%s\n%s" % (step.type.encode(), _name(bytes(step.tool)), said, asked), said_chars + asked_chars


@lru_cache(maxsize=256)
def _name(text: bytes) -> bytes:
    """A tool's name; remembered, because many steps share theirs."""
    return _normal(text)[0]


def _contents(steps: Sequence[StepTexts]) -> Iterable[tuple[bytes, int]]:
    """What each step says, as it is compared, and its characters."""
    joined = b",".join([bytes(step.content) or b"null" for step in steps])
    texts = [text or "" for text in json_text.decode(_CONTENTS, b"[%s]" % joined)]
    together = SEPARATOR.join(texts)
    if together.count(SEPARATOR) != len(texts) - 1:  # one of them holds it
        return [(said, _chars(said)) for said in map(_without_white_space, texts)]
    said = _without_white_space(together)
    parts = said.split(SEPARATOR.encode())
    chars = parts if said.isascii() else said.translate(None, CONTINUATION).split(SEPARATOR.encode())
    return zip(parts, map(len, chars), strict=True)


def _without_white_space(text: str) -> bytes:
    """A text as it is compared: in NFC, without white space, in UTF-8."""
    if text.isascii():
        return text.encode().translate(None, WHITE_SPACE)
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    for rare in RARE_WHITE_SPACE:
        if rare in text:
            text = text.replace(rare, "")
    said = text.encode().translate(None, WHITE_SPACE)
    return SPACES.sub(b"", said) if SPACES_START in said else said


def _chars(said: bytes) -> int:
    return len(said) if said.isascii() else len(said.translate(None, CONTINUATION))


def _normal(text: bytes) -> tuple[bytes, int]:
    """A JSON value's text as it is compared, and its characters: of a text what it says, of null nothing."""
    if text.startswith(b'"'):
        said = _without_white_space(json_text.decode(_TEXT, text))
    else:
        said = b"" if text == b"null" else text.translate(None, WHITE_SPACE)
    return said, _chars(said)


def _arguments(text: bytes) -> tuple[bytes, int]:
    """The arguments of a tool's call, with their members in order and without the call's ids."""
    if not text:
        return b"", 0
    if not text.startswith((b"{", b"[")):
        return _normal(text)
    try:
        value: object = json_text.decode(_VALUE, text)
        if isinstance(value, dict):
            value = {name: each for name, each in value.items() if name not in IDS}
        written = _SORTED.encode(value)
    except (msgspec.DecodeError, OverflowError, RecursionError):
        written = text  # a number such as 1e400, which nobody can hold: it is compared as it stands there
    if b"\\" in written:
        for escaped in (b"\\n", b"\\r", b"\\t"):
            written = written.replace(escaped, b"")
    said = _without_white_space(written.decode(errors="replace"))
    return said, _chars(said)
