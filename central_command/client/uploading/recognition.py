"""Which steps of a file were sent before, and whether a file is a session that was sent before. Pure.

A step is known by what it says: its text without regard to white space, of an action its tool and arguments. Nothing
that a reader adds counts (type, source, numbers, estimates), so a reader may change and its steps are still known. Its
time tells steps of the same text apart, where the file's times are still those that were noted.

What occurs twice must have been sent twice: a step is matched first with one of the same text and time, then with one
of the same text alone. The second is not done for a step that stands behind, and is later than, all that is known by
its time as well: the same command run again is new, also where the file's beginning, with its earlier runs, is gone.

*The same session.* An agent's own id of the session finds those that may be the same; sub-agents share their parent's,
forks may, and a file can be copied, moved, compressed, or begin anew after the agent has shortened it. A file is a
session that was sent before when it lies where that one lay; elsewhere, when all its steps are that one's, or when it
holds the last step that was sent of it. A fork holds steps before that one, and then others; it is a session of its
own. Of sub-agents, the file's name must be the same, too. A path may be used again, by the same job and with the same
words: of a file there whose id is another one, or that has none, a step must be known by its time as well.

*Without times* equal texts are no evidence: a thread that is resumed says the same again. Such a file holds what was
sent only as its beginning, all of it and in order: a file that grew, or a copy. What is in doubt is sent: the server
credits it once.
"""

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePath

import msgspec

from central_command.client.contract.chunking import encode_step
from central_command.client.contract.steps import JsonObject, Step, flat_json, json_text

DIGEST_BYTES = 8
RECORD_BYTES = DIGEST_BYTES + 4
"""A digest and, of the step's time in milliseconds, the last four bytes: what is kept for good of a step that is sent.

Six kilobytes for a session of 500 steps.
"""
COPIED_STEPS_MIN = 3
"""As few steps in a row may be a copy; a server looks for as many."""
_RUNS_MAX = 1_000
"""Of so many sessions at most a file's beginning is put together; each is looked through for each run."""
_PACKED_SUFFIXES = (".zst", ".gz")
_OLD_MEMBERS = frozenset(
    {
        *("step", "type", "timestamp", "tool", "arguments", "content", "source", "intent", "call_id", "is_error"),
        *("truncated", "original_token_count", "token_count"),
    }
)


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_SORTED = msgspec.json.Encoder(order="deterministic")


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What is noted of one session that was sent: where its file lay, and its steps, in order.

    `records` are those noted as now, `old_digests` those noted by earlier versions (`old_digest`).
    """

    path: str
    is_subagent: bool
    records: bytes
    old_digests: bytes


def digest(step: Step) -> bytes:
    """What one step is recognised by, but for its time."""
    if step.type == "action":
        text = f"{step.tool}\0{_canonical(step.arguments or {})}"
    else:
        text = " ".join(step.content.split())
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest()


def old_digest(step: Step) -> bytes:
    """What earlier versions recognised a step by: its members of then, but its number, and the tool of a result."""
    later = {name: None for name in step.__struct_fields__ if name not in _OLD_MEMBERS}
    tool = step.tool if step.type == "action" else None
    text = encode_step(msgspec.structs.replace(step, step=0, tool=tool, **later))
    return hashlib.blake2b(text, digest_size=DIGEST_BYTES).digest()


def record(key: bytes, time_s: float) -> bytes:
    """A digest with its step's time."""
    return key + (round(time_s * 1000) & 0xFFFFFFFF).to_bytes(4, "big")


def pieces_of(text: bytes, size: int) -> Iterator[bytes]:
    """`text` in pieces of `size` bytes."""
    return (text[at : at + size] for at in range(0, len(text), size))


class Steps(msgspec.Struct, frozen=True):
    """The steps of a file: `digests` and `times`, in order; `old_digests` reads the file for those.

    Without `has_times` all times are 0.
    """

    digests: bytes
    times: "array[float]"
    old_digests: Callable[[], bytes]
    has_times: bool = True

    def records(self) -> list[bytes]:
        """What would be noted of them."""
        return list(map(record, pieces_of(self.digests, DIGEST_BYTES), self.times))


