"""A receipt of consent with the fields of ISO/IEC TS 27560, for the user of this machine.

It is not signed: the machine that makes it is the user's own, and nobody else relies on it. What it says of the events
can be checked against the chain in `consent.db`.
"""

from typing import Final

import msgspec

from central_command.training.notice import Notice
from persistence.format.consent_events import ConsentEvent, ShownEvent, shown

SCHEMA_VERSION: Final = "ISO/IEC TS 27560:2023"
CATEGORIES: Final = ("prompts", "completions", "conversations", "workflow metadata")
CONTROLLER: Final = "whoever provides the application that captures; it receives nothing from this machine"
RETENTION: Final = "until the user deletes it"
JURISDICTION: Final = "that of the machine's user"
WITHDRAWAL: Final = "central-command consent withdraw; to delete as well: central-command data --delete"


class PrivacyNotice(msgspec.Struct, frozen=True):
    """The text that was shown before the last decision: its version and the SHA-256 of its UTF-8."""

    version: str
    sha256: str


class Processing(msgspec.Struct, frozen=True, kw_only=True):
    """What was agreed to."""

    privacy_notice: PrivacyNotice
    language: str
    purposes: tuple[str, ...]
    lawful_basis: str
    pii_information: tuple[str, ...]
    pii_controllers: tuple[str, ...]
    collection_method: str
    storage_locations: tuple[str, ...]
    retention_period: str
    jurisdiction: str
    recipient_third_parties: tuple[str, ...]
    withdrawal_method: str


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. `record_id` is that of the last event; `signature` is always null here."""

    schema_version: str
    record_id: str
    pii_principal_id: str
    pii_processing: Processing
    events: tuple[ShownEvent, ...]
    signature: None = None


def receipt_of(events: list[ConsentEvent], notice: Notice, *, stored_in: tuple[str, ...]) -> Receipt:
    """The receipt for the events of one user, oldest first, of which there must be one; and where records are."""
    last = events[-1]
    return Receipt(
        schema_version=SCHEMA_VERSION,
        record_id=last.id,
        pii_principal_id=last.subject,
        pii_processing=Processing(
            privacy_notice=PrivacyNotice(last.notice_version, last.notice_sha256),
            language=notice.language,
            purposes=last.purposes,
            lawful_basis="consent",
            pii_information=CATEGORIES,
            pii_controllers=(CONTROLLER,),
            collection_method="captured by the application while it is used, personal data and secrets scrubbed",
            storage_locations=stored_in,
            retention_period=RETENTION,
            jurisdiction=JURISDICTION,
            recipient_third_parties=(),
            withdrawal_method=WITHDRAWAL,
        ),
        events=tuple(map(shown, events)),
    )
