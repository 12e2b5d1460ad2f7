"""A contributor is erased from a real service: nothing of them is left in any file, all else is as it was."""

import json
import shutil
import sqlite3
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.audit.examination import Examination
from actors.envelopes.refusals import Refusal, RefusalCode
from actors.erasure.job import Report
from actors.sessions.outcomes import Accepted, Busy, Closed
from persistence.files.file_system import OsFileSystem
from persistence.format.records import JournalName
from persistence.journals.erasure_register import ErasureRegister, ErasureState, ErasureSubject, digest_of
from persistence.upkeep.backup import back_up
from persistence.upkeep.manifest import BackupRefused
from persistence.upkeep.rebuilding import rebuild
from persistence.upkeep.restoring import restore
from persistence.upkeep.verification import verify
from tests.running_service import Running, running, settings_with
from tests.signing_client import SigningClient

THEIRS = "c0ffee00c0ffee11c0ffee22c0ffee33"
OTHER = "0" * 31 + "1"
AT = "2026-11-20T10:00:00.000000Z"
SETTINGS = settings_with(sessions={"sequence_gaps": "accept"})
SECRET_WORDS = "the secret words of the one who goes"


def session_id(who: str, number: int) -> str:
    return f"sess_{who}_{number:04d}_0123456789abcdef"


async def used(service: Running, who: str, contributor: str, number: int, *, closes: bool = True) -> SigningClient:
    """One session with something of everything: chunks, a letter, a gap, feedback, a close."""
    client = await service.open(session_id(who, number), contributor_id=contributor)
    words = SECRET_WORDS if contributor == THEIRS else "what somebody else has said, at length"
    steps = [client.step(content=f"{words}, {who} {number} {each}") for each in range(4)]
    assert isinstance(await service.send(client.chunk_of(steps, model_engine="claude-opus-4-6")), Accepted)
    await service.send(client.chunk_of([client.step("guess", content=f"{words} refused {number}")]))
    client.sequence += number % 3
    await service.send(client.chunk(number % 5 + 1))
    await service.send(client.feedback())
    if closes:
        assert isinstance(await service.send(client.close()), Accepted)
        await service.send(client.feedback("rejected"))
    return client


async def filled(service: Running, theirs: int = 3, others: int = 5) -> None:
    for number in range(max(theirs, others)):
        if number < others:
            await used(service, "other", OTHER[:-1] + str(number % 3), number, closes=number % 4 != 3)
        if number < theirs:
            await used(service, "theirs", THEIRS.upper() if number == 1 else THEIRS, number, closes=number != 2)
        if number == 2:
            service.clock.now += 86_400
    await service.projected()


async def findings(root: Path) -> list[str]:
    examination = Examination(SETTINGS.scoring)
    return await verify(root, SETTINGS.storage, applied_at=AT, closer_look=examination)


def totals(service: Running) -> list[Any]:
    queries = (
        ("sessions.db", "SELECT envelopes, steps, sessions, sessions_with_chunks, points FROM totals"),
        ("sessions.db", "SELECT * FROM models ORDER BY name"),
        ("sessions.db", "SELECT date, envelopes, steps FROM daily ORDER BY date"),
    )
    return [service.rows(*query) for query in queries]


def others_lines(root: Path) -> dict[str, list[bytes]]:
    return {
        name: [
            line
            for path in sorted((root / name).glob("*.jsonl"))
            for line in path.read_bytes().splitlines()
            if b"sess_other_" in line
        ]
        for name in JournalName
    }


def holding(root: Path, *texts: str) -> list[str]:
    """Every file that holds any of these texts, whatever its case."""
    wanted = [text.encode().lower() for text in texts]
    return [
        str(path.relative_to(root))
        for path in sorted(root.rglob("*"))
        if path.is_file() and any(each in path.read_bytes().lower() for each in wanted)
    ]


async def erased(service: Running, subject: ErasureSubject, name: str) -> Report:
    asked = await service.service.ask_erasure(subject, name)
    assert isinstance(asked, Report)
    return await done(service, asked.erasure.request)


async def done(service: Running, request: str) -> Report:
    """Do what is asked for, and say how a request stands then."""
    await service.service.eraser.erase_pending()
    report = service.service.erasure(request)
    assert report is not None
    return report


