"""Fingerprints of runs of steps: what tells that steps stand in a trajectory already. Pure.

A step is compared by what it says: its type, tool, content and arguments, without white space, in Unicode's NFC, and
without the ids of calls. Its number, its times and counts, and whatever else it has are not looked at. Its digest and
those of its two neighbours make the fingerprint of a run: so copies are found wherever they begin.

Everything here is part of the format on disk (docs/format.md, "Fingerprints"): another way to compute it takes a
migration of ledger.db, where fingerprints are looked up.
"""

import unicodedata
from array import array
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec

from persistence.format import json_text

RUN_STEPS: Final = 3
"""Steps in a row that one fingerprint stands for; a trajectory with fewer has one for all of them."""

DIGEST_BYTES: Final = 8

IDS: Final = frozenset({"call_id", "callId", "tool_call_id", "toolCallId", "tool_use_id", "toolUseId"})
"""Members of `arguments` that name a call: a copy has others."""

_WHITE_SPACE = b" \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f"
_TEXT = msgspec.json.Decoder(str)
_VALUE = msgspec.json.Decoder(Any)
_SORTED = msgspec.json.Encoder(order="sorted")


class StepTexts(msgspec.Struct, frozen=True, gc=False):
    """What of a step's JSON text is compared; the raw members may be any value, and empty where they are missing."""

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

    def add(self, kind: str, tool: bytes, content: bytes, arguments: bytes) -> None:
        """Take in the next step, by its type and the JSON texts of its members ("" where they are missing)."""
        said, said_chars = _normal(content)
        asked, asked_chars = _arguments(arguments)
        named, _ = _normal(tool)
        head = b"%d %d %d %s" % (len(named), len(said), len(asked), kind.encode())
        self._digests += blake2b(b"\n".join((head, named, said, asked)), digest_size=DIGEST_BYTES).digest()
        self._chars.append(said_chars + asked_chars)

    def in_order(self, places: Sequence[int]) -> "StepDigests":
        """The same steps in another order, given by their places."""
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
        if len(self) < RUN_STEPS:
            return array("q", [_signed(b"%s%d" % (self._digests, len(self)))] if len(self) else [])
        digests, size = bytes(self._digests), RUN_STEPS * DIGEST_BYTES
        last = len(digests) - size
        return array("q", [_signed(digests[at : at + size]) for at in range(0, last + 1, DIGEST_BYTES)])


def fingerprints_of(steps: Iterable[StepTexts]) -> "array[int]":
    """The fingerprints of a trajectory's steps."""
    found = StepDigests()
    for step in steps:
        found.add(step.type, bytes(step.tool), bytes(step.content), bytes(step.arguments))
    return found.fingerprints()


def _signed(text: bytes) -> int:
    return int.from_bytes(blake2b(text, digest_size=DIGEST_BYTES).digest(), "big", signed=True)


def _normal(text: bytes) -> tuple[bytes, int]:
    """A JSON value's text as it is compared, and its characters: of a text what it says, of null nothing."""
    if not text.startswith(b'"'):
        said = b"" if text == b"null" else text.translate(None, _WHITE_SPACE)
        return said, len(said)
    if b"\\" not in text and text.isascii():  # most texts: what is between the quotes is what they say
        said = text[1:-1].replace(b" ", b"")
        return said, len(said)
    return _without_white_space(json_text.decode(_TEXT, text))


def _without_white_space(text: str) -> tuple[bytes, int]:
    if text.isascii():
        said = text.encode().translate(None, _WHITE_SPACE)
        return said, len(said)
    shown = "".join(unicodedata.normalize("NFC", text).split())
    return shown.encode(), len(shown)


def _arguments(text: bytes) -> tuple[bytes, int]:
    """The arguments of a tool's call, with their members in order and without the call's ids."""
    if not text.startswith((b"{", b"[")):
        return _normal(text)
    try:
        value: object = json_text.decode(_VALUE, text)
        if isinstance(value, dict):
            value = {name: each for name, each in value.items() if name not in IDS}
        written = _SORTED.encode(value)
    except (msgspec.DecodeError, OverflowError, RecursionError):
        written = text  # a number such as 1e400, which nobody can hold: it is compared as it stands there
    for escaped in (b"\\n", b"\\r", b"\\t"):
        written = written.replace(escaped, b"")
    return _without_white_space(written.decode(errors="replace"))
