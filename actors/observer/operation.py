"""An operation: what was asked of whom, whether it went well, and how long it took, as whoever did it says. Pure.

What callers leave out is filled in as the clients of the original observer expect it; what they add is kept beside the
rest. Texts are what somebody wrote: they are scrubbed and cut here, before anything is kept or shown.
"""

import re
from typing import Any, Final, cast

import msgspec

from actors.curation.scrubbing.json_values import JSONValue
from actors.curation.scrubbing.scrubber import PIIScrubber
from persistence.format import json_text

SCENARIO: Final = "scenario"
SCENARIO_ENDPOINT: Final = "scenario:fill"
CORRECTION: Final = "overseer_correction"
OWN: Final = "central_command"
"""The source of this server's own operations."""

NAME_CHARS_MAX: Final = 200
"""Characters of an endpoint, a source or an id that are kept."""
DURATION_MS_MAX: Final = 1e12

_INSTANT: Final = re.compile(r"\A[0-9T:.,+Z -]{4,40}\Z")
_DIGEST: Final = re.compile(r"\A[0-9A-Fa-f]{8,128}\Z")


class Operation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One operation; `more` are the members that are not known here, as JSON values."""

    timestamp: str
    endpoint: str
    input_summary: str
    success: bool
    duration_ms: float
    output_summary: str
    error: str | None = None
    source: str
    staffer_id: str | None = None
    sig_hash: str | None = None
    event_kind: str | None = None
    role: str | None = None
    city: str | None = None
    state: str | None = None
    count: float | None = None
    rescue_attempted: bool | None = None
    rescue_succeeded: bool | None = None
    task_class: str | None = None
    correction: str | None = None
    applied_at_turn: float | None = None
    more: dict[str, Any] = {}

    @property
    def failure(self) -> str:
        """What is said of why it failed."""
        return self.error or self.output_summary or "failed"


MEMBERS: Final = tuple(name for name in Operation.__struct_fields__ if name != "more")
NAMES: Final = frozenset(
    ("timestamp", "endpoint", "source", "staffer_id", "sig_hash", "event_kind", "role", "city", "state", "task_class")
)
"""Texts that name something: they are cut at fewer characters."""
TEXTS: Final = NAMES | {"input_summary", "output_summary", "error", "correction"}
FLAGS: Final = frozenset(("success", "rescue_attempted", "rescue_succeeded"))
NUMBERS: Final = frozenset(("duration_ms", "count", "applied_at_turn"))

_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])
_encode: Final = msgspec.json.Encoder().encode


class OperationRefused(Exception):  # noqa: N818 (the state of what came in, not an error of a call)
    """What came in is no operation: one sentence says why."""


class Bounds(msgspec.Struct, frozen=True):
    """How much of an operation is kept: characters of a text, and bytes of all members that are not known."""

    text_chars_max: int
    more_bytes_max: int


class OperationReader:
    """Makes operations of what callers hand over."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._scrubber = PIIScrubber.for_trajectories()

    def completed(self, members: dict[str, Any], at: str) -> Operation:
        """An operation of the members that are given, scrubbed and cut; raises OperationRefused for a wrong one."""
        known = {name: members[name] for name in MEMBERS if members.get(name) is not None}
        for name, value in known.items():
            _check(name, value)
        more = {name: value for name, value in members.items() if name not in MEMBERS}
        if more and len(_encode(more)) > self._bounds.more_bytes_max:
            raise OperationRefused(
                f"The members that are not known here may have {self._bounds.more_bytes_max:,} bytes together."
            )
        success = known.get("success", False)
        filled = {
            "timestamp": at,
            "endpoint": SCENARIO_ENDPOINT,
            "source": SCENARIO,
            "duration_ms": 0.0,
            "success": success,
            "input_summary": scenario_input(known),
            "output_summary": "filled" if success else known.get("error") or "failed",
        } | known
        kept = {name: self._kept(name, value) for name, value in filled.items()}
        scrubbed = self._scrubber.scrub_value(cast("JSONValue", more))
        return Operation(**kept, more=cast("dict[str, Any]", self._with_names_scrubbed(scrubbed)))

    def correction(self, row: bytes, at: str) -> Operation:
        """The operation of a row of the corrections file; raises OperationRefused."""
        members = _object(row, "The row")
        said = members.get("correction")
        turn, kind = members.get("applied_at_turn"), members.get("task_class")
        filled = {
            "timestamp": members.get("created_at"),
            "endpoint": "overseer:correction",
            "input_summary": f"{'?' if kind is None else kind} at turn {'?' if turn is None else _shown(turn)}",
            "output_summary": said,
        }
        given = {name: value for name, value in members.items() if value is not None}
        known = {name: value for name, value in filled.items() if value is not None}
        return self.completed({**known, **given, "source": CORRECTION, "success": True}, at)

    def _with_names_scrubbed(self, value: object) -> object:
        """The same with the names of members scrubbed, too: whoever sends them chooses them as they do the values."""
        if isinstance(value, list):
            return [self._with_names_scrubbed(each) for each in value]
        if not isinstance(value, dict):
            return value
        named: dict[str, object] = {}
        for name, each in value.items():
            scrubbed = shown = self._scrubber.scrub_part(name, 0, len(name))
            while shown in named:  # two that only differed in what was taken out
                shown = f"{scrubbed} {len(named)}"
            named[shown] = self._with_names_scrubbed(each)
        return named

    def _kept(self, name: str, value: Any) -> Any:  # noqa: ANN401 (a member's value)
        if name not in TEXTS:
            return float(value) if name in NUMBERS else value
        chars_max = min(NAME_CHARS_MAX, self._bounds.text_chars_max) if name in NAMES else self._bounds.text_chars_max
        if (name == "timestamp" and _INSTANT.match(value)) or (name == "sig_hash" and _DIGEST.match(value)):
            return value
        scrubbed = self._scrubber.scrub_part(value, 0, chars_max)
        return scrubbed if len(value) <= chars_max else f"{scrubbed}…"