async def test_nothing_of_an_erased_contributor_is_left_and_nothing_of_the_others_is_changed(tmp_path: Path) -> None:
    root = tmp_path / "data"
    async with running(root, settings=SETTINGS) as service:
        await filled(service)
        (root / "torn").mkdir(mode=0o700)
        (root / "torn" / "envelopes-2026-11-20-7.part").write_text(SECRET_WORDS)
        before, others = totals(service), others_lines(root)
        credited = sum(points for (points,) in service.rows("ledger.db", "SELECT points FROM credits ORDER BY id"))
        report = await erased(service, ErasureSubject.CONTRIBUTOR, THEIRS)
        assert report.hindered is None
        assert report.erasure.state is ErasureState.DONE
        # Of each session three chunks but a letter, feedback and a close; one was open and is closed by the server.
        assert report.erasure.counts == {"envelopes": 5 + 5 + 4, "refused": 3, "trajectories": 3}
        await service.projected()
        after = totals(service)
        assert after[0][0][:4] == before[0][0][:4]
        assert after[0][0][4] >= before[0][0][4]  # the one that was open is credited by its close
        assert others_lines(root) == others
        owners = dict(service.rows("ledger.db", "SELECT contributor_id, total_points FROM balances"))
        assert THEIRS not in owners
        assert owners[report.erasure.request] > 0
        assert sum(owners.values()) == after[0][0][4] >= credited
        assert await findings(root) == []
    assert holding(root, THEIRS, "sess_theirs", SECRET_WORDS) == []
    assert not list((root / "erasing").iterdir())
    assert await findings(root) == []


async def test_the_databases_are_those_that_a_rebuild_makes_of_the_erased_lines(tmp_path: Path) -> None:
    root = tmp_path / "data"
    async with running(root, settings=SETTINGS) as service:
        await filled(service)
        await erased(service, ErasureSubject.CONTRIBUTOR, THEIRS)
    before = [dump(root / name) for name in ("sessions.db", "ledger.db")]
    await rebuild(root, SETTINGS.storage, applied_at=AT)
    assert [dump(root / name) for name in ("sessions.db", "ledger.db")] == before
    assert await findings(root) == []


def dump(path: Path) -> dict[str, list[Any]]:
    connection = sqlite3.connect(path)
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    rows = {name: sorted(map(repr, connection.execute(f"SELECT * FROM {name}").fetchall())) for name in names}
    connection.close()
    return rows


async def test_nothing_of_an_erased_contributor_is_taken_any_more_also_after_a_restart(tmp_path: Path) -> None:
    root = tmp_path / "data"
    async with running(root, settings=SETTINGS) as service:
        open_one = await used(service, "theirs", THEIRS, 1, closes=False)
        asked = await service.service.ask_erasure(ErasureSubject.CONTRIBUTOR, THEIRS)
        assert isinstance(asked, Report)
        again = await service.service.ask_erasure(ErasureSubject.CONTRIBUTOR, THEIRS.upper())
        assert isinstance(again, Report)
        assert again.erasure.request == asked.erasure.request
        refused = await service.send(open_one.chunk())
        assert isinstance(refused, Refusal)
        assert refused.code is RefusalCode.CONTRIBUTOR_ERASED
        await service.service.eraser.erase_pending()
        gone = await service.send(open_one.chunk())
        assert isinstance(gone, Refusal)
        assert gone.code is RefusalCode.UNKNOWN_SESSION
    async with running(root, settings=SETTINGS) as service:
        late = await service.open("sess_late", contributor_id=THEIRS)
        for body in (late.chunk(), late.chunk_of([late.step("guess")])):
            refused = await service.send(body)
            assert isinstance(refused, Refusal)
            assert refused.code is RefusalCode.CONTRIBUTOR_ERASED
    assert holding(root, THEIRS) == []


async def test_whatever_else_clients_have_put_into_their_envelopes_is_no_hindrance(tmp_path: Path) -> None:
    root = tmp_path / "data"
    async with running(root, settings=SETTINGS) as service:
        odd = {"body": 5, "body_deflate": "", "copied_from": 7, "erased": {"request": "er_0"}, "score": None}
        for number, contributor in enumerate((THEIRS, OTHER)):
            client = await service.open(session_id("theirs" if not number else "other", 0), contributor_id=contributor)
            before = {"erased": {}, "session_id": client.session_id, "contributor_id": contributor, "chunk_sequence": 0}
            after = {"metadata": client.metadata(), "trajectory_log": [client.step()], **odd}
            assert isinstance(await service.send(client.envelope(before, after)), Accepted)
            assert isinstance(await service.send(client.envelope(before | {"type": "odd"}, after)), Refusal)
        report = await erased(service, ErasureSubject.CONTRIBUTOR, THEIRS)
        assert report.hindered is None
        assert report.erasure.counts == {"envelopes": 2, "refused": 1, "trajectories": 1}
        assert await findings(root) == []
    assert holding(root, THEIRS, "sess_theirs") == []


