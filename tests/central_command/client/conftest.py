"""A server in memory that checks what the client sends with nothing of the client's or the server's own code."""

import base64
import hashlib
import hmac
import json
import re
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from central_command.client.contract.identity import Identity
from central_command.client.delivering.batching import batching_for

Handler = Callable[[httpx.Request], Awaitable[httpx.Response | None]]


class FakeServer:
    """Answers as the contract says; `faults` are run first, one a request, and may answer, fail or pass (None)."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, bytes]] = []
        self.faults: deque[Handler] = deque()
        self.envelopes: list[dict[str, Any]] = []
        self.refuse: Callable[[dict[str, Any]], str | None] = lambda _envelope: None
        self.refusal_code = "schema"
        self.takes_batches = True
        self.credit: dict[str, Any] = {"points": 12.5, "steps": 3}
        self.knows_keys = True
        self.opening_refusal: dict[str, str] = {}
        """The body of a 403 to every opening, if there is one."""
        """A server of before there were keys passes over what it does not know."""
        self.keys: dict[str, str] = {}
        """The registered key of each contributor who has one, base64."""
        self.consent: str | None = None
        """The state of everybody's consent; None for a server that knows nothing of it."""
        self.consent_mode = "client"
        self.is_erased = False
        self.consent_fault: Handler | None = None
        """Answers, or fails, in the place of what is said of consent."""
        self.consent_asked = 0
        self._signed_by: dict[str, str] = {}
        self._secrets: dict[str, bytes] = {}
        self._expected: dict[str, int] = {}
        self._seen: set[bytes] = set()

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url="http://server.test", transport=httpx.MockTransport(self._handle))

    def bodies(self, path: str) -> list[bytes]:
        return [body for at, body in self.requests if at == path]

    def ingested(self) -> list[bytes]:
        """Every envelope that was posted, alone or in a batch."""
        found = []
        for path, body in self.requests:
            if path.startswith("/v1/training/ingest"):
                found += body.split(b"\n")
        return found

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET" and request.url.path.startswith(("/v1/contributors/", "/.well-known/")):
            fault = await self.consent_fault(request) if self.consent_fault else None
            return fault or self._said_of_consent(request.url.path)
        self.requests.append((request.url.path, request.content))
        answer = await self.faults.popleft()(request) if self.faults else None
        return answer if answer is not None else self.answer(request)

    def _said_of_consent(self, path: str) -> httpx.Response:
        if self.consent is None:
            return httpx.Response(404, json={"error": "There is no such endpoint."})
        notice = {"version": "1.0", "sha256": "0" * 64, "language": "en", "text": "Terms."}
        terms = {"current_version": "1.0", "notice": notice}
        if path == "/.well-known/central-command.json":
            return httpx.Response(200, json={"receipt_keys": [], "consent": {"mode": self.consent_mode, **terms}})
        assert re.fullmatch("/v1/contributors/[0-9a-f]{32}/consent", path)
        self.consent_asked += 1
        said = {"state": self.consent, "last_event_sha256": "0" * 64, "history": [], "erased": self.is_erased}
        return httpx.Response(200, json=said | terms)

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/training/ingest/batch":
            return self._ingest_batch(request.content)
        body = json.loads(request.content)
        match request.url.path:
            case "/v1/sessions/open":
                return self._open(body)
            case "/v1/sessions/close":
                return httpx.Response(200, json={"closed": True, **self.credit})
            case _:
                return self._ingest(request.content, body)

    def _open(self, body: dict[str, str]) -> httpx.Response:
        names = {"session_id", "public_key", "provider", "model", "machine_fingerprint", "app_version_hash"}
        signed = {"contributor_key", "contributor_signature"} if "contributor_key" in body else set()
        assert set(body) - {"contributor_id"} == names | {"groove_version"} | signed
        if self.opening_refusal:
            return httpx.Response(403, json=self.opening_refusal)
        if self.knows_keys and (reason := self._refused_claim(body)):
            return httpx.Response(403, json={"error": reason})
        key = ec.generate_private_key(ec.SECP256R1())
        peer = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), base64.b64decode(body["public_key"]))
        self._secrets[body["session_id"]] = key.exchange(ec.ECDH(), peer)
        self._expected[body["session_id"]] = 0
        point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return httpx.Response(200, json={"server_public_key": base64.b64encode(point).decode()})

    def _refused_claim(self, body: dict[str, str]) -> str | None:
        """Why an opening is refused in the name of its contributor; the first key that signs one is registered."""
        contributor_id, key = body.get("contributor_id"), body.get("contributor_key")
        if contributor_id is None:
            return None
        if key is None:
            return "The opening must be signed." if contributor_id in self.keys else None
        text = "\n".join(("central-command opening v1", body["session_id"], body["public_key"], contributor_id, key))
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key))
        public.verify(base64.b64decode(body["contributor_signature"]), text.encode())
        if self.keys.setdefault(contributor_id, key) != key:
            return "Another key is registered."
        self._signed_by[body["session_id"]] = contributor_id
        return None

    def _ingest_batch(self, text: bytes) -> httpx.Response:
        if not self.takes_batches:
            return httpx.Response(404, json={"error": "Not found."})
        return self.results([self._ingest(line, json.loads(line)) for line in text.split(b"\n")])

    @staticmethod
    def results(answers: list[httpx.Response]) -> httpx.Response:
        """The answer to a batch whose envelopes are answered so."""
        lines = []
        for answer in answers:
            waits = {"retry_after": int(answer.headers["Retry-After"])} if "Retry-After" in answer.headers else {}
            lines.append(json.dumps({**answer.json(), "status": answer.status_code, **waits}) + "\n")
        return httpx.Response(200, text="".join(lines), headers={"Content-Type": "application/x-ndjson"})

    def refusing(self, request: httpx.Request, code: str) -> httpx.Response:
        """A refusal of the envelope, or of each that a batch holds."""
        refusal = httpx.Response(200, json={"accepted": False, "reason": "No.", "code": code})
        if not request.url.path.endswith("/batch"):
            return refusal
        return self.results([refusal] * (request.content.count(b"\n") + 1))

    def _ingest(self, text: bytes, body: dict[str, Any]) -> httpx.Response:
        signed, count = re.subn(rb',"attestation":\{"session_hmac":"[0-9a-f]{64}",[^{}]*\}', b"", text, count=1)
        assert count == 1
        attestation = body["attestation"]
        payload = attestation["sequence"].to_bytes(4, "big") + signed
        expected = hmac.new(self._secrets[body["session_id"]], payload, hashlib.sha256).hexdigest()
        assert attestation["session_hmac"] == expected, "the HMAC does not verify"
        if text in self._seen:
            return httpx.Response(200, json={"accepted": True, "envelope_id": "env_1", "duplicate": True})
        assert attestation["sequence"] == self._expected[body["session_id"]]
        self._expected[body["session_id"]] += 1
        named = body.get("contributor_id")
        if named in self.keys and self._signed_by.get(body["session_id"]) != named:
            refusal = {"accepted": False, "reason": "Open with the key.", "code": "contributor_key_required"}
            return httpx.Response(200, json=refusal)
        if reason := self.refuse(body):
            return httpx.Response(200, json={"accepted": False, "reason": reason, "code": self.refusal_code})
        self._seen.add(text)
        self.envelopes.append(body)
        return httpx.Response(200, json={"accepted": True, "envelope_id": "env_1"})


@pytest.fixture(autouse=True)
def _nothing_known_of_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test's server does with batches is not remembered for the next one's."""
    monkeypatch.setattr("central_command.client.delivering.batching._by_url", {})


@pytest.fixture
def fake_server() -> FakeServer:
    """An empty server in memory."""
    return FakeServer()


@pytest.fixture
def one_by_one(_nothing_known_of_servers: None) -> None:
    """The server is known to take no batches, so that each envelope is one request."""
    batching_for("http://server.test").unknown()


@pytest.fixture
def identity() -> Identity:
    """A fixed client."""
    return Identity(
        contributor_id="0123456789abcdef" * 2,
        machine_fingerprint="a" * 64,
        app_version_hash="b" * 64,
        client_version="0.1.0",
    )


@pytest.fixture(scope="session")
def transcripts() -> Path:
    """The folder of real session files."""
    return Path(__file__).parents[2] / "transcripts"
