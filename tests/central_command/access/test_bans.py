"""Bans: who is meant by what is written, until when, and that a running server knows of what a command has changed."""

import os
from pathlib import Path

import pytest
import trio
import trio.testing

from central_command.access.bans import (
    ADDRESS_AS_MACHINE,
    WRONG_SUBJECTS,
    Ban,
    BanDesk,
    BanKind,
    BanList,
    subject_as_kept,
    wrong_subject,
)
from central_command.access.gate import CannotTell
from central_command.access.settings import AccessSettings
from central_command.access.tokens import Scope
from persistence.databases.bans import StoredBan, TooManyBans
from persistence.files.file_system import inline
from tests.running_service import running, settings_with

NOW = 1_795_169_541.0
CONTRIBUTOR = "0123456789abcdef0123456789abcdef"


class World:
    """A desk beside the server's list, and a clock."""

    def __init__(self, root: Path, **settings: int) -> None:
        self.now = NOW
        self.settings = AccessSettings(**settings)
        self.desk = BanDesk(root / "access.db", self.settings, clock=lambda: self.now, random_bytes=os.urandom)
        self.list = BanList(self.desk, self.settings, clock=lambda: self.now, offload=inline)

    def ban(self, kind: BanKind, text: str, days: int | None = None) -> StoredBan | TooManyBans:
        subject = subject_as_kept(kind, text)
        assert subject is not None
        return self.desk.ban(Ban(kind, subject, "", days))

    async def refuses(self, machine: str = "m", contributor_id: str | None = None, address: str = "192.0.2.1") -> bool:
        return await self.list.refuses(machine=machine, contributor_id=contributor_id, address=address)


@pytest.mark.parametrize(
    ("kind", "text", "kept"),
    [
        (BanKind.MACHINE, "ab:12_x.y-z", "ab:12_x.y-z"),
        *((BanKind.MACHINE, text, None) for text in ("", "a b", "a\n", "ä", "x" * 129, "'; DROP TABLE bans --")),
        *((BanKind.MACHINE, text, None) for text in ("192.0.2.1", "0.0.0.0", "::1", "2001:db8::1", "::ffff:192.0.2.1")),
        *((BanKind.MACHINE, text, text) for text in ("192.0.2", "1", "0123456789abcdef" * 2, "ab:cd:ef:01:23:45")),
        (BanKind.CONTRIBUTOR, "sha256:" + "0" * 64, "sha256:" + "0" * 64),
        *((BanKind.CONTRIBUTOR, text, None) for text in ("", "x" * 32, CONTRIBUTOR[1:], CONTRIBUTOR + "0", "sha256:0")),
        (BanKind.ADDRESS, "192.0.2.1", "192.0.2.1/32"),
        (BanKind.ADDRESS, "192.0.2.9/24", "192.0.2.0/24"),
        (BanKind.ADDRESS, "10.0.0.0/8", "10.0.0.0/8"),
        (BanKind.ADDRESS, "2001:db8::1", "2001:db8::/64"),
        (BanKind.ADDRESS, "2001:db8::/32", "2001:db8::/32"),
        (BanKind.ADDRESS, "::ffff:192.0.2.1", "192.0.2.1/32"),
        *((BanKind.ADDRESS, text, None) for text in ("", "x", "0.0.0.0/0", "10.0.0.0/7", "::/0", "2000::/15")),
        *((BanKind.ADDRESS, text, None) for text in ("192.0.2.1/33", "192.0.2", "fe80::1%eth0", "192.0.2.1 ", "1")),
    ],
)
def test_who_is_banned_is_written_in_one_way(kind: BanKind, text: str, kept: str | None) -> None:
    assert subject_as_kept(kind, text) == kept


@pytest.mark.parametrize("text", ["192.0.2.1", "192.0.2.0/24", "2001:db8::1", "::/0"])
def test_who_types_an_address_for_a_machine_is_told_where_addresses_go(text: str) -> None:
    assert subject_as_kept(BanKind.MACHINE, text) is None
    assert wrong_subject(BanKind.MACHINE, text) == ADDRESS_AS_MACHINE
    assert wrong_subject(BanKind.MACHINE, "a b") == WRONG_SUBJECTS[BanKind.MACHINE]