async def test_a_session_is_erased_alone(tmp_path: Path) -> None:
    root = tmp_path / "data"
    async with running(root, settings=SETTINGS) as service:
        await filled(service, theirs=2, others=4)
        unused = await service.open("sess_never_used_0123456789abcdef")
        for name in (session_id("other", 0), unused.session_id):
            report = await erased(service, ErasureSubject.SESSION, name)
            assert report.erasure.state is ErasureState.DONE
        assert await findings(root) == []
        still = await service.open(session_id("other", 9), contributor_id=OTHER[:-1] + "0")
        assert isinstance(await service.send(still.chunk()), Accepted)
    assert holding(root, session_id("other", 0), "sess_never_used") == []
    assert len(others_lines(root)["trajectories"]) == 2


async def test_a_file_that_still_holds_something_is_named_and_the_request_is_not_done(tmp_path: Path) -> None:
    root = tmp_path / "data"
    async with running(root, settings=SETTINGS) as service:
        await filled(service)
        (root / "server.log").write_text(f"the session {session_id('theirs', 0)} was slow")
        report = await erased(service, ErasureSubject.CONTRIBUTOR, THEIRS)
        assert report.hindered is not None
        assert "server.log" in report.hindered
        assert report.erasure.state is ErasureState.REQUESTED
        (root / "server.log").unlink()
        report = await done(service, report.erasure.request)
        assert report.erasure.state is ErasureState.DONE
        assert report.erasure.counts["trajectories"] == 3
    assert await findings(root) == []


async def test_steps_that_were_copied_from_an_erased_session_stay_copies(tmp_path: Path) -> None:
    root = tmp_path / "data"

    async def same(service: Running, name: str, contributor: str) -> None:
        client = await service.open(name, contributor_id=contributor)
        steps = [client.step(content=f"words that two of them have said, number {each}, " * 9) for each in range(6)]
        await service.send(client.chunk_of(steps))
        outcome = await service.send(client.close())
        assert isinstance(outcome, Accepted), outcome
        assert isinstance(await service.service.close_session(name), Closed)  # it is stitched by now

    async with running(root, settings=SETTINGS) as service:
        await same(service, session_id("theirs", 0), THEIRS)
        await same(service, session_id("other", 0), OTHER)
        report = await erased(service, ErasureSubject.CONTRIBUTOR, THEIRS)
        assert report.erasure.state is ErasureState.DONE
        await same(service, session_id("other", 1), OTHER)
        await service.projected()
        assert service.rows("sessions.db", "SELECT copied_steps FROM trajectories ORDER BY n") == [(0,), (6,), (6,)]
        assert await findings(root) == []
    assert holding(root, THEIRS) == []
    named = [path for path in holding(root, "sess_theirs") if not path.endswith(".db-wal")]
    assert [path.split("/")[0] for path in named] == ["sessions.db", "trajectories"]


async def test_a_request_that_was_interrupted_goes_on_at_the_next_start(tmp_path: Path) -> None:
    """The process ends at each operation on files in turn; what it leaves is whole, and the next one finishes it."""
    template = tmp_path / "template"
    async with running(template, settings=SETTINGS) as service:
        await filled(service, theirs=2, others=2)
    kill_at, root, others = 1, tmp_path / "data", others_lines(template)
    while True:
        shutil.copytree(template, root)
        files = DyingFiles(kill_at)
        try:
            async with running(root, settings=SETTINGS, files=files) as service:
                files.counts = True
                await erased(service, ErasureSubject.CONTRIBUTOR, THEIRS)
                files.counts = False
        except* Killed:
            pass
        ended = files.is_dead
        async with running(root, settings=SETTINGS) as service:
            assert len(service.lines(JournalName.ENVELOPES)) == 2 * 5 + 2 * 5
            await erased(service, ErasureSubject.CONTRIBUTOR, THEIRS)
        assert others_lines(root) == others
        assert holding(root, THEIRS, "sess_theirs", SECRET_WORDS) == []
        assert await verify(root, SETTINGS.storage, applied_at=AT) == []
        shutil.rmtree(root)
        if not ended:
            break
        kill_at += 5
    assert kill_at > 20


