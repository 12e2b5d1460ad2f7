"""What of a record of the corpus can be searched: of each step its text, its tool and its arguments. Pure.

The index (`persistence.databases.search_rows`) holds these texts taken apart into words, and not the texts. What is
taken out of it again is told from the same line by the same code: so another way to read a line, or another bound,
takes a migration of search.db, which makes it anew.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from persistence.format import json_text
from persistence.format.step_runs import StepTexts

TEXT_CHARS_MAX: Final = 1_048_576
"""Characters of one text, tool or arguments that are searched; guards memory."""

PLAIN_BYTES_MAX: Final = 1_048_576
"""Of a longer line, each text is decoded when it is its turn. Guards memory."""

STEPS_MAX: Final = 2**24 - 1
"""Steps of one record that are searched: a row's number has so much room for a step's place."""

NOTHING: Final = msgspec.Raw()

_TEXT: Final = msgspec.json.Decoder(str)
_VALUE: Final = msgspec.json.Decoder(Any)


class SearchedStep(msgspec.Struct, frozen=True, gc=False):
    """What is searched of a step; `place` is where it stands among the record's steps, from 1."""

    place: int
    type: str
    text: str
    tool: str
    arguments: str


class Facets(msgspec.Struct, frozen=True, kw_only=True):
    """What sessions are chosen and sorted by that no row of corpus.db has; None for what nobody said.

    `lineage` and `parent_lineage` join a session with the sub-agents that it began, `continues_session` is the one that
    it goes on from.
    """

    outcome: str | None = None
    domain: str | None = None
    ended_at: str | None = None
    points: float = 0.0
    lineage: str | None = None
    parent_lineage: str | None = None
    continues_session: str | None = None


class _Field(msgspec.Struct, frozen=True):
    domain: str


class _Tags(msgspec.Struct, frozen=True):
    primary: _Field | None = None


class _Tagged(msgspec.Struct, frozen=True):
    domain_tags: _Tags | None = None


class _Outcome(msgspec.Struct, frozen=True):
    status: str


class _Lineage(msgspec.Struct, frozen=True):
    id: str | None = None
    parent_id: str | None = None


class _OfLineage(msgspec.Struct, frozen=True):
    lineage: _Lineage | None = None


class _Continued(msgspec.Struct, frozen=True):
    continues_session: str | None = None


class _Score(msgspec.Struct, frozen=True):
    total_points: float = msgspec.field(default=0.0, name="totalPoints")


class _Line(msgspec.Struct, frozen=True):
    trajectory_log: list[StepTexts] = []
    metadata: msgspec.Raw = NOTHING
    outcome: msgspec.Raw = NOTHING
    ended_at: msgspec.Raw = NOTHING
    score: msgspec.Raw = NOTHING


class PlainStep(msgspec.Struct, frozen=True, gc=False):
    """A step whose members have the types that they should."""

    type: str = ""
    tool: str | None = None
    content: str | None = None
    arguments: msgspec.Raw = NOTHING


class _PlainLine(_Line, frozen=True):
    trajectory_log: list[PlainStep] = []  # type: ignore[assignment]  # as those of another line, but for their types


_LINE: Final = msgspec.json.Decoder(_Line)
_PLAIN_LINE: Final = msgspec.json.Decoder(_PlainLine)
_TAGGED: Final = msgspec.json.Decoder(_Tagged)
_OUTCOME: Final = msgspec.json.Decoder(_Outcome)
_OF_LINEAGE: Final = msgspec.json.Decoder(_OfLineage)
_CONTINUED: Final = msgspec.json.Decoder(_Continued)
_SCORE: Final = msgspec.json.Decoder(_Score)


class SearchedLine:
    """A record's line, read to be searched. Raises msgspec.DecodeError for what is no such line."""

    def __init__(self, line: bytes) -> None:
        plain: _PlainLine | None = _read(_PLAIN_LINE, line) if len(line) <= PLAIN_BYTES_MAX else None
        self._line: _Line = plain or json_text.decode(_LINE, line)

    def __repr__(self) -> str:
        return f"<SearchedLine {len(self._line.trajectory_log)} steps>"

    @property
    def facets(self) -> Facets:
        """What the client said of the session as a whole."""
        line = self._line
        return facets_of(line.metadata, line.outcome, line.ended_at, line.score)

    def steps(self) -> Iterator[SearchedStep]:
        """Yield the steps that say anything, each read when it is its turn."""
        for place, step in enumerate(self._line.trajectory_log[:STEPS_MAX], start=1):
            found = _step(place, step)
            if found.text or found.tool or found.arguments:
                yield found

    def step(self, place: int) -> SearchedStep | None:
        """The step at a place; None where there is none."""
        steps = self._line.trajectory_log
        return _step(place, steps[place - 1]) if 0 < place <= len(steps) else None


def facets_of(metadata: msgspec.Raw, outcome: msgspec.Raw, ended_at: msgspec.Raw, score: msgspec.Raw) -> Facets:
    """What these members of a line say; those that it does not have are `NOTHING`."""
    status, tagged = _read(_OUTCOME, outcome), _read(_TAGGED, metadata)
    tags = None if tagged is None else tagged.domain_tags
    primary = None if tags is None else tags.primary
    scored, continued = _read(_SCORE, score), _read(_CONTINUED, metadata)
    found = _read(_OF_LINEAGE, metadata)
    lineage = None if found is None else found.lineage
    return Facets(
        outcome=None if status is None else status.status,
        domain=None if primary is None else primary.domain,
        ended_at=_text(ended_at) or None,
        points=0.0 if scored is None else scored.total_points,
        lineage=None if lineage is None else lineage.id,
        parent_lineage=None if lineage is None else lineage.parent_id,
        continues_session=None if continued is None else continued.continues_session,
    )


def _step(place: int, step: StepTexts | PlainStep) -> SearchedStep:
    if isinstance(step, PlainStep):
        texts = (step.content or "")[:TEXT_CHARS_MAX], (step.tool or "")[:TEXT_CHARS_MAX]
        return SearchedStep(place, step.type, *texts, arguments_of(step.arguments))
    return SearchedStep(place, step.type, _text(step.content), _text(step.tool), arguments_of(step.arguments))


def _text(raw: msgspec.Raw) -> str:
    """The text that a JSON value is, empty for any other."""
    text = bytes(raw)
    return (_read(_TEXT, raw) or "")[:TEXT_CHARS_MAX] if text.startswith(b'"') else ""


def arguments_of(raw: msgspec.Raw) -> str:
    """The texts and numbers of a call's arguments, a line each, without their names."""
    if not bytes(raw):
        return ""
    return "\n".join(leaves(_read(_VALUE, raw)))[:TEXT_CHARS_MAX]


def leaves(value: object) -> Iterator[str]:
    """Yield the texts and numbers of a JSON value, in order, without their names."""
    rest = [value]
    while rest:
        match rest.pop():
            case str() as text:
                yield text
            case dict() as members:
                rest += reversed(members.values())
            case list() as items:
                rest += reversed(items)
            case bool() | None:
                pass
            case number:
                yield str(number)


def _read(decoder: "msgspec.json.Decoder[Any]", raw: msgspec.Raw | bytes) -> Any:  # noqa: ANN401 (whatever it decodes)
    """What a JSON value is, by its decoder; None for what it is not, or what nobody can hold (such as 1e400)."""
    try:
        return json_text.decode(decoder, bytes(raw)) if bytes(raw) else None
    except (msgspec.DecodeError, OverflowError):
        return None
