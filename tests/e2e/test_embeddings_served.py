"""Embeddings from the running server: the published vectors, while it loads, and beside everything else."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.server_process import INGEST, OPEN, ServerProcess
from tests.signing_client import SigningClient, dumps

EMBED = "/v1/embed"
ROWS: list[dict[str, Any]] = [
    json.loads(line) for line in (Path(__file__).parents[1] / "vectors" / "embeddings.jsonl").read_text().splitlines()
]
DIFFERENCE_MAX = 1e-6
LOADED_S_MAX = 60.0


def difference(vector: list[float], row: dict[str, Any]) -> float:
    """The largest difference of any of the 384 numbers."""
    return max(abs(a - b) for a, b in zip(vector, row["embedding"], strict=True))


def wait_until_loaded(server: ServerProcess) -> None:
    """Ask for readiness until it says that there is a model."""
    deadline = time.monotonic() + LOADED_S_MAX
    while server.get("/ready").members["checks"]["embedding"] != "ok":
        assert time.monotonic() < deadline, server.said


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with its model loaded."""
    root = tmp_path_factory.mktemp("embedding") / "data"
    with ServerProcess(root, settings={"CENTRAL_COMMAND__EMBEDDING__ENABLED": "true"}) as running:
        wait_until_loaded(running)
        yield running


def test_the_published_vectors_come_over_http(server: ServerProcess) -> None:
    """One at a time and as one list; asked again they are the same to the bit."""
    alone = [
        server.post(EMBED, dumps({"input": row["input"], "model": "BAAI/bge-base-en-v1.5"}).encode()) for row in ROWS
    ]
    listed = server.post("/v1/embeddings", dumps({"input": [row["input"] for row in ROWS]}).encode())
    assert listed.members["model"] == "sentence-transformers/all-MiniLM-L6-v2"
    for index, (row, answer) in enumerate(zip(ROWS, alone, strict=True)):
        assert answer.status == 200
        vector = answer.members["data"][0]["embedding"]
        assert difference(vector, row) <= DIFFERENCE_MAX
        assert listed.members["data"][index] == {"object": "embedding", "index": index, "embedding": vector}


def test_openai_s_client_works(server: ServerProcess) -> None:
    """It asks for base64 by default, and gets the same numbers."""
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0)
    with client:
        found = client.embeddings.create(model="text-embedding-3-small", input=[row["input"] for row in ROWS[:5]])
    assert [entry.index for entry in found.data] == [0, 1, 2, 3, 4]
    for entry, row in zip(found.data, ROWS, strict=False):
        assert difference(entry.embedding, row) <= DIFFERENCE_MAX
    assert found.usage.total_tokens > 0


def test_what_is_wrong_is_said(server: ServerProcess) -> None:
    """Each in one sentence that names the member."""
    for body in (b"{}", b'{"input":""}', b'{"input":5}', b'{"input":["a",""]}', dumps({"input": ["a"] * 65}).encode()):
        answer = server.post(EMBED, body)
        assert answer.status == 400
        assert answer.members["error"].startswith("The field input ")


def test_a_model_that_loads_delays_nothing(tmp_path: Path) -> None:
    """The first start builds the graph; sessions are served meanwhile, and embeddings answer 503 or are there."""
    with ServerProcess(tmp_path / "data", settings={"CENTRAL_COMMAND__EMBEDDING__ENABLED": "true"}) as server:
        first = server.post(EMBED, b'{"input":"health check"}')
        assert first.status in {200, 503}
        client = SigningClient("sess_1")
        client.opened(server.post(OPEN, dumps(client.opening()).encode()).members["server_public_key"])
        assert server.post(INGEST, client.chunk(3)).members["accepted"] is True
        wait_until_loaded(server)
        assert server.post(EMBED, b'{"input":"health check"}').status == 200
        assert server.terminate() == 0


def test_weights_with_another_hash_are_refused(tmp_path: Path) -> None:
    """Readiness says why there is no model, and everything else works."""
    settings = {
        "CENTRAL_COMMAND__EMBEDDING__ENABLED": "true",
        "CENTRAL_COMMAND__EMBEDDING__WEIGHTS_SHA256": "0" * 64,
    }
    with ServerProcess(tmp_path / "data", settings=settings) as server:
        deadline = time.monotonic() + LOADED_S_MAX
        while (detail := server.get("/ready").members["checks"]["embedding"]) == "loading":
            assert time.monotonic() < deadline
        assert "SHA-256" in detail
        assert server.get("/ready").status == 200
        answer = server.post(EMBED, b'{"input":"x"}')
        assert (answer.status, "model" in answer.members["error"] or "Embeddings" in answer.members["error"]) == (
            503,
            True,
        )
