"""What can be asked of a session."""

import msgspec

from actors.envelopes.reading import Envelope
from persistence.format.records import ClosedBy


class OpenSession(msgspec.Struct, frozen=True, kw_only=True):
    """Open a session (contract, "POST /v1/sessions/open"): every member is required text."""

    session_id: str
    public_key: str
    provider: str
    model: str
    machine_fingerprint: str
    app_version_hash: str
    groove_version: str


class Ingest(msgspec.Struct, frozen=True):
    """Take one envelope in (contract, "POST /v1/training/ingest")."""

    envelope: Envelope


class IngestMany(msgspec.Struct, frozen=True):
    """Take envelopes of one session in, in order, each as if it had come alone (`POST /v1/training/ingest/batch`)."""

    envelopes: tuple[Envelope, ...]


class CloseSession(msgspec.Struct, frozen=True):
    """End a session without the client's own SESSION_CLOSE: by HTTP, or because it was abandoned.

    With `unless_active_since` (seconds since the epoch) the session stays open if anything came from it since then.
    """

    closed_by: ClosedBy
    unless_active_since: float | None = None


class Finish(msgspec.Struct, frozen=True):
    """Complete a close that a crash interrupted: stitch, score and record what is closed but has no trajectory."""


Message = OpenSession | Ingest | IngestMany | CloseSession | Finish
