"""A receipt of what a contributor agreed to, with the fields of ISO/IEC TS 27560:2023 for consent records. Pure.

It is written as JSON by RFC 8785 (members sorted by name, no white space, UTF-8), which is what is signed: whoever has
parsed it can write the very bytes again. It names the contributor by their digest, which only they can compute.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from actors.consent.settings import ConsentSettings
from persistence.format import times
from persistence.format.consent_events import ConsentEvent, shown

SCHEMA_VERSION: Final = "ISO/IEC TS 27560:2023"
_SORTED: Final = msgspec.json.Encoder(order="sorted")


def receipt_text(events: Sequence[ConsentEvent], settings: ConsentSettings, *, issued_at: float) -> bytes:
    """The receipt's text; `events` are all of one contributor that are to be in it, in order, and at least one."""
    last = events[-1]
    return _SORTED.encode(
        {
            "schema_version": SCHEMA_VERSION,
            "record_id": last.id,
            "issued_at": times.to_text(issued_at),
            "pii_principal_id": last.subject,
            "state": last.state,
            "notice": {
                "version": last.notice_version,
                "sha256": last.notice_sha256,
                "language": settings.language,
                "text": settings.notice_text if last.notice_sha256 == settings.notice_sha256 else None,
            },
            "purposes": last.purposes,
            "pii_categories": settings.data_categories,
            "pii_controller": {"name": settings.controller_name, "contact": settings.controller_contact},
            "storage_location": settings.storage_location,
            "retention": settings.retention,
            "jurisdiction": settings.jurisdiction,
            "recipients": settings.recipients,
            "withdrawal": settings.withdrawal,
            "events": [shown(event) for event in events],
        }
    )
