"""Openings are durable, limited by machine and committed together; a session comes back as it was."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

import msgspec
import pytest
import trio
import trio.testing

from persistence.databases.database import Database, DatabaseFailure, DatabaseFull, Statement
from persistence.databases.migrations import SESSIONS_SCHEMA, Schema
from persistence.databases.opening import open_inline_database
from persistence.databases.projection import project_sessions
from persistence.databases.registry import (
    AcceptedEnvelope,
    MachineRateLimited,
    NewSession,
    OpenResult,
    RefusedEnvelope,
    Registry,
    RegistryBusy,
    RegistryFull,
    SessionCreated,
    SessionExists,
)
from persistence.format import times
from persistence.format.records import (
    ClosedBy,
    Committed,
    EnvelopeKind,
    EnvelopeRecord,
    JournalName,
    Position,
    Record,
    RefusalRecord,
    SequenceGap,
    TrajectoryRecord,
)
from persistence.keys.sealing import Sealer
from persistence.settings.storage import StorageSettings


class OpenDatabase(Protocol):
    """One of the ways to open a database (conftest.py)."""

    def __call__(self, path: Path, schema: Schema) -> AbstractAsyncContextManager[Database]: ...


NOW = times.from_text("2026-11-20T12:00:00.000000Z")
SETTINGS = StorageSettings(open_batch_max=4, open_queue_max=6)
SEALER = Sealer(bytes(32))


def new(session_id: str, *, at: float = NOW, machine: str = "machine", secret: str = "c2VjcmV0") -> NewSession:
    return NewSession(
        session_id=session_id,
        server_private_key="cHJpdmF0ZQ==",
        server_public_key=f"server key of {session_id} at {at}",
        shared_secret=secret,
        client_public_key="client key",
        provider="codex",
        model="gpt-5.5",
        machine_fingerprint=machine,
        app_version_hash="hash",
        groove_version="0.27.113",
        created_at=at,
    )


@asynccontextmanager
async def running(database: Database, *, opens_max: int = 20) -> AsyncIterator[Registry]:
    registry = Registry(database, SEALER, SETTINGS, opens_per_machine_per_h=opens_max, unused_sessions_max=1_000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(registry.run)
        yield registry
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def in_memory() -> AsyncIterator[Database]:
    async with open_inline_database(None, SESSIONS_SCHEMA, SETTINGS, applied_at="then") as database:
        yield database


async def project(database: Database, journal: JournalName, records: Sequence[Record], *, start: float = NOW) -> None:
    batch = [
        Committed(record, Position(n=n, day="2026-11-20", offset=100 * (n - 1), length=100, at=start + n))
        for n, record in enumerate(records, start=1)
    ]
    await database.write(project_sessions(journal, batch), durable=False)


def chunk(session_id: str, sequence: int, *, gap: int = 0) -> EnvelopeRecord:
    return EnvelopeRecord(
        envelope_id=f"env_{session_id}_{sequence}",
        session_id=session_id,
        kind=EnvelopeKind.CHUNK,
        sequence=sequence,
        session_hmac=f"hmac {sequence}",
        chunk_sequence=sequence,
        gap=gap,
        steps=5,
        provider="codex",
        model="gpt-5.5",
    )


def server_close(session_id: str) -> EnvelopeRecord:
    return EnvelopeRecord(
        envelope_id=f"env_{session_id}_end",
        session_id=session_id,
        kind=EnvelopeKind.SERVER_CLOSE,
        closed_by=ClosedBy.HTTP_CLOSE,
    )


def trajectory(session_id: str) -> TrajectoryRecord:
    return TrajectoryRecord(
        trajectory_id=f"traj_{session_id}",
        session_id=session_id,
        contributor_id="c0ffee",
        provider="codex",
        model="gpt-5.5",
        steps=5,
        tokens=50,
        chunks=1,
        base_points=5,
        total_points=27.5,
        multiplier_breakdown="{}",
        closed_by=ClosedBy.HTTP_CLOSE,
    )


async def test_an_opened_session_comes_back_with_its_secret(open_any: OpenDatabase, tmp_path: Path) -> None:
    async with open_any(tmp_path / "sessions.db", SESSIONS_SCHEMA) as database, running(database) as registry:
        assert await registry.open(new("s")) == SessionCreated()
        stored = await registry.load("s")
        assert stored is not None
        assert (stored.shared_secret, stored.server_private_key) == ("c2VjcmV0", "cHJpdmF0ZQ==")
        assert (stored.created_at, stored.last_activity_at, stored.closed) == (NOW, NOW, False)
        assert stored.server_public_key == f"server key of s at {NOW}"
        assert (stored.client_public_key, stored.provider, stored.model) == ("client key", "codex", "gpt-5.5")
        assert (stored.machine_fingerprint, stored.app_version_hash, stored.groove_version) == (
            "machine",
            "hash",
            "0.27.113",
        )
        assert (stored.accepted, stored.refused, stored.gaps) == ((), (), ())
        assert stored.trajectory is None
        assert await registry.load("t") is None


async def test_secrets_are_sealed_in_the_file_and_absent_from_reprs(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    secret = "VGhpcyBpcyBteSBzZWNyZXQ="
    async with (
        open_inline_database(path, SESSIONS_SCHEMA, SETTINGS, applied_at="") as database,
        running(database) as registry,
    ):
        await registry.open(new("s", secret=secret))
        stored = await registry.load("s")
        assert secret not in repr(stored)
        assert secret not in repr(new("s", secret=secret))
        assert "cHJpdmF0ZQ==" not in repr(stored) + repr(registry)
    octets = path.read_bytes()
    assert b"client key" in octets
    assert secret.encode() not in octets
    assert b"cHJpdmF0ZQ==" not in octets


async def test_openings_at_once_share_a_durable_transaction(open_any: OpenDatabase, tmp_path: Path) -> None:
    async with open_any(tmp_path / "sessions.db", SESSIONS_SCHEMA) as database:
        registry = Registry(database, SEALER, SETTINGS, opens_per_machine_per_h=20, unused_sessions_max=1_000)
        results: list[OpenResult] = []

        async def open_one(index: int) -> None:
            results.append(await registry.open(new(f"s{index}")))

        async with trio.open_nursery() as nursery:
            for index in range(4):
                nursery.start_soon(open_one, index)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(registry.run)
            while len(results) < 4:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert results == [SessionCreated()] * 4
        done = registry.statistics()
        assert (done.waiting, done.batches, done.answered) == (0, 1, 4)
        statistics = database.statistics()
        assert (statistics.transactions, statistics.durable_transactions) == (1, 1)


async def test_a_full_queue_is_busy_and_nothing_is_written() -> None:
    async with in_memory() as database, trio.open_nursery() as nursery:
        registry = Registry(database, SEALER, SETTINGS, opens_per_machine_per_h=20, unused_sessions_max=1_000)
        for index in range(6):
            nursery.start_soon(registry.open, new(f"s{index}"))
        await trio.testing.wait_all_tasks_blocked()
        assert await registry.open(new("s6")) == RegistryBusy()
        assert registry.statistics().waiting == 6
        nursery.start_soon(registry.run)
        await trio.testing.wait_all_tasks_blocked()
        assert await registry.open(new("s6")) == SessionCreated()
        nursery.cancel_scope.cancel()


async def test_a_machine_opens_so_many_an_hour_and_hears_when_it_may_again() -> None:
    async with in_memory() as database, running(database, opens_max=2) as registry:
        assert await registry.open(new("a", at=NOW)) == SessionCreated()
        assert await registry.open(new("b", at=NOW + 600)) == SessionCreated()
        assert await registry.open(new("c", at=NOW + 900.5)) == MachineRateLimited(2_700)
        assert await registry.open(new("c", at=NOW + 900.5, machine="other")) == SessionCreated()
        assert await registry.open(new("d", at=NOW + 3_599.9)) == MachineRateLimited(1)
        assert await registry.open(new("d", at=NOW + 3_600)) == SessionCreated()
        assert await registry.open(new("e", at=NOW + 3_601)) == MachineRateLimited(599)
        assert await registry.load("e") is None


async def test_the_machine_limit_holds_within_one_transaction() -> None:
    async with in_memory() as database, trio.open_nursery() as nursery:
        registry = Registry(database, SEALER, SETTINGS, opens_per_machine_per_h=2, unused_sessions_max=1_000)
        results: list[OpenResult] = []

        async def open_one(index: int) -> None:
            results.append(await registry.open(new(f"s{index}")))

        for index in range(4):
            nursery.start_soon(open_one, index)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(registry.run)
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(type(each).__name__ for each in results) == ["MachineRateLimited"] * 2 + ["SessionCreated"] * 2
        nursery.cancel_scope.cancel()


async def test_an_existing_session_is_not_overwritten() -> None:
    async with in_memory() as database, running(database) as registry:
        await registry.open(new("s", secret="first"))
        assert await registry.open(new("s", at=NOW + 1, secret="second")) == SessionExists()
        stored = await registry.load("s")
        assert stored is not None
        assert stored.shared_secret == "first"


async def test_a_database_s_failure_reaches_everyone_who_waits() -> None:
    async with in_memory() as database:
        registry = Registry(database, SEALER, SETTINGS, opens_per_machine_per_h=20, unused_sessions_max=1_000)
        failures: list[DatabaseFailure] = []

        async def open_one(index: int) -> None:
            with trio.CancelScope(shield=True):
                try:
                    await registry.open(new(f"s{index}"))
                except DatabaseFailure as failure:
                    failures.append(failure)

        with pytest.RaisesGroup(DatabaseFailure):
            async with trio.open_nursery() as nursery:
                for index in range(3):
                    nursery.start_soon(open_one, index)
                await trio.testing.wait_all_tasks_blocked()
                await database.write([Statement("DROP TABLE sessions", [()])], durable=False)
                nursery.start_soon(registry.run)
        assert len(failures) == 3
        with pytest.raises(DatabaseFailure):
            await registry.open(new("late"))


async def test_a_session_comes_back_with_its_lines_in_order() -> None:
    async with in_memory() as database, running(database) as registry:
        await registry.open(new("s"))
        feedback = EnvelopeRecord(
            envelope_id="env_f",
            session_id="s",
            kind=EnvelopeKind.USER_FEEDBACK,
            session_hmac="hmac f",
            signal="accepted",
        )
        await project(
            database, JournalName.ENVELOPES, [chunk("s", 0), chunk("s", 3, gap=2), feedback, server_close("s")]
        )
        refused = RefusalRecord(
            envelope_id="env_r",
            session_id="s",
            kind="CHUNK",
            sequence=4,
            session_hmac="hmac r",
            code="schema",
            reason="why",
        )
        await project(database, JournalName.REFUSED, [refused])
        await project(database, JournalName.TRAJECTORIES, [trajectory("s")], start=NOW + 10)
        stored = await registry.load("s")
        assert stored is not None
        assert stored.accepted == (
            AcceptedEnvelope("env_s_0", EnvelopeKind.CHUNK, 0, "hmac 0"),
            AcceptedEnvelope("env_s_3", EnvelopeKind.CHUNK, 3, "hmac 3"),
            AcceptedEnvelope("env_f", EnvelopeKind.USER_FEEDBACK, None, "hmac f"),
            AcceptedEnvelope("env_s_end", EnvelopeKind.SERVER_CLOSE, None, ""),
        )
        assert stored.refused == (RefusedEnvelope("env_r", "CHUNK", 4, "hmac r", "schema", "why", 100),)
        assert stored.gaps == (SequenceGap(3, 2),)
        assert (stored.expected_sequence, stored.envelope_count, stored.chunk_count, stored.bytes_total) == (
            5,
            4,
            2,
            400,
        )
        assert (stored.closed, stored.closed_by, stored.closed_at) == (True, ClosedBy.HTTP_CLOSE, NOW + 4)
        assert stored.trajectory is not None
        assert (stored.trajectory.points, stored.trajectory.steps, stored.trajectory.position.n) == (27.5, 5, 1)
        assert stored.trajectory == await registry.trajectory("s")
        place = Position(n=2, day="2026-11-20", offset=100, length=100, at=NOW + 2)
        assert [each.position for each in await registry.line_positions("s")][:2] == [
            msgspec.structs.replace(place, n=1, offset=0, at=NOW + 1),
            place,
        ]
        assert [each.kind.name for each in await registry.line_positions("s")] == [
            "CHUNK",
            "CHUNK",
            "USER_FEEDBACK",
            "SERVER_CLOSE",
        ]


async def test_a_lost_session_comes_back_without_keys() -> None:
    async with in_memory() as database, running(database) as registry:
        await project(database, JournalName.ENVELOPES, [chunk("lost", 0)])
        stored = await registry.load("lost")
        assert stored is not None
        assert (stored.placeholder, stored.shared_secret, stored.chunk_count) == (True, "", 1)


async def test_another_key_opens_no_session(caplog: pytest.LogCaptureFixture) -> None:
    """The session is there without its secrets, and the log says why."""
    async with in_memory() as database, running(database) as registry:
        await registry.open(new("s"))
        other = Registry(
            database, Sealer(bytes([1]) * 32), SETTINGS, opens_per_machine_per_h=20, unused_sessions_max=1_000
        )
        stored = await other.load("s")
        assert stored is not None
        assert (stored.shared_secret, stored.server_private_key) == ("", "")
        assert [record.levelname for record in caplog.records] == ["ERROR"] * 2


async def test_idle_sessions_are_the_active_ones_without_activity_longest_first() -> None:
    async with in_memory() as database, running(database) as registry:
        for index, session_id in enumerate(["b", "a", "closed", "busy"]):
            await registry.open(new(session_id, at=NOW + index))
        await project(database, JournalName.ENVELOPES, [server_close("closed"), chunk("busy", 0)], start=NOW + 100)
        found = await registry.idle_since(NOW + 50, 10)
        assert [session_id for _, session_id in found] == ["b", "a"]
        assert await registry.idle_since(NOW + 50, 1) == found[:1]
        assert await registry.idle_since(NOW + 50, 1, after=found[0]) == found[1:]
        assert await registry.idle_since(NOW + 50, 1, after=found[1]) == []
        assert await registry.idle_since(NOW + 1, 10) == found[:1]


async def test_unfinished_sessions_are_closed_with_chunks_and_without_trajectory_page_by_page() -> None:
    async with in_memory() as database, running(database) as registry:
        ids = ["a", "b", "c", "done", "open"]
        await project(
            database,
            JournalName.ENVELOPES,
            [*(chunk(each, 0) for each in ids), *(server_close(each) for each in [*ids[:4], "empty"])],
        )
        await project(database, JournalName.TRAJECTORIES, [trajectory("done")])
        assert await registry.unfinished(2) == ["a", "b"]
        assert await registry.unfinished(2, after="b") == ["c"]


async def test_the_list_of_sessions_goes_page_by_page_newest_first() -> None:
    async with in_memory() as database, running(database) as registry:
        for index, session_id in enumerate(["a", "b", "c"]):
            await registry.open(new(session_id, at=NOW + index // 2))
        await project(database, JournalName.TRAJECTORIES, [trajectory("a")])
        first = await registry.sessions_page(2)
        rest = await registry.sessions_page(2, older_than=(first[-1].created_at, first[-1].session_id))
        assert [(row.session_id, row.points) for row in first + rest] == [("c", None), ("b", None), ("a", 27.5)]


async def test_a_full_disk_refuses_openings_and_takes_them_later() -> None:
    """Whoever opened is told; nothing was written, and the registry goes on."""
    async with in_memory() as database:

        class Full:
            is_full = True

            async def write(self, statements: Sequence[Statement], *, durable: bool) -> list[int]:
                if self.is_full:
                    raise DatabaseFull("no space is left on the disk for sessions.db")
                return await database.write(statements, durable=durable)

            def __getattr__(self, name: str) -> object:
                return getattr(database, name)

        full = Full()
        async with running(full) as registry:
            assert await registry.open(new("s")) == RegistryFull()
            assert await registry.load("s") is None
            full.is_full = False
            assert await registry.open(new("s")) == SessionCreated()
