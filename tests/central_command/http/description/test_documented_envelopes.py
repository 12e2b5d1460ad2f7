"""The whole envelopes of docs/protocol.md: sent as they are printed, taken, and signed as the page says."""

import hashlib
import hmac
import json
import re
import struct
from pathlib import Path
from typing import Any

from actors.sessions.outcomes import Accepted
from tests.central_command.http.description.test_openapi import faults
from tests.running_service import Clock, running
from tests.server_process import REPOSITORY
from tests.signing_client import CONTRIBUTOR, dumps

INGEST = (REPOSITORY / "docs" / "protocol.md").read_text().partition("## `POST /v1/training/ingest`\n")[2]
PRINTED = re.findall(r"^```json\n(.*?)^```$", INGEST.partition("\n## ")[0], re.MULTILINE | re.DOTALL)
ZEROS = bytes(32)


def hmac_of(envelope: dict[str, Any], secret: bytes) -> str:
    signed = dumps({name: value for name, value in envelope.items() if name != "attestation"})
    payload = struct.pack(">I", envelope["attestation"]["sequence"]) + signed.encode()
    return hmac.new(secret, payload, hashlib.sha256).hexdigest()


def test_they_are_described_and_signed_as_the_page_says() -> None:
    """One of each kind, with the secret of zeros, by which a client's author checks theirs."""
    for text, name in zip(PRINTED, ("Chunk", "SessionClose", "UserFeedback"), strict=True):
        envelope = json.loads(text)
        assert faults({"$ref": f"#/components/schemas/{name}"}, envelope) == []
        assert envelope["attestation"]["session_hmac"] == hmac_of(envelope, ZEROS)


async def test_they_are_taken_as_they_are_printed(tmp_path: Path) -> None:
    """In their order, with white space and all; only the HMAC is that of the session's own secret."""
    envelopes = [json.loads(text) for text in PRINTED]
    clock = Clock()
    clock.now = envelopes[-1]["feedback"]["timestamp"] + 5
    async with running(tmp_path / "data", clock=clock) as server:
        session = await server.open(envelopes[0]["session_id"])
        assert envelopes[0]["contributor_id"] == CONTRIBUTOR
        for text, envelope in zip(PRINTED, envelopes, strict=True):
            own = hmac_of(envelope, session.secret)
            outcome = await server.send(text.replace(envelope["attestation"]["session_hmac"], own).encode())
            assert isinstance(outcome, Accepted), outcome
