"""The published clients' queue against a network that loses, cuts, repeats and reorders, and a server that is killed.

Whatever happens on the way: everything good is stored, counted and credited once, everything refused is refused once,
and no envelope waits for longer than its own lost tries.
"""

import json
import subprocess
import threading
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from tests.actors.envelopes.node_json import NODE, needs_node
from tests.crash.acknowledged import lines_of, points_of, rows
from tests.crash.consistency import check_stored, wait_until_projected
from tests.dead_letters import body_of
from tests.e2e.lossy_proxy import Fault, LossyProxy
from tests.server_process import INGEST, ServerProcess, run_command

CLIENT_S_MAX = 120.0
PASSIVATING = {
    "CENTRAL_COMMAND__SESSIONS__PASSIVATE_AFTER_S": "0.01",
    "CENTRAL_COMMAND__SESSIONS__OPENS_PER_MACHINE_PER_H": "1000",
}
"""Every pause is one after which the session has to be loaded again."""

AUTHENTIC_REFUSALS = {"schema", "unknown_type", "reserved_member"}
"""What is kept in the dead letters and, but for feedback, uses up its sequence number."""

PLANS = [
    *([Fault.LOST_ANSWER], [Fault.NONE], [Fault.CUT_REQUEST], [Fault.TWICE], [Fault.LATE_COPY], [Fault.TWICE_AT_ONCE]),
    *([Fault.BUSY, Fault.LOST_ANSWER], [Fault.LATE_COPY, Fault.LOST_ANSWER], [Fault.NONE], [Fault.LATE_COPY]),
    *([Fault.LOST_ANSWER, Fault.TWICE], [Fault.CUT_REQUEST, Fault.LATE_COPY, Fault.LOST_ANSWER]),
    [Fault.LOST_ANSWER, Fault.CUT_REQUEST, Fault.BUSY, Fault.LATE_COPY],
]
"""As many as a number that has no common factor with what a client sends in a round, so that each meets each."""


class Sent(NamedTuple):
    """An envelope as the client reports it: what it expected, what made it try again, and the last answer."""

    body: bytes
    expected: str
    failures: list[str]
    answer: dict[str, Any] | None

    @property
    def members(self) -> dict[str, Any]:
        """The body's members."""
        members: dict[str, Any] = json.loads(self.body)
        return members

    @property
    def key(self) -> tuple[str, int | None, str]:
        """Session, sequence (None for feedback) and HMAC."""
        return key_of(self.members)


def key_of(members: dict[str, Any]) -> tuple[str, int | None, str]:
    """Session, sequence (None for feedback) and HMAC of an envelope or of its line."""
    attestation = members["attestation"]
    sequence = None if members.get("type") == "USER_FEEDBACK" else attestation["sequence"]
    return members["session_id"], sequence, attestation["session_hmac"]


