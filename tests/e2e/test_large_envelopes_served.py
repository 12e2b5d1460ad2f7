"""Envelopes over 5 MB from an open session: stored, found again after a crash, or kept as dead letters."""

import json
from pathlib import Path

import pytest

from tests.dead_letters import body_of
from tests.server_process import CLOSE, INGEST, OPEN, ServerProcess
from tests.signing_client import SigningClient, dumps

MIB = 1_048_576


def opened(server: ServerProcess, session_id: str) -> SigningClient:
    """A session that is open."""
    client = SigningClient(session_id)
    client.opened(server.post(OPEN, dumps(client.opening()).encode()).members["server_public_key"])
    return client


def large_chunk(client: SigningClient, mib: int, **members: object) -> bytes:
    """The next chunk, of so many MiB; each step has the `members` as well."""
    count = mib * MIB // 90_000
    return client.chunk_of([client.step(content='"\\' * 22_500, **members) for _ in range(count)])


def test_a_large_chunk_is_stored_and_found_again_after_a_crash(tmp_path: Path) -> None:
    """20 MiB, then a kill: the resend is a duplicate, and the session is closed, stitched and credited with it."""
    with ServerProcess(tmp_path / "data") as server:
        client = opened(server, "sess_1")
        body = large_chunk(client, 20)
        assert len(body) > 19 * MIB
        assert server.post(INGEST, body).members["accepted"] is True
        server.kill()
        server.start()
        assert server.post(INGEST, body).members["duplicate"] is True
        assert server.post(INGEST, client.chunk()).members["accepted"] is True
        assert server.post(INGEST, client.close()).members["accepted"] is True
        closed = server.post(CLOSE, dumps({"session_id": "sess_1"}).encode())
        assert closed.members["steps"] == client.steps
        assert server.terminate() == 0


@pytest.mark.parametrize("mib", [6, 31])
def test_a_large_envelope_that_breaks_the_schema_is_a_dead_letter(tmp_path: Path, mib: int) -> None:
    """It is answered as refused, its number is used up, and what it held is kept whole, also where all is escaped."""
    with ServerProcess(tmp_path / "data") as server:
        client = opened(server, "sess_1")
        body = large_chunk(client, mib, truncated="yes")
        answer = server.post(INGEST, body)
        assert (answer.status, answer.members["code"]) == (200, "schema")
        assert server.post(INGEST, client.chunk()).members["accepted"] is True
        assert server.terminate() == 0
    [path] = (tmp_path / "data" / "refused").iterdir()
    line = json.loads(path.read_bytes())
    assert body_of(line) == body


def test_a_large_forgery_is_refused_without_being_written_again(tmp_path: Path) -> None:
    """As it came it does not verify; writing it anew would take many times its memory."""
    with ServerProcess(tmp_path / "data") as server:
        client = opened(server, "sess_1")
        before = server.rss_anon_mib
        body = large_chunk(client, 20).replace(b'"team_size":3', b'"team_size":4')
        answer = server.post(INGEST, body)
        assert (answer.status, answer.members["code"]) == (200, "invalid_hmac")
        assert server.rss_anon_mib - before < 200
        unknown = SigningClient("sess_unknown")
        unknown.secret = client.secret
        assert server.post(INGEST, large_chunk(unknown, 6)).status == 413
        assert server.terminate() == 0


def test_depth_is_taken_from_an_open_session(tmp_path: Path) -> None:
    """Arguments that nest 190 levels deep are stored, and survive the close."""
    with ServerProcess(tmp_path / "data") as server:
        client = opened(server, "sess_1")
        arguments: object = 1
        for _ in range(190):
            arguments = [arguments]
        body = client.chunk_of([client.step("action", arguments=arguments)])
        assert server.post(INGEST, body).members["accepted"] is True
        assert server.post(INGEST, client.close()).members["accepted"] is True
        assert server.post(CLOSE, dumps({"session_id": "sess_1"}).encode()).members["steps"] == 1
        assert server.terminate() == 0
