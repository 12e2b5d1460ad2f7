"""The judge asked about records that have no judgement yet: beside curation, which never waits for it.

A record is asked about once for its steps, the version of the question and the model (`judge.JUDGE_RULES`): records
that get other steps are asked about again, all of them when the version or the model changes. Those that were never
asked about come first, in the order of their lines; then those without an answer, the ones asked longest ago first, up
to `judge_attempts_max` times each. One that was without an answer is asked about alone, so that it spoils no others.

Before a question goes out, it is on disk that it does, and what it will cost (`Corpus.ask`). So whatever ends the
process when, no day costs more than its budget, and no record is asked about too often. Where the judge is not there at
all, it counts for no record.

Rejected: asking while a record is made (curation would wait for whoever answers late), and a queue in memory (what was
not asked before a restart would be lost, or looked for anew).
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import trio

from actors.curation.consent import Consented
from actors.curation.enrichment.settings import EnrichmentSettings
from actors.curation.judge import (
    JUDGE_RULES,
    OF_THE_JUDGE,
    Budget,
    Judge,
    JudgeError,
    Judgement,
    JudgeProblem,
    Question,
    judgements_of,
    question_about,
    shown_session,
)
from actors.curation.scrubbing.scrubber import PIIScrubber
from actors.curation.settings import CurationSettings
from actors.curation.stitched import read_stitched
from persistence.corpus import Corpus
from persistence.databases.judgements import Candidate, Standing
from persistence.format import times
from persistence.format.records import CorpusRecord, JudgementRecord
from persistence.journals.reading import JournalDamage

log = logging.getLogger("central_command.curation")

PAGE_ROWS: Final = 100
"""Records that are looked at together. Guards memory: only what is shown of those that are asked about is held."""


class AskingStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What was judged since the process began, why not, by problem, and how many tokens the day has left."""

    judged: int
    problems: dict[str, int]
    tokens_left: int


class Shown(msgspec.Struct, frozen=True):
    """A record that is asked about, and what is shown of it."""

    candidate: Candidate
    text: str


