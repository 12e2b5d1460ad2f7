"""Why an envelope or a key is refused: stable codes for programs, one sentence for people."""

from enum import StrEnum

import msgspec


class RefusalCode(StrEnum):
    """The stable codes of refusals; clients and dashboards may rely on them (docs/protocol.md lists each)."""

    # The body cannot be read as an envelope at all: 400.
    BYTE_ORDER_MARK = "byte_order_mark"
    INVALID_UTF8 = "invalid_utf8"
    NOT_A_NUMBER = "not_a_number"
    INVALID_JSON = "invalid_json"
    NOT_AN_OBJECT = "not_an_object"
    DUPLICATE_MEMBER = "duplicate_member"
    NESTING_TOO_DEEP = "nesting_too_deep"
    TOO_MANY_MEMBERS = "too_many_members"
    MISSING_SESSION_ID = "missing_session_id"
    # Not authentic or not in order: 200 with `accepted: false`, because no retry can mend it.
    UNKNOWN_SESSION = "unknown_session"
    SESSION_CLOSED = "session_closed"
    MISSING_ATTESTATION = "missing_attestation"
    INVALID_HMAC = "invalid_hmac"
    SEQUENCE_MISMATCH = "sequence_mismatch"
    # Authentic, but not acceptable: likewise, and kept in the dead letters.
    SCHEMA = "schema"
    UNKNOWN_TYPE = "unknown_type"
    RESERVED_MEMBER = "reserved_member"
    SESSION_TOO_LARGE = "session_too_large"
    # Authentic, but from somebody who does not want it, or is not who it says: likewise, and nothing of it is kept.
    CONSENT_WITHDRAWN = "consent_withdrawn"
    CONTRIBUTOR_KEY_REQUIRED = "contributor_key_required"
    # Authentic, but from somebody whose data was erased: likewise, and nothing of it is kept.
    CONTRIBUTOR_ERASED = "contributor_erased"
    # 429, as the contract says.
    ENVELOPE_LIMIT = "envelope_limit"


class Refusal(msgspec.Struct, frozen=True):
    """A refusal with its stable code and one sentence for people."""

    code: RefusalCode
    reason: str


class InvalidPublicKey(msgspec.Struct, frozen=True):
    """The public key is not base64 of an uncompressed P-256 point on the curve."""

    reason: str
