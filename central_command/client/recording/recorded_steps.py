"""From what a program hands over to steps as the contract has them, and their totals for the outcome. Pure."""

import json
import math
from collections.abc import Callable, Mapping
from typing import cast

import msgspec

from actors.envelopes.schema import MILLISECONDS_FROM, STEP_TYPES
from actors.envelopes.settings import SchemaSettings
from central_command.client.contract.chunking import CHUNK_BYTES_MAX, as_written, encode_json
from central_command.client.contract.scrubbing import StepScrubber
from central_command.client.contract.steps import (
    CONTENT_CHARS_MAX,
    TOKEN_COUNT_MAX,
    JsonObject,
    Step,
    cut,
    estimate_tokens,
    fit_arguments,
    json_text,
)

Scrub = Callable[[JsonObject], JsonObject]
"""Takes a step's members and returns those that may be kept; may change the object that it is given."""

_LIMITS = SchemaSettings()
_OPEN_ERRORS_MAX = 1_000


class BadStepError(Exception):
    """A step that the server would refuse; the text is one sentence that says why, without its content."""


def snapshot(step: Step | Mapping[str, object]) -> bytes:
    """The step as it is now, as JSON: later changes by the caller do not reach it. Raises what encoding raises."""
    try:
        return msgspec.json.encode(step)
    except UnicodeEncodeError:  # a lone surrogate, which real agents do write
        return encode_json(msgspec.to_builtins(step))


def prepare(
    text: bytes, *, number: int, now_s: float, scrub: Scrub | None, scrubber: StepScrubber | None = None
) -> tuple[JsonObject, bytes]:
    """A snapshot as step `number`, scrubbed, completed and cut to the contract's bounds, and its JSON text.

    `scrub` is the program's own, `scrubber` this project's, which comes after it. `timestamp` is `now_s` where there is
    none, `token_count` a token for every four characters. Raises BadStepError; what `scrub` raises becomes one, too, so
    that nothing that was not scrubbed is ever kept.
    """
    members = _decode(text)
    if scrub is not None:
        try:
            members = scrub(members)
        except Exception as error:
            raise BadStepError(f"the scrub raised {type(error).__name__}") from error
        if not isinstance(members, dict):
            raise BadStepError("the scrub returned no step")
        if scrubber is not None:
            members = _as_json(members)
    if scrubber is not None:
        members = scrubber.members(members)
    step: JsonObject = {"step": number} | {name: value for name, value in members.items() if value is not None}
    step["step"] = number
    if step.get("type") not in STEP_TYPES:
        raise BadStepError(f"its type is none of {', '.join(STEP_TYPES)}")
    step["timestamp"] = as_written(_timestamp(step.get("timestamp", now_s), now_s))
    _fit_texts(step)
    try:
        encoded = encode_json(step)
    except (ValueError, TypeError, RecursionError) as error:
        raise BadStepError("it cannot be written as JSON") from error
    if len(encoded) > CHUNK_BYTES_MAX:
        raise BadStepError(f"it is larger than {CHUNK_BYTES_MAX} bytes")
    return step, encoded


def _decode(text: bytes) -> JsonObject:
    try:
        members = msgspec.json.decode(text)
    except msgspec.DecodeError:
        try:
            members = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BadStepError("it cannot be read back from JSON") from error
    except RecursionError as error:
        raise BadStepError("it is nested too deeply") from error
    if not isinstance(members, dict):
        raise BadStepError("it is no object")
    return members


def _as_json(members: JsonObject) -> JsonObject:
    """What a program's function returned, as it will be read: a scrubber looks into nothing but JSON."""
    try:
        return _decode(encode_json(members))
    except (ValueError, TypeError, RecursionError) as error:
        raise BadStepError("it cannot be written as JSON") from error


