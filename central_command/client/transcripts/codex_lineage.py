"""Which lines of a Codex rollout are copies of another session's.

A session that was forked from another, or a sub-agent that was given the history of its parent, begins with its own
`session_meta` (`forked_from_id`, or `source.subagent`). What follows may be a copy: the parent's `session_meta`, in a
chain those of all its ancestors, and their lines, all of them or only those of the last turns, with the time of the
copying or with their own. Nothing marks where it ends, so a line is told by what only one side can have:

| copied | own |
|---|---|
| `session_meta` of another session | `session_meta` of this one, further down |
| `ordinal` below the one that the session names as its first | that one and those above |
| a turn whose id (UUIDv7) or `started_at` is older than the session | a turn that is not |
| an event that names another thread | an event that names this one |
| `inherited_user_message` | a task for this very agent from another |
| a time before the session's | a turn, or a pause, some time after the last copied line |

Copies are written at once: a model's answer within milliseconds of its prompt is one. Where a session names a parent
and nothing tells otherwise, as in versions that copy nothing, all lines are its own. What comes first of a copy decides
as little as what comes last, so the lines are looked at before they are read, up to the first that is known to be own.
"""

import uuid
from collections.abc import Iterator
from enum import Enum, auto
from typing import BinaryIO

import msgspec

from central_command.client.contract.steps import JsonObject
from central_command.client.transcripts.codex_agents import message_between_agents
from central_command.client.transcripts.json_values import object_of, seconds_of, text_of
from central_command.client.transcripts.reader import JsonLines

_TURN_BEGINS = frozenset({"task_started", "turn_started"})
_TOLD_BY_MODEL = frozenset({"agent_message", "agent_reasoning", "task_complete", "turn_complete"})
_COPYING_PAUSE_S = 1.0
"""Copied lines follow each other faster."""
_TURN_PAUSE_S = 0.25
"""A turn of its own begins at least this long after the last copied line, where nothing else tells the two apart."""
_SAME_MIN = 4
"""After so many copied lines of exactly one time, a turn with another time is its own."""
_ANSWER_MIN_S = 0.02
"""No model answers faster."""
_ID_SLACK_S = 3600.0
_ALL = 2**63


class Copied(msgspec.Struct, frozen=True):
    """The copied lines of a file: those before `end`, but for the first.

    Lines are the JSON objects of the file, counted from 0. `is_open` says that further lines may change it.
    """

    end: int = 0
    is_open: bool = False

    def holds(self, line: int) -> bool:
        """Whether the line is copied."""
        return 0 < line < self.end


def find_copied(file: BinaryIO) -> Copied:
    """The copied lines of a rollout; the file is at its start again."""
    lines = iter(JsonLines(file))
    first = next(lines, {})
    meta = object_of(first.get("payload"))
    has_parent = first.get("type") == "session_meta" and (
        bool(text_of(meta.get("forked_from_id"))) or is_subagent(meta)
    )
    copied = _find(_Witness(first, meta), enumerate(lines, start=1)) if has_parent else Copied()
    file.seek(0)
    return copied


def is_subagent(meta: JsonObject) -> bool:
    """Whether a session is a sub-agent's."""
    return "subagent" in object_of(meta.get("source")) or meta.get("thread_source") == "subagent"


def parent_of(meta: JsonObject) -> str:
    """The id of the session whose agent began this one, empty when none is named."""
    return text_of(_spawned(meta).get("parent_thread_id"))


def agent_path_of(meta: JsonObject) -> str:
    """The name by which other agents address this one, empty when it has none."""
    return text_of(meta.get("agent_path")) or text_of(_spawned(meta).get("agent_path"))


def _spawned(meta: JsonObject) -> JsonObject:
    return object_of(object_of(object_of(meta.get("source")).get("subagent")).get("thread_spawn"))


class _Whose(Enum):
    COPIED = auto()
    OWN = auto()
    UNKNOWN = auto()


def _find(witness: "_Witness", lines: Iterator[tuple[int, JsonObject]]) -> Copied:
    """Look at lines until one tells whether they begin with a copy, and then for its end."""
    turn = 0
    """The first line that begins a turn; the program writes it before all others of that turn."""
    is_asked = is_copy_asked = False
    asked_at: float | None = None
    for number, line in lines:
        whose, at = witness.whose(line), seconds_of(line.get("timestamp"))
        if whose is _Whose.UNKNOWN and _is_by_model(line):
            is_fast = at is not None and asked_at is not None and abs(at - asked_at) < _ANSWER_MIN_S
            whose = _Whose.COPIED if is_fast or not is_asked else _Whose.OWN
        if whose is _Whose.COPIED:
            return _end(witness, at, lines)
        if not turn and (_starts_turn(line) or witness.is_task(line)):
            turn, is_copy_asked = number, is_asked
        if whose is _Whose.OWN:
            return Copied(turn if is_copy_asked else 0)
        is_asked = is_asked or _is_by_user(line) or _begins_turn(line)
        asked_at = at if at is not None else asked_at
    return Copied(is_open=True)