class Asking:
    """Asks a judge; `ask_all` once, or `run` until cancelled. One task.

    `is_to_be_erased` is asked with a contributor and a session: of whom it says so nothing is shown.
    """

    def __init__(
        self,
        corpus: Corpus,
        judge: Judge,
        *,
        consented: Consented,
        is_to_be_erased: Callable[[str, str], bool],
        settings: EnrichmentSettings,
        curation: CurationSettings,
        clock: Callable[[], float],
    ) -> None:
        self._corpus = corpus
        self._judge = judge
        self._consented = consented
        self._is_to_be_erased = is_to_be_erased
        self._settings = settings
        self._room_retry_s = curation.room_retry_s
        self._clock = clock
        self._standing = Standing()
        self._spent_on = ""
        self._judged = 0
        self._problems: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<Asking {self._settings.judge_model!r} judged={self._judged}>"

    def statistics(self) -> AskingStatistics:
        """Return the current figures."""
        left = self._budget.left(times.day_of(self._clock()), self._settings.judge_tokens_per_day_max)
        return AskingStatistics(judged=self._judged, problems=dict(self._problems), tokens_left=left)

    async def run(self) -> None:
        """Ask until cancelled; the pause after a question without an answer doubles with each one in a row."""
        delay_s = self._settings.judge_retry_s
        while True:
            if await self.ask_all():
                delay_s = self._settings.judge_retry_s
                await trio.sleep(self._settings.judge_interval_s)
            else:
                log.warning("the judge is asked again in %g s", delay_s)
                await trio.sleep(delay_s)
                delay_s = min(2 * delay_s, self._settings.judge_retry_max_s)

    async def ask_all(self) -> bool:
        """Ask until nothing waits or the day has nothing left; False, which is said, when there was no answer."""
        begun = self._standing = await self._begin()
        problem = await self._ask_waiting()
        if self._standing != begun:
            await self._corpus.note_judging(self._standing)
        if problem is None:
            return True
        self._problems[problem] += 1
        log.warning("the judge gave no judgement: %s", problem)
        return False

    async def _ask_waiting(self) -> JudgeProblem | None:
        """Ask question after question; the problem of the first one without an answer ends that."""
        while shown := (await self._new() or await self._unanswered()):
            fitting = self._fitting(shown)
            if fitting is None:
                self._say_spent()
                return None
            try:
                await self._ask(*fitting)
            except JudgeError as error:
                return error.problem
        return None

    @property
    def _budget(self) -> Budget:
        return Budget(self._standing.day, self._standing.tokens)

    async def _begin(self) -> Standing:
        """How far asking has come; from the beginning on when it is another judge than before."""
        standing = await self._corpus.judgements.standing()
        judge = f"{JUDGE_RULES} {self._settings.judge_model}"
        if standing.judge != judge:
            standing = Standing(judge, 0, standing.day, standing.tokens)
            await self._corpus.begin_judging(standing)
        return standing

    async def _new(self) -> list[Shown]:
        """Records that were never asked about, for one question at most; those that need none are passed by."""
        shown: list[Shown] = []
        n = self._standing.n
        while page := await self._corpus.judgements.behind(n, JUDGE_RULES, self._settings.judge_model, PAGE_ROWS):
            for candidate in page:
                n = candidate.position.n
                text = None if candidate.is_settled else await self._shown(candidate)
                if text is not None:
                    shown.append(Shown(candidate, text))
                elif not shown:  # nothing that waits lies before it
                    self._standing = msgspec.structs.replace(self._standing, n=n)
                if len(shown) >= self._settings.judge_batch_sessions_max:
                    return shown
        return shown

    async def _unanswered(self) -> list[Shown]:
        """Records that were asked about without an answer, for one question; those that need none any more go."""
        settings = self._settings
        while page := await self._corpus.judgements.unanswered(
            settings.judge_attempts_max, settings.judge_batch_sessions_max
        ):
            # Whose judge was not there at all are asked about together again.
            asked = [each for each in page if not each.attempts] if not page[0].attempts else page[:1]
            shown = [Shown(each, text) for each in asked if (text := await self._shown(each)) is not None]
            if shown:
                return shown
            await self._corpus.settle(asked)
        return []

    async def _shown(self, candidate: Candidate) -> str | None:
        """What the judge is shown of a record; None where it is shown nothing."""
        if candidate.position.length > self._settings.judge_record_bytes_max or not await self._may(candidate):
            return None
        try:
            trajectory = read_stitched(await self._corpus.line_of(candidate.position))
        except (JournalDamage, msgspec.DecodeError) as error:
            log.error("trajectory %s is not judged (%s)", candidate.trajectory_id, type(error).__name__)  # noqa: TRY400
            return None
        # Once more, by the rules of today: what made the record may have been older ones, and left names of members.
        return PIIScrubber.for_trajectories().scrub(shown_session(trajectory, self._settings.judge_session_chars_max))

    async def _may(self, candidate: Candidate) -> bool:
        """Whether a record may be shown to anybody: its contributor agrees, and nobody has asked to erase it."""
        if self._is_to_be_erased(candidate.contributor_id, candidate.session_id):
            return False
        return (await self._consented(candidate.contributor_id)).given

    def _fitting(self, shown: Sequence[Shown]) -> tuple[Sequence[Shown], Question] | None:
        """As many as the day still has tokens for, and the question about them; None when that is not one."""
        day = times.day_of(self._clock())
        while shown:
            question = question_about([each.text for each in shown])
            if self._budget.allows(question, day, self._settings.judge_tokens_per_day_max):
                return shown, question
            shown = shown[: len(shown) // 2]
        return None

    async def _ask(self, shown: Sequence[Shown], question: Question) -> None:
        """Ask about some records, and write what was said. Raises JudgeError where nothing was that can be believed."""
        day, before = times.day_of(self._clock()), self._budget
        candidates = [each.candidate for each in shown]
        n = max(self._standing.n, *(each.position.n for each in candidates))
        estimated = self._after(before.after(day, question, None), n)
        await self._corpus.ask(candidates, estimated)
        self._standing = estimated
        try:
            answer = await self._judge.ask(question)
            self._standing = self._after(before.after(day, question, answer), n)
            judged = judgements_of(question, answer)
        except JudgeError as error:
            if error.problem in OF_THE_JUDGE:
                await self._corpus.not_asked(candidates)
            raise
        await self._write([(each, judged[name]) for name, each in zip(question.ids, candidates, strict=True)])

    def _say_spent(self) -> None:
        if self._spent_on != (day := times.day_of(self._clock())):
            self._spent_on = day
            log.warning("what is left of the day's tokens for the judge is too little for another question")

    def _after(self, budget: Budget, n: int) -> Standing:
        return Standing(self._standing.judge, n, budget.day, budget.tokens)

    async def _write(self, judged: Sequence[tuple[Candidate, Judgement]]) -> None:
        """Write what was said of those records that are still as they were when the question went out."""
        lines = [
            _line(stored.record, judgement, self._settings.judge_model)
            for candidate, judgement in judged
            if (stored := await self._corpus.record_of(candidate.trajectory_id)) is not None
            and stored.record.sha256 == candidate.sha256
            and await self._may(candidate)
        ]
        is_said = False
        while not await self._corpus.put_judgements(lines, self._standing):
            if not is_said:
                log.warning("no room is left on the disk for what the judge said; it waits for some")
            is_said = True
            await trio.sleep(self._room_retry_s)
        self._judged += len(lines)


def _line(record: CorpusRecord, judgement: Judgement, model: str) -> tuple[JudgementRecord, bytes]:
    """A judge's line and its members; what it wrote is scrubbed like everything that anybody wrote."""
    made = JudgementRecord(
        trajectory_id=record.trajectory_id,
        record_id=record.record_id,
        session_id=record.session_id,
        contributor_id=record.contributor_id,
        rules=JUDGE_RULES,
        model=model,
        sha256=record.sha256,
        cognitive_target=judgement.cognitive_target,
        quality=judgement.quality,
        outcome=judgement.outcome,
        rationale=PIIScrubber.for_trajectories().scrub(judgement.rationale),
    )
    members = {
        "record_id": made.record_id,
        "trajectory_id": made.trajectory_id,
        "session_id": made.session_id,
        "contributor_id": made.contributor_id,
        "rules": made.rules,
        "judgement": {
            "model": made.model,
            "sha256": made.sha256,
            "cognitive_target": made.cognitive_target,
            "quality": made.quality,
            "outcome": made.outcome,
            "rationale": made.rationale,
        },
    }
    return made, msgspec.json.encode(members)[1:-1]
