"""Cuts a session's steps into chunks, and a very long session into several, within the contract's limits."""

import json
import re
from collections.abc import Iterator

import msgspec

from central_command.client.transcripts.steps import Step

CHUNK_STEPS_MAX = 200
"""The contract's CHUNK_SIZE."""
CHUNK_BYTES_MAX = 3_900_000
"""Largest sum of a chunk's steps as JSON; the body, with all else, stays below 4 MB (the contract takes 5)."""
SESSION_CHUNKS_MAX = 198
"""The contract takes 200 envelopes a session: two are left for SESSION_CLOSE and USER_FEEDBACK."""
SESSION_BYTES_MAX = 200_000_000
"""Largest sum of a session's chunks, below what a server takes by default (268 MB)."""

_SURROGATE = re.compile("[\ud800-\udfff]")


class Chunk(msgspec.Struct, frozen=True):
    """Steps that travel in one envelope: how many, and their JSON text (`[...]`, UTF-8)."""

    steps: int
    trajectory_log: bytes


class Part(msgspec.Struct, frozen=True):
    """What goes into one session of the server's: the steps, numbered from 1, and the chunks that hold them."""

    steps: tuple[Step, ...]
    chunks: tuple[Chunk, ...]


def encode_json(value: object) -> bytes:
    """JSON as published clients write it: no white space, raw UTF-8, lone surrogates escaped (decisions)."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def encode_step(step: Step) -> bytes:
    """One step as JSON; a whole number of seconds is written without a fraction, as JavaScript does."""
    members: dict[str, object] = msgspec.to_builtins(step)
    if step.timestamp.is_integer():
        members["timestamp"] = int(step.timestamp)
    return encode_json(members)


def cut_into_parts(steps: tuple[Step, ...]) -> list[Part]:
    """All steps, once and in order: nearly always one part; more where one session cannot hold them."""
    parts: list[Part] = []
    rest = steps
    while rest:
        numbered = tuple(
            step if step.step == number else msgspec.structs.replace(step, step=number)
            for number, step in enumerate(rest[: SESSION_CHUNKS_MAX * CHUNK_STEPS_MAX], start=1)
        )
        part = _fill_part(numbered)
        parts.append(part)
        rest = rest[len(part.steps) :]
    return parts


def _fill_part(steps: tuple[Step, ...]) -> Part:
    chunks: list[Chunk] = []
    taken = size = 0
    for chunk in _chunks(steps):
        size += len(chunk.trajectory_log)
        if chunks and (len(chunks) == SESSION_CHUNKS_MAX or size > SESSION_BYTES_MAX):
            break
        chunks.append(chunk)
        taken += chunk.steps
    return Part(steps[:taken], tuple(chunks))


def _chunks(steps: tuple[Step, ...]) -> Iterator[Chunk]:
    waiting: list[bytes] = []
    size = 0
    for text in map(encode_step, steps):
        if waiting and (len(waiting) == CHUNK_STEPS_MAX or size + len(text) + 1 > CHUNK_BYTES_MAX):
            yield _chunk(waiting)
            waiting, size = [], 0
        waiting.append(text)
        size += len(text) + 1
    if waiting:
        yield _chunk(waiting)


def _chunk(texts: list[bytes]) -> Chunk:
    return Chunk(len(texts), b"[" + b",".join(texts) + b"]")