def _end(witness: "_Witness", copied_at: float | None, lines: Iterator[tuple[int, JsonObject]]) -> Copied:
    """Look for the first own line behind copied ones, the last of which has the time `copied_at`."""
    first_at, same = copied_at, 0
    """The time of the first copied line, and how many more have exactly that one."""
    for number, line in lines:
        whose, at = witness.whose(line), seconds_of(line.get("timestamp"))
        if whose is _Whose.UNKNOWN and not witness.knows_turns and at is not None and copied_at is not None:
            pause_s = _COPYING_PAUSE_S
            if _begins_turn(line):
                pause_s = 0.0 if same >= _SAME_MIN else _TURN_PAUSE_S
            whose = _Whose.OWN if abs(at - copied_at) > pause_s else whose
        if whose is _Whose.OWN:
            return Copied(number)
        same = same + 1 if at == first_at and same >= 0 else -1
        copied_at = at if at is not None else copied_at
    return Copied(_ALL)


class _Witness:
    """What is known of the session itself, by which its lines are told from copied ones."""

    def __init__(self, first: JsonObject, meta: JsonObject) -> None:
        self._id = text_of(meta.get("id"))
        self._path = agent_path_of(meta)
        self._created_s = seconds_of(meta.get("timestamp")) or seconds_of(first.get("timestamp"))
        self._id_s = _minted_s(self._id)
        start = meta.get("subagent_history_start_ordinal", meta.get("forked_from_ordinal_exclusive"))
        self._start = start if isinstance(start, int) else None
        self.knows_turns = False
        """Whether turns of this file tell whose they are, so that no pause need tell it."""

    def whose(self, line: JsonObject) -> _Whose:
        """Whose the line is, as far as it tells itself."""
        payload = object_of(line.get("payload"))
        ordinal, at = line.get("ordinal"), seconds_of(line.get("timestamp"))
        if self._start is not None and isinstance(ordinal, int):
            return _Whose.OWN if ordinal >= self._start else _Whose.COPIED
        if line.get("type") == "session_meta":
            return _Whose.OWN if text_of(payload.get("id")) == self._id else _Whose.COPIED
        if object_of(line.get("metadata")).get("inherited_user_message") is True:
            return _Whose.COPIED
        if isinstance(thread := payload.get("thread_id"), str) and thread:
            return _Whose.OWN if thread == self._id else _Whose.COPIED
        if self.is_task(line):
            return _Whose.OWN
        if _begins_turn(line) and (begun := self._is_begun_here(payload)) is not None:
            self.knows_turns = True
            return _Whose.OWN if begun else _Whose.COPIED
        if at is not None and self._created_s is not None and at < self._created_s:
            return _Whose.COPIED
        return _Whose.UNKNOWN

    def is_task(self, line: JsonObject) -> bool:
        """Whether the line is a task that another agent gave to this one."""
        message = message_between_agents(line)
        return message is not None and message.is_task and bool(self._path) and message.recipient == self._path

    def _is_begun_here(self, turn: JsonObject) -> bool | None:
        """Whether a turn is this session's, by its id or its beginning; None where neither tells.

        Ids tell times only where the session's own id has the time at which it was created.
        """
        minted_s = _minted_s(text_of(turn.get("turn_id")))
        if self._created_s is None:
            return None
        if minted_s is not None and self._id_s is not None and abs(self._id_s - self._created_s) < _ID_SLACK_S:
            return minted_s >= self._id_s
        started_s = seconds_of(turn.get("started_at"))
        return None if started_s is None else started_s >= int(self._created_s)


def _begins_turn(line: JsonObject) -> bool:
    return line.get("type") == "turn_context" or _starts_turn(line)


def _starts_turn(line: JsonObject) -> bool:
    return line.get("type") == "event_msg" and text_of(object_of(line.get("payload")).get("type")) in _TURN_BEGINS


def _is_by_user(line: JsonObject) -> bool:
    payload = object_of(line.get("payload"))
    return payload.get("type") == "user_message" or (payload.get("type") == "message" and payload.get("role") == "user")


def _is_by_model(line: JsonObject) -> bool:
    payload = object_of(line.get("payload"))
    kind = text_of(payload.get("type"))
    if line.get("type") == "event_msg":
        return kind in _TOLD_BY_MODEL
    is_message = kind == "message" and payload.get("role") == "assistant"
    return line.get("type") == "response_item" and (is_message or kind == "reasoning" or kind.endswith("_call"))


def _minted_s(text: str) -> float | None:
    """The time in a UUIDv7, in seconds since the epoch; None for any other text."""
    try:
        value = uuid.UUID(text)
    except ValueError:
        return None
    return (value.int >> 80) / 1000 if value.version == 7 else None
