"""`otel`: a trace for each session by OpenTelemetry's conventions for generative AI, as the JSON lines of OTLP.

    invoke_agent {agent}             the session
    ├── chat {model}                 an inference: what it was given since the one before, and what it said
    ├── execute_tool {tool}          each call, from its step to its result
    │   └── invoke_agent {agent}     the sub-agent that it began
    └── …

A line is one session: `{"resourceSpans": […]}`; ids are hexadecimal and follow from the trajectory's and the step's,
so the same session has the same ones; integers of 64 bits are text. Messages and arguments are JSON text, the form that
every backend takes. Input messages are those since the inference before; what no inference read, the session's span
has. A result stands with its call's span and in the input of the next inference, as the conventions have it. Where a
client knew no time, the last known one stands. Tokens are what the agent reported. Feedback, outcome and quality are
events `gen_ai.evaluation.result` of the session's span.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from central_command.corpus.trajectory import Trajectory, Usage
from central_command.exporting.columns import flat
from central_command.exporting.conversation import Call, Conversation, Heard, Inference, read_conversation, said_by
from central_command.exporting.formats.format import Format
from central_command.exporting.reasons import LeftOut, LeftOutReason
from central_command.exporting.shape import Row, Shape
from central_command.exporting.subagents import children_of, identity_of
from central_command.exporting.usage import usage_of, usage_of_session
from central_command.exporting.written import json_text

CONVENTIONS: Final = "0.1.0"
"""The version of semantic-conventions-genai that the attributes follow; all of it is in development."""
PROVIDERS: Final = {"claude-code": "anthropic", "codex": "openai", "gemini": "gcp.gemini"}
_INTERNAL, _CLIENT = 1, 3
_ERROR: Final = {"code": 2}


def rows(trajectory: Trajectory, shape: Shape) -> list[Row]:  # noqa: ARG001 (a trace is written whole)
    """The one trace of a trajectory, its sub-agents' spans within it. Raises LeftOut for one without steps."""
    if not read_conversation(trajectory).turns:
        raise LeftOut(LeftOutReason.NO_STEPS)
    trace = _Trace(_hex(trajectory.trajectory_id, 16))
    trace.add_session(trajectory, "", 0)
    scope = {"name": "central-command", "version": CONVENTIONS}
    resource = {"attributes": _attributes({"service.name": trajectory.provider})}
    return [{"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": trace.spans}]}]}]


class _Trace:
    """The spans of one trace in the making."""

    def __init__(self, trace_id: str) -> None:
        self._trace_id = trace_id
        self.spans: list[Row] = []

    def add_session(self, trajectory: Trajectory, parent: str, began: int) -> None:
        """Add the span of a session and all within it; `began` is the time, in ns, of what began it."""
        conversation = read_conversation(trajectory)
        clock = _Clock(trajectory, began)
        name = f"invoke_agent {trajectory.provider}"
        span = self._span(name, _INTERNAL, _hex(identity_of(trajectory), 8), parent)
        span["attributes"] = _attributes(_of_session(trajectory))
        children = {each.place: each for each in conversation.calls}
        self._add_turns(conversation, span, clock)
        for each in children_of(trajectory):
            call = None if each.at is None else children.get(each.at)
            above = span["spanId"] if call is None else _step_id(trajectory, "call", call.place)
            start = clock.first if call is None else clock.at(call.place)
            self.add_session(each.trajectory, str(above), start)
        span |= _between(clock.first, clock.last)
        span["events"] = [_event(clock.last, each) for each in _evaluations(trajectory)]

    def _add_turns(self, conversation: Conversation, session: Row, clock: "_Clock") -> None:
        trajectory, parent = conversation.trajectory, str(session["spanId"])
        copied = conversation.copied
        given: list[Row] = []
        for turn in conversation.turns:
            if isinstance(turn, Heard):
                given.append(_message(turn.role, [_text(turn.step.text)]))
                continue
            usage = usage_of(each.step for each in turn.own_steps if each.place not in copied)
            self._add_inference(trajectory, turn, usage, given, parent, clock)
            given = _results(turn.calls)
            for call in turn.calls:
                self._add_call(trajectory, call, parent, clock)
        heard = [message for message in given if message["role"] != "tool"]
        if heard:
            # The session's own span has what no inference read.
            found = session["attributes"]
            assert isinstance(found, list)
            found += _attributes({"gen_ai.input.messages": json_text(heard)})

    def _add_inference(
        self,
        trajectory: Trajectory,
        turn: Inference,
        usage: Usage | None,
        given: list[Row],
        parent: str,
        clock: "_Clock",
    ) -> None:
        own = turn.own_steps
        model = next((each.step.model for each in own if each.step.model), None)
        span = self._span(f"chat {trajectory.model}", _CLIENT, _step_id(trajectory, "chat", own[0].place), parent)
        reason = "tool_call" if turn.calls else "stop"
        answer = _message("assistant", list(_parts(turn))) | {"finish_reason": reason}
        span["attributes"] = _attributes(
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": PROVIDERS.get(trajectory.provider, trajectory.provider),
                "gen_ai.conversation.id": trajectory.session_id,
                "gen_ai.request.model": trajectory.model,
                "gen_ai.response.model": model,
                "gen_ai.response.finish_reasons": [reason],
                **_tokens(usage),
                "gen_ai.input.messages": json_text(given) if given else None,
                "gen_ai.output.messages": json_text([answer]),
            }
        )
        span |= _between(clock.at(own[0].place), clock.at(own[-1].place))

    def _add_call(self, trajectory: Trajectory, call: Call, parent: str, clock: "_Clock") -> None:
        span = self._span(f"execute_tool {call.name}", _INTERNAL, _step_id(trajectory, "call", call.place), parent)
        has_failed = call.result is not None and call.result.step.has_failed
        span["attributes"] = _attributes(
            {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": call.name,
                "gen_ai.tool.type": "function",
                "gen_ai.tool.call.id": call.call_id,
                "gen_ai.tool.call.arguments": json_text(call.arguments),
                "gen_ai.tool.call.result": None if call.result is None else call.result.step.text,
                "error.type": "tool_error" if has_failed else None,
            }
        )
        if has_failed:
            span["status"] = _ERROR
        ended = call.place if call.result is None else call.result.place
        span |= _between(clock.at(call.place), clock.at(ended))

    def _span(self, name: str, kind: int, span_id: str, parent: str) -> Row:
        span: Row = {"traceId": self._trace_id, "spanId": span_id, "name": name, "kind": kind}
        if parent:
            span["parentSpanId"] = parent
        self.spans.append(span)
        return span