def marked(steps: Steps, sent: Sequence[Sent]) -> "array[int]":
    """For each step of a file 0 when it was not sent before, else the place in `sent`, from 1, of what took it."""
    marks = array("L", bytes(array("L").itemsize * len(steps.times)))
    if not any(each.records or each.old_digests for each in sent):
        return marks
    if not steps.has_times:
        owners = _owners_of_beginning(steps, sent)
        marks[: len(owners)] = owners
        return marks
    keys = steps.records()
    left = _mark_timed(marks, steps, keys, sent)
    by_text: dict[bytes, array[int]] = {}
    for key, owners in left.items():
        by_text.setdefault(key[:DIGEST_BYTES], array("L")).extend(owners)
    found = [place for place, mark in enumerate(marks) if mark]
    same_text = [place for place, mark in enumerate(marks) if not mark and keys[place][:DIGEST_BYTES] in by_text]
    are_times_kept = len(found) > 0 and len(found) >= len(same_text)
    last_place = max(found, default=-1)
    last_s = max((steps.times[place] for place in found), default=0.0)
    for place in same_text:
        owners = by_text[keys[place][:DIGEST_BYTES]]
        is_later = are_times_kept and place > last_place and steps.times[place] > last_s
        if owners and not is_later:
            marks[place] = owners.pop()
    return marks


def _mark_timed(
    marks: "array[int]", steps: Steps, keys: Sequence[bytes], sent: Sequence[Sent]
) -> "dict[bytes, array[int]]":
    """Mark the steps of which one of the same text and time was sent; the records that none was found for."""
    left = _match(marks, keys, [pieces_of(each.records, RECORD_BYTES) for each in sent])
    if any(each.old_digests for each in sent):
        old = list(pieces_of(steps.old_digests(), DIGEST_BYTES))
        _match(marks, old, [pieces_of(each.old_digests, DIGEST_BYTES) for each in sent])
    return left


def _owners_of_beginning(steps: Steps, sent: Sequence[Sent]) -> "array[int]":
    """For each step that was sent its place in `sent`, from 1, if a file begins with all of them; else nothing."""
    records = b"".join(steps.records())
    old = steps.old_digests() if any(each.old_digests for each in sent) else b""
    owners = array("L")
    for owner, each in enumerate(sent, start=1):
        at = len(owners)
        middle = at + len(each.old_digests) // DIGEST_BYTES
        end = middle + len(each.records) // RECORD_BYTES
        is_next = (
            old[at * DIGEST_BYTES : middle * DIGEST_BYTES] == each.old_digests
            and records[middle * RECORD_BYTES : end * RECORD_BYTES] == each.records
        )
        if not is_next:
            return array("L")
        owners.extend([owner] * (end - at))
    return owners


def _match(marks: "array[int]", keys: Sequence[bytes], owned: Sequence[Iterator[bytes]]) -> "dict[bytes, array[int]]":
    """Mark the steps whose keys are owned, of several owners the first; what no step was found for is returned."""
    left: dict[bytes, array[int]] = {}
    for owner in range(len(owned), 0, -1):
        for key in owned[owner - 1]:
            left.setdefault(key, array("L")).append(owner)
    for place, key in enumerate(keys):
        if not marks[place] and left.get(key):
            marks[place] = left[key].pop()
    return left


