"""What can be asked of the index, and what is answered: types that the endpoint and the command share."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from central_command.corpus.asked_members import NO_NAMES, read_members
from central_command.corpus.index_filters import Choice
from central_command.search.queries import QUERY_CHARS_MAX
from central_command.search.snippets import Part

SENTENCE_CHARS_MAX: Final = 400
"""Of what is wrong with a question; it may repeat what stood in it."""


class Mode(StrEnum):
    """By what sessions are found."""

    TEXT = "text"
    """By words in their steps."""
    SEMANTIC = "semantic"
    """By what they are about: their embeddings."""
    HYBRID = "hybrid"
    """By both, each session by its reciprocal ranks."""


class Order(StrEnum):
    """In which order hits of text come."""

    RELEVANCE = "relevance"
    """The best first (bm25), as far as the words are rare enough for that."""
    NEWEST = "newest"
    """What came into the corpus last first."""


class Question(Choice, frozen=True, kw_only=True):
    """What is asked: the filters are those of docs/search.md, each of any of several values."""

    q: str
    mode: Mode = Mode.TEXT
    order: Order = Order.RELEVANCE

    def __post_init__(self) -> None:
        """Raise ValueError for what no choice may be, and for a query that is too long."""
        super().__post_init__()
        if len(self.q) > QUERY_CHARS_MAX:
            raise ValueError(f"The query is longer than {QUERY_CHARS_MAX:,} characters.")


def question_of(members: Mapping[str, Any], *, names: Mapping[str, str] = NO_NAMES) -> Question:
    """The question of these members; raises ValueError, with a sentence that names a wrong one as `names` calls it."""
    try:
        return read_members(members, Question, names=names)
    except ValueError as error:
        raise ValueError(str(error)[:SENTENCE_CHARS_MAX]) from None


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """A step that was found, or a session that is near, by its first step that says something.

    `step` is its place among the session's steps, from 1. `field` is where the snippet is from: `text`, `tool` or
    `arguments`; None where there is no snippet. A higher `score` is a better hit; None where they are in order of time.
    """

    session_id: str
    record_id: str
    step: int | None
    type: str | None
    tool: str | None
    provider: str
    model: str
    domain: str | None
    tier: str
    outcome: str | None
    contributor: str
    started_at: str | None
    score: float | None
    field: str | None
    snippet: tuple[Part, ...]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A page of hits. `order` is None where hits were found by embeddings.

    Not `complete` where the time ended before everything was looked through: the cursor goes on there. `cursor` is None
    on the last page.
    """

    mode: Mode
    order: Order | None
    hits: list[Hit]
    cursor: str | None
    complete: bool = True


class Unable(StrEnum):
    """Why a question could not be answered, for a program."""

    NOT_READABLE = "bad_query"
    NO_INDEX = "no_index"
    NO_EMBEDDINGS = "no_embeddings"
    BUSY = "search_busy"
    TIMED_OUT = "search_timed_out"
    FAILED = "search_failed"


class Refusal(msgspec.Struct, frozen=True):
    """A question that was not answered: one sentence says why."""

    code: Unable
    sentence: str


NO_INDEX: Final = Refusal(
    Unable.NO_INDEX, "There is no index of the corpus yet: curation makes one (curation.enabled, search.enabled)."
)
TIMED_OUT: Final = Refusal(
    Unable.TIMED_OUT, "The search took longer than search.timeout_s: use rarer words or narrower filters."
)
NO_NUMPY: Final = Refusal(
    Unable.NO_EMBEDDINGS, "Searching by meaning needs numpy on this server: install central-command[embed]."
)
NOT_SEMANTIC: Final = Refusal(
    Unable.NO_EMBEDDINGS, "Sessions are not embedded here: set search.semantic to find them by meaning."
)
