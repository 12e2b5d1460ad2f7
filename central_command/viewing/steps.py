"""A step as it is shown: read by its place, and of a large one only the beginning of each member. Blocking."""

from codecs import getincrementaldecoder
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from central_command.viewing.json_strings import PIECE_BYTES, ReadBytes, beginning_of, pieces_of
from persistence.format import json_text
from persistence.format.step_places import LARGE_BYTES, MemberPlace, StepPlace

SMALL_BYTES: Final = 16_384
"""A member of a large step that has no more is read whole."""

MEMBERS_MAX: Final = 64
"""Members of a large step that are looked at."""

_VALUE: Final = msgspec.json.Decoder(Any)
_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])
_CONTENT: Final = "content"
_ARGUMENTS: Final = "arguments"


class ViewedStep(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of a step.

    `cut` is whether more is stored than is here, of `stored_bytes` in all. `arguments` that were too long are their
    JSON text, cut.
    """

    at: StepPlace
    text: str = ""
    tool: str = ""
    arguments: Any = None
    source: str = ""
    intent: str = ""
    model: str = ""
    call_id: str = ""
    truncated: bool = False
    tokens_in: int | None = None
    tokens_out: int | None = None
    cut: bool = False
    stored_bytes: int = 0

    @property
    def place(self) -> int:
        """Where it stands among the steps, from 1."""
        return self.at.place


def read_step(place: StepPlace, read: ReadBytes, bytes_max: int) -> ViewedStep:
    """Read a step; `read` is given offsets in its line. What is not as it should be is shown as the JSON text it is."""
    if place.length <= LARGE_BYTES:
        raw = read(place.offset, place.offset + place.length)
        try:
            members = json_text.decode(_OBJECT, raw)
        except (msgspec.DecodeError, OverflowError):
            return _unread(place, raw, bytes_max)
        return _viewed(place, members, bytes_max)
    if not place.members:
        return _unread(place, read(place.offset, place.offset + bytes_max), bytes_max)
    members = dict[str, Any]()
    for member in place.members[:MEMBERS_MAX]:
        members[member.name] = _beginning(place, member, read, bytes_max)
    return _viewed(place, members, bytes_max)


def texts_of(place: StepPlace, read: ReadBytes) -> Iterator[str]:
    """Yield all that a step says and is called with, some at a time, whatever its size."""
    if not place.members:
        step = read_step(place, read, LARGE_BYTES)
        yield step.text
        if step.arguments is not None:
            yield "\n\n" if step.text else ""
            yield step.arguments if isinstance(step.arguments, str) else _as_json(step.arguments)
        return
    for name in (_CONTENT, _ARGUMENTS):
        for member in place.members:
            if member.name == name:
                yield from _member_texts(place, member, read)


def _member_texts(place: StepPlace, member: MemberPlace, read: ReadBytes) -> Iterator[str]:
    start = place.offset + member.offset
    end = start + member.length
    if member.name == _ARGUMENTS:
        yield "\n\n"
    if read(start, start + 1) == b'"':
        yield from pieces_of(read, start, end)
        return
    decoder = getincrementaldecoder("utf-8")("replace")
    for at in range(start, end, PIECE_BYTES):
        stop = min(at + PIECE_BYTES, end)
        yield decoder.decode(read(at, stop), stop == end)


def _beginning(place: StepPlace, member: MemberPlace, read: ReadBytes, bytes_max: int) -> object:
    """A member's value; of a long one its beginning, as a text."""
    start = place.offset + member.offset
    if member.length <= SMALL_BYTES:
        try:
            return json_text.decode(_VALUE, read(start, start + member.length))
        except (msgspec.DecodeError, OverflowError):
            return None
    piece = read(start, start + min(member.length, bytes_max))
    return beginning_of(piece) if piece.startswith(b'"') else piece.decode(errors="replace")


def _viewed(place: StepPlace, members: dict[str, Any], bytes_max: int) -> ViewedStep:
    texts = {name: members.get(name) for name in (_CONTENT, "tool", "source", "intent", "model", "call_id")}
    said = {name: value if isinstance(value, str) else "" for name, value in texts.items()}
    content = texts[_CONTENT]
    text = said[_CONTENT] if isinstance(content, str) or content is None else _as_json(content)
    usage = members.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    return ViewedStep(
        at=place,
        text=text[:bytes_max],
        tool=said["tool"],
        arguments=members.get(_ARGUMENTS),
        source=said["source"],
        intent=said["intent"],
        model=said["model"],
        call_id=said["call_id"],
        truncated=members.get("truncated") is True,
        tokens_in=_count(usage.get("input_tokens")),
        tokens_out=_count(usage.get("output_tokens")),
        cut=place.length > LARGE_BYTES or len(text) > bytes_max,
        stored_bytes=place.length,
    )


def _unread(place: StepPlace, raw: bytes, bytes_max: int) -> ViewedStep:
    text = raw[:bytes_max].decode(errors="replace")
    return ViewedStep(at=place, text=text, tool=place.tool, cut=place.length > len(raw), stored_bytes=place.length)


def _as_json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _count(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None
