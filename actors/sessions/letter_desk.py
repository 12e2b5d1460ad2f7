"""What an operator asks of dead letters: which there are, what one holds, and to try one again."""

import logging
import re
from collections.abc import Callable
from typing import Final

import msgspec

from actors.envelopes.letter_bodies import UnreadableBody
from actors.sessions.directory import Directory
from actors.sessions.environment import Environment
from actors.sessions.messages import RetryLetters
from actors.sessions.outcomes import RetryOutcome
from actors.sessions.retrying import body_in, obstacle
from persistence.databases.letters import N_MAX, Letter, LetterFilter
from persistence.format import times
from persistence.format.records import JournalName
from persistence.journals.reading import JournalDamage
from persistence.keys.sealing import MasterKeyError

log = logging.getLogger("central_command.sessions")


_NAMED: Final = re.compile(r'"contributor_id"\s{0,4}:\s{0,4}"([0-9A-Fa-f]{32})"')
_ID: Final = re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{32}(?![0-9A-Fa-f])")


class LetterReport(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter: why it was refused, and what keeps it from being taken in, if any settings could do that.

    `hindered_by` is a stable code; None where only a try can tell. `taken_in_as` is the envelope that it became.
    """

    id: str
    session_id: str
    machine: str | None
    type: str
    sequence: int | None
    code: str
    reason: str
    refused_at: str
    taken_in_as: str | None
    can_retry: bool
    hindered_by: str | None
    hindrance: str | None


class LetterPage(msgspec.Struct, frozen=True, kw_only=True):
    """Letters, newest first; `next_cursor` is where the next page begins, None behind the last one."""

    refused: list[LetterReport]
    next_cursor: str | None


class LetterContents(msgspec.Struct, frozen=True, kw_only=True):
    """A letter, and the envelope that it holds, as text: as it came, but that contributors go by their pseudonyms.

    `body` is None where it holds none that can be read.
    """

    letter: LetterReport
    body: str | None


class LetterDesk:
    """Reads the index and the journal; what changes something is asked of the session's actor."""

    def __init__(self, environment: Environment, directory: Directory, pseudonym: Callable[[str], str]) -> None:
        """`pseudonym` gives what a contributor is called; it blocks."""
        self._environment = environment
        self._directory = directory
        self._pseudonym = pseudonym

    def __repr__(self) -> str:
        return f"<LetterDesk of {self._directory!r}>"

    async def page(self, chosen: LetterFilter, limit: int, *, before_n: int = N_MAX) -> LetterPage:
        """At most `limit` letters of lines before number `before_n`."""
        await self._projected()
        found = await self._environment.storage.letters.page(chosen, limit + 1, before_n=before_n)
        shown = found[:limit]
        cursor = str(shown[-1].position.n) if len(found) > limit else None
        return LetterPage(refused=[self._report(each) for each in shown], next_cursor=cursor)

    async def contents(self, letter_id: str) -> LetterContents | None:
        """One of them with what it holds; None for one that there is not."""
        letter = await self._letter(letter_id)
        if letter is None:
            return None
        report = self._report(letter)
        if letter.is_erased or report.hindered_by in {"dropped", "without_body"}:
            return LetterContents(letter=report, body=None)
        storage = self._environment.storage
        try:
            (line,) = await storage.refused.read([letter.position])
        except JournalDamage:
            if letter.position.n > storage.refused_quota.dropped_n:
                raise
            return LetterContents(letter=self._report(letter), body=None)
        return LetterContents(letter=report, body=await self._environment.offload(self._text_in, line))

    async def retry(self, letter_id: str) -> RetryOutcome | None:
        """Try to take one in, and what comes along with it (`RetryLetters`); None for one that there is not."""
        letter = await self._letter(letter_id)
        if letter is None:
            return None
        return await self._directory.ask(letter.session_id, RetryLetters((letter_id,)))

    def _text_in(self, line: bytes) -> str | None:
        body = body_in(line)
        if isinstance(body, UnreadableBody):
            return None
        try:
            return without_ids(body.decode(errors="replace"), self._pseudonym)
        except MasterKeyError as error:
            log.error("a dead letter is shown without its envelope: %s", error)  # noqa: TRY400 (the sentence says it all)
            return None

    async def _letter(self, letter_id: str) -> Letter | None:
        await self._projected()
        return await self._environment.storage.letters.one(letter_id)

    async def _projected(self) -> None:
        """What is on disk is listed: who asks may have seen the refusal a moment ago."""
        storage = self._environment.storage
        for name in (JournalName.REFUSED, JournalName.ENVELOPES):
            await storage.projector.wait_projected(name, storage.journals[name].statistics().tail.n)

    def _report(self, letter: Letter) -> LetterReport:
        hindered = obstacle(letter, self._environment.storage.refused_quota.dropped_n)
        return LetterReport(
            id=letter.envelope_id,
            session_id=letter.session_id,
            machine=letter.machine or None,
            type=letter.kind,
            sequence=letter.sequence,
            code=letter.code,
            reason=letter.reason,
            refused_at=times.to_text(letter.position.at),
            taken_in_as=letter.taken_in_as,
            can_retry=hindered is None,
            hindered_by=None if hindered is None else hindered[0],
            hindrance=None if hindered is None else hindered[1],
        )


def without_ids(text: str, pseudonym: Callable[[str], str]) -> str:
    """An envelope's text in which no contributor's id stands that it names: everywhere their pseudonyms do. Pure.

    Who knows the id can speak in its owner's name (docs/security.md), so nothing that is answered holds one.
    """
    named = {each.lower() for each in _NAMED.findall(text)}
    if not named:
        return text
    return _ID.sub(lambda found: pseudonym(found[0]) if found[0].lower() in named else found[0], text)