async def test_a_process_that_ends_between_the_two_databases_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    async with running(root, settings=SETTINGS) as service:
        await filled(service, theirs=2, others=2)
    try:
        async with running(root, settings=SETTINGS) as service:
            rows = service.service._storage.erasure.rows

            async def die(*_arguments: Any, **_options: Any) -> None:
                await trio.lowlevel.checkpoint()
                raise Killed  # noqa: TRY301 (as the process does)

            monkeypatch.setattr(rows._ledger, "write", die)
            await erased(service, ErasureSubject.CONTRIBUTOR, THEIRS)
    except* Killed:
        pass
    assert holding(root, THEIRS)
    async with running(root, settings=SETTINGS) as service:
        (pending,) = service.service._storage.erasure.register.pending()
        assert (await done(service, pending.request)).erasure.state is ErasureState.DONE
        assert await findings(root) == []
    assert holding(root, THEIRS, "sess_theirs", SECRET_WORDS) == []


async def test_clients_go_on_while_a_contributor_with_many_sessions_is_erased(tmp_path: Path) -> None:
    """Every envelope that was accepted meanwhile is there, byte for byte, and every session of others is credited."""
    root = tmp_path / "data"
    accepted: list[str] = []
    is_done = trio.Event()

    async def client(service: Running, which: int) -> None:
        number = 0
        while not is_done.is_set():
            number += 1
            one = await service.open(session_id("other", 10_000 * (which + 1) + number), contributor_id=OTHER)
            for body in (one.chunk(), one.chunk(), one.close()):
                outcome = await service.send(body)
                assert isinstance(outcome, Accepted)
                accepted.append(outcome.envelope_id)

    async with running(root, settings=SETTINGS) as service:
        for number in range(300):
            is_theirs = number % 10 == 3
            one = await service.open(session_id("theirs" if is_theirs else "other", number))
            one.contributor_id = THEIRS if is_theirs else OTHER[:-2] + f"{number % 7:02}"
            await service.send(one.chunk_of([one.step(content=f"{SECRET_WORDS if is_theirs else 'words'} {number}")]))
            if number % 4:
                await service.send(one.close())
        await service.projected()
        before = others_lines(root)
        async with trio.open_nursery() as clients:
            for which in range(3):
                clients.start_soon(client, service, which)
            while len(accepted) < 9:
                await trio.lowlevel.checkpoint()
            report = await erased(service, ErasureSubject.CONTRIBUTOR, THEIRS)
            is_done.set()
        assert report.erasure.state is ErasureState.DONE
        assert report.erasure.counts["trajectories"] == 30
        after = others_lines(root)
        assert all(after[name][: len(lines)] == lines for name, lines in before.items())
        there = {json.loads(line)["envelope_id"] for line in after["envelopes"]}
        assert {*accepted} <= there
        assert len(accepted) > 9
        await service.service.ends.finish_interrupted()
    assert await findings(root) == []
    assert holding(root, THEIRS, "sess_theirs", SECRET_WORDS) == []


async def test_what_an_older_backup_brings_back_is_erased_again(tmp_path: Path) -> None:
    root, older, newer, back = (tmp_path / name for name in ("data", "older", "newer", "back"))
    async with running(root, settings=SETTINGS) as service:
        await filled(service)
        back_up(root, older, SETTINGS.storage, created_at=AT, with_key=True)
        report = await erased(service, ErasureSubject.CONTRIBUTOR, THEIRS)
        back_up(root, newer, SETTINGS.storage, created_at=AT, with_key=True)
    assert holding(older, THEIRS) != []
    assert holding(newer, THEIRS) == []
    assert not (older / "erasures.jsonl").exists()
    assert (newer / "erasures.jsonl").exists()
    restored = await restore(older, back, SETTINGS.storage, applied_at=AT, erasures=root / "erasures.jsonl")
    assert (restored.findings, restored.erasures) == ([], 1)
    async with running(back, settings=SETTINGS) as service:
        again = await done(service, report.erasure.request)
        assert again.erasure.counts == report.erasure.counts
        assert await findings(back) == []
    assert holding(back, THEIRS, "sess_theirs", SECRET_WORDS) == []
    with pytest.raises(BackupRefused, match="holds no request"):
        await restore(older, tmp_path / "not", SETTINGS.storage, applied_at=AT, erasures=older / "manifest.json")
    assert (await restore(newer, tmp_path / "again", SETTINGS.storage, applied_at=AT)).erasures == 1


