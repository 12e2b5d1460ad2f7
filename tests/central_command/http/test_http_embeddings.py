"""`POST /v1/embed`, with and without a model."""

from collections.abc import Sequence
from typing import Any

import pytest


class FakeEmbedder:
    """Answers with the length of the text, or not at all."""

    def __init__(self) -> None:
        self.loaded = True

    async def embed(self, text: str) -> Sequence[float] | None:
        return [float(len(text))] if self.loaded else None


async def test_without_a_model_every_text_is_503(client: Any) -> None:
    """Clients then fall back to keywords."""
    answer = await client.post("/v1/embed", json={"input": "health check", "model": "BAAI/bge-base-en-v1.5"})
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    assert set(await answer.get_json()) == {"error"}


@pytest.mark.parametrize("body", [{}, {"input": ""}, {"input": None}, {"input": 5}, {"input": ["x"]}])
async def test_a_missing_input_is_400_with_or_without_a_model(body: Any, client: Any) -> None:
    """It is wrong either way."""
    answer = await client.post("/v1/embed", json=body)
    assert answer.status_code == 400
    assert (await answer.get_json())["required"] == ["input"]


async def test_an_embedding_is_answered_in_the_contract_s_form(make_app: Any) -> None:
    """The text is cut to 512 characters, also one cut in half an emoji by the client."""
    embedder = FakeEmbedder()
    client = make_app(embedder=embedder).test_client()
    answer = await client.post("/v1/embed", data=b'{"input":"' + b"x" * 600 + b'\\ud83d"}')
    assert await answer.get_json() == {
        "data": [{"embedding": [512.0], "index": 0}],
        "model": "sentence-transformers/all-MiniLM-L6-v2",
    }
    embedder.loaded = False
    assert (await client.post("/v1/embed", json={"input": "x"})).status_code == 503


async def test_http_errors_apply_here_too(make_app: Any) -> None:
    """413 and 415, in the form of this endpoint."""
    client = make_app(body_bytes_max=10).test_client()
    assert (await client.post("/v1/embed", data=b"x" * 11)).status_code == 413
    answer = await client.post("/v1/embed", data=b"x", headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 415
    assert set(await answer.get_json()) == {"error"}
