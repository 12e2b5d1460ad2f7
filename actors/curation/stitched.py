"""A trajectory's line as curation reads it: the members that its rules look at, each as it may really come.

Steps are what clients sent (docs/format.md, "JSON as it comes"): only their type, number, time and counts were checked
when they were accepted. So all else is held as raw JSON and read when it is asked for, and what is of another type than
expected reads as missing; nothing here raises for it.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from persistence.format import json_text, times
from persistence.format.step_runs import StepTexts

NOTHING: Final = msgspec.Raw()

_TEXT = msgspec.json.Decoder(str)
_VALUE = msgspec.json.Decoder(Any)


class StitchedStep(StepTexts, frozen=True, gc=False, kw_only=True):
    """One step of a trajectory; what readers of agents' files add beside the contract's members is optional."""

    token_count: int = 0
    truncated: bool | None = None
    call_id: msgspec.Raw = NOTHING
    source: msgspec.Raw = NOTHING
    intent: msgspec.Raw = NOTHING
    is_error: msgspec.Raw = NOTHING
    model: msgspec.Raw = NOTHING

    @property
    def said(self) -> str:
        """What the step says; empty when it says nothing. Decoded anew each time."""
        return text_of(self.content)

    @property
    def tool_name(self) -> str:
        """The tool's name, empty when none is named."""
        return text_of(self.tool)

    @property
    def asked(self) -> Mapping[str, object]:
        """The arguments of the call by their names; empty when there are none. Decoded anew each time."""
        return object_of(self.arguments)

    @property
    def has_failed(self) -> bool:
        """Whether the step is an error, or the answer of a call that went wrong."""
        return self.type == "error" or bytes(self.is_error) == b"true"


class Gap(msgspec.Struct, frozen=True):
    """How many of a session's sequence numbers were skipped in one place."""

    missing: int = 1


class StitchedTrajectory(msgspec.Struct, frozen=True, kw_only=True):
    """The members of a trajectory's line that curation looks at (docs/format.md, "trajectories/")."""

    trajectory_id: str
    metadata: msgspec.Raw
    trajectory_log: list[StitchedStep]
    close_metadata: msgspec.Raw = NOTHING
    outcome: msgspec.Raw = NOTHING
    copied_steps: int = 0
    started_at: str | None = None
    ended_at: str | None = None
    total_tokens: int = 0
    sequence_gaps: tuple[Gap, ...] = ()
    repeated_members: int = 0

    @property
    def duration_s(self) -> float:
        """Seconds from the first to the last step, by their real times; 0 without times."""
        if self.started_at is None or self.ended_at is None:
            return 0.0
        return max(0.0, times.from_text(self.ended_at) - times.from_text(self.started_at))

    @property
    def provider(self) -> str:
        """The agent, as the first chunk names it."""
        return text_member(self.metadata, "provider")

    @property
    def model(self) -> str:
        """The model, as the first chunk names it."""
        return text_member(self.metadata, "model_engine")


_LINE = msgspec.json.Decoder(StitchedTrajectory)


def read_stitched(line: bytes | bytearray) -> StitchedTrajectory:
    """Read a line of the trajectories journal, or such a line scrubbed.

    Raises msgspec.DecodeError for a text that is no such line.
    """
    return json_text.decode(_LINE, line)


def text_of(raw: msgspec.Raw) -> str:
    """The text that a JSON value is, empty for any other."""
    text = bytes(raw)
    if not text.startswith(b'"'):
        return ""
    try:
        return json_text.decode(_TEXT, text)
    except msgspec.DecodeError:
        return ""


def object_of(raw: msgspec.Raw) -> Mapping[str, object]:
    """The object that a JSON value is, empty for any other, and for one that holds what nobody can (such as 1e400)."""
    text = bytes(raw)
    if not text.startswith(b"{"):
        return {}
    try:
        value = json_text.decode(_VALUE, text)
    except (msgspec.DecodeError, OverflowError):
        return {}
    return value if isinstance(value, dict) else {}


def text_member(raw: msgspec.Raw, name: str) -> str:
    """A member of a JSON object that is text, else an empty one."""
    value = object_of(raw).get(name)
    return value if isinstance(value, str) else ""