class _Clock:
    """The time of each step, in ns since the epoch: its own, or the last one known before it."""

    def __init__(self, trajectory: Trajectory, began: int) -> None:
        known = [trajectory.seconds_of(step) for step in trajectory.steps]
        first = next((seconds for seconds in known if seconds is not None), None)
        at = began if first is None else _nanoseconds(first)
        self.first = at
        self._times: list[int] = []
        for seconds in known:
            at = at if seconds is None else _nanoseconds(seconds)
            self._times.append(at)
        self.last = max([self.first, *self._times])

    def at(self, place: int) -> int:
        """The time of the step at a place."""
        return self._times[place]


def _nanoseconds(seconds: float) -> int:
    """Nanoseconds since the epoch, exact to the microsecond; never below 0."""
    return max(0, round(seconds * 1_000_000)) * 1_000


def _between(began: int, ended: int) -> Row:
    return {"startTimeUnixNano": str(began), "endTimeUnixNano": str(max(began, ended))}


def _of_session(trajectory: Trajectory) -> Mapping[str, Any]:
    known = {f"central_command.{name}": value for name, value in flat(trajectory).items()}
    return {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": PROVIDERS.get(trajectory.provider, trajectory.provider),
        "gen_ai.agent.name": trajectory.provider,
        "gen_ai.agent.version": trajectory.client_version,
        "gen_ai.conversation.id": trajectory.session_id,
        "gen_ai.request.model": trajectory.model,
        **_tokens(usage_of_session(trajectory)),
        **known,
    }


def _tokens(usage: Usage | None) -> Mapping[str, int | None]:
    if usage is None:
        return {}
    return {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read_tokens,
        "gen_ai.usage.cache_write.input_tokens": usage.cache_write_tokens,
    }


def _evaluations(trajectory: Trajectory) -> Iterator[Mapping[str, Any]]:
    if trajectory.outcome is not None:
        yield {"name": "outcome", "score.label": trajectory.outcome.status}
    for each in trajectory.feedback:
        yield {"name": "feedback", "score.label": each.signal, "explanation": each.context}
    quality = trajectory.enrichment.quality_assessment
    if quality.tier:
        yield {"name": "quality", "score.label": quality.tier, "score.value": float(quality.score)}


def _event(at: int, evaluation: Mapping[str, Any]) -> Row:
    attributes = _attributes({f"gen_ai.evaluation.{name}": value for name, value in evaluation.items()})
    return {"timeUnixNano": str(at), "name": "gen_ai.evaluation.result", "attributes": attributes}


def _message(role: str, parts: list[Row]) -> Row:
    return {"role": role, "parts": parts}


def _text(content: str) -> Row:
    return {"type": "text", "content": content}


def _parts(turn: Inference) -> Iterator[Row]:
    for each in turn.reasoning:
        yield {"type": "reasoning", "content": said_by(each.step)}
    for each in turn.prose:
        yield _text(said_by(each.step))
    for call in turn.calls:
        yield {"type": "tool_call", "id": call.call_id, "name": call.name, "arguments": dict(call.arguments)}


def _results(calls: Iterable[Call]) -> list[Row]:
    """The messages of the tool that hold the results of these calls."""
    return [
        _message("tool", [{"type": "tool_call_response", "id": call.call_id, "response": call.result.step.text}])
        for call in calls
        if call.result is not None
    ]


def _step_id(trajectory: Trajectory, kind: str, place: int) -> str:
    return _hex(f"{identity_of(trajectory)}/{kind}/{place}", 8)


def _hex(text: str, size: int) -> str:
    """An id of `size` bytes, the same for the same text, never all zeros."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[: 2 * size]


def _attributes(values: Mapping[str, Any]) -> list[Row]:
    """Attributes of OTLP's JSON form, of those that have a value."""
    return [{"key": key, "value": _any_value(value)} for key, value in values.items() if value is not None]


def _any_value(value: object) -> Row:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case list():
            return {"arrayValue": {"values": [_any_value(each) for each in value]}}
    return {"stringValue": str(value)}


OTEL: Final = Format(name="otel", rows=rows, version=CONVENTIONS)
