"""A real server at its most talkative, asked everything: what is secret is nowhere to be read."""

import base64
import json
import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from persistence.keys.sealing import Sealer
from tests.security.raw_connection import ask, everything_until_closed, post
from tests.server_process import CLOSE, INGEST, OPEN, ServerFailedError, ServerProcess, run_command
from tests.signing_client import SigningClient, dumps

MARKER = "marker-5f1c9d-of-what-a-person-wrote"
QUERY_MARKER = "marker-8c21-in-a-query"
HEADER_MARKER = "marker-77d0-in-a-header"
JOURNALS = ("envelopes", "refused", "trajectories")
LOG_LINE = re.compile(
    r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] (?:[A-Z]+ \S+ \d{3} \d+ms|(?:DEBUG|INFO|WARNING|ERROR) [\w.]+: .*)"
)
TALKATIVE = {"CENTRAL_COMMAND__LOG__LEVEL": "debug", "CENTRAL_COMMAND__LOG__ACCESS": "true"}


class Aftermath(NamedTuple):
    """What a server left behind: its log, all its answers, its data directory, and the secrets to look for."""

    log: str
    answers: bytes
    root: Path
    secrets: dict[str, bytes]
    signatures: list[bytes]


class Conversation:
    """Asks one server and keeps every byte that it answers."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.answers = b""

    def say(self, path: str, body: bytes) -> bytes:
        answer = ask(self.server.port, post(path, body, f"Authorization: Bearer {HEADER_MARKER}\r\n"))
        self.answers += repr(answer.headers).encode() + answer.body
        return answer.body

    def raw(self, request: bytes) -> None:
        self.answers += everything_until_closed(self.server.port, request)


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    """Everything asked that can be, answered and failing; then the server is stopped."""
    root = tmp_path_factory.mktemp("secrets") / "data"
    with ServerProcess(root, settings=TALKATIVE) as server:
        talk = Conversation(server)
        client = SigningClient("sess_talk")
        opening = dumps(client.opening()).encode()
        client.opened(json.loads(talk.say(OPEN, opening))["server_public_key"])
        envelopes = _say_everything(talk, client)
        for request in _broken_requests():
            talk.raw(request)
        copied = _kept_secrets(root, client)
        assert server.terminate() == 0
        signatures = [json.loads(body)["attestation"]["session_hmac"].encode() for body in envelopes]
        yield Aftermath(server.said, talk.answers, root, copied, signatures)


def _say_everything(talk: Conversation, client: SigningClient) -> list[bytes]:
    """Each endpoint with what it takes and what it refuses; returns the signed envelopes."""
    text: dict[str, Any] = {"content": MARKER, "arguments": {"secret": MARKER}}
    good = client.chunk_of([client.step(**text)])
    refused = client.chunk_of([client.step("no_such_type", **text)])
    late = client.chunk_of([client.step(**text)], sequence=17)
    forged = good.replace(MARKER.encode(), MARKER.encode() + b"!")
    feedback = client.feedback(sequence=0)
    for body in (good, good, refused, late, forged, good[:-1], b'{"x":' + good, b"[" * 500, feedback):
        talk.say(INGEST, body)
    for told in (client.opening(), SigningClient("sess_talk").opening(), {"model": MARKER}):
        talk.say(OPEN, dumps(told).encode())
    talk.say(OPEN, dumps(client.opening(public_key=MARKER)).encode())
    talk.say(CLOSE, dumps({"session_id": MARKER + "/"}).encode())
    talk.say("/v1/embed", dumps({"input": MARKER}).encode())
    talk.say("/v1/embed", dumps({"input": [MARKER, 7]}).encode())
    talk.say(f"/nowhere?key={QUERY_MARKER}", MARKER.encode())
    talk.say(f"/v1/stats/daily?days={QUERY_MARKER}", MARKER.encode())
    close = client.close(sequence=2)
    talk.say(INGEST, close)
    talk.say(CLOSE, dumps({"session_id": "sess_talk"}).encode())
    return [good, refused, late, feedback, close]


def _broken_requests() -> list[bytes]:
    """What the parser itself refuses, each with a marker in it."""
    bad = f"X: {HEADER_MARKER}\r\n"
    return [
        f"POST {INGEST} HTTP/1.1\r\nHost: a\r\n{bad}Content-Length: x\r\n\r\n{MARKER}".encode(),
        f"NONSENSE {HEADER_MARKER}\r\n\r\n".encode(),
        f"GET /health HTTP/1.1\r\nHost: a\r\n{bad}Y{HEADER_MARKER} : \x00\r\n\r\n".encode(),
        f"GET /health HTTP/1.1\r\nHost: a\r\nX: {HEADER_MARKER}{'x' * 40_000}\r\n\r\n".encode(),
    ]


def _selected(database: Path, columns: str) -> list[tuple[str, ...]]:
    connection = sqlite3.connect(database)
    try:
        return connection.execute(f"SELECT {columns} FROM sessions").fetchall()
    finally:
        connection.close()


def _kept_secrets(root: Path, client: SigningClient) -> dict[str, bytes]:
    """Every secret of the session and of the server, from its owner or opened with the master key."""
    key_text = (root / "keys" / "master.key").read_bytes().strip()
    master_key = base64.b64decode(key_text)
    with sqlite3.connect(root / "sessions.db") as connection:
        ((sealed_private, sealed_secret),) = connection.execute(
            "SELECT server_private_key, shared_secret FROM sessions"
        )
    connection.close()
    sealer = Sealer(master_key)
    server_key = sealer.unseal(sealed_private, column="server_private_key", session_id="sess_talk").encode()
    shared = sealer.unseal(sealed_secret, column="shared_secret", session_id="sess_talk").encode()
    assert base64.b64decode(shared) == client.secret, "what is looked for is what is kept"
    scalar = client._key.private_numbers().private_value.to_bytes(32, "big")
    raw = {
        "shared secret": client.secret,
        "server's private key": base64.b64decode(server_key),
        "client's private key": scalar,
        "master key": master_key,
    }
    secrets: dict[str, bytes] = {}
    for name, value in raw.items():
        secrets |= {name: value, f"{name} in hex": value.hex().encode(), f"{name} in base64": base64.b64encode(value)}
    return secrets


def test_the_log_and_the_answers_hold_no_secret_no_signature_and_nothing_of_a_body(aftermath: Aftermath) -> None:
    """At debug level, whatever was sent: not in a line, not in a traceback, not in a refusal's sentence."""
    forms = {**aftermath.secrets, **{f"signature {n}": text for n, text in enumerate(aftermath.signatures)}}
    forms |= {"body": MARKER.encode(), "query": QUERY_MARKER.encode(), "header": HEADER_MARKER.encode()}
    assert aftermath.log.count("\n") > 20, "the server did not say much"
    assert [name for name, form in forms.items() if form in aftermath.log.encode()] == []
    assert [name for name, form in forms.items() if form in aftermath.answers] == []


