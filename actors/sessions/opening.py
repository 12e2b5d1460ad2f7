"""Opening a session: the key exchange, once a session, however often it is asked for.

The answer carries the server's key only after the session's row, with the secret derived from that key, is on disk: a
client that has the key can rely on its envelopes being verifiable after any crash.
"""

import base64

from actors.envelopes import attestation
from actors.envelopes.refusals import InvalidPublicKey
from actors.sessions.environment import Environment
from actors.sessions.lifecycle import State
from actors.sessions.messages import OpenSession
from actors.sessions.outcomes import (
    Busy,
    BusyReason,
    FullReason,
    KeyConflict,
    MachineLimit,
    Opened,
    OpenOutcome,
    StorageFull,
)
from actors.sessions.state import SessionState
from persistence.databases.registry import (
    MachineRateLimited,
    NewSession,
    OpenResult,
    RegistryBusy,
    RegistryFull,
    SessionCreated,
    SessionExists,
    TooManyUnused,
)
from persistence.files.space import Room
from persistence.format import times


async def open_session(message: OpenSession, state: SessionState, environment: Environment) -> OpenOutcome:
    """Open the session, or answer a resend of its opening with the same key."""
    if state.lifecycle is not State.ABSENT:
        if state.client_public_key == message.public_key:
            return Opened(state.server_public_key)
        return KeyConflict()
    room = environment.storage.space.room_for(0)
    if room is Room.DISK_FULL:
        return StorageFull(FullReason.DISK_FULL)
    peer_public_key = attestation.parse_public_key(message.public_key)
    if isinstance(peer_public_key, InvalidPublicKey):
        return peer_public_key
    keys = attestation.generate_key_pair(environment.random_bytes)
    secret = attestation.derive_shared_secret(keys.private_key, peer_public_key)
    session = NewSession(
        session_id=message.session_id,
        server_private_key=keys.private_key_base64,
        server_public_key=keys.public_key_base64,
        shared_secret=base64.b64encode(secret).decode(),
        client_public_key=message.public_key,
        provider=message.provider,
        model=message.model,
        machine_fingerprint=message.machine_fingerprint,
        app_version_hash=message.app_version_hash,
        groove_version=message.groove_version,
        signed_by=message.signed_by or "",
        created_at=times.to_microseconds_precision(environment.clock()),
    )
    refused = _refusal(await environment.storage.registry.open(session), message.session_id)
    if refused is not None:
        return refused
    state.record_opened(session, secret)
    return Opened(session.server_public_key)


def _refusal(result: OpenResult, session_id: str) -> MachineLimit | StorageFull | Busy | None:
    """Say why the session's row was not written; None when it is on disk."""
    match result:
        case SessionCreated():
            return None
        case SessionExists():
            # Only this actor opens this session, and it had found no row.
            raise AssertionError(f"session {session_id} was opened by someone else")
        case MachineRateLimited(retry_after_s):
            return MachineLimit(retry_after_s)
        case TooManyUnused():
            return StorageFull(FullReason.UNUSED_SESSIONS)
        case RegistryFull():
            return StorageFull(FullReason.DISK_FULL)
        case RegistryBusy():
            return Busy(BusyReason.SESSIONS_FULL)
