"""Curation of the intake: follows its journal, and makes of each text one record of the corpus, or none.

Some at a time, in the order of their lines: their records share a sync, and the position behind them is committed with
their rows, so each text is taken once, whatever ends the process in between. One that has its record by the same rules
is passed by, so going over everything anew can be interrupted anywhere. What a user says of their consent takes their
records back, or makes them again. Of who is to be erased nothing is made, and nothing noted.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import msgspec
import trio

from actors.curation.consent import Agreement
from actors.curation.past_damage import follow_past_damage
from actors.curation.settings import CurationSettings
from actors.curation.text_records import (
    TEXT_RULES,
    SubmittedText,
    TextRecord,
    Unscrubbed,
    read_text,
    text_record,
    text_taken_back,
)
from persistence.corpus import Corpus
from persistence.databases.corpus_texts import TextPassedOver
from persistence.format.records import IntakeRecord, Mark
from persistence.intake import IntakeTexts, TextPlace
from persistence.journals.reading import JournalDamage, StoredLine

log = logging.getLogger("central_command.curation")

TEXTS_AT_ONCE: Final = 64
"""Texts whose records are written together. Guards how much is done again after a crash."""

READ_AT_ONCE: Final = 16
"""Texts of one user that are read together. Guards memory."""

NO_CONSENT: Final = "no_consent"
SCRUBBING_FAILED: Final = "scrubbing_failed"
EXPIRED: Final = "expired"
"""Its time in the corpus is over, or that of its line."""


class _Item(msgspec.Struct, frozen=True):
    """A line of the intake, read, and when it was received; `text` is None where its time is over."""

    head: IntakeRecord
    text: SubmittedText | None
    at: float


class TextCuration:
    """Makes records of texts; `follow` takes what there is. One task with the rest of curation."""

    def __init__(
        self,
        texts: IntakeTexts,
        corpus: Corpus,
        *,
        consented: Callable[[str], Awaitable[Agreement]],
        is_to_be_erased: Callable[[str], bool],
        settings: CurationSettings,
        kept_since: Callable[[], float],
        waits: Callable[[float], None],
        until_written: Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]],
    ) -> None:
        self._texts = texts
        self._corpus = corpus
        self._consented = consented
        self._is_to_be_erased = is_to_be_erased
        self._settings = settings
        self._kept_since = kept_since
        self._waits = waits
        self._until_written = until_written
        self.reached = Mark()
        """The end of the intake journal when it was last looked at."""
        self.records = 0
        self.passed_over: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<TextCuration followed={self._corpus.followed_texts.n} of {self.reached.n}>"

    async def follow(self) -> None:
        """Take what is acknowledged and not taken yet; a damaged place is said and passed by."""
        self.reached = await self._texts.reached()
        await follow_past_damage(lambda: self._corpus.followed_texts, self.reached, self._follow_from, self._move)

    async def begin_anew(self) -> None:
        """Go over all texts again, from now on."""
        await self._move(Mark())

    async def _move(self, followed: Mark) -> None:
        await self._corpus.put_texts([], [], followed=followed)

    async def reconsider(self, subject: str) -> None:
        """Take a user's records back, or make them again, by what they said last; not of what is still to come."""
        if self._is_to_be_erased(subject):
            return
        consent = await self._consented(subject)
        after, up_to = 0, self._corpus.followed_texts.n
        limit = READ_AT_ONCE if consent.given else TEXTS_AT_ONCE
        while page := await self._texts.of_subject(subject, after, up_to, limit):
            if consent.given:
                await self._make_again(page)
            else:
                await self._take_back(page)
            after = page[-1].position.n

    async def _make_again(self, page: Sequence[TextPlace]) -> None:
        known = await self._corpus.text_rules([place.record.record_id for place in page])
        lacking = [place for place in page if known.get(place.record.record_id) != TEXT_RULES]
        items: list[_Item | None] = []
        for place in lacking:
            try:
                items.append(_item(await self._texts.line_at(place), place.position.at))
            except JournalDamage as damage:
                log.error("%s Curation goes on without it.", damage)  # noqa: TRY400 (the sentence says it all)
        await self._take(items, None)

    async def _take_back(self, page: Sequence[TextPlace]) -> None:
        """By what is known of the lines, so that one that is damaged keeps no record in the corpus."""
        known = await self._corpus.text_rules([place.record.record_id for place in page])
        made, passed = [], []
        for place in page:
            self.passed_over[NO_CONSENT] += 1
            if place.record.record_id in known:
                made.append(text_taken_back(place.record, NO_CONSENT))
            else:
                passed.append(TextPassedOver(place.record.record_id, place.record.subject, NO_CONSENT, TEXT_RULES))
        await self._put(made, passed, None)

    async def _follow_from(self, start: Mark) -> None:
        async for lines in self._texts.scan(start):
            known = [line for line in lines if line.position.n <= self.reached.n]
            for first in range(0, len(known), TEXTS_AT_ONCE):
                await self._take_lines(known[first : first + TEXTS_AT_ONCE])
            if len(known) < len(lines):
                return

    async def _take_lines(self, lines: Sequence[StoredLine]) -> None:
        self._waits(lines[0].position.at)
        items = [_item(line.text, line.position.at) for line in lines]
        await self._take(items, lines[-1].position.end)
        await trio.lowlevel.checkpoint()

    async def _take(self, found: Sequence[_Item | None], followed: Mark | None) -> None:
        """Make of each what it is to be now, and write what differs from what there is."""
        named = dict.fromkeys(item.head.subject for item in found if item is not None)
        subjects = [subject for subject in named if not self._is_to_be_erased(subject)]
        items = [item for item in found if item is not None and item.head.subject in subjects]
        consents = {subject: await self._consented(subject) for subject in subjects}
        known = await self._corpus.text_rules([item.head.record_id for item in items])
        made: list[TextRecord] = []
        passed: list[TextPassedOver] = []
        for item in items:
            head = item.head
            rules = known.get(head.record_id)
            outcome = self._outcome(item, consents[head.subject], rules)
            if outcome is None:
                continue
            if isinstance(outcome, TextRecord):
                made.append(outcome)
                self.records += 1
                continue
            self.passed_over[outcome] += 1
            if rules is None:
                passed.append(TextPassedOver(head.record_id, head.subject, outcome, TEXT_RULES))
            else:
                made.append(text_taken_back(head, outcome))
        if made or passed or followed is not None:
            await self._put(made, passed, followed)

    def _outcome(self, item: _Item, consent: Agreement, rules: str | None) -> TextRecord | str | None:
        """The record of a text, or why there is to be none; None where the one that there is, by `rules`, stays."""
        if not consent.given:
            return NO_CONSENT
        if item.at < self._kept_since():
            return EXPIRED
        if item.text is None:  # a record that there is stays: it cannot be made anew
            return EXPIRED if rules is None else None
        return None if rules == TEXT_RULES else self._made(item.text, item.at, consent)

    def _made(self, text: SubmittedText, at: float, consent: Agreement) -> TextRecord | str:
        """The record of a text, or why there is none: nothing that is not scrubbed may be written."""
        try:
            return text_record(text, consent, self._settings, at=at)
        except Unscrubbed:
            log.error("no record can be made of text %s (it cannot be scrubbed)", text.record_id)  # noqa: TRY400
        except Exception as error:  # noqa: BLE001 - whatever fails; never with its own text, which may hold theirs
            log.error("no record can be made of text %s (%s)", text.record_id, type(error).__name__)  # noqa: TRY400
        return SCRUBBING_FAILED

    async def _put(self, made: Sequence[TextRecord], passed: Sequence[TextPassedOver], followed: Mark | None) -> None:
        lines = [(each.record, each.members) for each in made]
        await self._until_written(partial(self._corpus.put_texts, lines, passed, followed=followed))


def _item(line: bytes, at: float) -> _Item | None:
    """A line as it was received at `at`; None for one that was erased."""
    match read_text(line):
        case None:
            return None
        case SubmittedText() as text:
            return _Item(text.head, text, at)
        case head:
            return _Item(head, None, at)
