"""A record of the corpus made from a text of the intake: scrubbed, tagged with its domain. Pure.

It has the members of a local record (docs/training.md, "On disk"), and says what was found in it as the record of a
trajectory does. What cannot be scrubbed or read makes no record (fail-closed).
"""

import hashlib
from typing import Any, Final

import msgspec

from actors.curation.consent import Agreement
from actors.curation.domains import DOMAINS_VERSION, DomainTagger
from actors.curation.scrubbed_values import ScrubbedValues
from actors.curation.scrubbing.rules_version import SCRUB_RULES_VERSION
from actors.curation.scrubbing.spans import WITHHELD
from actors.curation.settings import CurationSettings
from persistence.format import json_text
from persistence.format.records import CorpusTextRecord, IntakeRecord
from persistence.format.submitted_texts import RecordKind
from persistence.journals.erased_lines import is_erased, read_erased

TEXT_RULES: Final = f"scrubbing-{SCRUB_RULES_VERSION} domains-{DOMAINS_VERSION}"
"""The version of all rules that make such a record: what other ones made is made anew by `curate --all`."""

_TAGGER: Final = DomainTagger()
_encode: Final = msgspec.json.Encoder().encode


class SubmittedText(msgspec.Struct, frozen=True):
    """What of a line of the intake journal a record is made of."""

    record_id: str
    subject: str
    session_id: str
    content_type: str
    content: str
    metadata: msgspec.Raw

    @property
    def head(self) -> IntakeRecord:
        """Which text it is, and whose."""
        return IntakeRecord(
            record_id=self.record_id, subject=self.subject, session_id=self.session_id, content_type=self.content_type
        )


class TextRecord(msgspec.Struct, frozen=True):
    """A record that was made: what the database knows of it, and its members without braces."""

    record: CorpusTextRecord
    members: bytes


class Unscrubbed(ValueError):  # noqa: N818 (a state of a text)
    """The content could not be scrubbed."""


_TEXT: Final = msgspec.json.Decoder(SubmittedText)
_CONTENT: Final = msgspec.json.Decoder(str)


def read_text(line: bytes) -> SubmittedText | IntakeRecord | None:
    """Read a line of the intake journal: its text, or which that was where its time is over; None for an erased one."""
    try:
        if not is_erased(line):
            return json_text.decode(_TEXT, line)
        kept = read_erased(line).erased.kept
    except msgspec.DecodeError:
        return None
    return None if kept is None else kept.text


def text_record(text: SubmittedText, consent: Agreement, settings: CurationSettings, *, at: float) -> TextRecord:
    """Scrub a text and tag it; `at` is when it was handed over, in seconds since the epoch, UTC.

    Raises Unscrubbed, or ValueError (msgspec.DecodeError, too) for what cannot be read.
    """
    values = ScrubbedValues(text_chars_max=settings.text_chars_max, findings_max=settings.findings_max)
    content = _CONTENT.decode(values.scrubbed(_encode(text.content), "/content"))
    if content == WITHHELD != text.content:
        raise Unscrubbed
    metadata = msgspec.Raw(values.scrubbed(bytes(text.metadata), "/metadata"))
    report = values.report()
    record = CorpusTextRecord(
        record_id=text.record_id,
        subject=text.subject,
        session_id=text.session_id,
        content_type=text.content_type,
        rules=TEXT_RULES,
        domain=_TAGGER.tag(content),
        chars=len(content),
        findings=report.findings,
        withheld=report.withheld,
        sha256=hashlib.sha256(content.encode()).hexdigest(),
    )
    written = {
        **_head(record),
        "timestamp": at,
        "domain": record.domain,
        "content": content,
        "metadata": metadata,
        "consent_version": consent.version,
        "consent": consent,
        "scrubbed": report,
        "sha256": record.sha256,
    }
    return TextRecord(record, _encode(written)[1:-1])


def text_taken_back(text: IntakeRecord, reason: str) -> TextRecord:
    """The line that says that there is no record of a text any more, and why."""
    record = CorpusTextRecord(
        record_id=text.record_id,
        subject=text.subject,
        session_id=text.session_id,
        content_type=text.content_type,
        rules=TEXT_RULES,
        taken_back=reason,
    )
    return TextRecord(record, _encode({**_head(record), "taken_back": reason})[1:-1])


def _head(record: CorpusTextRecord) -> dict[str, Any]:
    return {
        "kind": RecordKind.TEXT,
        "record_id": record.record_id,
        "user_id": record.subject,
        "session_id": record.session_id,
        "content_type": record.content_type,
        "rules": record.rules,
    }
