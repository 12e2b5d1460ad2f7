"""Steps of a session as a template puts them in: what each is, when it was, and its body as HTML. Pure."""

from collections.abc import Collection, Iterator
from typing import Final
from urllib.parse import quote

import msgspec
from markupsafe import Markup

from central_command.corpus.trajectory import real_time_s
from central_command.markup.steps import Renderer, StepText
from central_command.markup.visible import visible
from central_command.viewing.steps import ViewedStep
from central_command.viewing.windows import Shown, Window
from persistence.format import times

KINDS: Final = frozenset(
    {
        *("instruction", "clarification", "approval", "thought", "action", "edit", "observation", "error"),
        *("correction", "resolution", "coordination", "delegate", "yield"),
    }
)
"""Types that have a look of their own."""

LEGEND: Final = (
    ("instruction", "Prompts", frozenset({"instruction", "clarification", "approval"})),
    ("thought", "Thoughts", frozenset({"thought"})),
    ("action", "Calls and edits", frozenset({"action", "edit"})),
    ("observation", "Results", frozenset({"observation"})),
    ("error", "Errors", frozenset({"error"})),
    ("correction", "Corrections", frozenset({"correction"})),
    ("resolution", "Resolutions", frozenset({"resolution"})),
    ("coordination", "Other agents", frozenset({"coordination", "delegate", "yield"})),
)
"""Types that have one colour: the type that it is named for in viewer.css, what they are called together, and which."""

NAME_CHARS_MAX: Final = 80


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A step; `result` is that of its call, beside it, `call` the place of the call of a result that stands apart.

    `notes` are short facts about it, `kind` is a type of KINDS, or `other`.
    """

    place: int
    kind: str
    type: str
    tool: str
    source: str
    turn: int
    begins_turn: bool
    at: str | None
    has_failed: bool
    notes: tuple[str, ...]
    body: Markup
    cut: bool
    stored_bytes: int
    result: "Row | None" = None
    is_apart: bool = False
    call: int = 0


def rows(window: Window, time_shift_s: float | None) -> Iterator[Row]:
    """Yield the steps of a window as rows; what is made into HTML richly is bounded for all of them together."""
    renderer = Renderer()
    for shown in window.shown:
        yield _row(shown, renderer, time_shift_s)


def legend_of(types: Collection[str]) -> list[tuple[str, str]]:
    """The colours that a session's types have, each with what it is called."""
    found = [(kind, words) for kind, words, kinds in LEGEND if not kinds.isdisjoint(types)]
    return found if KINDS.issuperset(types) else [*found, ("other", "Other types")]


def session_path(session_id: str) -> str:
    """Where a session is shown."""
    return f"/sessions/{quote(session_id, safe='')}"


def _row(shown: Shown, renderer: Renderer, time_shift_s: float | None) -> Row:
    row = _of(shown.step, renderer, time_shift_s)
    result = None if shown.result is None else _of(shown.result, renderer, time_shift_s)
    return msgspec.structs.replace(row, result=result, is_apart=shown.is_apart, call=shown.call)


def _of(step: ViewedStep, renderer: Renderer, time_shift_s: float | None) -> Row:
    at = step.at
    seconds = real_time_s(at.at, time_shift_s)
    text = StepText(type=at.type, text=step.text, tool=step.tool, arguments=step.arguments)
    return Row(
        place=at.place,
        kind=at.type if at.type in KINDS else "other",
        type=visible(at.type),
        tool=visible(step.tool)[:NAME_CHARS_MAX],
        source=visible(step.source)[:NAME_CHARS_MAX],
        turn=at.turn,
        begins_turn=at.begins_turn,
        at=None if seconds is None else _text_of(seconds),
        has_failed=at.has_failed,
        notes=tuple(_notes(step)),
        body=renderer.body(text),
        cut=step.cut,
        stored_bytes=step.stored_bytes,
    )


def _notes(step: ViewedStep) -> Iterator[str]:
    if step.intent:
        yield visible(step.intent)[:NAME_CHARS_MAX]
    if step.model:
        yield visible(step.model)[:NAME_CHARS_MAX]
    if step.tokens_in is not None or step.tokens_out is not None:
        yield f"{step.tokens_in or 0:,} tokens in, {step.tokens_out or 0:,} out"
    if step.truncated:
        yield "cut by the client"


def _text_of(seconds: float) -> str | None:
    """A time as text; None for one that no calendar has."""
    try:
        return times.to_text(seconds)
    except (ValueError, OverflowError, OSError):
        return None
