"""Opening a session: keys once, on disk before they are told, and every reason why not."""

import base64
from pathlib import Path

import pytest

from actors.envelopes.refusals import InvalidPublicKey
from actors.sessions.messages import OpenSession
from actors.sessions.outcomes import (
    Accepted,
    Busy,
    BusyReason,
    FullReason,
    KeyConflict,
    MachineLimit,
    Opened,
    OpenOutcome,
    StorageFull,
)
from persistence.databases.registry import NewSession, RegistryBusy
from persistence.files.space import Room
from tests.running_service import Running, running, settings_with
from tests.signing_client import SigningClient


async def open_with(run: Running, client: SigningClient, **changes: str) -> OpenOutcome:
    return await run.service.open_session(OpenSession(**client.opening(**changes)))


async def test_the_row_is_on_disk_when_the_key_is_told_and_holds_no_readable_secret(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        client = await run.open()
        ((public, private, secret, created_at),) = run.rows(
            "sessions.db", "SELECT client_public_key, server_private_key, shared_secret, created_at FROM sessions"
        )
        assert public == client.public_key
        assert base64.b64encode(client.secret).decode() not in secret
        stored = await run.service._storage.registry.load("sess_1")
        assert stored is not None
        assert stored.shared_secret == base64.b64encode(client.secret).decode()
        assert stored.server_private_key not in private
        assert created_at.endswith("Z")


async def test_the_same_key_gets_the_same_answer_and_another_a_conflict_for_good(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        client, other = SigningClient("sess_1"), SigningClient("sess_1")
        first = await open_with(run, client)
        assert isinstance(first, Opened)
        client.opened(first.server_public_key)
        assert await open_with(run, client, model="another") == first
        assert await open_with(run, other) == KeyConflict()
        assert isinstance(await run.send(client.chunk()), Accepted)
        await run.service.close_session("sess_1")
        assert await open_with(run, client) == first
    async with running(tmp_path, clock=run.clock) as run:
        assert await open_with(run, client) == first
        assert await open_with(run, other) == KeyConflict()


async def test_each_session_has_keys_of_its_own(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        one, other = SigningClient("sess_1"), SigningClient("sess_2")
        first, second = await open_with(run, one), await open_with(run, other, public_key=one.public_key)
        assert isinstance(first, Opened)
        assert isinstance(second, Opened)
        assert first != second


@pytest.mark.parametrize("key", ["", "?", base64.b64encode(b"\x04" + b"\0" * 64).decode(), "AAAA"])
async def test_a_key_that_is_no_point_is_refused_and_leaves_nothing(tmp_path: Path, key: str) -> None:
    async with running(tmp_path) as run:
        client = SigningClient("sess_1")
        assert isinstance(await open_with(run, client, public_key=key), InvalidPublicKey)
        assert run.rows("sessions.db", "SELECT * FROM sessions") == []
        assert isinstance(await open_with(run, client), Opened)


async def test_a_machine_may_open_only_so_many_within_an_hour(tmp_path: Path) -> None:
    chosen = settings_with(sessions={"opens_per_machine_per_h": 2})
    async with running(tmp_path, settings=chosen) as run:
        clients = [SigningClient(f"sess_{number}") for number in range(4)]
        machine = {"machine_fingerprint": "a" * 64}
        first = await open_with(run, clients[0], **machine)
        run.clock.now += 1_800
        assert isinstance(await open_with(run, clients[1], **machine), Opened)
        assert await open_with(run, clients[2], **machine) == MachineLimit(retry_after_s=1_800)
        assert await open_with(run, clients[0], **machine) == first
        assert isinstance(await open_with(run, clients[3]), Opened)
        run.clock.now += 1_801
        assert isinstance(await open_with(run, clients[2], **machine), Opened)


async def test_a_full_disk_refuses_new_sessions_and_still_answers_a_resend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as run:
        client = SigningClient("sess_1")
        first = await open_with(run, client)
        monkeypatch.setattr(run.service._storage.space, "room_for", lambda size_bytes: Room.DISK_FULL)
        assert await open_with(run, SigningClient("sess_2")) == StorageFull(FullReason.DISK_FULL)
        assert await open_with(run, client) == first


async def test_a_busy_registry_is_told_and_a_retry_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def busy(session: NewSession) -> RegistryBusy:
        return RegistryBusy()

    async with running(tmp_path) as run:
        client = SigningClient("sess_1")
        with monkeypatch.context() as patched:
            patched.setattr(run.service._storage.registry, "open", busy)
            assert await open_with(run, client) == Busy(BusyReason.SESSIONS_FULL)
        assert isinstance(await open_with(run, client), Opened)