def likeness(
    path: str, *, is_subagent: bool, steps: Steps, sent: Sequence[Sent], has_same_id: bool, needs_time: bool = False
) -> int:
    """How much a file is the session of which `sent` was sent, more for the likelier; 0 when it is another one.

    `has_same_id` says that the agent calls both by the same id, `needs_time` that a step of the same text and time must
    be in both, wherever they lie.
    """
    if any(each.is_subagent != is_subagent for each in sent):
        return 0
    is_there = any(plain_path(each.path) == plain_path(path) for each in sent)
    if is_subagent and not any(_name(each.path) == _name(path) for each in sent):
        return 0
    if needs_time and not _shares_timed_step(steps, sent):
        return 0
    known = len(steps.times) - marked(steps, sent).count(0)
    if is_there:
        # Without times, one of which nothing was taken yet goes on as well.
        goes_on = has_same_id and (steps.has_times or not any(each.records or each.old_digests for each in sent))
        return known + len(steps.times) + 1 if known or goes_on else 0
    return known if has_same_id and _is_copy(steps, sent) else 0


def _shares_timed_step(steps: Steps, sent: Sequence[Sent]) -> bool:
    if not steps.has_times:
        return False
    marks = array("L", [0] * len(steps.times))
    _mark_timed(marks, steps, steps.records(), sent)
    return any(marks)


def _is_copy(steps: Steps, sent: Sequence[Sent]) -> bool:
    """Whether the file, which lies elsewhere, holds nothing but what was sent, or the last step of that.

    Without times it must be the same as what was sent, or go on from `COPIED_STEPS_MIN` steps of it at least.
    """
    if not steps.has_times:
        count = len(_owners_of_beginning(steps, sent))
        return count == len(steps.times) or count >= COPIED_STEPS_MIN
    records = [each.records for each in sent if each.records]
    if records and _holds_end_of(steps.records(), records, RECORD_BYTES):
        return True
    digests = [each.old_digests for each in sent if each.old_digests]
    if not digests:
        return False
    return _holds_end_of(list(pieces_of(steps.old_digests(), DIGEST_BYTES)), digests, DIGEST_BYTES)


def _holds_end_of(keys: Sequence[bytes], sent: Sequence[bytes], size: int) -> bool:
    held = Counter(keys)
    return any(each[-size:] in held for each in sent) or held <= Counter(
        key for each in sent for key in pieces_of(each, size)
    )


def copied_steps(steps: Steps, others: Sequence[Sequence[Sent]]) -> int:
    """How many of a file's first steps are those of other sessions, in a row and at the same times.

    Agents that branch or resume a session may copy its history without a word, that may be a copy in part, too, and
    what an agent begins with may be the end of another's history. Fewer than `COPIED_STEPS_MIN` are none.
    """
    keys = b"".join(steps.records())
    every = [b"".join(each.records for each in sent) for sent in others]
    count = 0
    for _ in range(_RUNS_MAX):
        more = max((_in_common(keys, count * RECORD_BYTES, each) for each in every), default=0)
        count += more
        if not more or count < COPIED_STEPS_MIN:
            break
    return count if count >= COPIED_STEPS_MIN else 0


def _in_common(keys: bytes, start: int, other: bytes) -> int:
    """How many records from `start` on stand in the same row in another session, where it has the first of them."""
    first = keys[start : start + RECORD_BYTES]
    place = other.find(first) if first else -1
    while place >= 0 and place % RECORD_BYTES:
        place = other.find(first, place + 1)
    if place < 0:
        return 0
    pairs = zip(pieces_of(keys[start:], RECORD_BYTES), pieces_of(other[place:], RECORD_BYTES), strict=False)
    size = min(len(keys) - start, len(other) - place) // RECORD_BYTES
    return next((n for n, (mine, its) in enumerate(pairs) if mine != its), size)


def plain_path(path: str) -> str:
    """A path without the ending that compressing adds: agents compress their old sessions in place."""
    for suffix in _PACKED_SUFFIXES:
        path = path.removesuffix(suffix)
    return path


def _name(path: str) -> str:
    return PurePath(plain_path(path)).name


def _canonical(arguments: JsonObject) -> str:
    try:
        flat = flat_json(arguments, _SORTED)
        if flat is not None and flat.isascii() and "\x7f" not in flat:  # all else is to be escaped
            return flat
        return _CANONICAL.encode(arguments)
    except (RecursionError, ValueError):
        return json_text(arguments)
