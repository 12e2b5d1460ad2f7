"""A data directory as a real server leaves it after one session of each sort that docs/format.md speaks of."""

import base64
import json
import re
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.format.page_reader import JOURNALS, Line, read_journal, read_line, read_master_key, unsealed
from tests.server_process import CLOSE, INGEST, OPEN, ServerProcess
from tests.signing_client import SigningClient, dumps
from tests.submitted_texts import USER, record
from tests.submitted_texts import body as body_of

DATABASES = ("sessions.db", "ledger.db")
"""Those that the server itself writes."""

ALL_DATABASES = (*DATABASES, "corpus.db", "search.db", "access.db", "jobs.db")
SESSION_JOURNALS = ("envelopes", "refused", "trajectories")
LONG_AGO = "2001-09-09T01:46:40.000000Z"
"""The time of lines that are made here: it may stand in the file of any day that a test is run on."""

Rows = dict[str, list[dict[str, Any]]]


class Written:
    """What a server, an upload and a backup have left."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data = root / "data"
        self.backup = root / "backup"
        self.spool = root / "state" / "central-command" / "spool.db"
        self.config = root / "config" / "central-command"

    @property
    def master_key(self) -> bytes:
        """The directory's master key."""
        return read_master_key((self.data / "keys" / "master.key").read_text())

    def secret(self, session_id: str) -> bytes:
        """A session's shared secret, opened with the master key."""
        sealed = next(row for row in rows_of(self.data / "sessions.db")["sessions"] if row["session_id"] == session_id)
        return base64.b64decode(unsealed(sealed["shared_secret"], self.master_key, "shared_secret", session_id))


def journals_of(data: Path) -> dict[str, list[Line]]:
    """The lines of all journals, none of which is torn."""
    read = {name: read_journal(data / name) for name in JOURNALS}
    assert {name: torn for name, (_, torn) in read.items() if torn is not None} == {}
    return {name: lines for name, (lines, _) in read.items()}


def rows_of(path: Path) -> Rows:
    """Every row of every table of a database, by plain sqlite3."""
    with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: [dict(row) for row in connection.execute(f"SELECT * FROM {name}")] for name in names}


def sessions_of(journals: dict[str, list[Line]]) -> set[str]:
    """The sessions that lines name."""
    return {line.members["session_id"] for name in SESSION_JOURNALS for line in journals[name]}


def use_intake(server: ServerProcess, token: str) -> None:
    """Texts of a user who has agreed."""
    headers = {"Authorization": f"Bearer {token}"}
    said = server.post("/v1/intake/consent", dumps({"user_id": USER, "state": "given", "version": "1.0"}), headers)
    assert said.status == 200
    texts = [record("write to jane.doe@example.com", metadata={"n": 1.50}), record("a\ud83d", content_type="workflow")]
    answer = server.post("/v1/intake/records", body_of(texts), headers)
    assert answer.members["accepted"] == 2, answer


def newest(folder: Path) -> Path:
    """A journal's newest file."""
    return max(folder.glob("*.jsonl"))


def framed(members: bytes, *, n: int = 1, batch: int | None = None, own_id: bytes = b"", more: bytes = b"") -> Line:
    """A good line of these members, read."""
    text = b'{%b,"received":{"n":%d,"at":"%b","batch":%d' % (members, n, LONG_AGO.encode(), batch or n)
    text += (b',"client_envelope_id":' + own_id if own_id else b"") + more + b"}"
    line = read_line(text + b',"crc32":"%08x"}' % zlib.crc32(text))
    assert line is not None
    return line


def open_session(server: ServerProcess, session_id: str) -> SigningClient:
    """Open a session and return its client."""
    client = SigningClient(session_id)
    client.opened(server.post(OPEN, dumps(client.opening()).encode()).members["server_public_key"])
    return client


def send(server: ServerProcess, *bodies: bytes, accepted: bool = True) -> None:
    """Send envelopes one by one."""
    for body in bodies:
        answer = server.post(INGEST, body)
        assert answer.status == 200
        assert answer.members["accepted"] is accepted, answer


