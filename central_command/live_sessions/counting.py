"""What is counted of a session's steps, line after line, so that it goes on where it stopped. Pure.

Nothing of what people wrote is kept: numbers, times, names of models and agents, and by which ways prompts came.
Members that a client sent with another type than they have here count as if they were missing.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from actors.envelopes.schema import COUNT_MAX, TIME_SHIFT_S_MAX, seconds_of
from persistence.format import json_text

TOKEN_MEMBERS: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
"""What `usage` of a step may hold; the first includes the last two."""
CHANNELS_MAX: Final = 16
NAME_CHARS_MAX: Final = 200
_CHANNEL_CHARS_MAX: Final = 40
_PROMPTS: Final = frozenset({"instruction", "clarification", "approval"})
_RESULTS: Final = frozenset({"observation", "error"})


class FeedbackFigures(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What somebody made of the session, without their words. `timestamp` is as the client sent it."""

    signal: str
    timestamp: float
    target_step: int | None = None
    revision_rounds: int | None = None


class CountedStep(msgspec.Struct, frozen=True, gc=False):
    """What of a step is counted; a client may have sent any value as those of type `Any`."""

    type: str = ""
    timestamp: float = 0.0
    source: Any = None
    intent: Any = None
    model: Any = None
    agent: Any = None
    usage: Any = None


class _Metadata(msgspec.Struct, frozen=True):
    model_engine: str = ""
    agent_id: Any = None
    continues_session: Any = None
    time_shift_s: Any = None


class Run(msgspec.Struct, frozen=True):
    """Steps that an earlier trajectory holds already: places from 1, both included."""

    from_step: int
    to_step: int


class _Line(msgspec.Struct, frozen=True):
    trajectory_log: list[CountedStep] = []
    metadata: _Metadata = _Metadata()
    contributor_id: str = ""
    copied_from: list[Run] = []
    score: dict[str, float] | None = None


class _Feedback(msgspec.Struct, frozen=True):
    signal: str
    timestamp: float
    target_step: int | None = None
    revision_rounds: int | None = None


class _FeedbackLine(msgspec.Struct, frozen=True):
    feedback: _Feedback


_LINE: Final = msgspec.json.Decoder(_Line)
_FEEDBACK: Final = msgspec.json.Decoder(_FeedbackLine)


class Counts:
    """What was counted of one session so far."""

    def __init__(self) -> None:
        self.tokens = dict.fromkeys(TOKEN_MEMBERS, 0)
        self.prompts = self.messages = self.model_switches = 0
        self.model = self.agent = self.contributor_id = ""
        self.continues: str | None = None
        self.channels: set[str] = set()
        self.first_s, self.last_s = math.inf, -math.inf
        self.score: dict[str, float] | None = None
        self.feedback: list[FeedbackFigures] = []
        self._is_agents_word = False
        self._shift_s = 0.0

    def __repr__(self) -> str:
        return f"<Counts of {self.messages} messages>"

    @property
    def duration_s(self) -> float:
        """Seconds from the first step to the last one, by their times."""
        return max(0.0, self.last_s - self.first_s) if self.first_s <= self.last_s else 0.0

    def take(self, line: bytes) -> None:
        """Take in the line of a chunk, or that of a whole trajectory; raises msgspec.DecodeError for no such line."""
        found = json_text.decode(_LINE, line)
        metadata = found.metadata
        self.contributor_id = self.contributor_id or found.contributor_id.lower()
        self.model = self.model or metadata.model_engine
        self.agent = self.agent or name_of(metadata.agent_id)
        self.continues = self.continues or name_of(metadata.continues_session) or None
        self._shift_s = _shift_of(metadata.time_shift_s)
        self.score = found.score
        for step in found.trajectory_log:
            self._take_step(step)
        for usage in without_copies([step.usage for step in found.trajectory_log], found.copied_from):
            self._take_usage(usage)

    def take_feedback(self, line: bytes) -> None:
        """Take in the line of a feedback; raises msgspec.DecodeError for another line."""
        told = json_text.decode(_FEEDBACK, line).feedback
        self.feedback.append(
            FeedbackFigures(
                signal=told.signal,
                timestamp=told.timestamp,
                target_step=told.target_step,
                revision_rounds=told.revision_rounds,
            )
        )

    def _take_step(self, step: CountedStep) -> None:
        seconds = seconds_of(step.timestamp) - self._shift_s if step.timestamp > 0 else None
        if seconds is not None:
            self.first_s, self.last_s = min(self.first_s, seconds), max(self.last_s, seconds)
        if (model := name_of(step.model)) and model != self.model:
            self.model_switches += bool(self.model)
            self.model = model
        self.agent = name_of(step.agent) or self.agent
        if step.type in _PROMPTS:
            source = name_of(step.source) or "user"
            if len(self.channels) < CHANNELS_MAX and len(source) <= _CHANNEL_CHARS_MAX and source.isidentifier():
                self.channels.add(source)
            is_prompt = step.intent != "interruption"
            self.prompts += is_prompt
            self.messages += is_prompt
            self._is_agents_word = False
        elif step.type in _RESULTS:
            self._is_agents_word = False
        elif not self._is_agents_word:
            self.messages += 1
            self._is_agents_word = True

    def _take_usage(self, usage: object) -> None:
        if isinstance(usage, dict):
            for name in TOKEN_MEMBERS:
                count = usage.get(name)
                if type(count) is int and 0 <= count <= COUNT_MAX:
                    self.tokens[name] += count


def without_copies(values: Sequence[Any], copied: Iterable[Run]) -> list[Any]:
    """What steps have, but for those that an earlier trajectory holds already: their usage is counted there."""
    left_out = {place for run in copied for place in range(run.from_step - 1, min(run.to_step, len(values)))}
    return [value for place, value in enumerate(values) if place not in left_out]


def name_of(value: object) -> str:
    """A value that is a name, of a bounded length; empty for any other."""
    return value[:NAME_CHARS_MAX] if isinstance(value, str) and value.isprintable() else ""


def _shift_of(value: object) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) <= TIME_SHIFT_S_MAX else 0.0  # type: ignore[arg-type] # a number
