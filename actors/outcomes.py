"""What can come of a message to a session: values to be matched on, not exceptions.

Exceptions in this layer mean a bug or a broken disk. `central_command.http.replies` maps each outcome to its answer.
"""

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
    # 429, as the contract says.
    ENVELOPE_LIMIT = "envelope_limit"


class Refusal(msgspec.Struct, frozen=True):
    """A refusal with its stable code and one sentence for people."""

    code: RefusalCode
    reason: str


class Accepted(msgspec.Struct, frozen=True):
    """The envelope is on disk; `duplicate` when it already was (a resend after a lost answer)."""

    envelope_id: str
    duplicate: bool = False


class Opened(msgspec.Struct, frozen=True):
    """The session is open and its keys are on disk; `server_public_key` is base64 of an uncompressed P-256 point."""

    server_public_key: str


class KeyConflict(msgspec.Struct, frozen=True):
    """The session id is already open with another public key."""


class InvalidPublicKey(msgspec.Struct, frozen=True):
    """The public key is not base64 of an uncompressed P-256 point on the curve."""

    reason: str


class MachineLimit(msgspec.Struct, frozen=True):
    """Too many sessions were opened by one machine within an hour."""

    retry_after_s: int


class Credit(msgspec.Struct, frozen=True):
    """What a closed session was worth."""

    total_points: float
    total_steps: int


class Closed(msgspec.Struct, frozen=True):
    """The session is closed; `credit` is None when it held no chunk."""

    already_closed: bool
    credit: Credit | None


class UnknownSession(msgspec.Struct, frozen=True):
    """No such session (for a close by HTTP)."""


class StillActive(msgspec.Struct, frozen=True):
    """The session was to be closed as abandoned, but something came from it meanwhile."""


class BusyReason(StrEnum):
    """Why the server cannot take something now; a retry will help."""

    MAILBOX_FULL = "mailbox_full"
    SESSIONS_FULL = "sessions_full"
    JOURNAL_FULL = "journal_full"
    SHUTTING_DOWN = "shutting_down"
    STORAGE_FAILED = "storage_failed"


class Busy(msgspec.Struct, frozen=True):
    """Overload, shutdown or a storage out of order: nothing was done, and the same request may be sent again."""

    reason: BusyReason


class FullReason(StrEnum):
    """Why nothing more can be stored."""

    QUOTA = "quota"
    DISK_FULL = "disk_full"


class StorageFull(msgspec.Struct, frozen=True):
    """The quota is reached or the disk is full: nothing was stored."""

    reason: FullReason


class ActorFailed(msgspec.Struct, frozen=True):
    """A bug ended the session's actor; the next message activates it afresh from what is durable."""


OpenOutcome = Opened | KeyConflict | InvalidPublicKey | MachineLimit | Busy | StorageFull | ActorFailed
CloseOutcome = Closed | UnknownSession | Busy | StorageFull | ActorFailed
AbandonOutcome = CloseOutcome | StillActive
IngestOutcome = Accepted | Refusal | Busy | StorageFull | ActorFailed
IngestManyOutcome = tuple[IngestOutcome, ...] | Busy | ActorFailed
"""An outcome for each envelope in order, or one for all of them."""
