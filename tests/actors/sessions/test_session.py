"""What a session answers to an envelope: the order of the checks, each refusal, and what stays on disk."""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import trio.testing

from actors.envelopes.refusals import Refusal, RefusalCode
from actors.sessions.outcomes import Accepted, IngestOutcome
from actors.sessions.settings import SequenceGaps
from persistence.format.records import ClosedBy, JournalName
from tests.dead_letters import body_of
from tests.running_service import Running, running, settings_with
from tests.signing_client import SigningClient, dumps
from tests.stored_state import findings, finished, stored_state


def code_of(outcome: IngestOutcome) -> RefusalCode | None:
    assert isinstance(outcome, Accepted | Refusal), outcome
    return outcome.code if isinstance(outcome, Refusal) else None


def changed(body: bytes, *, drop: str = "", attestation: dict[str, Any] | None = None, **members: Any) -> bytes:
    """The body with some members set or one dropped, unsigned."""
    value = json.loads(body) | members
    value["attestation"] |= attestation or {}
    value.pop(drop, None)
    return dumps(value).encode()


NO_GAPS = settings_with(sessions={"sequence_gaps": SequenceGaps.REFUSE})
BAD_HMAC = {"session_hmac": "0" * 64}


# The order of the checks


async def test_an_unknown_session_is_told_so_before_anything_else(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        stranger = SigningClient("sess_unknown")
        stranger.secret = b"s" * 32
        for body in (stranger.chunk(), changed(stranger.chunk(), drop="attestation"), stranger.feedback()):
            assert code_of(await run.send(body)) is RefusalCode.UNKNOWN_SESSION
        assert run.lines(JournalName.REFUSED) == []


async def test_a_closed_session_is_told_so_before_its_attestation_is_looked_at(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        client = await run.open()
        await run.send(client.chunk())
        await run.send(client.close())
        for body in (
            client.chunk(),
            client.close(),
            changed(client.chunk(), drop="attestation"),
            changed(client.chunk(), attestation=BAD_HMAC),
        ):
            assert code_of(await run.send(body)) is RefusalCode.SESSION_CLOSED


async def test_without_an_attestation_or_with_an_empty_hmac_nothing_is_verified(tmp_path: Path) -> None:
    chosen = settings_with(sessions={"envelopes_max": 1})
    async with running(tmp_path, settings=chosen) as run:
        client = await run.open()
        await run.send(client.chunk())
        chunk = client.chunk()
        for body in (
            changed(chunk, drop="attestation"),
            changed(chunk, attestation={"session_hmac": ""}),
            changed(chunk, attestation={"session_hmac": 5}),
            changed(chunk, attestation={"sequence": "1"}),
            changed(chunk, attestation={"sequence": -1}),
            chunk.replace(b'"attestation":{', b'"attestation":1,"other":{'),
        ):
            assert code_of(await run.send(body)) is RefusalCode.MISSING_ATTESTATION


async def test_the_envelope_limit_comes_before_the_hmac_and_a_resend_before_the_limit(tmp_path: Path) -> None:
    chosen = settings_with(sessions={"envelopes_max": 3})
    async with running(tmp_path, settings=chosen) as run:
        client = await run.open()
        last = client.chunk()
        first = await run.send(last)
        assert isinstance(first, Accepted)
        assert code_of(await run.send(client.chunk(team_size=0))) is RefusalCode.SCHEMA
        assert code_of(await run.send(client.feedback())) is None
        for body in (client.chunk(), client.feedback(), client.close(), changed(client.chunk(), attestation=BAD_HMAC)):
            assert code_of(await run.send(body)) is RefusalCode.ENVELOPE_LIMIT
        assert await run.send(last) == Accepted(first.envelope_id, duplicate=True)
        assert len(run.lines(JournalName.ENVELOPES)) == 2


async def test_refusals_that_are_not_authentic_count_nothing(tmp_path: Path) -> None:
    chosen = settings_with(sessions={"envelopes_max": 1})
    async with running(tmp_path, settings=chosen) as run:
        client = await run.open()
        chunk = client.chunk()
        for _ in range(3):
            assert code_of(await run.send(changed(chunk, attestation=BAD_HMAC))) is RefusalCode.INVALID_HMAC
        assert code_of(await run.send(chunk)) is None


async def test_the_hmac_comes_before_the_sequence_and_the_sequence_before_the_schema(tmp_path: Path) -> None:
    async with running(tmp_path, settings=NO_GAPS) as run:
        client = await run.open()
        wrong_all = changed(client.chunk(sequence=7, team_size=0), attestation=BAD_HMAC)
        assert code_of(await run.send(wrong_all)) is RefusalCode.INVALID_HMAC
        assert code_of(await run.send(client.chunk(sequence=7, team_size=0))) is RefusalCode.SEQUENCE_MISMATCH
        before = await stored_state(run)
        assert code_of(await run.send(client.chunk(sequence=0, team_size=0))) is RefusalCode.SCHEMA
        assert run.lines(JournalName.ENVELOPES) == []
        assert await stored_state(run) != before


@pytest.mark.parametrize("member", ["session_hmac", "sequence", "metadata", "trajectory_log", "contributor_id"])
async def test_an_hmac_of_anything_else_is_refused(tmp_path: Path, member: str) -> None:
    async with running(tmp_path) as run:
        client = await run.open()
        chunk = client.chunk()
        wrong = {
            "session_hmac": changed(chunk, attestation={"session_hmac": "0" * 63 + "g"}),
            "sequence": changed(chunk, attestation={"sequence": 1}),
            "metadata": changed(chunk, metadata=client.metadata(team_size=4)),
            "trajectory_log": changed(chunk, trajectory_log=[]),
            "contributor_id": changed(chunk, contributor_id="f" * 32),
        }[member]
        assert code_of(await run.send(wrong)) is RefusalCode.INVALID_HMAC
        assert code_of(await run.send(chunk)) is None


async def test_an_hmac_under_another_sessions_key_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        one, other = await run.open("sess_1"), await run.open("sess_2")
        own = one.secret
        one.secret = other.secret
        assert code_of(await run.send(one.chunk(sequence=0))) is RefusalCode.INVALID_HMAC
        one.secret = own
        assert code_of(await run.send(one.chunk(sequence=0))) is None


# The sequence


async def test_only_the_expected_sequence_is_taken_where_gaps_are_refused(tmp_path: Path) -> None:
    async with running(tmp_path, settings=NO_GAPS) as run:
        client = await run.open()
        assert code_of(await run.send(client.chunk(sequence=1))) is RefusalCode.SEQUENCE_MISMATCH
        assert code_of(await run.send(client.chunk(sequence=0))) is None
        assert code_of(await run.send(client.chunk(sequence=0))) is RefusalCode.SEQUENCE_MISMATCH
        assert code_of(await run.send(client.chunk(sequence=2))) is RefusalCode.SEQUENCE_MISMATCH
        assert code_of(await run.send(client.close(sequence=1))) is None
        assert len(run.lines(JournalName.ENVELOPES)) == 2
        assert run.lines(JournalName.REFUSED) == []


async def test_gaps_are_accepted_by_default_and_noted_on_the_session_and_its_trajectory(tmp_path: Path) -> None:
    """Published clients give an envelope up and count on: what follows would be lost with it."""
    async with running(tmp_path) as run:
        client = await run.open()
        for sequence in (1, 2, 5):
            assert code_of(await run.send(client.chunk(sequence=sequence))) is None
        assert code_of(await run.send(client.chunk(sequence=4))) is RefusalCode.SEQUENCE_MISMATCH
        assert code_of(await run.send(client.chunk(sequence=5))) is RefusalCode.SEQUENCE_MISMATCH
        assert code_of(await run.send(client.chunk(sequence=9, team_size=0))) is RefusalCode.SCHEMA
        assert code_of(await run.send(client.close(sequence=11))) is None
        await finished(run)
        await run.projected()
        gaps = [(1, 1), (5, 2), (9, 3), (11, 1)]
        assert run.rows("sessions.db", "SELECT before, missing FROM sequence_gaps ORDER BY before") == gaps
        (trajectory,) = run.lines(JournalName.TRAJECTORIES)
        assert [(gap["before"], gap["missing"]) for gap in trajectory["sequence_gaps"]] == gaps
        received = [line["received"].get("gap") for line in run.lines(JournalName.ENVELOPES)]
        assert received == [1, None, 2, 1]
    assert await findings(tmp_path) == []


async def test_a_sequence_above_the_highest_is_never_taken(tmp_path: Path) -> None:
    chosen = settings_with(sessions={"sequence_gaps": SequenceGaps.ACCEPT}, schema={"sequence_max": 10})
    async with running(tmp_path, settings=chosen) as run:
        client = await run.open()
        assert code_of(await run.send(client.chunk(sequence=11))) is RefusalCode.SEQUENCE_MISMATCH
        assert code_of(await run.send(client.chunk(sequence=10))) is None
        assert code_of(await run.send(client.chunk(sequence=11))) is RefusalCode.SCHEMA
        assert len(run.lines(JournalName.ENVELOPES)) == 1


# Authentic and refused


@pytest.mark.parametrize("restart", [False, True])
async def test_a_schema_refusal_uses_up_its_sequence_for_good(tmp_path: Path, *, restart: bool) -> None:
    async with running(tmp_path) as run:
        client = await run.open()
        refused = client.chunk(team_size=0)
        assert code_of(await run.send(refused)) is RefusalCode.SCHEMA
        if not restart:
            await goes_on_after_a_refusal(run, client, refused)
    if restart:
        async with running(tmp_path, clock=run.clock) as run:
            await goes_on_after_a_refusal(run, client, refused)
    assert await findings(tmp_path) == []


async def goes_on_after_a_refusal(run: Running, client: SigningClient, refused: bytes) -> None:
    assert code_of(await run.send(client.chunk(sequence=0))) is RefusalCode.SEQUENCE_MISMATCH
    assert code_of(await run.send(refused)) is RefusalCode.SEQUENCE_MISMATCH
    assert code_of(await run.send(client.chunk())) is None
    assert len(run.lines(JournalName.REFUSED)) == 1


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda client: client.chunk(team_size=0), RefusalCode.SCHEMA),
        (lambda client: client.chunk(note="\udc00".encode("utf-8", "surrogatepass").hex(), team_size=0), "schema"),
        (lambda client: client.envelope({"session_id": "sess_1", "type": "GREETING"}, {"x": 1}), "unknown_type"),
        (lambda client: client.envelope({"session_id": "sess_1", "type": 5}, {"x": 1.50}), "unknown_type"),
        (lambda client: client.envelope({"session_id": "sess_1", "crc32": "0" * 8}, {}), "reserved_member"),
        (lambda client: client.envelope({"session_id": "sess_1"}, {"received": {"n": 1}}), "reserved_member"),
    ],
)
async def test_what_is_authentic_but_refused_is_kept_whole(tmp_path: Path, spoil: Any, code: RefusalCode) -> None:
    async with running(tmp_path) as run:
        client = await run.open()
        body = spoil(client)
        outcome = await run.send(body)
        assert isinstance(outcome, Refusal)
        assert outcome.code == code
        (letter,) = run.lines(JournalName.REFUSED)
        assert body_of(letter) == body
        assert json.loads(body_of(letter)) == json.loads(body)
        assert letter["refused"] == {"code": code, "reason": outcome.reason}
        assert letter["sequence"] == 0
        assert code_of(await run.send(client.chunk())) is None
    assert await findings(tmp_path) == []


