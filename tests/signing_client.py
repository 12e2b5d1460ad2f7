"""A client for tests that signs with the standard library alone, so that it shares no mistake with the server."""

import base64
import hashlib
import hmac
import json
import struct
import time
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CONTRIBUTOR = "0123456789abcdef0123456789abcdef"
APP_HASH = "b" * 64


def dumps(value: object) -> str:
    """JSON as `JSON.stringify` writes it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


class SigningClient:
    """One session of a published client: it counts its sequence up for every envelope that it signs."""

    def __init__(self, session_id: str, *, contributor_id: str = CONTRIBUTOR, now_s: float | None = None) -> None:
        self.session_id = session_id
        self.contributor_id = contributor_id
        self.now_s = time.time() if now_s is None else now_s
        self.sequence = 0
        self.steps = 0
        self.chunks = 0
        self.secret = b""
        self._key = ec.generate_private_key(ec.SECP256R1())

    @property
    def public_key(self) -> str:
        """The public key as the opening carries it."""
        point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return base64.b64encode(point).decode()

    def opening(self, **changes: Any) -> dict[str, str]:
        """The body of `POST /v1/sessions/open`."""
        return {
            "session_id": self.session_id,
            "public_key": self.public_key,
            "provider": "codex",
            "model": "gpt-5.5",
            "machine_fingerprint": hashlib.sha256(self.session_id.encode()).hexdigest(),
            "app_version_hash": APP_HASH,
            "groove_version": "0.27.115",
        } | changes

    def opened(self, server_public_key: str) -> None:
        """Derive the secret from the answer to the opening."""
        peer = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), base64.b64decode(server_public_key))
        self.secret = self._key.exchange(ec.ECDH(), peer)

    def sign(self, text: str, sequence: int) -> str:
        """HMAC-SHA256 over uint32BE(sequence) and the text."""
        return hmac.new(self.secret, struct.pack(">I", sequence) + text.encode(), hashlib.sha256).hexdigest()

    def envelope(self, before: dict[str, Any], after: dict[str, Any], *, sequence: int | None = None) -> bytes:
        """Sign an envelope; the attestation stands between the two groups of members."""
        if sequence is None:
            sequence = self.sequence
            self.sequence += 1
        plain = dumps({**before, **after})
        attestation = {
            "session_hmac": self.sign(plain, sequence),
            "sequence": sequence,
            "app_version_hash": APP_HASH,
        }
        return dumps({**before, "attestation": attestation, **after}).encode()

    def metadata(self, **changes: Any) -> dict[str, Any]:
        """A chunk's metadata."""
        return {
            "model_engine": "gpt-5.5",
            "provider": "codex",
            "agent_role": "frontend",
            "agent_id": "frontend-3",
            "task_complexity": "medium",
            "team_size": 3,
            "session_quality": 50,
            "groove_version": "0.27.115",
            "leaf_context": None,
        } | changes

    def step(self, kind: str = "thought", **members: Any) -> dict[str, Any]:
        """The session's next step."""
        self.steps += 1
        content = f"step {self.steps} of {self.session_id} é 🚀"
        base = {"step": self.steps, "type": kind, "timestamp": self.now_s - 1, "content": content}
        return {**base, "token_count": 7, **members}

    def chunk(self, steps: int = 3, *, sequence: int | None = None, **metadata: Any) -> bytes:
        """The next chunk, with so many steps."""
        log = [self.step() for _ in range(steps)]
        return self.chunk_of(log, sequence=sequence, **metadata)

    def chunk_of(self, log: list[dict[str, Any]], *, sequence: int | None = None, **metadata: Any) -> bytes:
        """The next chunk, with these steps."""
        before = {
            "envelope_id": f"env_client_{self.sequence}",
            "session_id": self.session_id,
            "chunk_sequence": self.chunks,
            "contributor_id": self.contributor_id,
        }
        self.chunks += 1
        return self.envelope(before, {"metadata": self.metadata(**metadata), "trajectory_log": log}, sequence=sequence)

    def close(self, *, sequence: int | None = None, **outcome: Any) -> bytes:
        """SESSION_CLOSE."""
        before = {"envelope_id": "env_client_close", "session_id": self.session_id, "type": "SESSION_CLOSE"}
        told = {"status": "SUCCESS", "session_quality": 80, "quality_tier": "TIER_A", "user_interventions": 0}
        told |= {"total_steps": self.steps, "total_chunks": self.chunks, "total_tokens": 7 * self.steps} | outcome
        return self.envelope(before, {"metadata": self.metadata(), "outcome": told}, sequence=sequence)

    def feedback(self, signal: str = "accepted", *, sequence: int | None = None) -> bytes:
        """USER_FEEDBACK."""
        before = {"envelope_id": "env_client_fb", "session_id": self.session_id, "type": "USER_FEEDBACK"}
        told = {
            "signal": signal,
            "timestamp": self.now_s - 1,
            "context": "done",
            "target_step": 1,
            "revision_rounds": 0,
        }
        return self.envelope(before, {"feedback": told | {"delta_summary": None}}, sequence=sequence)
