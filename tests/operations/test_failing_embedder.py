"""No model, a wrong one, or one that cannot be loaded: envelopes are taken in all the same."""

from pathlib import Path

import pytest

from tests.crash.consistency import check
from tests.operations.test_locked_database import Client, wait_for
from tests.server_process import INGEST, ServerProcess


@pytest.mark.parametrize("source", ["nowhere", "empty", "garbage"])
def test_ingest_goes_on_without_a_model(tmp_path: Path, source: str) -> None:
    """`/v1/embed` is 503, `/ready` says why and stays 200, and nobody else notices."""
    root = tmp_path / "data"
    (tmp_path / "empty").mkdir()
    (tmp_path / "garbage").mkdir()
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / "garbage" / name).write_bytes(b"garbage")
    settings = {
        "CENTRAL_COMMAND__EMBEDDING__ENABLED": "true",
        "CENTRAL_COMMAND__EMBEDDING__SOURCE": str(tmp_path / source),
    }
    with ServerProcess(root, settings=settings) as server:
        clients = Client(server)
        client = clients.open("sess_1")
        assert clients.post(INGEST, client.chunk()).status == 200
        wait_for(
            lambda: server.get("/ready").members["checks"]["embedding"] not in {"ok", "loading"}, "the load to fail"
        )
        assert server.post("/v1/embed", b'{"input":"health check"}').status == 503
        assert server.get("/ready").status == 200
        assert clients.post(INGEST, client.close()).status == 200
        assert "Traceback" not in server.said
        assert server.terminate() == 0
        check(clients.acknowledged, root)