def indented(body: bytes) -> bytes:
    """An envelope as something on its way might write it anew: with line breaks between its tokens."""
    return body.replace(b',"metadata":', b',\n  "metadata":\r\n  ')


def use(server: ServerProcess) -> None:
    """One session of each sort that the page speaks of."""
    still_open = open_session(server, "sess_open")
    lone = still_open.chunk_of([still_open.step(content="half of ?", mass="?")])
    lone = lone.replace(b'"half of ?"', b'"half of \\ud83d"').replace(b'"mass":"?"', b'"mass":1e400')
    send(server, resigned(still_open, lone), still_open.chunk(), indented(still_open.chunk()))

    closed = open_session(server, "sess_closed")
    work = [closed.step("error"), closed.step("resolution"), closed.step("delegate", to="reviewer", tool="ask")]
    send(server, closed.chunk_of(work, task_complexity="heavy"), closed.feedback(), closed.chunk(2))
    send(server, closed.close(), closed.feedback("rejected"))

    by_http = open_session(server, "sess_http")
    send(server, by_http.chunk(4, model_engine="a model without a tier"))
    assert server.post(CLOSE, dumps({"session_id": "sess_http"}).encode()).status == 200

    refused = open_session(server, "sess_refused")
    send(server, refused.chunk())
    send(server, refused.chunk(provider="nobody"), resigned(refused, refused.chunk_of([])), accepted=False)
    send(server, refused.feedback("shrug"), accepted=False)
    send(server, refused.chunk())

    gap = open_session(server, "sess_gap")
    gap.sequence += 2
    gap.steps = len(work)
    send(server, gap.chunk_of([*work, gap.step(), gap.step()], time_shift_s=86_400.5))
    gap.sequence += 1
    send(server, gap.chunk(provider="nobody"), accepted=False)
    send(server, gap.close())

    batch = open_session(server, "sess_batch")
    bodies = [batch.chunk() for _ in range(3)]
    with closing(server.connect()) as connection:
        connection.request("POST", f"{INGEST}/batch", b"\n".join(bodies))
        results = connection.getresponse().read().splitlines()
    assert [json.loads(result)["accepted"] for result in results] == [True, True, True]

    say_consent(server)

    empty = open_session(server, "sess_empty")
    assert empty.secret
    assert server.post(CLOSE, dumps({"session_id": "sess_empty"}).encode()).status == 200


def say_consent(server: ServerProcess) -> None:
    """Somebody with a key, and somebody who withdraws while a session of theirs is open."""
    key = Ed25519PrivateKey.generate()
    public = base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
    signed = SigningClient("sess_signed", contributor_id="5" * 32)
    opening = signed.opening()
    text = f"central-command opening v1\nsess_signed\n{opening['public_key']}\n{signed.contributor_id}\n{public}"
    opening |= {"contributor_id": signed.contributor_id, "contributor_key": public}
    opening["contributor_signature"] = base64.b64encode(key.sign(text.encode())).decode()
    signed.opened(server.post(OPEN, dumps(opening).encode()).members["server_public_key"])
    send(server, signed.chunk())

    leaving = SigningClient("sess_leaving", contributor_id="f" * 32)
    leaving.opened(server.post(OPEN, dumps(leaving.opening()).encode()).members["server_public_key"])
    send(server, leaving.chunk())
    answer = server.post(f"/v1/contributors/{'f' * 32}/consent", b'{"state":"withdrawn"}')
    assert answer.status == 200
    send(server, leaving.feedback(), accepted=False)


def resigned(client: SigningClient, body: bytes) -> bytes:
    """An envelope signed anew as it is written now; one without steps gets a member that only the server may write."""
    text = body.decode().replace('"trajectory_log":[]', '"trajectory_log":[],"received":1')
    before, rest = text.split(',"attestation":{', 1)
    attestation, after = rest.split("}", 1)
    sequence = re.search(r'"sequence":(\d+)', attestation)
    assert sequence is not None
    signature = client.sign(before + after, int(sequence[1]))
    signed = re.sub(r'"session_hmac":"[0-9a-f]*"', f'"session_hmac":"{signature}"', attestation)
    return f'{before},"attestation":{{{signed}}}{after}'.encode()