class Killed(BaseException):
    """The process ends here."""


class DyingFiles(OsFileSystem):
    """The real files, until the process ends at one of the operations that change them, or those in a folder."""

    def __init__(self, kill_at: int, folder: str = "") -> None:
        self.counts = self.is_dead = False
        self._left = kill_at
        self._folder = folder

    def _pass(self, path: Path) -> None:
        if self.is_dead:
            raise Killed
        if self.counts and (not self._folder or self._folder in path.parts[-2:]):
            self._left -= 1
            if not self._left:
                self.is_dead = True
                raise Killed

    def create(self, path: Path) -> Any:
        self._pass(path)
        return DyingFile(super().create(path), partial(self._pass, path))

    def open(self, path: Path) -> Any:
        return DyingFile(super().open(path), partial(self._pass, path))

    def remove(self, path: Path) -> None:
        self._pass(path)
        super().remove(path)

    def rename(self, source: Path, target: Path) -> None:
        self._pass(source)
        super().rename(source, target)

    def sync_directory(self, path: Path) -> None:
        self._pass(path)
        super().sync_directory(path)


class DyingFile:
    """An open file of those."""

    def __init__(self, inner: Any, pass_gate: Any) -> None:
        self._inner = inner
        self._pass = pass_gate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def write_at(self, buffers: Sequence[Any], offset: int) -> None:
        self._pass()
        self._inner.write_at(buffers, offset)

    def sync(self) -> None:
        self._pass()
        self._inner.sync()


async def test_who_asks_for_a_session_that_is_being_erased_is_told_to_come_again(tmp_path: Path) -> None:
    async with running(tmp_path / "data", settings=SETTINGS) as service:
        client = await used(service, "theirs", THEIRS, 1, closes=False)
        async with service.service.eraser._directory.barred([client.session_id]):
            assert isinstance(await service.send(client.chunk()), Busy)
        assert isinstance(await service.send(client.chunk()), Accepted)


def test_a_request_says_nothing_of_whom_it_is_for(tmp_path: Path) -> None:
    register = ErasureRegister(tmp_path / "erasures.jsonl", OsFileSystem(), lambda: 1_795_176_000.0)
    asked = register.ask(ErasureSubject.CONTRIBUTOR, digest_of(ErasureSubject.CONTRIBUTOR, THEIRS))
    (line,) = (tmp_path / "erasures.jsonl").read_text().splitlines()
    assert THEIRS not in line
    assert json.loads(line)["erasure"]["request"] == asked.request
    with (tmp_path / "erasures.jsonl").open("a") as file:
        file.write('{"torn')
    again = ErasureRegister(tmp_path / "erasures.jsonl", OsFileSystem(), lambda: 1_795_176_000.0)
    assert again.pending() == [asked]
    again.note_done(asked.request, {"envelopes": 1})
    assert ErasureRegister(tmp_path / "erasures.jsonl", OsFileSystem(), lambda: 0.0).pending() == []


async def test_a_request_is_begun_with_all_that_it_says_however_soon_that_is(tmp_path: Path) -> None:
    """The job begins on its own, and what is to be looked for is written after the request."""
    root = tmp_path / "data"
    async with running(root, settings=SETTINGS) as service:
        (root / "server.log").write_text(f"somebody named {THEIRS} was here")
        report = await erased(service, ErasureSubject.CONTRIBUTOR, THEIRS)  # while it begins for the first time
        assert report.hindered == "something of it is left in server.log: remove it from there"


async def test_what_a_request_says_is_kept_when_it_is_asked_for_again_after_a_crash(tmp_path: Path) -> None:
    root = tmp_path / "data"
    async with running(root, settings=SETTINGS) as service:
        (root / "server.log").write_text(f"somebody named {THEIRS} was here")
        service.service.eraser._erasure.register.ask(
            ErasureSubject.CONTRIBUTOR, digest_of(ErasureSubject.CONTRIBUTOR, THEIRS)
        )
        report = await erased(service, ErasureSubject.CONTRIBUTOR, THEIRS)
        assert report.hindered == "something of it is left in server.log: remove it from there"
