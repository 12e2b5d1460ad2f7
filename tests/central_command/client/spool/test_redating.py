"""What waited for a session longer than a server takes steps for is moved in time when the session is opened."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.envelopes.attestation import generate_key_pair
from central_command.client.contract.signing import draft_envelope
from central_command.client.spool.records import Opening
from central_command.client.spool.spool import Spool

DAY_S = 86_400.0
NOW_S = 1_790_000_000.0
OPENING = Opening(
    provider="codex", model="gpt-5.5", machine_fingerprint="a" * 64, app_version_hash="b" * 64, client_version="0.1.0"
)
SERVER_KEY = generate_key_pair().public_key_base64


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = NOW_S

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def spool(tmp_path: Path, clock: Clock) -> Iterator[Spool]:
    with Spool(tmp_path / "spool.db", clock=clock) as opened:
        opened.add_session("sess_1", url="http://server.test", opening=OPENING)
        yield opened


def put(spool: Spool, kind: str = "CHUNK", **tail: Any) -> None:
    head = {"envelope_id": "env_1", "session_id": "sess_1"}
    spool.put("sess_1", kind, draft_envelope(head, tail), steps=len(tail.get("trajectory_log", ())))


def step(at_s: float, **members: Any) -> dict[str, Any]:
    return {"step": 1, "type": "thought", "timestamp": at_s, **members}


def sent(spool: Spool) -> list[dict[str, Any]]:
    spool.opened("sess_1", SERVER_KEY)
    return [json.loads(each.body) for each in spool.waiting("sess_1", envelopes_max=9, bytes_max=10**9)]


def test_all_that_waits_is_moved_as_a_whole_so_that_its_last_step_is_now(spool: Spool, clock: Clock) -> None:
    """What was moved before says by how much in all; nothing else of it changes, and it is signed after that."""
    odd = {"content": "half \ud83d of a pair", "arguments": {"n": 1.50, "big": 2**60, "é": ["\u2028"]}}
    put(spool, metadata={"model_engine": "m", "time_shift_s": 100}, trajectory_log=[step(NOW_S - 60, **odd)])
    put(spool, metadata={"model_engine": "m"}, trajectory_log=[step(NOW_S - 30.5), step(NOW_S)])
    put(spool, "SESSION_CLOSE", metadata={"model_engine": "m"}, outcome={"status": "SUCCESS"})
    clock.now_s += 9 * DAY_S
    first, second, close = sent(spool)
    shift_s = 9 * DAY_S
    assert first["trajectory_log"] == [step(NOW_S - 60 + shift_s, **odd)]
    assert [each["timestamp"] for each in second["trajectory_log"]] == [clock.now_s - 30.5, clock.now_s]
    assert [each["metadata"]["time_shift_s"] for each in (first, second, close)] == [shift_s + 100, shift_s, shift_s]
    assert [each["attestation"]["sequence"] for each in (first, second, close)] == [0, 1, 2]
    assert "time_scale" not in first["metadata"]


def test_what_spans_more_than_a_server_takes_shrinks(spool: Spool, clock: Clock) -> None:
    put(spool, metadata={}, trajectory_log=[step(NOW_S)])
    clock.now_s += 12 * DAY_S
    put(spool, metadata={}, trajectory_log=[step(clock.now_s)])
    first, second = sent(spool)
    assert clock.now_s - 7 * DAY_S < first["trajectory_log"][0]["timestamp"] < clock.now_s - 6 * DAY_S
    assert second["trajectory_log"][0]["timestamp"] == clock.now_s
    assert 0.5 < first["metadata"]["time_scale"] == second["metadata"]["time_scale"] < 0.6


@pytest.mark.parametrize("later_s", [0.0, 5 * DAY_S])
def test_what_a_server_takes_as_it_is_stays_as_it_is(spool: Spool, clock: Clock, later_s: float) -> None:
    put(spool, metadata={}, trajectory_log=[step(NOW_S - 3_600)])
    clock.now_s += later_s
    (chunk,) = sent(spool)
    assert (chunk["trajectory_log"][0]["timestamp"], chunk["metadata"]) == (NOW_S - 3_600, {})


def test_a_clock_that_was_ahead_when_it_was_recorded_is_made_up_for(spool: Spool, clock: Clock) -> None:
    """The server takes nothing that is more than an hour ahead."""
    put(spool, metadata={}, trajectory_log=[step(NOW_S - 1), step(NOW_S)])
    clock.now_s -= 30 * DAY_S
    (chunk,) = sent(spool)
    assert [each["timestamp"] for each in chunk["trajectory_log"]] == [clock.now_s - 1, clock.now_s]
    assert chunk["metadata"]["time_shift_s"] == -30 * DAY_S


def test_what_was_signed_stays_the_same_bytes(spool: Spool, clock: Clock) -> None:
    put(spool, metadata={}, trajectory_log=[step(NOW_S)])
    (before,) = sent(spool)
    clock.now_s += 9 * DAY_S
    put(spool, "USER_FEEDBACK", feedback={"signal": "accepted", "timestamp": NOW_S})
    assert sent(spool)[0] == before


def test_feedback_is_moved_with_the_steps(spool: Spool, clock: Clock) -> None:
    put(spool, metadata={}, trajectory_log=[step(NOW_S)])
    put(spool, "USER_FEEDBACK", feedback={"signal": "accepted", "timestamp": NOW_S + 5})
    clock.now_s += 9 * DAY_S
    chunk, feedback = sent(spool)
    assert chunk["trajectory_log"][0]["timestamp"] == clock.now_s - 5
    assert feedback["feedback"]["timestamp"] == clock.now_s
