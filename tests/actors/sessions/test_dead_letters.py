"""Dead letters: kept compactly, within a quota of their own and their session's bytes, never at good ones' cost."""

import base64
import hashlib
import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from actors.audit.examination import Examination
from actors.envelopes import letter_bodies
from actors.envelopes.letter_bodies import BodyMembers, UnreadableBody
from actors.envelopes.refusals import Refusal, RefusalCode
from actors.sessions.outcomes import Accepted, StorageFull
from actors.trajectories.settings import ScoringSettings
from central_command.settings.configuration import Settings
from persistence.format.records import JournalName
from persistence.settings.storage import StorageSettings
from persistence.upkeep.backup import back_up
from persistence.upkeep.rebuilding import rebuild
from persistence.upkeep.restoring import restore
from persistence.upkeep.verification import verify
from tests.dead_letters import body_of
from tests.running_service import Clock, Running, running, settings_with
from tests.signing_client import SigningClient
from tests.stored_state import findings, stored_state

AT = "2026-11-20T10:00:00.000000Z"
DAY_S = 86_400.0

BODY = b'{"text":"%s"}' % (b"A test, and another one. " * 400)
NOISE = b'{"x":"%s"}' % bytes(random.Random(1).choices(b'0123456789abcdef\\"', k=60)).replace(b"\\", b"").replace(
    b'"', b""
)


@pytest.mark.parametrize("body", [BODY, NOISE, b"{}", '{"é":"🚀"}'.encode(), b'{"x":"\\ud83d"}'])
def test_a_body_is_kept_in_the_shorter_way_and_read_back_byte_for_byte(body: bytes) -> None:
    kept = letter_bodies.whole(body)
    members = json.loads(b"{%s}" % kept)
    assert body_of(members) == body
    assert letter_bodies.read(BodyMembers(**members)) == body
    assert ("body_deflate" in members) is (
        len(kept) < len(b'"body":') + len(json.dumps(body.decode(), ensure_ascii=False).encode())
    )
    assert len(kept) <= len(b'"body":') + len(json.dumps(body.decode(), ensure_ascii=False).encode())


def test_text_of_agents_takes_less_than_half_of_what_was_sent() -> None:
    assert len(letter_bodies.whole(BODY)) * 2 < len(BODY)


def test_without_its_body_a_letter_says_what_that_was() -> None:
    members = json.loads(b"{%s}" % letter_bodies.absent(BODY))
    assert members == {"body_bytes": len(BODY), "body_sha256": hashlib.sha256(BODY).hexdigest()}
    assert letter_bodies.read(BodyMembers(**members)) is None


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"body_bytes": 5},
        {"body_deflate": "no base64"},
        {"body_deflate": json.loads(b"{%s}" % letter_bodies.whole(BODY))["body_deflate"] + "\n"},
        {"body_deflate": base64.b64encode(b"no stream").decode()},
        {"body_deflate": json.loads(b"{%s}" % letter_bodies.whole(BODY))["body_deflate"][:-8]},
        {
            "body_deflate": base64.b64encode(
                base64.b64decode(json.loads(b"{%s}" % letter_bodies.whole(BODY))["body_deflate"]) + b"x"
            ).decode()
        },
    ],
)
def test_what_is_no_body_is_said(members: dict[str, Any]) -> None:
    with pytest.raises(UnreadableBody):
        letter_bodies.read(BodyMembers(**members))


async def send_refused(run: Running, client: SigningClient, *, noise: int = 0) -> Refusal:
    """Send an envelope that is refused for its schema; `noise` is how many bytes of it nothing makes shorter."""
    body = client.chunk(team_size=0, note=random.Random(client.sequence).randbytes(noise).hex()[:noise])
    outcome = await run.send(body)
    assert isinstance(outcome, Refusal)
    assert outcome.code is RefusalCode.SCHEMA
    return outcome


def letters(run: Running) -> list[dict[str, Any]]:
    """The dead letters, without what says which were dropped."""
    return [line for line in run.lines(JournalName.REFUSED) if "refused" in line]


def quota_of(size_bytes: int) -> Settings:
    return settings_with(storage={"refused_quota_bytes": size_bytes})


async def test_a_session_that_holds_its_bytes_keeps_letters_without_their_bodies(tmp_path: Path) -> None:
    """Good and refused ones count for letters, good ones alone for good ones: none is refused for what was refused."""
    async with running(tmp_path, settings=settings_with(sessions={"session_bytes_max": 8_000})) as run:
        client = await run.open()
        for _ in range(4):
            await send_refused(run, client, noise=6_000)
        assert isinstance(await run.send(client.chunk(20)), Accepted)
        with_body = ["body_sha256" not in letter for letter in letters(run)]
        assert with_body == [True, False, False, False]
        assert [letter["sequence"] for letter in letters(run)] == [0, 1, 2, 3]
        other = await run.open("sess_2")
        await send_refused(run, other, noise=6_000)
        assert "body_sha256" not in letters(run)[-1]
    async with running(tmp_path, settings=settings_with(sessions={"session_bytes_max": 8_000})) as run:
        await send_refused(run, client, noise=2_000)
        assert "body_sha256" in letters(run)[-1]  # what it holds is known after a restart
    assert await findings(tmp_path) == []


async def test_refused_envelopes_never_take_the_quota_of_good_ones(tmp_path: Path) -> None:
    """With the quota of either full, the other goes on."""
    chosen = settings_with(storage={"quota_bytes": 3_000, "quota_warning_bytes": 3_000, "refused_quota_bytes": 3_000})
    async with running(tmp_path, settings=chosen) as run:
        client = await run.open()
        for _ in range(5):
            await send_refused(run, client, noise=2_000)
        assert isinstance(await run.send(client.chunk()), Accepted)
        assert isinstance(await run.send(client.chunk(20)), StorageFull)
        client.sequence -= 1
        await send_refused(run, client)
        assert run.service.readiness().ready