def run_client(url: str, **options: int) -> list[Sent]:
    """Run the client to its end; return all that it sent."""
    assert NODE is not None
    program = Path(__file__).with_name("client.mjs")
    done = subprocess.run(
        [NODE, str(program), url, json.dumps(options)], capture_output=True, timeout=CLIENT_S_MAX, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return [
        Sent(each["body"].encode(), each["expected"], each["failures"], each["answer"])
        for each in json.loads(done.stdout)["sent"]
    ]


def check_answers(sent: list[Sent]) -> None:
    """Nothing was given up; what is good was accepted, and each refusal is the one that is due."""
    for each in sent:
        assert each.answer is not None, f"dropped after {each.failures}: {each}"
        assert each.answer["status"] == 200
        if each.expected == "opened":
            assert each.answer["server_public_key"]
        elif each.expected == "closed":
            assert each.answer["closed"] is True
            assert each.answer["already_closed"] is True
        elif each.expected == "accepted":
            assert each.answer["accepted"] is True, each
        else:
            # A refusal that was handled, and whose answer was lost, has used up its number.
            codes = {each.expected} | ({"sequence_mismatch"} if each.expected in AUTHENTIC_REFUSALS else set())
            assert each.answer["accepted"] is False
            assert each.answer["code"] in codes, each


def check_stored_once(sent: list[Sent], root: Path) -> None:
    """The journals hold each good envelope and each authentic refusal once, and nothing else."""
    accepted = {each.key: each for each in sent if each.expected == "accepted"}
    lines = lines_of(root, "envelopes")
    assert Counter(key_of(json.loads(line)) for line in lines) == Counter(accepted.keys())
    for line in lines:
        each = accepted[key_of(json.loads(line))]
        assert each.answer is not None
        _, _, members = each.body.partition(b",")  # the client's own envelope_id comes first
        envelope_id = each.answer["envelope_id"].encode()
        assert line.startswith(b'{"envelope_id":"%s",%s,"received":{' % (envelope_id, members[:-1]))
    refused = [body_of(json.loads(line)) for line in lines_of(root, "refused")]
    assert Counter(refused) == Counter(each.body for each in sent if each.expected in AUTHENTIC_REFUSALS)


def check_credited_once(sent: list[Sent], root: Path) -> float:
    """Each session has one trajectory with all of its steps, and one credit of what they are worth; return the sum."""
    chunks: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for each in sent:
        if each.expected == "accepted" and "trajectory_log" in each.members:
            chunks[each.members["session_id"]].append(each.members)
    trajectories = [json.loads(line) for line in lines_of(root, "trajectories")]
    steps = {each["session_id"]: each["trajectory_log"] for each in trajectories}
    assert len(trajectories) == len(chunks)
    assert steps == {
        key: [step for chunk in found for step in chunk["trajectory_log"]] for key, found in chunks.items()
    }
    points = {session_id: points_of(found) for session_id, found in chunks.items()}
    credited = rows(root / "ledger.db", "SELECT session_id, points FROM credits")
    assert sorted(credited) == sorted(points.items())
    assert rows(root / "ledger.db", "SELECT total_points, total_sessions FROM balances") == [
        (sum(points.values()), len(points))
    ]
    closed = rows(root / "sessions.db", "SELECT session_id FROM sessions WHERE status = 'closed'")
    assert sorted(session_id for (session_id,) in closed) == sorted(points)
    return sum(points.values())


def check_summary(sent: list[Sent], summary: dict[str, Any], points: float) -> None:
    """The counters that the server reports are those of what was accepted."""
    accepted = [each.members for each in sent if each.expected == "accepted"]
    assert summary["totalEnvelopes"] == len(accepted)
    assert summary["totalSteps"] == sum(len(members.get("trajectory_log", [])) for members in accepted)
    assert summary["totalSessions"] == len({members["session_id"] for members in accepted})
    assert (summary["activeSessions"], summary["uniqueContributors"]) == (0, 1)
    assert summary["totalPointsAwarded"] == points


def check_server(sent: list[Sent], server: ServerProcess) -> None:
    """All of it, while the server runs and after it has stopped; it ends stopped."""
    root = server.data_directory
    wait_until_projected(root)
    check_answers(sent)
    check_stored_once(sent, root)
    points = check_credited_once(sent, root)
    check_summary(sent, server.get("/v1/stats/summary").members, points)
    assert server.terminate() == 0
    check_stored(root)
    verified = run_command("verify", "--data-dir", str(root), cwd=root.parent)
    assert verified.returncode == 0, verified.stderr


@needs_node
def test_nothing_is_lost_or_counted_twice_on_a_network_that_does_everything_wrong(tmp_path: Path) -> None:
    """Lost answers, cut, late, repeated, reordered requests, pauses: no envelope pays but for its own lost tries."""
    with ServerProcess(tmp_path / "data", settings=PASSIVATING) as server:
        with LossyProxy(PLANS) as proxy:
            proxy.set_upstream(server.port)
            sent = run_client(proxy.url, queues=2, sessions=2, chunks=5, pause_ms=60, second_ms=5, timeout_ms=20_000)
            proxy.deliver_late_copies()
        for each in sent:
            # No refusal was ever tried again, and nothing waited behind one.
            assert len(each.failures) == proxy.broken[each.body], each
            assert proxy.tries[each.body] == proxy.broken[each.body] + 1
        assert {handled.status for handled in proxy.handled if handled.path == INGEST} == {200}
        assert all(proxy.faults[fault] >= 5 for fault in {fault for plan in PLANS for fault in plan})
        check_server(sent, server)


@needs_node
def test_a_client_that_gave_up_waiting_finds_its_envelope_stored_once(tmp_path: Path) -> None:
    """Requests that reach the server only after the client has timed out and sent them again change nothing."""
    plans = [[Fault.STALLED], [Fault.NONE], [Fault.NONE], [Fault.NONE], [Fault.LOST_ANSWER]]
    with ServerProcess(tmp_path / "data", settings=PASSIVATING) as server:
        with LossyProxy(plans) as proxy:
            proxy.set_upstream(server.port)
            sent = run_client(proxy.url, queues=2, sessions=1, chunks=2, pause_ms=1, second_ms=100, timeout_ms=500)
        assert proxy.faults[Fault.STALLED] >= 4
        assert any("TimeoutError" in each.failures for each in sent)
        check_server(sent, server)


@needs_node
def test_a_server_that_is_killed_during_a_session_takes_in_all_of_it(tmp_path: Path) -> None:
    """Killed whenever it has just been sent something, and started again: the same bytes sent again complete it."""
    with ServerProcess(tmp_path / "data", settings=PASSIVATING) as server:
        restarts: list[threading.Thread] = []
        killing = threading.Lock()

        def restart() -> None:
            server.start()
            proxy.set_upstream(server.port)

        def kill() -> None:
            """End the server at once, and have it back in a while."""
            with killing:
                if restarts:
                    restarts[-1].join()
                proxy.set_upstream(None)
                server.kill()
                restarts.append(threading.Thread(target=restart))
                restarts[-1].start()

        faults = {11: Fault.KILL, 24: Fault.KILL_ONCE_HANDLED, 33: Fault.KILL, 44: Fault.KILL_ONCE_HANDLED}
        plans = [[faults.get(n, Fault.NONE)] for n in range(1_000)]
        with LossyProxy(plans, kill=kill) as proxy:
            proxy.set_upstream(server.port)
            sent = run_client(proxy.url, queues=2, sessions=1, chunks=6, pause_ms=20, second_ms=50, timeout_ms=60_000)
        for restarting in restarts:
            restarting.join()
        assert proxy.faults[Fault.KILL] == proxy.faults[Fault.KILL_ONCE_HANDLED] == 2
        assert len(restarts) >= 3, "two at once may have met the same end"
        assert sum(len(each.failures) for each in sent) >= len(restarts)
        check_server(sent, server)
