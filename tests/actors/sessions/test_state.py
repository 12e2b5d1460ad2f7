"""What an actor knows live is what the database gives back: an actor can end at any time and lose nothing."""

import base64
import tempfile
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.envelopes.attestation import generate_key_pair
from actors.envelopes.reading import Attestation
from actors.envelopes.refusals import Refusal, RefusalCode
from actors.sessions.lifecycle import State
from actors.sessions.settings import SequenceGaps
from actors.sessions.state import SessionState, empty_buffer
from persistence.databases.registry import NewSession
from persistence.format.records import ClosedBy, EnvelopeKind, EnvelopeRecord, Position
from tests.running_service import Running, running, settings_with
from tests.signing_client import SigningClient

SECRET = base64.b64encode(b"secret" * 5).decode()


def new_session() -> NewSession:
    return NewSession(
        session_id="sess_1",
        server_private_key=SECRET,
        server_public_key="server key",
        shared_secret=SECRET,
        client_public_key="client key",
        provider="codex",
        model="gpt-5.5",
        machine_fingerprint="a" * 64,
        app_version_hash="b" * 64,
        groove_version="0.27.115",
        created_at=1_700_000_000.0,
    )


def opened_state() -> SessionState:
    state = SessionState("sess_1", buffer=empty_buffer())
    state.record_opened(new_session(), base64.b64decode(SECRET))
    return state


def facts_of(state: SessionState) -> dict[str, Any]:
    """Everything that decides what the session answers next."""
    return {
        "lifecycle": state.lifecycle,
        "secret": state.secret,
        "keys": (state.client_public_key, state.server_public_key),
        "expected_sequence": state.expected_sequence,
        "envelope_count": state.envelope_count,
        "chunk_count": state.chunk_count,
        "bytes_total": state.bytes_total,
        # Nothing asks for the last activity of a session that is closed.
        "last_activity_at": state.last_activity_at if state.lifecycle is State.ACTIVE else None,
        "closed_by": state.closed_by,
        "credit": state.credit,
        "gaps": [(gap.before, gap.missing) for gap in state.gaps],
        "accepted": state._accepted,
        "refused_feedback": state._refused_feedback,
    }


def body_of(client: SigningClient, kind: str) -> bytes:
    match kind:
        case "chunk":
            return client.chunk(2)
        case "skipping chunk":
            client.sequence += 2
            return client.chunk(1)
        case "refused chunk":
            return client.chunk(1, team_size=0)
        case "skipping refused chunk":
            client.sequence += 1
            return client.chunk(1, team_size=0)
        case "feedback":
            return client.feedback()
        case "refused feedback":
            return client.feedback("applauded")
        case _:
            return client.close()


KINDS = ("chunk", "skipping chunk", "refused chunk", "skipping refused chunk", "feedback", "refused feedback", "close")


async def compare(root: Path, kinds: list[str]) -> None:
    chosen = settings_with(sessions={"sequence_gaps": SequenceGaps.ACCEPT})
    async with running(root, settings=chosen) as run:
        client = await run.open()
        actor: Any = run.service._directory._entries["sess_1"].actor
        for kind in kinds:
            run.clock.now += 1.000001
            await run.send(body_of(client, kind))
            await run.projected()
            await run.service.ends.finish_interrupted()
            assert await restored(run, actor) == facts_of(actor._state)


async def restored(run: Running, actor: Any) -> dict[str, Any]:
    await run.projected()
    stored = await run.service._storage.registry.load("sess_1")
    return facts_of(SessionState.restored("sess_1", stored, actor._environment))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(KINDS), max_size=8))
def test_what_is_restored_is_what_was_known(kinds: list[str]) -> None:
    """After each line of any history the state from the database equals the live one, in every member."""
    with tempfile.TemporaryDirectory() as folder:
        trio.run(compare, Path(folder), kinds)


