"""A session as it will be: lines that wait count, and move nothing until they are on disk."""

import pytest

from actors.envelopes.reading import Envelope, read_envelope
from actors.sessions.lifecycle import State
from actors.sessions.outcomes import Accepted
from actors.sessions.prospect import Prospect, Standing
from actors.sessions.state import SessionState, empty_buffer
from persistence.format.records import EnvelopeKind, EnvelopeRecord, Position
from persistence.journals.journal import Line


def active_state() -> SessionState:
    """Return the state of a session that holds one chunk, with sequence 0 and HMAC "ab"."""
    state = SessionState("sess_1", buffer=empty_buffer())
    state.lifecycle = State.ACTIVE
    state.secret = b"secret"
    record = record_of("ab", 0)
    state.record_accepted(record, Position(n=1, day="2026-11-20", offset=0, length=10, at=1.0), b"{}")
    return state


def record_of(session_hmac: str, sequence: int) -> EnvelopeRecord:
    return EnvelopeRecord(
        envelope_id=f"env_{sequence}",
        session_id="sess_1",
        kind=EnvelopeKind.CHUNK,
        sequence=sequence,
        session_hmac=session_hmac,
    )


def envelope_of(session_hmac: str, sequence: int, members: str = "") -> Envelope:
    attestation = f'{{"session_hmac":"{session_hmac}","sequence":{sequence}}}'
    envelope = read_envelope(f'{{"session_id":"sess_1",{members}"attestation":{attestation}}}'.encode(), nesting_max=8)
    assert isinstance(envelope, Envelope)
    return envelope


def prospect(state: SessionState | None = None) -> Prospect:
    """Return a prospect in which two lines of 400 bytes can wait together."""
    return Prospect(state or active_state(), lambda lines, size_bytes: lines <= 1 or (lines <= 2 and size_bytes <= 800))


NEW = envelope_of("cd", 2)


def test_without_waiting_lines_it_is_the_session_as_it_is() -> None:
    assert prospect().standing(NEW) == Standing(
        lifecycle=State.ACTIVE, secret=b"secret", earlier=None, envelope_count=1, expected_sequence=1, bytes_total=10
    )


def test_waiting_lines_count_and_the_state_stays_until_they_are_taken() -> None:
    state = active_state()
    session = prospect(state)
    lines = [Line(record_of("cd", 1), b"x" * 100), Line(record_of("ef", 2), b"y" * 200)]
    assert all(session.add(line) for line in lines)
    size_bytes = sum(line.size_bytes for line in lines)
    assert session.standing(NEW) == Standing(
        lifecycle=State.ACTIVE,
        secret=b"secret",
        earlier=None,
        envelope_count=3,
        expected_sequence=3,
        bytes_total=10 + size_bytes,
    )
    assert (state.envelope_count, state.expected_sequence, state.bytes_total) == (1, 1, 10)
    assert session.take() == lines
    assert session.take() == []
    assert session.standing(NEW) == prospect(state).standing(NEW)


@pytest.mark.parametrize(
    ("envelope", "earlier"),
    [
        (envelope_of("ab", 0), Accepted("env_0", duplicate=True)),
        (envelope_of("ab", 0, '"type":"USER_FEEDBACK",'), None),
        (envelope_of("cd", 1), None),
    ],
)
def test_what_is_on_disk_has_an_answer_and_what_waits_has_none(envelope: Envelope, earlier: Accepted | None) -> None:
    session = prospect()
    session.add(Line(record_of("cd", 1), b"x"))
    assert session.standing(envelope).earlier == earlier


@pytest.mark.parametrize(("first", "second", "has_room"), [(1, 1, True), (1, 1_000, False), (1_000, 1, False)])
def test_a_line_waits_only_where_it_has_room_and_one_alone_always_has(
    first: int, second: int, *, has_room: bool
) -> None:
    session = prospect()
    lines = [Line(record_of("cd", 1), b"x" * first), Line(record_of("ef", 2), b"y" * second)]
    assert [session.add(line) for line in lines] == [True, has_room]
    assert session.take() == lines[: 1 + has_room]


def test_its_repr_shows_how_much_waits() -> None:
    session = prospect()
    session.add(Line(record_of("cd", 1), b"x"))
    assert repr(session) == "<Prospect <SessionState sess_1 ACTIVE expects 1> and 1 lines of 161 bytes>"
