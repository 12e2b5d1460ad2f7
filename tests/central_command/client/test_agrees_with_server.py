"""What the client sends, read with the server's own code and written again as ECMAScript would."""

import json
import re
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from actors.envelopes.canonical_json import canonicalise
from actors.envelopes.reading import Envelope, read_envelope
from actors.envelopes.refusals import Refusal
from actors.envelopes.schema import check
from actors.envelopes.settings import SchemaSettings
from central_command.client.contract.identity import Identity
from central_command.client.spool.spool import Spool
from central_command.client.uploading.history import History
from central_command.client.uploading.options import DEFAULT_URL, Options
from central_command.client.uploading.sources import Found
from central_command.client.uploading.upload import Uploader

AWKWARD = {
    "type": "assistant",
    "sessionId": "s",
    "message": {
        "id": "m",
        "model": "claude-opus-4-6",
        "content": [
            {
                "type": "tool_use",
                "id": "a",
                "name": "Write",
                "input": {
                    "text": "\x00\x7f\u2028 \ud83d é日🚀 </script>" * 9_000,
                    "n": [1, 1.5, -3, 1e20, True, None, {}, []],
                },
            }
        ],
    },
}


@pytest.mark.parametrize("name", ["short", "tool_heavy", "subagent", "long", "awkward"])
async def test_every_envelope_is_one_that_the_server_takes(
    name: str, transcripts: Path, tmp_path: Path, fake_server: Any, identity: Identity
) -> None:
    """Each passes the schema, and its signed text is what `JSON.stringify` gives for the parsed body."""
    path = transcripts / f"{name}.jsonl"
    if name == "awkward":
        path = tmp_path / "awkward.jsonl"
        path.write_text(json.dumps(AWKWARD))
    with (
        Spool(tmp_path / "spool.db") as spool,
        closing(History(spool, tmp_path / "uploads.lock", url=DEFAULT_URL)) as history,
    ):
        async with fake_server.client() as client:
            uploader = Uploader(client, history, identity, Options())
            assert await uploader.upload([Found(path, named=True)]) == 0
    bodies = fake_server.ingested()
    assert len(bodies) >= 2
    settings = SchemaSettings()
    for body in bodies:
        envelope = read_envelope(body, nesting_max=settings.nesting_max)
        assert isinstance(envelope, Envelope), envelope
        checked = check(envelope, settings, time.time())
        assert not isinstance(checked, Refusal), checked
        signed = re.sub(rb',"attestation":\{[^{}]*\}', b"", body, count=1)
        assert canonicalise(body, without="attestation") == signed
