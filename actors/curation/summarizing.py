"""Titles and summaries of records that have none: by rules, or by the judge's model where one is set.

What is sent to a model are records as they are shown, scrubbed again, of contributors who agree; its answer is taken as
a whole or not at all, and scrubbed. Its cost counts with the judge's, and is on disk before a question goes out. Where
it does not answer, or the day has nothing left, the rules make what is missing: no record waits for a model.
"""

import logging
import pkgutil
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Annotated, Final

import msgspec

from actors.curation.consent import Consented
from actors.curation.enrichment.settings import EnrichmentSettings
from actors.curation.judge import (
    ANSWER_TOKENS,
    JUDGE_RULES,
    Answer,
    Budget,
    Judge,
    JudgeError,
    Question,
    items_of,
    question_of,
    shown_session,
)
from actors.curation.scrubbing.scrubber import PIIScrubber
from actors.curation.stitched import StitchedTrajectory, read_stitched
from actors.curation.summaries import NO_TITLE, SUMMARY_RULES, TITLE_CHARS_MAX, summary_of, title_of
from persistence.corpus import Corpus
from persistence.databases.judgements import Candidate
from persistence.databases.summaries import Summary
from persistence.format import times
from persistence.journals.reading import JournalDamage

log = logging.getLogger("central_command.curation")

AT_ONCE: Final = 50
"""Records that are looked at together, and whose summaries are kept in one transaction."""
SUMMARY_CHARS_MAX: Final = 600


class _Summed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=TITLE_CHARS_MAX)]
    summary: Annotated[str, msgspec.Meta(min_length=1, max_length=SUMMARY_CHARS_MAX)]


class _Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    summaries: list[_Summed]


class Asked(msgspec.Struct, frozen=True):
    """What asking a model needs; `is_to_be_erased` is asked with a contributor and a session."""

    judge: Judge
    settings: EnrichmentSettings
    consented: Consented
    is_to_be_erased: Callable[[str, str], bool]


_ANSWER: Final = msgspec.json.Decoder(_Answer)

_Read = tuple[Candidate, StitchedTrajectory]


class Summarizing:
    """Makes summaries for whoever writes the corpus."""

    def __init__(self, corpus: Corpus, asked: Asked | None, clock: Callable[[], float]) -> None:
        self._corpus = corpus
        self._asked = asked
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Summarizing {'by a model' if self._asked else 'by rules'}>"

    async def make(self, limit: int) -> int:
        """Make summaries of at most so many records that have none by today's rules; return how many were made."""
        made, behind_n, seen = 0, 0, 0
        while seen < limit:
            page = await self._corpus.summaries.without(
                min(AT_ONCE, limit - seen), behind_n=behind_n, rules=SUMMARY_RULES
            )
            if not page:
                return made
            seen, behind_n = seen + len(page), page[-1].position.n
            found = [each for candidate in page if (each := await self._read(candidate)) is not None]
            summed = await self._by_model(found) if self._asked is not None else {}
            kept = [
                (candidate, summed.get(candidate.trajectory_id) or _by_rules(trajectory))
                for candidate, trajectory in found
            ]
            await self._corpus.put_summaries(kept)
            made += len(kept)
        return made

    async def _read(self, candidate: Candidate) -> _Read | None:
        try:
            return candidate, read_stitched(await self._corpus.line_of(candidate.position))
        except (JournalDamage, msgspec.DecodeError) as error:
            log.error("trajectory %s gets no summary (%s)", candidate.trajectory_id, type(error).__name__)  # noqa: TRY400
            return None

    # By a model

    async def _by_model(self, found: Sequence[_Read]) -> dict[str, Summary]:
        """What a model says of those that may be shown to it, as far as the day goes and it answers."""
        assert self._asked is not None, "it is asked"
        made: dict[str, Summary] = {}
        wanted = [each for each in found if await self._may(each[0])]
        at_once = self._asked.settings.judge_batch_sessions_max
        for first in range(0, len(wanted), at_once):
            some = wanted[first : first + at_once]
            try:
                answered = await self._ask(some)
            except JudgeError as error:
                log.warning("the judge has summed up nothing: %s", error.problem)
                break
            if answered is None:
                break
            made |= answered
        return made

    async def _ask(self, some: Sequence[_Read]) -> dict[str, Summary] | None:
        """Ask about some records; None where the day has too little left for that. Raises JudgeError."""
        assert self._asked is not None, "it is asked"
        settings, scrubber = self._asked.settings, PIIScrubber.for_trajectories()
        question = question_about(
            [scrubber.scrub(shown_session(trajectory, settings.judge_session_chars_max)) for _, trajectory in some]
        )
        standing, day = await self._corpus.judgements.standing(), times.day_of(self._clock())
        budget = Budget(standing.day, standing.tokens)
        if not budget.allows(question, day, settings.judge_tokens_per_day_max):
            return None
        spent = budget.after(day, question, None)
        judge = standing.judge or f"{JUDGE_RULES} {settings.judge_model}"
        await self._corpus.ask([], msgspec.structs.replace(standing, judge=judge, day=spent.day, tokens=spent.tokens))
        said = summaries_of(question, await self._asked.judge.ask(question))
        return {
            candidate.trajectory_id: Summary(
                scrubber.scrub(each.title), scrubber.scrub(each.summary), f"model {settings.judge_model}"
            )
            for (candidate, _), each in zip(some, said, strict=True)
        }

    async def _may(self, candidate: Candidate) -> bool:
        assert self._asked is not None, "it is asked"
        if self._asked.is_to_be_erased(candidate.contributor_id, candidate.session_id):
            return False
        if candidate.position.length > self._asked.settings.judge_record_bytes_max:
            return False
        return (await self._asked.consented(candidate.contributor_id)).given


def question_about(sessions: Sequence[str]) -> Question:
    """What is asked about some sessions, each as it is shown."""
    return question_of(_instructions(), "session", sessions, answer_tokens=2 * ANSWER_TOKENS)


def summaries_of(question: Question, answer: Answer) -> list[_Summed]:
    """What is said, in the order of the question. Raises JudgeError for an answer that is none."""
    return [*items_of(question, answer, lambda text: _ANSWER.decode(text).summaries).values()]


@lru_cache(maxsize=1)
def _instructions() -> str:
    return (pkgutil.get_data(__name__, "summary_prompt.md") or b"").decode()


def _by_rules(trajectory: StitchedTrajectory) -> Summary:
    """By rules, and scrubbed once more: what made the record may have been older ones."""
    scrubber = PIIScrubber.for_trajectories()
    title = scrubber.scrub(title_of(trajectory)) or NO_TITLE
    return Summary(title, scrubber.scrub(summary_of(trajectory)), SUMMARY_RULES)
