"""Consent in the description: what contributors say, what is shown, receipts, and the server's own page."""

from typing import Any

from actors.consent.settings import ConsentMode
from central_command.http.description.json_schema import (
    BOOLEAN,
    TEXT,
    Schema,
    hexadecimal,
    object_of,
    one_of,
    or_null,
    reference,
)
from central_command.http.endpoints.consent import SIGNATURE_HEADER, TIME_HEADER
from persistence.format.consent_events import ConsentSource, ConsentState, Decision

_SHA256: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_TEXTS: Schema = {"type": "array", "items": TEXT}
_SIGNED = "Only for a contributor with a registered key."

ED25519_KEY: Schema = {
    "type": "string",
    "pattern": "^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$",
    "description": "Base64 of an Ed25519 public key: 32 bytes.",
}
ED25519_SIGNATURE: Schema = {"type": "string", "pattern": "^[A-Za-z0-9+/]{85}[AQgw]==$"}

CONTRIBUTOR_PARAMETERS: list[dict[str, Any]] = [
    {"name": "contributor_id", "in": "path", "required": True, "schema": hexadecimal(32)},
]
"""What every path of a contributor has; the two headers of a signature are told in words, because they go together."""

SIGNATURE_WORDS = (
    f"{_SIGNED} {TIME_HEADER} (seconds since 1970) and {SIGNATURE_HEADER} (base64) sign the request, as "
    "docs/protocol.md says."
)


def consent_schemas(current_version: str) -> dict[str, Schema]:
    """Every schema by its name; `current_version` is that of the terms that can be agreed to."""
    notice = object_of({"version": TEXT, "sha256": _SHA256, "language": TEXT, "text": TEXT})
    terms = {"current_version": TEXT, "notice": notice}
    version: Schema = {"const": current_version}
    after = {"after": {**_SHA256, "description": f"{_SIGNED} The hash of their last event, or 64 zeros."}}
    return {
        "SayConsent": {
            "anyOf": [
                object_of(
                    {"state": {"const": Decision.GIVEN.value}, "version": version}, after, additionalProperties=False
                ),
                object_of(
                    {"state": {"const": Decision.WITHDRAWN.value}},
                    {"version": version, **after},
                    additionalProperties=False,
                ),
            ]
        },
        "ConsentEvent": object_of(
            {
                "id": TEXT,
                "at": TEXT,
                "state": one_of(Decision),
                "version": TEXT,
                "purposes": _TEXTS,
                "notice_version": TEXT,
                "notice_sha256": _SHA256,
                "source": one_of(ConsentSource),
                "previous_sha256": _SHA256,
                "sha256": _SHA256,
            }
        ),
        "ConsentSaid": object_of({"recorded": BOOLEAN, **terms, "event": reference("ConsentEvent")}),
        "Consent": object_of(
            {
                "state": one_of(ConsentState),
                "erased": BOOLEAN,
                "version": or_null(TEXT),
                "changed_at": or_null(TEXT),
                "last_event_sha256": _SHA256,
                **terms,
                "history": {"type": "array", "items": reference("ConsentEvent")},
            }
        ),
        "Receipt": object_of(
            {
                "receipt": {"type": "object", "description": "The fields of ISO/IEC TS 27560, as JSON by RFC 8785."},
                "signature": object_of({"algorithm": {"const": "Ed25519"}, "key_id": TEXT, "value": TEXT}),
            }
        ),
        "NotLatest": object_of({"error": TEXT, "last_event_sha256": _SHA256}),
        "WellKnown": object_of(
            {
                "receipt_keys": {
                    "type": "array",
                    "items": object_of(
                        {
                            "algorithm": {"const": "Ed25519"},
                            "key_id": TEXT,
                            "public_key": ED25519_KEY,
                            "public_key_pem": TEXT,
                        }
                    ),
                },
                "consent": object_of({"mode": one_of(ConsentMode), **terms}),
            }
        ),
    }
