"""One step of a trajectory, as the contract's `trajectory_log` holds it, and the bounds that each is cut to.

What is longer than the server takes keeps its beginning and its end, and says so: `truncated` is true and
`original_token_count` is what the whole text would have counted.
"""

import json
import math
from collections import deque
from collections.abc import Iterator
from typing import Literal

import msgspec

from actors.envelopes.settings import SchemaSettings
from central_command.client.contract.usage import ReportedUsage, UsageList

_LIMITS = SchemaSettings()
CONTENT_CHARS_MAX = _LIMITS.step_content_chars_max
TOKEN_COUNT_MAX = _LIMITS.token_count_max
ARGUMENTS_CHARS_MAX = 400_000
"""Longest JSON text of one action's arguments, so that one step always fits a body (contract: 5 MB)."""
ARGUMENTS_NESTING_MAX = 48
"""Deepest nesting of arguments; the envelope around them adds a few levels to what the server counts."""
NAME_CHARS_MAX = 200
BESIDE_CHARS_MAX = 16_384
"""What is remembered on either side of a cut: longer than any key in PEM. Guards memory."""
UNDATED_CHARS_MAX = 4_000_000
"""Characters of steps that are held back at most for the first time of their file."""
_HEAD_SHARE = 0.7
_CHARS_PER_TOKEN = 4

StepType = Literal["thought", "action", "observation", "error", "instruction", "resolution", "coordination"]
JsonObject = dict[str, object]
_FLAT = frozenset({str, int, bool, type(None)})
_NAMES = frozenset({str})
_ENCODER = msgspec.json.Encoder()
_TEXT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
NOT_WRITTEN = (UnicodeEncodeError, OverflowError)