async def test_a_letter_without_room_for_its_body_is_durable_and_counted(tmp_path: Path) -> None:
    async with running(tmp_path, settings=quota_of(3_000)) as run:
        client = await run.open()
        bodies = [client.chunk(team_size=0, note="x" * 10) for _ in range(12)]
        for body in bodies:
            assert isinstance(await run.send(body), Refusal)
        kept = letters(run)
        assert [letter["sequence"] for letter in kept] == list(range(12))
        without = [letter for letter in kept if "body_sha256" in letter]
        assert 0 < len(without) < 12
        for letter in without:
            body = bodies[letter["sequence"]]
            assert (letter["body_bytes"], letter["body_sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
            assert "body" not in letter
        await run.projected()
        summary = await run.service.summary()
        assert summary.refused_without_body == len(without)
        assert isinstance(await run.send(client.chunk()), Accepted)
    assert await findings(tmp_path) == []
    examination = Examination(ScoringSettings())
    assert await verify(tmp_path, StorageSettings(), applied_at=AT, closer_look=examination) == []
    assert any(f"{len(without)} refused envelopes were kept without their text" in note for note in examination.notes())


async def used_and_dropped(root: Path) -> SigningClient:
    """A session with letters of four days, of which the first were dropped, and an envelope after them."""
    clock = Clock()
    async with running(root, settings=quota_of(5_000), clock=clock) as run:
        client = await run.open()
        gone_feedback = client.feedback("shrug")
        assert isinstance(await run.send(gone_feedback), Refusal)
        for _ in range(4):
            client.sequence += 1
            await send_refused(run, client, noise=2_000)
            clock.now += DAY_S / 8
            client.now_s = clock.now
            clock.now += DAY_S * 7 / 8
            client.now_s = clock.now
        assert isinstance(await run.send(client.chunk()), Accepted)
        await run.projected()
        # A letter that was dropped is still known: its resend has the first answer, and uses nothing up.
        assert isinstance(await run.send(gone_feedback), Refusal)
        await run.projected()
        summary = await run.service.summary()
        assert summary.refused_days_dropped > 0
        assert summary.refused_size_mb <= summary.refused_quota_mb
    return client


ACCEPTS_GAPS = settings_with(sessions={"sequence_gaps": "accept"})


async def test_with_days_dropped_everything_goes_on(tmp_path: Path) -> None:
    """A restart, `verify` with a closer look, `rebuild`, a backup and what is restored from it: all know as much."""
    root = tmp_path / "data"
    client = await used_and_dropped(root)
    names = sorted(path.name for path in (root / "refused").iterdir())
    assert "dropped.jsonl" in names
    assert len(names) < 5
    assert await findings(root) == []
    examination = Examination(ScoringSettings())
    assert await verify(root, StorageSettings(), applied_at=AT, closer_look=examination) == []
    async with running(root) as run:
        before = await stored_state(run)
        assert before["sessions.db sessions"][0][10] == 10  # the sequence that is next
    await rebuild(root, StorageSettings(), applied_at=AT)
    assert await findings(root) == []
    manifest = back_up(root, tmp_path / "copy", StorageSettings(), created_at=AT, with_key=True)
    assert manifest.lines("refused") == len(letters_in(root))
    report = await restore(tmp_path / "copy", tmp_path / "restored", StorageSettings(), applied_at=AT)
    assert report.findings == []
    for directory in (root, tmp_path / "restored"):
        async with running(directory) as run:
            assert await stored_state(run) == before
            client.now_s = run.clock.now
            assert isinstance(await run.send(client.chunk()), Accepted)
        client.sequence -= 1
        assert await findings(directory) == []


def letters_in(root: Path) -> list[str]:
    return [line for path in (root / "refused").glob("20*.jsonl") for line in path.read_text().splitlines()]


async def test_without_the_databases_what_is_left_is_projected(tmp_path: Path) -> None:
    """By a rebuild, and by a start; a session's keys are lost with them, as without any dropping."""
    for lost in ("by a rebuild", "by a start"):
        root = tmp_path / lost
        await used_and_dropped(root)
        for path in root.glob("*.db*"):
            path.unlink()
        if lost == "by a rebuild":
            await rebuild(root, StorageSettings(), applied_at=AT)
        async with running(root) as run:
            await run.projected()
            ((count,),) = run.rows("sessions.db", "SELECT count(*) FROM refused_envelopes")
            assert count == len(letters_in(root))
        assert await findings(root) == []
        back_up(root, tmp_path / f"copy {lost}", StorageSettings(), created_at=AT, with_key=True)


async def test_databases_older_than_what_was_dropped_learn_what_is_left(tmp_path: Path) -> None:
    clock = Clock()
    root, old = tmp_path / "data", tmp_path / "old"
    async with running(root, settings=quota_of(5_000), clock=clock) as run:
        client = await run.open()
        await send_refused(run, client, noise=2_000)
    shutil.copytree(root, old)
    async with running(root, settings=quota_of(5_000), clock=clock) as run:
        for _ in range(4):
            clock.now += DAY_S
            client.now_s = clock.now
            await send_refused(run, client, noise=2_000)
            await run.projected()
        assert (await run.service.summary()).refused_days_dropped >= 2
    for path in old.glob("*.db*"):
        shutil.copy2(path, root / path.name)
    async with running(root, clock=clock) as run:
        await run.projected()
        assert run.service._storage.projector.positions()[JournalName.REFUSED].n == 5
    assert await findings(root) == []
