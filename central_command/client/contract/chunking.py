"""Cuts a session's steps into chunks, and a very long session into several, within the contract's limits."""

import json
import re
from collections.abc import Callable, Sequence

import msgspec

from central_command.client.contract.steps import NOT_WRITTEN, Step, is_flat

CHUNK_STEPS_MAX = 200
"""The contract's CHUNK_SIZE."""
CHUNK_BYTES_MAX = 3_900_000
"""Largest sum of a chunk's steps as JSON; the body, with all else, stays below 4 MB (the contract takes 5)."""
SESSION_CHUNKS_MAX = 198
"""The contract takes 200 envelopes a session: two are left for SESSION_CLOSE and USER_FEEDBACK."""
SESSION_BYTES_MAX = 200_000_000
"""Largest sum of a session's chunks, below what a server takes by default (268 MB)."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_FRACTION_MIN, _FRACTION_END = 1e-4, 1e16
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


class Chunk(msgspec.Struct, frozen=True):
    """Steps that travel in one envelope: how many, and their JSON text (`[...]`, UTF-8)."""

    steps: int
    trajectory_log: bytes


def encode_json(value: object) -> bytes:
    """JSON as published clients write it: no white space, raw UTF-8, lone surrogates escaped (decisions)."""
    text = _ENCODER.encode(value)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def as_written(seconds: float) -> float:
    """A whole number of seconds as JavaScript writes it: without a fraction."""
    return int(seconds) if float(seconds).is_integer() else seconds


def encode_step(step: Step) -> bytes:
    """One step as JSON."""
    return _encoded(msgspec.structs.replace(step, timestamp=as_written(step.timestamp), left_out=None))


def _encoded(sent: Step) -> bytes:
    # Numbers within arguments may be written in another way; with arguments, so may the step's time.
    if sent.arguments is None or (_is_written_alike(sent.timestamp) and is_flat(sent.arguments)):
        try:
            return msgspec.json.encode(sent)
        except NOT_WRITTEN:
            pass
    members: dict[str, object] = msgspec.to_builtins(sent)
    return encode_json(members)


def _is_written_alike(seconds: float) -> bool:
    """Whether msgspec writes a time as the standard library does: without an exponent."""
    return _FRACTION_MIN <= abs(seconds) < _FRACTION_END or seconds == 0


def next_chunk(steps: Sequence[Step], first_number: int, place: Callable[[float], float]) -> Chunk:
    """The first of `steps` (at least one) as a chunk: as many as fit, numbered from `first_number`.

    `place` moves a step's time to where the server takes it.
    """
    texts: list[bytes] = []
    size = 0
    for number, step in enumerate(steps[:CHUNK_STEPS_MAX], start=first_number):
        at = as_written(place(step.timestamp))
        text = _encoded(msgspec.structs.replace(step, step=number, timestamp=at, left_out=None))
        if texts and size + len(text) + 1 > CHUNK_BYTES_MAX:
            break
        texts.append(text)
        size += len(text) + 1
    return Chunk(len(texts), b"[" + b",".join(texts) + b"]")


def has_room(chunks: int, bytes_sent: int, chunk: Chunk) -> bool:
    """Whether a session that has so many chunks and bytes takes `chunk` too."""
    return not chunks or (chunks < SESSION_CHUNKS_MAX and bytes_sent + len(chunk.trajectory_log) <= SESSION_BYTES_MAX)
