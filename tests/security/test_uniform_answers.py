"""What an outsider, who has no session's key, can find out about other people's sessions: the contract's part only."""

import json
from collections.abc import Iterator

import pytest

from tests.security.raw_connection import RawAnswer, ask, get, post
from tests.server_process import CLOSE, INGEST, OPEN, ServerProcess
from tests.signing_client import CONTRIBUTOR, SigningClient, dumps

FORGED = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for all tests here."""
    with ServerProcess(tmp_path_factory.mktemp("uniform") / "data") as running:
        yield running


def opened(server: ServerProcess, session_id: str) -> SigningClient:
    """Open a session and return its owner."""
    client = SigningClient(session_id)
    client.opened(server.post(OPEN, dumps(client.opening()).encode()).members["server_public_key"])
    return client


def claimed(session_id: str, *, sequence: object = 0, hmac: object = FORGED, **members: object) -> bytes:
    """An envelope by someone who does not have the session's key."""
    attestation = {"session_hmac": hmac, "sequence": sequence, "app_version_hash": "b" * 64}
    return dumps({"session_id": session_id, "attestation": attestation, **members}).encode()


def ingested(server: ServerProcess, body: bytes) -> RawAnswer:
    """The whole answer to an envelope."""
    return ask(server.port, post(INGEST, body))


def test_a_session_that_never_was_and_one_that_cannot_be_are_answered_alike(server: ServerProcess) -> None:
    """Status, headers and body are equal to the byte, whatever the envelope says."""
    bodies = [
        claimed("sess_never"),
        claimed("sess_never", sequence=7, type="SESSION_CLOSE"),
        claimed("../../etc/passwd"),
        claimed("sess_" + "x" * 500),
        claimed("sess_\u0000"),
        b'{"session_id":"sess_without_attestation"}',
    ]
    first, *others = [ingested(server, body) for body in bodies]
    assert (first.status, json.loads(first.body)["code"]) == (200, "unknown_session")
    assert all(other == first for other in others)
    closes = [ask(server.port, post(CLOSE, dumps({"session_id": name}).encode())) for name in ("sess_never", "../x")]
    assert closes[0].status == 404
    assert closes[0] == closes[1]


def test_a_forged_envelope_learns_nothing_about_the_session(server: ServerProcess) -> None:
    """Whoever's session, however far it is, whatever the forgery holds: the same bytes."""
    quiet, busy = opened(server, "sess_quiet"), opened(server, "sess_busy")
    for _ in range(3):
        assert ingested(server, busy.chunk()).status == 200
    another = opened(server, "sess_another")
    of_another = json.loads(another.chunk())
    bodies = [
        *(claimed(each.session_id, sequence=n) for each in (quiet, busy) for n in (0, 2, 3, 4, 2**32 - 1)),
        claimed("sess_busy", sequence=3, contributor_id=CONTRIBUTOR, metadata={}, trajectory_log=[]),
        claimed("sess_busy", sequence=3, type="SESSION_CLOSE"),
        claimed("sess_busy", sequence=0, type="USER_FEEDBACK"),
        claimed("sess_busy", sequence=3, type="NO_SUCH_TYPE", received={}),
        claimed("sess_busy", sequence=3, hmac="x"),
        dumps(of_another | {"session_id": "sess_busy"}).encode(),
    ]
    first, *others = [ingested(server, body) for body in bodies]
    assert (first.status, json.loads(first.body)["code"]) == (200, "invalid_hmac")
    assert all(other == first for other in others)
    assert ingested(server, busy.chunk()).body.startswith(b'{"accepted":true'), "the owner is not disturbed"


def test_an_accepted_envelope_is_not_shown_to_one_who_knows_its_hmac_only(server: ServerProcess) -> None:
    """A resend is recognised by its HMAC, but answered only for the very text that it signs."""
    owner = opened(server, "sess_overheard")
    body = owner.chunk()
    accepted = json.loads(ingested(server, body).body)
    overheard = json.loads(body)["attestation"]
    forged = claimed("sess_overheard", sequence=overheard["sequence"], hmac=overheard["session_hmac"])
    answer = ingested(server, forged)
    assert json.loads(answer.body)["code"] == "invalid_hmac"
    assert accepted["envelope_id"].encode() not in answer.body


def test_what_an_outsider_who_knows_a_session_id_can_tell(server: ServerProcess) -> None:
    """This list is all of it (docs/security.md); a change here is a change of the threat model."""
    opened(server, "sess_active")
    closed = opened(server, "sess_closed")
    server.post(INGEST, closed.chunk())
    server.post(INGEST, closed.close())
    unsigned = {state: dumps({"session_id": f"sess_{state}"}).encode() for state in ("active", "closed", "absent")}
    codes = {state: server.post(INGEST, body).members["code"] for state, body in unsigned.items()}
    assert codes == {"active": "missing_attestation", "closed": "session_closed", "absent": "unknown_session"}
    stranger = {state: SigningClient(f"sess_{state}").opening() for state in ("active", "closed")}
    openings = [ask(server.port, post(OPEN, dumps(body).encode())) for body in stranger.values()]
    assert openings[0].status == 409
    assert openings[0] == openings[1], "open or closed"


def test_every_answer_of_an_endpoint_has_the_same_headers(server: ServerProcess) -> None:
    """No header but `Content-Length` depends on what was found."""
    owner = opened(server, "sess_headers")
    body = owner.chunk()
    bodies = [body, body, owner.chunk(sequence=9), claimed("sess_headers"), claimed("sess_none"), b"{}", b"no JSON"]
    answers = [ingested(server, each) for each in bodies]
    assert len({answer.body for answer in answers}) == len(bodies)
    first, *others = [{**answer.headers, "content-length": ""} for answer in answers]
    assert all(headers == first for headers in others)


def test_the_open_figures_name_no_session_machine_or_agent(server: ServerProcess) -> None:
    """Probes and statistics give sums; of a contributor only the contract's first eight characters are shown."""
    contributor = "feedc0de" + "5ec2e7" * 4
    owner = SigningClient("sess_figures", contributor_id=contributor)
    opening = owner.opening()
    owner.opened(server.post(OPEN, dumps(opening).encode()).members["server_public_key"])
    envelope = owner.chunk(agent_id="agent-unseen", agent_role="role-unseen")
    assert server.post(INGEST, envelope).members["accepted"] is True
    assert server.post(INGEST, owner.close()).members["accepted"] is True
    assert server.post(CLOSE, b'{"session_id":"sess_figures"}').members["closed"] is True
    paths = ("summary", "daily", "models", "providers", "leaderboard?limit=100")
    answers = [ask(server.port, get(path)) for path in ("/health", "/ready", *(f"/v1/stats/{path}" for path in paths))]
    assert all(answer.status == 200 for answer in answers)
    shown = b"".join(answer.body + repr(answer.headers).encode() for answer in answers)
    private = ["sess_figures", contributor[:9], opening["machine_fingerprint"], opening["public_key"], "agent-unseen"]
    private += ["role-unseen", str(server.data_directory), json.loads(envelope)["attestation"]["session_hmac"]]
    assert [each for each in private if each.encode() in shown] == []
