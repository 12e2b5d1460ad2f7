"""The text of journal lines: JSON members without braces, as `persistence.journals.journal` takes them."""

import msgspec

from actors.envelopes.reading import Envelope
from actors.envelopes.refusals import Refusal
from persistence.format.records import ClosedBy, EnvelopeKind

_encode = msgspec.json.encode


CLAIMED_TYPE_CHARS_MAX = 64
"""How much of an unknown type's name is kept in the index; the body has all of it."""

CLIENT_ENVELOPE_ID_BYTES_MAX = 200
"""The longest id of a client's own that is noted; real ones have 42 bytes with their quotes."""


def claimed_type(envelope: Envelope) -> str:
    """Return the type that an envelope claims to have, known or not."""
    return (envelope.type if envelope.type is not None else EnvelopeKind.CHUNK)[:CLAIMED_TYPE_CHARS_MAX]


def envelope_members(envelope_id: str, envelope: Envelope) -> bytes:
    """Return the server's envelope id, then the client's own members byte for byte without its own id."""
    return b'"envelope_id":"%s",%s' % (envelope_id.encode(), envelope.stored_members())


def envelope_received(envelope: Envelope, gap: int) -> bytes:
    """Return what is noted of an envelope in `received`: skipped numbers, and the client's own id.

    The client's id is part of what it signed; with it, the signature can be checked again from the line.
    """
    own_id = envelope.member("envelope_id") or b""
    parts = []
    if gap:
        parts.append(b',"gap":%d' % gap)
    if own_id.startswith(b'"') and len(own_id) <= CLIENT_ENVELOPE_ID_BYTES_MAX:
        parts.append(b',"client_envelope_id":' + own_id)
    return b"".join(parts)


def server_close_members(envelope_id: str, session_id: str, closed_by: ClosedBy) -> bytes:
    """Return the server's own line for a session that ended without a SESSION_CLOSE."""
    return _encode(
        {
            "envelope_id": envelope_id,
            "session_id": session_id,
            "type": EnvelopeKind.SERVER_CLOSE,
            "closed_by": closed_by,
        }
    )[1:-1]


def refusal_members(envelope_id: str, envelope: Envelope, sequence: int | None, refusal: Refusal) -> bytes:
    """Return a dead letter: what was refused and why, with the received text as a JSON string."""
    assert envelope.attestation is not None
    return _encode(
        {
            "envelope_id": envelope_id,
            "session_id": envelope.session_id,
            "type": claimed_type(envelope),
            "sequence": sequence,
            "session_hmac": envelope.attestation.session_hmac,
            "refused": {"code": refusal.code, "reason": refusal.reason},
            "body": envelope.body.decode(),
        }
    )[1:-1]
