"""What waits for one server is dropped; what the server may have stays noted, so that nothing is sent twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.envelopes.attestation import generate_key_pair
from central_command.client.contract.signing import Draft, draft_envelope
from central_command.client.spool.forgetting import FORGOTTEN
from central_command.client.spool.records import (
    Opening,
    SessionDoneError,
    SessionsInUseError,
    SessionState,
    SpoolTotals,
    WaitingFor,
)
from central_command.client.spool.spool import Spool

URL = "http://wrong.test"
OTHER = "http://right.test"
OPENING = Opening(
    provider="codex", model="gpt-5.5", machine_fingerprint="a" * 64, app_version_hash="b" * 64, client_version="0.1.0"
)
SERVER_KEY = generate_key_pair().public_key_base64


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


@pytest.fixture
def spool(path: Path) -> Iterator[Spool]:
    with Spool(path) as opened:
        yield opened


def draft(session_id: str) -> Draft:
    return draft_envelope({"envelope_id": "env_1", "session_id": session_id}, {"text": "x"})


def put(spool: Spool, name: str, *, url: str = URL, source: str | None = None, is_opened: bool = False) -> str:
    session_id = f"sess_{name}"
    spool.add_session(session_id, url=url, opening=OPENING, source=source, source_state=b"noted")
    if is_opened:
        spool.opened(session_id, SERVER_KEY)
    spool.put(session_id, "CHUNK", draft(session_id), steps=3)
    return session_id


def test_what_never_reached_a_server_is_forgotten_whole_and_that_of_others_stays(spool: Spool) -> None:
    recorded, file, other = put(spool, "recorded"), put(spool, "file", source="a:b"), put(spool, "other", url=OTHER)
    spool.keep_steps(recorded, [b"{}", b"{}"])
    spool.end(file)
    assert spool.waiting_for() == [WaitingFor(OTHER, 1, 3, 3), WaitingFor(URL, 2, 8, 5)]
    assert spool.forget_waiting(URL) == WaitingFor(URL, 2, 8, 5)
    for session_id in (recorded, file):
        with pytest.raises(KeyError):
            spool.session(session_id)
    assert (spool.sessions_of("a:b"), spool.session(other).state) == ([], SessionState.RECORDING)
    assert (spool.statistics().envelopes, spool.totals_to(URL)) == (1, SpoolTotals(0, 0, 0, 0, 0.0, 0, 0, 0))
    assert spool.forget_waiting(URL) == WaitingFor(URL, 0, 0, 0), "a second time there is nothing"
    assert spool.waiting_for() == [WaitingFor(OTHER, 1, 3, 3)]


def test_what_a_server_may_have_stays_noted_and_takes_nothing_more(spool: Spool) -> None:
    """Also where nothing was answered: an answer may be lost."""
    begun, sent = put(spool, "begun", source="a:b", is_opened=True), put(spool, "sent", source="a:c", is_opened=True)
    spool.accepted(begun, 0)
    spool.put(begun, "CHUNK", draft(begun), steps=4)
    assert spool.forget_waiting(URL) == WaitingFor(URL, 2, 7, 0)
    for session_id, accepted in ((begun, 3), (sent, 0)):
        found = spool.session(session_id)
        assert (found.state, found.problem, found.source_state) == (SessionState.FAILED, FORGOTTEN, b"noted")
        assert (found.steps_accepted, found.public_key, found.opened) == (accepted, "", False)
        with pytest.raises(SessionDoneError):
            spool.put(session_id, "CHUNK", draft(session_id), steps=1)
    assert spool.waiting_for() == []


def test_what_is_delivered_is_not_touched(spool: Spool) -> None:
    """Done or open; of a closed one late feedback is dropped, and it stays closed and credited."""
    done, idle, commented = (put(spool, name, is_opened=True) for name in ("done", "idle", "commented"))
    for session_id in (done, idle, commented):
        spool.accepted(session_id, 0)
    for session_id in (done, commented):
        spool.closed(session_id, points=1.5, steps=3)
    before = spool.session(done), spool.session(idle)
    spool.put(commented, "USER_FEEDBACK", draft(commented))
    assert spool.forget_waiting(URL) == WaitingFor(URL, 1, 0, 0)
    assert (spool.session(done), spool.session(idle)) == before
    found = spool.session(commented)
    assert (found.state, found.points, found.problem, found.opened) == (SessionState.CLOSED, 1.5, None, True)
    assert spool.statistics().envelopes == 0


def test_a_session_that_took_over_from_another_stays_noted(spool: Spool) -> None:
    """The other one's steps may be there, and whoever puts to it finds where it went."""
    old = put(spool, "old", source="a:b", is_opened=True)
    spool.accepted(old, 0)
    spool.put(old, "CHUNK", draft(old), steps=3)
    spool.move(old, "sess_new", "it was closed")
    assert spool.forget_waiting(URL) == WaitingFor(URL, 1, 3, 0)
    assert (spool.current(old).session_id, spool.current(old).problem) == ("sess_new", FORGOTTEN)


def test_nothing_is_dropped_while_another_program_has_sessions_for_that_server(path: Path, spool: Spool) -> None:
    """That of one that has died is: its lock is free."""
    mine = put(spool, "mine")
    with Spool(path) as another:
        theirs = put(another, "theirs")
        with pytest.raises(SessionsInUseError, match=r"^Another program .* http://wrong\.test: end it first\.$"):
            spool.forget_waiting(URL)
        assert [spool.session(each).state for each in (mine, theirs)] == [SessionState.RECORDING] * 2
        assert spool.forget_waiting(OTHER).sessions == 0, "a program that sends elsewhere is in nobody's way"
    assert spool.forget_waiting(URL).sessions == 2