def test_every_line_of_the_log_has_one_of_two_forms(aftermath: Aftermath) -> None:
    """Nothing that was sent could begin a line of its own, and a request that failed by itself left no traceback."""
    assert [line for line in aftermath.log.splitlines() if not LOG_LINE.fullmatch(line)] == []


def test_no_file_holds_a_secret_but_the_key_file_its_own(aftermath: Aftermath) -> None:
    """Databases, their logs, journals, everything: whoever copies all but `keys/` has no key."""
    found = {
        (str(path.relative_to(aftermath.root)), name)
        for path in aftermath.root.rglob("*")
        if path.is_file()
        for name, form in aftermath.secrets.items()
        if form in path.read_bytes()
    }
    assert found == {("keys/master.key", "master key in base64")}


def test_what_people_wrote_is_in_the_journals_alone(aftermath: Aftermath) -> None:
    """Neither the databases nor anything beside the journals holds a piece of a body."""
    holding = {
        path.relative_to(aftermath.root).parts[0]
        for path in aftermath.root.rglob("*")
        if path.is_file() and MARKER.encode() in path.read_bytes()
    }
    assert holding <= set(JOURNALS)
    assert "envelopes" in holding, "the marker was not stored at all"


def test_a_master_key_from_the_environment_is_in_no_error_and_in_no_file(tmp_path: Path) -> None:
    """A wrong one is refused without being repeated; a right one is used without being written down."""
    right = base64.b64encode(os.urandom(32)).decode()
    for wrong in ("k3y-that-is-too-short", right + "AAAA", right[:-1] + "é"):
        with pytest.raises(ServerFailedError) as caught:
            ServerProcess(tmp_path / "data", settings={**TALKATIVE, "CENTRAL_COMMAND_MASTER_KEY": wrong}).start()
        assert caught.value.status == 2
        assert wrong not in caught.value.stderr
        assert right not in caught.value.stderr
        assert "CENTRAL_COMMAND_MASTER_KEY" in caught.value.stderr
    with ServerProcess(tmp_path / "data", settings={**TALKATIVE, "CENTRAL_COMMAND_MASTER_KEY": right}) as server:
        command_line = Path(f"/proc/{server.process.pid}/cmdline").read_bytes()
        assert server.terminate() == 0
        assert right.encode() not in command_line
        assert right not in server.said
    other = {"CENTRAL_COMMAND_MASTER_KEY": base64.b64encode(os.urandom(32)).decode()}
    refused = run_command("serve", "--data-dir", str(tmp_path / "data"), "--port", "0", cwd=tmp_path, settings=other)
    assert refused.returncode == 2
    assert other["CENTRAL_COMMAND_MASTER_KEY"] not in refused.stdout + refused.stderr
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert [path for path in files if right.encode() in path.read_bytes()] == []
    assert not (tmp_path / "data" / "keys" / "master.key").exists()


def test_a_copied_database_opens_nothing_without_the_key(aftermath: Aftermath, tmp_path: Path) -> None:
    """The sealed values of a copy do not open under any key but the one that stays behind."""
    copy = tmp_path / "sessions.db"
    copy.write_bytes((aftermath.root / "sessions.db").read_bytes())
    rows = _selected(copy, "server_private_key, shared_secret")
    assert rows
    for sealed in (value for row in rows for value in row):
        assert sealed.startswith("v1.")
        content = base64.b64decode(sealed.split(".")[2])
        assert all(form not in content for form in aftermath.secrets.values())


def test_a_session_s_secret_needs_a_private_key(aftermath: Aftermath) -> None:
    """Both public keys, which a reader of the database has, do not give the secret."""
    with sqlite3.connect(aftermath.root / "sessions.db") as connection:
        ((server_public, client_public),) = connection.execute(
            "SELECT server_public_key, client_public_key FROM sessions"
        )
    connection.close()
    points = [base64.b64decode(text) for text in (server_public, client_public)]
    assert all(ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point) for point in points)
    assert all(aftermath.secrets["shared secret"] not in point for point in points)
