"""What of the corpus is asked for. Each filter has a code, which says what left a trajectory out."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Annotated, Final, Literal, get_args

import msgspec

from actors.curation.domains import GENERAL, KEYWORDS
from actors.curation.enrichment.verdicts import CognitiveTarget, Tier
from central_command.corpus.asked_times import first_moment
from central_command.corpus.trajectory import FeedbackSignal, OutcomeStatus, Record, Trajectory
from persistence.format import times
from persistence.format.records import CorpusRecord, CorpusTextRecord

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""A number that is asked for: JSON has larger ones in no two programs alike."""

FilterCode = Literal[
    "date",
    "provider",
    "model",
    "domain",
    "cognitive_target",
    "tier",
    "not_training_eligible",
    "quality",
    "tokens",
    "steps",
    "contributor",
    "outcome",
    "feedback",
    "tool",
    "text",
]

NONE: Final = "none"
"""Asks for what has no value."""
KNOWN_VALUES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "tiers": ("tier", (*get_args(Tier), NONE)),
    "outcomes": ("outcome", (*get_args(OutcomeStatus), NONE)),
    "feedback": ("feedback", (*get_args(FeedbackSignal), NONE)),
    "cognitive_targets": ("cognitive target", (*get_args(CognitiveTarget), NONE)),
}
"""Of filters that ask for one of a known set, its name and all there is. Clients name models, tools and fields, too."""
DOMAINS_OF_RECORDS: Final = (*KEYWORDS, GENERAL)

FOR_RECORDS: Final = ("after", "before", "domains", "contributors", "texts")
"""The filters that records of the intake can be asked for by; `after` and `before` are about when one was shared."""

ARGUMENTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "after": "after",
        "before": "before",
        "provider": "providers",
        "model": "models",
        "domain": "domains",
        "cognitive_target": "cognitive_targets",
        "tier": "tiers",
        "outcome": "outcomes",
        "feedback": "feedback",
        "contributor": "contributors",
        "tool": "tools",
        "text": "texts",
        "quality_min": "quality_min",
        "quality_max": "quality_max",
        "tokens_min": "tokens_min",
        "tokens_max": "tokens_max",
        "steps_min": "steps_min",
        "steps_max": "steps_max",
        "training_eligible": "training_eligible",
    }
)
"""The filters by the names of options, of members of a request, and of arguments in a query string."""


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """All of these must hold; of several values of one, any. Empty tuples and None ask for nothing.

    `after` and `before` are about the real start of the session: a time of RFC 3339, or the beginning of one
    (`2026-11-20`, UTC), as `first_moment` takes them; `after` is part of it, `before` is not. `models` may hold `*` and
    `?`, and are compared without case. `tokens` are the estimate (characters / 4). `contributors` are pseudonyms.
    `outcomes` and `feedback` are what was said, never a guess; `none` stands for what has none. `texts` must all be
    found, without case, in what the steps say or in the arguments of calls.

    Raises ValueError for a time that is none.
    """

    after: str | None = None
    before: str | None = None
    providers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    cognitive_targets: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    training_eligible: bool = False
    quality_min: Count | None = None
    quality_max: Count | None = None
    tokens_min: Count | None = None
    tokens_max: Count | None = None
    steps_min: Count | None = None
    steps_max: Count | None = None
    contributors: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    feedback: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, text in (("after", self.after), ("before", self.before)):
            try:
                if text is not None:
                    first_moment(text)
            except ValueError as error:
                raise ValueError(f"{name} {error}") from None

    def against_row(self, row: CorpusRecord, contributor: str) -> FilterCode | None:
        """The first filter that a record does not pass, by what the database knows of it."""
        return next(self._against_row(row, contributor), None)

    def against(self, trajectory: Trajectory) -> FilterCode | None:
        """The first filter that a trajectory does not pass, of those that need all of it."""
        return next(self._against(trajectory), None)

    def against_text_row(self, row: CorpusTextRecord, contributor: str) -> FilterCode | None:
        """The first filter that a record of the intake does not pass, by what the database knows of it."""
        if self.domains and row.domain not in self.domains:
            return "domain"
        return "contributor" if self.contributors and contributor not in self.contributors else None

    def against_record(self, record: Record) -> FilterCode | None:
        """The first filter that a record of the intake does not pass, of those that need all of it."""
        if not self._is_in_time(times.to_text(record.timestamp)):
            return "date"
        said = record.content.casefold()
        return None if all(text.casefold() in said for text in self.texts) else "text"

    def _against_row(self, row: CorpusRecord, contributor: str) -> Iterator[FilterCode]:
        if not self._is_in_time(row.started_at):
            yield "date"
        named: tuple[tuple[FilterCode, str | None, tuple[str, ...]], ...] = (
            ("provider", row.provider, self.providers),
            ("cognitive_target", row.cognitive_target, self.cognitive_targets),
            ("tier", row.tier, self.tiers),
            ("contributor", contributor, self.contributors),
        )
        yield from (code for code, value, wanted in named if wanted and not _is_any([value], wanted))
        if self.models and not any(fnmatchcase(row.model.lower(), each.lower()) for each in self.models):
            yield "model"
        if self.training_eligible and not row.training_eligible:
            yield "not_training_eligible"
        if not _within(row.quality, self.quality_min, self.quality_max):
            yield "quality"
        if not _within(row.tokens, self.tokens_min, self.tokens_max):
            yield "tokens"
        if not _within(row.steps, self.steps_min, self.steps_max):
            yield "steps"

    def _against(self, trajectory: Trajectory) -> Iterator[FilterCode]:
        tags = trajectory.domain_tags
        if self.domains and not _is_any([tags.primary.domain if tags.primary else None], self.domains):
            yield "domain"
        outcome = trajectory.outcome.status if trajectory.outcome else None
        if self.outcomes and not _is_any([outcome], self.outcomes):
            yield "outcome"
        if self.feedback and not _is_any([each.signal for each in trajectory.feedback] or [None], self.feedback):
            yield "feedback"
        if self.tools and not set(self.tools).intersection(trajectory.unique_tools_used):
            yield "tool"
        if self.texts and not _says_all(trajectory, self.texts):
            yield "text"

    def _is_in_time(self, started_at: str | None) -> bool:
        if self.after is None and self.before is None:
            return True
        if started_at is None:
            return False
        return (self.after is None or started_at >= first_moment(self.after)) and (
            self.before is None or started_at < first_moment(self.before)
        )


def check_values(filters: Filters, *, for_records: bool = False) -> None:
    """Raise ValueError, whose text is one sentence, for a value that nothing can have: it would leave out everything.

    It is no part of `Filters`, which are read of exports that were made before, too.
    """
    try:
        msgspec.json.encode(filters)
    except UnicodeEncodeError:
        raise ValueError("a filter holds what is not UTF-8, as no text of the corpus does.") from None
    for member, (noun, known) in KNOWN_VALUES.items():
        check_known(noun, getattr(filters, member), known)
    if for_records:
        check_known("domain of records", filters.domains, DOMAINS_OF_RECORDS)


def check_known(noun: str, asked: Collection[str], known: Collection[str]) -> None:
    """Raise ValueError for the first value that is not among those that are known."""
    unknown = [value for value in asked if value not in known]
    if unknown:
        raise ValueError(f"There is no {noun} {unknown[0]!r}; there are {', '.join(known)}.")


def _is_any(values: Sequence[str | None], wanted: Sequence[str]) -> bool:
    return any((value or NONE) in wanted for value in values)


def _within(value: int, least: int | None, most: int | None) -> bool:
    return (least is None or value >= least) and (most is None or value <= most)


def _says_all(trajectory: Trajectory, texts: Sequence[str]) -> bool:
    missing = {text.casefold() for text in texts}
    for step in trajectory.steps:
        said = step.text.casefold()
        if step.arguments:
            said += msgspec.json.encode(step.arguments).decode().casefold()
        missing = {text for text in missing if text not in said}
        if not missing:
            return True
    return False