async def test_each_kind_refuses_whom_it_names_and_nobody_else(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert not await world.refuses()
    world.ban(BanKind.MACHINE, "bad")
    world.ban(BanKind.CONTRIBUTOR, CONTRIBUTOR.upper())
    world.ban(BanKind.ADDRESS, "198.51.100.0/24")
    world.ban(BanKind.ADDRESS, "203.0.113.7")
    world.ban(BanKind.ADDRESS, "2001:db8::1")
    await world.list.look()
    assert await world.refuses(machine="bad")
    assert await world.refuses(contributor_id=CONTRIBUTOR)
    assert [await world.refuses(address=each) for each in ("198.51.100.255", "203.0.113.7", "2001:db8::/64")] == [
        True
    ] * 3
    others = ("198.51.101.0", "203.0.113.8", "2001:db8:0:1::/64", "unknown", "")
    assert [await world.refuses(address=each) for each in others] == [False] * 5
    assert not await world.refuses(machine="bad2", contributor_id="f" * 32)
    assert CONTRIBUTOR.encode() not in (tmp_path / "access.db").read_bytes().lower()


async def test_a_ban_ends_with_its_days_and_another_of_the_same_replaces_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    made = world.ban(BanKind.MACHINE, "bad", days=2)
    again = world.ban(BanKind.MACHINE, "bad", days=1)
    assert isinstance(made, StoredBan)
    assert isinstance(again, StoredBan)
    assert made.ban_id == again.ban_id
    world.now += 86_399
    assert await world.refuses(machine="bad")
    world.now += 1
    assert not await world.refuses(machine="bad")


async def test_what_a_command_changes_a_running_server_knows_within_the_interval(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    world = World(tmp_path)
    assert not await world.refuses(machine="bad")
    made = world.ban(BanKind.MACHINE, "bad")
    assert isinstance(made, StoredBan)
    await trio.sleep(5.1)
    assert await world.refuses(machine="bad")
    assert world.desk.unban(made.ban_id[:6]) == made
    await trio.sleep(5.1)
    assert not await world.refuses(machine="bad")


async def test_bans_that_cannot_be_read_stay_in_force_and_are_read_later(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path)
    world.ban(BanKind.MACHINE, "bad")
    assert await world.refuses(machine="bad")
    good = (tmp_path / "access.db").read_bytes()
    (tmp_path / "access.db").write_bytes(b"x" * 4096)
    for _ in range(3):
        await trio.sleep(5.1)
        assert await world.refuses(machine="bad")
    assert caplog.text.count("the bans cannot be read, those known stay in force") == 1
    (tmp_path / "access.db").write_bytes(good)
    world.ban(BanKind.MACHINE, "worse")
    await trio.sleep(5.1)
    assert await world.refuses(machine="worse")


async def test_there_are_no_more_than_the_settings_allow_and_those_past_their_time_make_room(tmp_path: Path) -> None:
    world = World(tmp_path, bans_max=2)
    world.ban(BanKind.MACHINE, "a", days=1)
    world.ban(BanKind.MACHINE, "b")
    assert isinstance(world.ban(BanKind.MACHINE, "c"), TooManyBans)
    assert isinstance(world.ban(BanKind.MACHINE, "b"), StoredBan)
    world.now += 86_400
    assert isinstance(world.ban(BanKind.MACHINE, "c"), StoredBan)
    assert [each.subject for each in world.desk.all()] == ["b", "c"]


async def test_a_look_costs_no_more_with_many_bans(tmp_path: Path) -> None:
    """Ten thousand networks of a few lengths are a few look-ups."""
    world = World(tmp_path)
    await world.refuses()
    world.list._networks = {(4, bits): dict.fromkeys(range(5000), "~") for bits in (24, 32)}
    assert not await world.refuses()
    assert len(world.list._until_by_network("192.0.2.1")) == 2


async def test_that_bans_cannot_be_read_is_known_and_said_once_and_so_is_that_they_can(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    """The service looks by itself, whether or not anybody opens a session."""
    async with running(tmp_path, settings=settings_with(sessions={"abandon_sweep_s": 60})) as run:
        await trio.testing.wait_all_tasks_blocked()
        assert run.service.readiness().checks["access"] == "ok"
        (tmp_path / "access.db").write_bytes(b"no database" * 100)
        await trio.sleep(200)
        readiness = run.service.readiness()
        assert (readiness.ready, readiness.checks["access"]) == (True, "access.db cannot be read; the log says why")
        assert caplog.text.count("the bans cannot be read") == 1
        (tmp_path / "access.db").unlink()
        await trio.sleep(100)
        assert run.service.readiness().checks["access"] == "ok"


async def test_that_no_token_can_be_looked_up_is_known(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        (tmp_path / "access.db").write_bytes(b"no database" * 100)
        assert isinstance(await run.service._gate.check(f"cc_{'a' * 43}", Scope.READ), CannotTell)
        assert run.service.readiness().checks["access"] == "access.db cannot be read; the log says why"
        (tmp_path / "access.db").unlink()
        await run.service._gate.check(f"cc_{'a' * 43}", Scope.READ)
        assert run.service.readiness().checks["access"] == "ok"