class LeftOut(msgspec.Struct, frozen=True):
    """What stood beside the places at which a text was cut: by it is told what the ends of its two parts belong to.

    `head_chars` and `tail_chars` are how long the parts are, before and behind the note of what is left out.
    """

    head_chars: int
    behind_head: str
    before_tail: str
    tail_chars: int


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step (contract, "Regular CHUNK Envelopes"); members that are None are not sent.

    `step` counts from 1. `timestamp` is in seconds since the epoch, UTC. `token_count` is an estimate, a token for
    every four characters. `call_id` joins an action with the observation or error that answered it. `source` says
    where a text came from when its type alone does not (`thinking`, `user`, `agent`, `program`, `command`, `queue`,
    `notification`, `attachment`, `hook`, `api`), `intent` is `interruption` where the user stopped the agent.
    `timestamp_adjusted` says that the agent's file held a wrong time, and that this one was put between those of the
    steps around it. `usage` is what the agent reported of the model's message that this step stands for; a reader gives
    it beside its steps (`Transcript.usages`). `left_out` is never sent: what was beside the cut of the content, of an
    action beside that of its arguments.
    """

    step: int
    type: StepType
    timestamp: float
    tool: str | None = None
    arguments: JsonObject | None = None
    content: str
    source: str | None = None
    intent: str | None = None
    call_id: str | None = None
    is_error: bool | None = None
    truncated: bool | None = None
    original_token_count: int | None = None
    timestamp_adjusted: bool | None = None
    token_count: int
    usage: ReportedUsage | None = None
    left_out: LeftOut | None = None


def json_text(value: object) -> str:
    """`value` as compact JSON with characters as they are; a note in its place when it is nested past all reading."""
    try:
        return _TEXT.encode(value)
    except RecursionError:
        return '"[nested too deeply to be written]"'


def is_flat(members: JsonObject) -> bool:
    """Whether msgspec, which is several times faster, writes an object as the standard library does, if it writes it.

    That is so of members that are text, true, false, null or whole numbers. A fraction, and so an object or a list,
    which may hold one, it writes differently (1e16); lone surrogates and more than 64 bits it does not write at all
    (`NOT_WRITTEN`).
    """
    return _FLAT.issuperset(map(type, members.values())) and _NAMES.issuperset(map(type, members))


def flat_json(members: JsonObject, encoder: msgspec.json.Encoder) -> str | None:
    """The JSON text of an object where an encoder of msgspec writes it as the standard library does; else None."""
    if is_flat(members):
        try:
            return encoder.encode(members).decode()
        except NOT_WRITTEN:
            pass
    return None


def estimate_tokens(chars: int) -> int:
    """Tokens in `chars` characters of text: a quarter of them, rounded up, at most `TOKEN_COUNT_MAX`."""
    return min(TOKEN_COUNT_MAX, -(-chars // _CHARS_PER_TOKEN))


def cut(text: str, chars_max: int) -> str:
    """`text` if it has at most `chars_max` characters, else its head and tail with a note of what is left out."""
    return cut_noted(text, chars_max)[0]


def cut_noted(text: str, chars_max: int) -> tuple[str, LeftOut | None]:
    """As `cut`, and what stood beside the cut; None where nothing is left out."""
    if len(text) <= chars_max:
        return text, None
    note = f"\n[... {len(text) - chars_max} or more characters left out ...]\n"
    room = max(0, chars_max - len(note))
    head = int(room * _HEAD_SHARE)
    tail = room - head
    tail_at = len(text) - tail
    beside = LeftOut(
        head_chars=head,
        behind_head=text[head : head + BESIDE_CHARS_MAX],
        before_tail=text[max(0, tail_at - BESIDE_CHARS_MAX) : tail_at],
        tail_chars=tail,
    )
    return (text[:head] + note + text[tail_at:])[:chars_max], beside


class FittedArguments(msgspec.Struct, frozen=True):
    """Arguments that fit a step: the characters that their whole JSON text has, and whether, and where, it was cut."""

    members: JsonObject
    whole_chars: int
    is_cut: bool = False
    left_out: LeftOut | None = None


def fit_arguments(arguments: object) -> FittedArguments:
    """Arguments that fit a step.

    What is no object becomes `{"value": ...}`. Longer or deeper ones than the limits become
    `{"json": "<head and tail of their JSON text>"}`.
    """
    named: JsonObject = arguments if isinstance(arguments, dict) else {"value": arguments}
    flat = flat_json(named, _ENCODER)
    text = json_text(named) if flat is None else flat
    if len(text) <= ARGUMENTS_CHARS_MAX and (flat is not None or _is_shallow(named, text)):
        return FittedArguments(named, len(text))
    fitted, left_out = cut_noted(text, CONTENT_CHARS_MAX)
    return FittedArguments({"json": fitted}, len(text), is_cut=True, left_out=left_out)


def _is_shallow(named: JsonObject, text: str) -> bool:
    """Whether arguments, whose JSON text is given, are nested no deeper than they may be."""
    # A text with so few brackets has no more levels; nearly every one is such. A note in its place begins with none.
    if text.startswith("{") and text.count("{") + text.count("[") <= ARGUMENTS_NESTING_MAX:
        return True
    return _nesting(named) <= ARGUMENTS_NESTING_MAX


def _nesting(value: object) -> int:
    deepest = 0
    waiting: list[tuple[object, int]] = [(value, 1)]
    while waiting:
        inner, level = waiting.pop()
        if isinstance(inner, dict | list):
            deepest = max(deepest, level)
            waiting.extend((member, level + 1) for member in (inner.values() if isinstance(inner, dict) else inner))
    return deepest


class StepList:
    """Steps in the making, numbered from 1 in the order in which they are added, and taken out by `drain`.

    Steps before the first time that a file names get that one, so they are held back until it has come; a file that
    names none within `UNDATED_CHARS_MAX` characters of steps counts as one without times, and its steps stand at 0.
    """

    def __init__(self) -> None:
        self.waiting: deque[Step] = deque()
        """Steps that are not drained yet."""
        self.count = 0
        self.at = 0.0
        """The time of what is read now, in seconds since the epoch."""
        self.has_times = False
        self.first_s, self.last_s = math.inf, -math.inf
        """Between these times the steps stand that were drained."""
        self.usage = UsageList()
        """What the agent reports of its model's messages."""
        self._undated_chars = 0
        self._is_undated = False

    def take_time(self, at: float | None) -> None:
        """Note the time of what follows; the first one is also that of all steps so far."""
        if at is None or self._is_undated:
            return
        if not self.has_times:
            self.waiting = deque(msgspec.structs.replace(step, timestamp=at) for step in self.waiting)
        self.has_times, self.at = True, at

    def drain(self) -> Iterator[Step]:
        """Take out the steps that will not change any more."""
        self._is_undated = not self.has_times and (self._is_undated or self._undated_chars > UNDATED_CHARS_MAX)
        while self.waiting and (self.has_times or self._is_undated):
            step = self.waiting.popleft()
            self.first_s, self.last_s = min(self.first_s, step.timestamp), max(self.last_s, step.timestamp)
            yield step

    def finish(self) -> Iterator[Step]:
        """Take out all that is left: the file is at its end."""
        self._is_undated = not self.has_times
        yield from self.drain()

    def _append(self, step: Step, chars: int) -> None:
        self.count += 1
        self.usage.note_step(step.type)
        self._undated_chars += 0 if self.has_times else chars
        self.waiting.append(step)

    def add(
        self,
        kind: StepType,
        timestamp: float,
        content: str,
        *,
        source: str | None = None,
        intent: str | None = None,
        tool: str | None = None,
        call_id: str | None = None,
        original_tokens: int | None = None,
        arguments: JsonObject | None = None,
    ) -> None:
        """Add a step with `content` cut to its bound; an `error` is marked `is_error`.

        `original_tokens` is given where the agent itself had cut the text before it wrote it down. `arguments` are
        short: what else is known of a message.
        """
        fitted, left_out = cut_noted(content, CONTENT_CHARS_MAX)
        original = None
        if len(fitted) != len(content) or original_tokens is not None:
            original = max(estimate_tokens(len(content)), min(original_tokens or 0, TOKEN_COUNT_MAX))
        self._append(
            Step(
                step=self.count + 1,
                type=kind,
                timestamp=timestamp,
                tool=tool,
                arguments=arguments,
                content=fitted,
                source=source,
                intent=intent,
                call_id=call_id,
                is_error=True if kind == "error" else None,
                truncated=None if original is None else True,
                original_token_count=original,
                token_count=estimate_tokens(len(fitted)),
                left_out=left_out,
            ),
            len(fitted),
        )

    def add_action(self, timestamp: float, tool: str, arguments: object, call_id: str | None) -> None:
        """Add an action; its tokens count the arguments too, because they are what the agent wrote."""
        content = f"Using {tool}"
        fitted = fit_arguments(arguments)
        sent_chars = len(json_text(fitted.members)) if fitted.is_cut else fitted.whole_chars
        self._append(
            Step(
                step=self.count + 1,
                type="action",
                timestamp=timestamp,
                tool=tool,
                arguments=fitted.members,
                content=content,
                call_id=call_id,
                truncated=True if fitted.is_cut else None,
                original_token_count=estimate_tokens(len(content) + fitted.whole_chars) if fitted.is_cut else None,
                token_count=estimate_tokens(len(content) + sent_chars),
                left_out=fitted.left_out,
            ),
            len(content) + sent_chars,
        )