def scenario_input(members: dict[str, Any]) -> str:
    """What an event of a scenario is about, in the original's words, with `?` for what is missing."""
    kind, role, count, city, state = (
        _shown(members.get(name)) for name in ("event_kind", "role", "count", "city", "state")
    )
    return f"{kind} {role}×{count} in {city}, {state}"  # noqa: RUF001 (the sign that the original writes)


def encoded(operation: Operation) -> bytes:
    """The JSON object of an operation: its members that are there, then those that are not known."""
    return _encode(as_members(operation))


def as_members(operation: Operation) -> dict[str, Any]:
    """The members of an operation that are there, with whole numbers as such."""
    known = {name: getattr(operation, name) for name in MEMBERS}
    shown = {name: _whole(value) for name, value in known.items() if value is not None}
    return {**shown, **operation.more}


def stored(text: bytes) -> Operation:
    """An operation as it was stored; raises OperationRefused for what is none."""
    members = _object(text, "The operation")
    more = {name: value for name, value in members.items() if name not in MEMBERS}
    known = {name: value for name, value in members.items() if name in MEMBERS}
    try:
        return msgspec.convert({**known, "more": more}, Operation)
    except msgspec.ValidationError as error:
        raise OperationRefused(f"The operation is not as it was stored: {error}.") from None


def _object(text: bytes, what: str) -> dict[str, Any]:
    try:
        return json_text.decode(_OBJECT, text)
    except msgspec.ValidationError:
        raise OperationRefused(f"{what} must be a JSON object.") from None
    except msgspec.DecodeError:
        raise OperationRefused(f"{what} is not valid JSON.") from None


def _check(name: str, value: object) -> None:
    if name in TEXTS and not isinstance(value, str):
        raise OperationRefused(f"{name} must be a text.")
    if name in FLAGS and not isinstance(value, bool):
        raise OperationRefused(f"{name} must be true or false.")
    if name in NUMBERS:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 <= cast("float", value) <= DURATION_MS_MAX:
            raise OperationRefused(f"{name} must be a number from 0 to {DURATION_MS_MAX:.0f}.")


def _shown(value: object) -> str:
    return "?" if value is None or value == "" else f"{_whole(value)}"


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value
