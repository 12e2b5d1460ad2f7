"""The one way into the corpus: consent, scrubbing, domain, and the line on disk.

Consent is asked for twice: before anything is done for a text, and again under the locks, where nobody can withdraw
until the line is written. So what a withdrawal or a deletion has returned from is behind every line there is.
"""

import time
import uuid
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import msgspec

from actors.curation.domains import DomainTagger
from actors.curation.scrubbing.scrubber import PIIScrubber
from actors.curation.scrubbing.spans import WITHHELD
from central_command.training.consent import ConsentManager
from central_command.training.corpus import TrainingCorpus
from central_command.training.records import TrainingRecord, log, plain_metadata
from persistence.format.submitted_texts import CONTENT_TYPES, ID_CHARS_MAX, is_id

RECORDS_AT_ONCE_MAX: Final = 64
"""Records that share a lock and a sync; more are taken in parts."""


class Captured(msgspec.Struct, frozen=True, kw_only=True):
    """A text as an application hands it over. `captured_at` is seconds since the epoch, UTC."""

    user_id: str
    session_id: str
    content: str
    content_type: str
    metadata: dict[str, Any] | None = None
    captured_at: float


Taken: TypeAlias = TrainingRecord | ValueError | None


class TrainingDataIntake:
    """Takes in texts of users who have opted in; safe from any thread.

    `withheld` counts texts that could not be scrubbed, so that nothing of them was written; exact from one thread.
    Methods raise TrainingDataError and OSError when files cannot be read or written: then nothing was taken in.
    """

    def __init__(
        self, consent_manager: ConsentManager, corpus: TrainingCorpus, scrubber: PIIScrubber, tagger: DomainTagger
    ) -> None:
        self._consent = consent_manager
        self._corpus = corpus
        self._scrubber = scrubber
        self._tagger = tagger
        self.withheld = 0

    def __repr__(self) -> str:
        return f"<TrainingDataIntake into {self._corpus!r}>"

    def submit(
        self,
        user_id: str,
        session_id: str,
        content: str,
        content_type: str,
        metadata: dict[str, Any] | None = None,
    ) -> str | None:
        """Scrub a text, tag it and write it; the id of its record, which is on disk when this returns.

        None, and nothing is written, when the user has not opted in, and when the text cannot be scrubbed. Raises
        ValueError for a type that is none of the contract's four, an id that is none, and metadata that are no JSON.
        """
        captured = Captured(
            user_id=user_id,
            session_id=session_id,
            content=content,
            content_type=content_type,
            metadata=metadata,
            captured_at=time.time(),
        )
        record = self.take_in([captured])[0]
        if isinstance(record, ValueError):
            raise record
        return record.record_id if record is not None else None

    def submit_batch(self, records: list[dict[str, Any]]) -> dict[str, Any]:
        """The same for many, each with the members of `submit`: `{"accepted", "rejected", "record_ids"}`.

        What `submit` refuses or returns None for is rejected; the ids are those of the accepted, in their order. Raises
        ValueError for what is no list.
        """
        if not isinstance(records, list | tuple):
            raise ValueError(f"records must be a list, not {type(records).__name__}")  # noqa: TRY004
        ids = []
        for start in range(0, len(records), RECORDS_AT_ONCE_MAX):
            part = [_captured(each) for each in records[start : start + RECORDS_AT_ONCE_MAX]]
            taken = self.take_in([each for each in part if each is not None])
            ids += [each.record_id for each in taken if isinstance(each, TrainingRecord)]
        return {"accepted": len(ids), "rejected": len(records) - len(ids), "record_ids": ids}

    def delete_user(self, user_id: str) -> dict[str, Any]:
        """Opt a user out and delete every record of theirs: `{"consent_revoked", "records_deleted"}`.

        `consent_revoked` is False for somebody who never said anything. Whatever is submitted meanwhile is deleted or
        not written. Killed in the middle, it is to be called again.
        """
        revoked = self._consent.revoke_consent(user_id)
        deleted = self._corpus.delete_user(user_id)
        self._consent.deletion_done(user_id)
        return {"consent_revoked": revoked, "records_deleted": deleted}

    def take_in(self, captured: Sequence[Captured], *, since: float | None = None) -> list[Taken]:
        """What became of each text: its record, None as of `submit`, or what is wrong with it. One sync for all.

        Nothing is taken of users who have withdrawn at `since` or later (seconds since the epoch), even if they have
        opted in again.
        """
        users = {each.user_id for each in captured if is_id(each.user_id)}
        with self._consent.held(users, since=since) as versions:
            pass
        made = [self._record(each, versions) for each in captured]
        if any(isinstance(each, TrainingRecord) for each in made):
            with self._corpus.writing() as writer, self._consent.held(set(versions), since=since) as still:
                made = [each if _may_be_written(each, still) else None for each in made]
                writer.append([each for each in made if isinstance(each, TrainingRecord)])
        return made

    def _record(self, captured: Captured, versions: dict[str, str]) -> Taken:
        if is_id(captured.user_id) and captured.user_id not in versions:
            return None
        try:
            metadata = _checked_metadata(captured)
        except ValueError as error:
            return error
        content = self._scrubbed(captured)
        if content is None:
            return None
        scrubbed_metadata = self._scrubber.scrub_value(metadata)
        assert isinstance(scrubbed_metadata, dict)
        return TrainingRecord(
            record_id=uuid.uuid4().hex,
            user_id=captured.user_id,
            session_id=captured.session_id,
            timestamp=captured.captured_at,
            domain=self._tagger.tag(content),
            content_type=captured.content_type,
            content=content,
            metadata=scrubbed_metadata,
            consent_version=versions[captured.user_id],
        )

    def _scrubbed(self, captured: Captured) -> str | None:
        """The text to be written, or None; a conversation text by text, because scrubbed JSON has to stay JSON."""
        if captured.content_type == "conversation":
            scrubbed = self._scrubber.scrub_value(captured.content)
        else:
            scrubbed = self._scrubber.scrub(captured.content)
        if scrubbed == WITHHELD != captured.content:
            self.withheld += 1
            log.warning("a %s could not be scrubbed, so nothing of it is written", captured.content_type)
            return None
        assert isinstance(scrubbed, str)
        return scrubbed


def _checked_metadata(captured: Captured) -> dict[str, Any]:
    """The metadata as they will be written; ValueError for anything that is wrong with a text."""
    for name, value in (("user_id", captured.user_id), ("session_id", captured.session_id)):
        if not is_id(value):
            raise ValueError(f"{name} must be a text of 1 to {ID_CHARS_MAX} characters")
    if captured.content_type not in CONTENT_TYPES:
        raise ValueError(f"content_type must be one of {', '.join(CONTENT_TYPES)}")
    if not isinstance(captured.content, str):
        raise ValueError("content must be a text")  # noqa: TRY004 (one error for all that is wrong with a record)
    return plain_metadata(captured.metadata)


def _may_be_written(taken: Taken, versions: dict[str, str]) -> bool:
    """Whether nothing of a record's consent has changed; what is no record may be anything."""
    return not isinstance(taken, TrainingRecord) or versions.get(taken.user_id) == taken.consent_version


def _captured(record: object) -> Captured | None:
    """A record of a batch; None for one without the members that it must have."""
    if not isinstance(record, dict):
        return None
    try:
        return Captured(
            user_id=record["user_id"],
            session_id=record["session_id"],
            content=record["content"],
            content_type=record["content_type"],
            metadata=record.get("metadata"),
            captured_at=time.time(),
        )
    except KeyError:
        return None