async def test_a_refused_body_with_lone_surrogates_is_kept_character_for_character(tmp_path: Path) -> None:
    """Clients escape lone surrogates; the signed text has the escape and so has the dead letter."""
    async with running(tmp_path) as run:
        client = await run.open()
        step = dumps(client.step()).replace("step 1", "\\ud83d cut")
        plain = f'{{"session_id":"sess_1","chunk_sequence":0,"contributor_id":"x","trajectory_log":[{step}]}}'
        attestation = dumps({"session_hmac": client.sign(plain, 0), "sequence": 0, "app_version_hash": "b" * 64})
        body = (plain[:-1] + f',"attestation":{attestation}}}').encode()
        assert code_of(await run.send(body)) is RefusalCode.SCHEMA
        (letter,) = run.lines(JournalName.REFUSED)
        assert body_of(letter) == body


async def test_a_session_that_is_too_large_takes_no_more_but_can_be_closed_by_http(tmp_path: Path) -> None:
    chosen = settings_with(sessions={"session_bytes_max": 2_500})
    async with running(tmp_path, settings=chosen) as run:
        client = await run.open()
        assert code_of(await run.send(client.chunk())) is None
        assert code_of(await run.send(client.chunk(steps=20))) is RefusalCode.SESSION_TOO_LARGE
        await run.service.close_session("sess_1")
        (trajectory,) = run.lines(JournalName.TRAJECTORIES)
        assert trajectory["total_chunks"] == 1
        assert trajectory["closed_by"] == ClosedBy.HTTP_CLOSE
    assert await findings(tmp_path) == []