async def test_a_session_that_has_lines_is_read_back_and_one_without_is_buffered(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        client = await run.open()
        actor: Any = run.service._directory._entries["sess_1"].actor
        stored = await run.service._storage.registry.load("sess_1")
        assert SessionState.restored("sess_1", stored, actor._environment).buffer.is_complete
        await run.send(client.chunk())
        await run.projected()
        stored = await run.service._storage.registry.load("sess_1")
        assert not SessionState.restored("sess_1", stored, actor._environment).buffer.is_complete


def test_an_absent_session_has_no_keys() -> None:
    state = SessionState("sess_1", buffer=empty_buffer())
    assert state.lifecycle is State.ABSENT
    assert not state.has_keys
    assert opened_state().has_keys


@pytest.mark.parametrize(
    ("attestation", "feedback"),
    [
        (None, False),
        (Attestation("", 0, None), False),
        (Attestation("h" * 64, 1, None), False),
        (Attestation("i" * 64, 0, None), False),
        (Attestation("h" * 64, 0, None), True),
        (Attestation("r" * 64, 3, None), False),
    ],
)
def test_only_the_same_kind_with_the_same_sequence_and_hmac_was_answered_before(
    attestation: Attestation | None, *, feedback: bool
) -> None:
    state = opened_state()
    record = EnvelopeRecord(
        envelope_id="env_1", session_id="sess_1", kind=EnvelopeKind.CHUNK, sequence=0, session_hmac="h" * 64
    )
    state.record_accepted(record, Position(n=1, day="2026-11-20", offset=0, length=10, at=1.0), b"{}")
    state._refused_feedback["r" * 64] = Refusal(RefusalCode.SCHEMA, "no")
    assert state.earlier_answer(Attestation("h" * 64, 0, None), feedback=False) is not None
    assert state.earlier_answer(Attestation("r" * 64, 3, None), feedback=True) is not None
    assert state.earlier_answer(attestation, feedback=feedback) is None


def test_reprs_show_no_secret() -> None:
    state = opened_state()
    assert repr(state) == "<SessionState sess_1 ACTIVE expects 0>"
    assert repr(new_session()) == "<NewSession sess_1>"
    pair = generate_key_pair()
    assert pair.private_key_base64 not in repr(pair)
    assert repr(pair.private_key) not in repr(pair)


async def test_the_repr_of_what_is_stored_and_of_the_actor_shows_no_secret(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        client = await run.open()
        actor: Any = run.service._directory._entries["sess_1"].actor
        stored = await run.service._storage.registry.load("sess_1")
        assert stored is not None
        for shown in (repr(stored), repr(actor), repr(actor._state)):
            assert base64.b64encode(client.secret).decode() not in shown
            assert repr(client.secret)[2:-1] not in shown
            assert stored.server_private_key not in shown
        assert repr(actor) == "<SessionActor <SessionState sess_1 ACTIVE expects 0>>"
        assert repr(stored) == "<StoredSession sess_1 active expects 0>"


def test_a_clock_that_goes_back_does_not_make_a_session_idle() -> None:
    state = opened_state()
    record = EnvelopeRecord(envelope_id="env_1", session_id="sess_1", kind=EnvelopeKind.CHUNK, sequence=0)
    state.record_accepted(record, Position(n=1, day="2026-11-20", offset=0, length=10, at=1.0), b"{}")
    assert state.last_activity_at == 1_700_000_000.0


def test_closing_needs_an_open_session() -> None:
    """A close recorded for a session that is closing already is a programmer's error, not a second close."""
    state = opened_state()
    record = EnvelopeRecord(
        envelope_id="env_1", session_id="sess_1", kind=EnvelopeKind.SERVER_CLOSE, closed_by=ClosedBy.HTTP_CLOSE
    )
    position = Position(n=1, day="2026-11-20", offset=0, length=10, at=1.0)
    state.record_accepted(record, position, b"{}")
    assert state.lifecycle is State.CLOSING
    with pytest.raises(Exception, match="CLOSE_RECORDED cannot happen"):
        state.record_accepted(record, position, b"{}")
