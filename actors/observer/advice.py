"""What a judge, where one is set, recommends for groups of failures that no known cause fits.

It is asked beside the cycles, which never wait for it, about groups of `FAILURES_MIN` and more, a few at a time, each
group at most `judge_attempts_max` times. What is shown are operations as they are kept: scrubbed and cut.

Both the question and what was recommended are own operations in the journal, so they need no file of their own, and are
known again after a start. The question is on disk, with what it will cost, before it goes out: whatever ends the
process when, no day costs more than `observer.judge_tokens_per_day_max`.
"""

import logging
import pkgutil
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Annotated, Any, Final

import msgspec
import trio

from actors.curation.enrichment.settings import EnrichmentSettings
from actors.curation.judge import (
    Answer,
    Judge,
    JudgeError,
    JudgeProblem,
    Question,
    items_of,
    question_of,
)
from actors.observer.failures import FailureGroup, FailureGroups
from actors.observer.operation import OWN
from actors.observer.recommended import ADVICE, ADVICE_ASKED

log = logging.getLogger("central_command.observer")

FAILURES_MIN: Final = 3
"""Failures of a group from which on it is worth a question."""
GROUPS_AT_ONCE: Final = 8
CAUSE_CHARS_MAX: Final = 60
RECOMMENDATION_CHARS_MAX: Final = 300

Store = Callable[[Sequence[dict[str, Any]]], Awaitable[int | None]]
"""Stores own operations, and returns the number of the last line; None where there was no room for all of them."""


class Recommendation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a judge makes of one group."""

    id: str
    cause: Annotated[str, msgspec.Meta(min_length=1, max_length=CAUSE_CHARS_MAX)]
    recommendation: Annotated[str, msgspec.Meta(min_length=1, max_length=RECOMMENDATION_CHARS_MAX)]


class _Recommendations(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    recommendations: list[Recommendation]


_ANSWER: Final = msgspec.json.Decoder(_Recommendations)


class Advising:
    """Asks a judge until cancelled.

    `day` is the current one, `store` keeps operations, and `followed_n` is up to which line `groups` know them.
    """

    def __init__(
        self,
        judge: Judge,
        settings: EnrichmentSettings,
        *,
        tokens_per_day_max: int,
        groups: FailureGroups,
        day: Callable[[], str],
        store: Store,
        followed_n: Callable[[], int],
    ) -> None:
        self._judge = judge
        self._settings = settings
        self._tokens_per_day_max = tokens_per_day_max
        self._groups = groups
        self._day = day
        self._store = store
        self._followed_n = followed_n
        self._stored_n = 0

    def __repr__(self) -> str:
        return f"<Advising {self._settings.judge_model!r}>"

    async def run(self) -> None:
        """Ask whenever there is something to ask; the pause after a question without an answer doubles."""
        pause_s = self._settings.judge_retry_s
        while True:
            await trio.sleep(self._settings.judge_interval_s)
            problem = await self.ask()
            if problem is None:
                pause_s = self._settings.judge_retry_s
                continue
            log.warning("the judge has recommended nothing: %s; it is asked again in %g s", problem, pause_s)
            await trio.sleep(pause_s)
            pause_s = min(2 * pause_s, self._settings.judge_retry_max_s)

    async def ask(self) -> JudgeProblem | None:
        """Ask about some groups, if any wait and the day has tokens left; the problem where there was no answer."""
        if self._followed_n() < self._stored_n:
            return None  # what the last question has cost, and come to, is not counted yet
        waiting = self._groups.without_advice(
            failures_min=FAILURES_MIN, asked_max=self._settings.judge_attempts_max, limit=GROUPS_AT_ONCE
        )
        question = question_about(waiting)
        if not waiting or question.tokens > self._left():
            return None
        if not await self._stored([_asked([each.id for each in waiting], question.tokens)]):
            return None
        try:
            recommended = recommendations_of(question, await self._judge.ask(question))
        except JudgeError as error:
            return error.problem
        await self._stored([_advice(group, each) for group, each in zip(waiting, recommended, strict=True)])
        return None

    def _left(self) -> int:
        return self._tokens_per_day_max - self._groups.advice.tokens(self._day())

    async def _stored(self, operations: Sequence[dict[str, Any]]) -> bool:
        n = await self._store(operations)
        self._stored_n = self._stored_n if n is None else n
        return n is not None


def question_about(groups: Sequence[FailureGroup]) -> Question:
    """What is asked about some groups."""
    return question_of(_instructions(), "failure", [_shown(group) for group in groups])


def recommendations_of(question: Question, answer: Answer) -> list[Recommendation]:
    """What is recommended, in the order of the question. Raises JudgeError for an answer that is none."""
    return [*items_of(question, answer, lambda text: _ANSWER.decode(text).recommendations).values()]


@lru_cache(maxsize=1)
def _instructions() -> str:
    return (pkgutil.get_data(__name__, "advice_prompt.md") or b"").decode()


def _shown(group: FailureGroup) -> dict[str, object]:
    return {
        "endpoint": group.endpoint,
        "says": group.message,
        "count": group.count,
        "example": {"input": group.example["input_summary"], "error": group.example["error"]},
        "changed before": [change.what for change in group.before],
    }


def _asked(groups: Sequence[str], tokens: int) -> dict[str, Any]:
    return {
        "endpoint": ADVICE_ASKED,
        "input_summary": f"{len(groups)} groups of failures",
        "success": True,
        "output_summary": "the judge is asked",
        "source": OWN,
        "count": tokens,
        "groups": list(groups),
    }


def _advice(group: FailureGroup, recommended: Recommendation) -> dict[str, Any]:
    return {
        "endpoint": ADVICE,
        "input_summary": group.message,
        "success": True,
        "output_summary": recommended.recommendation,
        "source": OWN,
        "sig_hash": group.id,
        "cause": recommended.cause,
    }