# What is stored


async def test_the_line_holds_the_clients_bytes_with_the_servers_id(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        client = await run.open()
        body = client.chunk()
        outcome = await run.send(body)
        assert isinstance(outcome, Accepted)
        (path,) = (run.root / "envelopes").iterdir()
        line = path.read_bytes()
        own = b'"envelope_id":"env_client_0",'
        assert own in body
        assert line.startswith(b'{"envelope_id":"%s",%s' % (outcome.envelope_id.encode(), body[1:-1].replace(own, b"")))
        assert json.loads(line)["received"]["client_envelope_id"] == "env_client_0"


async def test_a_body_that_was_printed_anew_is_verified_by_its_canonical_text_and_stored_on_one_line(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as run:
        client = await run.open()
        plain = client.chunk()
        pretty = json.dumps(json.loads(plain), indent=2, ensure_ascii=True).encode()
        outcome = await run.send(pretty)
        assert isinstance(outcome, Accepted), outcome
        (path,) = (run.root / "envelopes").iterdir()
        (line,) = path.read_bytes().splitlines()
        stored = json.loads(line)
        assert stored | {"envelope_id": "env_client_0"} == json.loads(plain) | {
            "received": stored["received"],
            "crc32": stored["crc32"],
        }
        assert await run.send(plain) == Accepted(outcome.envelope_id, duplicate=True)
        assert await run.send(pretty) == Accepted(outcome.envelope_id, duplicate=True)
        await run.send(client.close())
        await finished(run)
        (trajectory,) = run.lines(JournalName.TRAJECTORIES)
        assert trajectory["total_steps"] == 3
    assert await findings(tmp_path) == []


async def test_large_bodies_take_the_same_path_off_the_event_loop(tmp_path: Path) -> None:
    chosen = settings_with(sessions={"inline_bytes_max": 100})
    async with running(tmp_path, settings=chosen) as run:
        client = await run.open()
        chunk = client.chunk()
        assert code_of(await run.send(changed(chunk, attestation=BAD_HMAC))) is RefusalCode.INVALID_HMAC
        assert code_of(await run.send(chunk)) is None
        assert code_of(await run.send(client.chunk(team_size=0))) is RefusalCode.SCHEMA


# Feedback


async def test_feedback_neither_checks_nor_moves_the_sequence(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        client = await run.open()
        assert code_of(await run.send(client.feedback(sequence=77))) is None
        assert code_of(await run.send(client.chunk(sequence=0))) is None
        assert code_of(await run.send(client.feedback(sequence=0))) is None
        assert code_of(await run.send(client.chunk(sequence=1))) is None


async def test_feedback_before_the_close_is_in_the_trajectory_and_later_feedback_is_linked_to_it(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as run:
        client = await run.open()
        await run.send(client.chunk())
        early = await run.send(client.feedback("modified", sequence=50))
        await run.send(client.close())
        await finished(run)
        late = await run.send(client.feedback("accepted"))
        assert isinstance(early, Accepted)
        assert isinstance(late, Accepted)
        await run.projected()
        (trajectory,) = run.lines(JournalName.TRAJECTORIES)
        assert [each["signal"] for each in trajectory["feedback"]] == ["modified"]
        linked = run.rows(
            "sessions.db", "SELECT trajectory_id, envelope_id, late FROM trajectory_feedback ORDER BY late"
        )
        trajectory_id = trajectory["trajectory_id"]
        assert linked == [(trajectory_id, early.envelope_id, 0), (trajectory_id, late.envelope_id, 1)]
    assert await findings(tmp_path) == []


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("signal", ["accepted", "applauded"])
async def test_repeated_feedback_gets_its_first_answer_and_writes_nothing(
    tmp_path: Path, signal: str, *, restart: bool
) -> None:
    async with running(tmp_path) as run:
        client = await run.open()
        body = client.feedback(signal)
        first = await run.send(body)
        if not restart:
            await answered_again(run, body, first)
    if restart:
        async with running(tmp_path, clock=run.clock) as run:
            await answered_again(run, body, first)


async def answered_again(run: Running, body: bytes, first: IngestOutcome) -> None:
    before = await stored_state(run)
    if isinstance(first, Accepted):
        assert await run.send(body) == Accepted(first.envelope_id, duplicate=True)
    else:
        assert code_of(first) is RefusalCode.SCHEMA
        assert await run.send(body) == first
    assert await stored_state(run) == before


async def test_a_refused_feedback_uses_up_no_sequence(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        client = await run.open()
        assert code_of(await run.send(client.feedback("applauded", sequence=0))) is RefusalCode.SCHEMA
        assert code_of(await run.send(client.chunk(sequence=0))) is None
        (letter,) = run.lines(JournalName.REFUSED)
        assert letter["sequence"] is None


# Secrets


async def test_no_secret_reaches_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not even when an actor fails with everything in its hands."""
    caplog.set_level("DEBUG")
    async with running(tmp_path) as run:
        client = await run.open()
        for body in (client.chunk(), client.chunk(team_size=0), changed(client.chunk(), attestation=BAD_HMAC)):
            await run.send(body)
        actor: Any = run.service._directory._entries["sess_1"].actor
        actor._state.buffer = None
        await run.send(client.chunk(sequence=2))
        await run.send(client.close(sequence=3))
        stored = await run.service._storage.registry.load("sess_1")
        assert stored is not None
    assert "failed and was ended" in caplog.text
    for secret in (stored.server_private_key, stored.shared_secret, repr(client.secret)[2:-1], client.secret.hex()):
        assert secret not in caplog.text
    assert base64.b64encode(client.secret).decode() == stored.shared_secret
    assert "step 1" not in caplog.text


async def test_an_idle_actor_holds_no_request(tmp_path: Path) -> None:
    """The body of the last envelope is let go of as soon as it is answered: thousands of actors may be idle."""
    async with running(tmp_path / "data") as run:
        client = await run.open()
        body = client.chunk(3)
        references = sys.getrefcount(body)
        assert isinstance(await run.send(body), Accepted)
        await trio.testing.wait_all_tasks_blocked()
        assert sys.getrefcount(body) == references