def _timestamp(value: object, now_s: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadStepError("its timestamp is no number")
    seconds = value / 1000 if value >= MILLISECONDS_FROM else value
    if not now_s - _LIMITS.timestamp_age_s_max <= seconds <= now_s + _LIMITS.timestamp_ahead_s_max:
        raise BadStepError("its timestamp is more than seven days old or more than an hour ahead")
    return value


def _fit_texts(step: JsonObject) -> None:
    content = step.setdefault("content", "")
    if not isinstance(content, str):
        raise BadStepError("its content is no text")
    whole = content
    step["content"] = content = cut(whole, CONTENT_CHARS_MAX)
    is_cut = len(content) < len(whole)
    whole_chars = len(whole)
    sent_chars = len(content)
    if "arguments" in step:
        fitted = fit_arguments(step["arguments"])
        step["arguments"] = fitted.members
        is_cut |= fitted.is_cut
        whole_chars += fitted.whole_chars
        sent_chars += len(json_text(fitted.members)) if fitted.is_cut else fitted.whole_chars
    for name, value in step.items():
        if name != "arguments" and isinstance(value, dict | list) and fit_arguments(value).is_cut:
            raise BadStepError("one of its members is too large or nested too deeply")
    step["token_count"] = _tokens(step.get("token_count"), estimate_tokens(sent_chars))
    if is_cut:
        step["truncated"] = True
        step["original_token_count"] = _tokens(step.get("original_token_count"), estimate_tokens(whole_chars))
    elif "original_token_count" in step:
        step["original_token_count"] = _tokens(step["original_token_count"], estimate_tokens(whole_chars))
    if not isinstance(step.get("truncated", False), bool):
        raise BadStepError("its truncated is neither true nor false")


def _tokens(value: object, estimate: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        return estimate
    return min(max(value, 0), TOKEN_COUNT_MAX)


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """Totals of the steps of one session so far, for the `outcome` of its SESSION_CLOSE."""

    number: int = 0
    steps: int = 0
    bytes: int = 0
    tokens: int = 0
    errors: int = 0
    errors_recovered: int = 0
    interventions: int = 0
    coordination_events: int = 0
    first_s: float | None = None
    last_s: float = 0.0
    open_errors: dict[str, int] = {}
    """Errors by tool that no result of the same tool has followed yet."""

    def with_step(self, step: JsonObject, size: int) -> "Tally":
        """The totals with one more step, of `size` bytes."""
        kind, tool = step["type"], str(step.get("tool", ""))[:200]
        timestamp = cast("float", step["timestamp"])
        seconds = timestamp / 1000 if timestamp >= MILLISECONDS_FROM else timestamp
        open_errors, recovered = self.open_errors, 0
        if kind == "error" and (tool in open_errors or len(open_errors) < _OPEN_ERRORS_MAX):
            open_errors = {**open_errors, tool: open_errors.get(tool, 0) + 1}
        elif kind == "observation" and tool and tool in open_errors:
            recovered = open_errors[tool]
            open_errors = {name: count for name, count in open_errors.items() if name != tool}
        return Tally(
            number=cast("int", step["step"]),
            steps=self.steps + 1,
            bytes=self.bytes + size,
            tokens=self.tokens + cast("int", step["token_count"]),
            errors=self.errors + (kind == "error"),
            errors_recovered=self.errors_recovered + recovered,
            interventions=self.interventions + (step.get("intent") == "interruption"),
            coordination_events=self.coordination_events + (kind == "coordination"),
            first_s=seconds if self.first_s is None else min(self.first_s, seconds),
            last_s=max(self.last_s, seconds),
            open_errors=open_errors,
        )

    def outcome(self, status: str, *, chunks: int) -> JsonObject:
        """The contract's `outcome`, of what was recorded; what a recorder cannot know is left out."""
        return {
            "status": status,
            "user_interventions": self.interventions,
            "total_steps": self.steps,
            "total_chunks": chunks,
            "total_tokens": self.tokens,
            "duration_seconds": int(self.last_s - (self.first_s or self.last_s)),
            "errors_encountered": self.errors,
            "errors_recovered": self.errors_recovered,
            "coordination_events": self.coordination_events,
        }
