"""`POST /v1/embed` and `POST /v1/embeddings`, with and without a model."""

import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from struct import pack, unpack
from typing import Any

import pytest
import trio

from actors.embedding.embedding import (
    DIMENSIONS,
    Embedded,
    Embedding,
    EmbedOutcome,
    Input,
    Unavailable,
    UnavailableReason,
    UnknownToken,
)
from actors.embedding.nursery import State, open_embeddings
from actors.embedding.settings import EmbeddingSettings
from actors.embedding.source import installed_model
from central_command.http.connections.server import serve
from central_command.http.connections.server_config import hypercorn_config
from central_command.http.settings import HttpSettings

PATHS = ["/v1/embed", "/v1/embeddings"]
VECTORS = Path(__file__).parents[3] / "vectors" / "embeddings.jsonl"


MODEL_MODULES = ("onnxruntime", "onnx", "tokenizers")
needs_model = pytest.mark.skipif(
    installed_model() is None or any(find_spec(name) is None for name in MODEL_MODULES),
    reason="the model's packages are not installed",
)
needs_openai = pytest.mark.skipif(find_spec("openai") is None, reason="OpenAI's client is not installed")


def embedding_of(text: Input) -> Embedding:
    """A vector of the text's length and zeros, of as many tokens."""
    return Embedding(pack(f"<{DIMENSIONS}f", len(text), *[0.25] * (DIMENSIONS - 1)), len(text))


def sentence_in(body: Any, path: str) -> str:
    """What an error says, in the form of the path."""
    if path == "/v1/embed":
        sentence = body["error"]
    else:
        assert set(body["error"]) == {"message", "type", "param", "code"}
        sentence = body["error"]["message"]
    assert isinstance(sentence, str)
    return sentence


class FakeEmbedder:
    """Answers with what can be told from the text, or with the reason set on it."""

    def __init__(self) -> None:
        self.reason: UnavailableReason | None = None
        self.retry_after_s: int | None = None
        self.computed = 1
        self.unknown: UnknownToken | None = None
        self.asked: list[Sequence[Input]] = []
        self.asked_by: list[tuple[str, float]] = []

    async def embed(self, texts: Sequence[Input], *, address: str, timeout_s: float) -> EmbedOutcome:
        self.asked.append(texts)
        self.asked_by.append((address, timeout_s))
        if self.reason is not None:
            return Unavailable(self.reason, self.retry_after_s)
        if self.unknown is not None:
            return self.unknown
        return Embedded(tuple(embedding_of(text) for text in texts), self.computed)


@pytest.fixture
def embedder() -> FakeEmbedder:
    """What stands in for the model."""
    return FakeEmbedder()


@pytest.fixture
def embedding_client(make_app: Any, embedder: FakeEmbedder) -> Any:
    """A client of an application with a model."""
    return make_app(embedder=embedder).test_client()


@pytest.mark.parametrize("path", PATHS)
async def test_without_a_model_every_text_is_503(path: str, client: Any) -> None:
    """Clients then fall back to keywords."""
    answer = await client.post(path, json={"input": "health check", "model": "BAAI/bge-base-en-v1.5"})
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    assert set(await answer.get_json()) == {"error"}


@pytest.mark.parametrize("path", PATHS)
async def test_a_sentence_is_where_the_path_s_clients_look_for_it(path: str, client: Any) -> None:
    """OpenAI's read `error.message`, the contract's `error`."""
    answer = await client.post(path, data=b"{")
    assert answer.status_code == 400
    assert sentence_in(await answer.get_json(), path) == "The body is not valid JSON."


@pytest.mark.parametrize("number", [b"1e400", b"9" * 5_000], ids=["beyond a double", "many digits"])
@pytest.mark.parametrize("path", PATHS)
async def test_a_number_that_is_too_large_is_said_to_be_that(path: str, number: bytes, client: Any) -> None:
    """Wherever it stands; the body is an object all the same."""
    for body in (b'{"dimensions":%s}' % number, b'{"input":[%s]}' % number):
        answer = await client.post(path, data=body)
        assert answer.status_code == 400
        assert sentence_in(await answer.get_json(), path) == "The body holds a number that is too large."


@pytest.mark.parametrize("reason", UnavailableReason)
async def test_each_reason_for_having_no_embedding_is_503(
    reason: UnavailableReason, embedding_client: Any, embedder: FakeEmbedder
) -> None:
    """One sentence, and when to come back."""
    embedder.reason = reason
    answer = await embedding_client.post("/v1/embed", json={"input": "x"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    sentence = (await answer.get_json())["error"]
    assert sentence.endswith(".")
    assert "/" not in sentence


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "is required"),
        ({"input": None}, "is required"),
        ({"input": ""}, "is empty"),
        ({"input": []}, "is empty"),
        ({"input": 5}, "is a number"),
        ({"input": 0}, "is a number"),
        ({"input": False}, "is a boolean"),
        ({"input": {"text": "x"}}, "is an object"),
        ({"input": ["x", 5]}, "a number at index 1"),
        ({"input": ["x", "y", None]}, "null at index 2"),
        ({"input": [["x"]]}, "a list at index 0"),
        ({"input": ["x", ""]}, "an empty text at index 1"),
        ({"input": ["x"] * 65}, "a list of 65 texts; at most 64"),
    ],
)
async def test_a_wrong_input_is_400_with_or_without_a_model(
    body: Any, named: str, client: Any, embedding_client: Any, embedder: FakeEmbedder
) -> None:
    """It is wrong either way, and the sentence says how."""
    for asked in (client, embedding_client):
        answer = await asked.post("/v1/embed", json=body)
        assert answer.status_code == 400
        found = await answer.get_json()
        assert named in found["error"]
        assert found["required"] == ["input"]
    assert embedder.asked == []


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"encoding_format": 1}, "encoding_format"),
        ({"encoding_format": ["float"]}, "encoding_format"),
        ({"dimensions": 256}, "dimensions"),
        ({"dimensions": "384"}, "dimensions"),
    ],
)
async def test_what_cannot_be_answered_as_asked_is_400(members: Any, named: str, embedding_client: Any) -> None:
    """Rather than answered otherwise."""
    answer = await embedding_client.post("/v1/embeddings", json={"input": "x", **members})
    assert answer.status_code == 400
    found = (await answer.get_json())["error"]
    assert named in found["message"]
    assert (found["type"], found["param"], found["code"]) == ("invalid_request_error", named, "invalid_value")


async def test_input_nested_without_end_is_400(embedding_client: Any) -> None:
    """Whatever else it is, it is no text."""
    answer = await embedding_client.post("/v1/embed", data=b'{"input":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    assert answer.status_code == 400


@pytest.mark.parametrize("path", PATHS)
async def test_one_text_is_answered_in_the_forms_of_the_contract_and_of_openai(
    path: str, embedding_client: Any
) -> None:
    """The model that was asked for is ignored, of whatever type it is; the real one is named."""
    for model in ("BAAI/bge-base-en-v1.5", 5):
        answer = await embedding_client.post(path, json={"input": "three", "model": model, "user": "x"})
        assert answer.status_code == 200
        assert answer.content_type == "application/json"
        assert await answer.get_json() == {
            "object": "list",
            "data": [{"object": "embedding", "index": 0, "embedding": [5.0, *[0.25] * 383]}],
            "model": "sentence-transformers/all-MiniLM-L6-v2",
            "usage": {"prompt_tokens": 5, "total_tokens": 5},
        }


async def test_a_list_is_answered_in_its_order(embedding_client: Any, embedder: FakeEmbedder) -> None:
    """Up to 64 texts; asked for as one."""
    texts = ["x" * (64 - number) for number in range(64)]
    found = await (await embedding_client.post("/v1/embeddings", json={"input": texts})).get_json()
    assert [entry["index"] for entry in found["data"]] == list(range(64))
    assert [entry["embedding"][0] for entry in found["data"]] == [len(text) for text in texts]
    assert found["usage"] == {"prompt_tokens": 2_080, "total_tokens": 2_080}
    assert embedder.asked == [texts]


async def test_openai_s_path_takes_2048_texts_and_the_contract_s_64(
    embedding_client: Any, embedder: FakeEmbedder
) -> None:
    """In one request; one more is 400, in the form of the path."""
    answer = await embedding_client.post("/v1/embeddings", json={"input": ["x"] * 2_048, "encoding_format": "base64"})
    found = await answer.get_json()
    assert [entry["index"] for entry in found["data"]] == list(range(2_048))
    for path, count in (("/v1/embeddings", 2_049), ("/v1/embed", 65)):
        answer = await embedding_client.post(path, json={"input": ["x"] * count})
        assert answer.status_code == 400
        assert f"a list of {count} texts; at most {count - 1}" in sentence_in(await answer.get_json(), path)
    assert len(embedder.asked) == 1


async def test_a_list_s_answer_counts_with_the_bodies_that_are_held(make_app: Any, embedder: FakeEmbedder) -> None:
    """So that short questions with long answers cannot take the memory; 64 texts have room all the same."""
    client = make_app(embedder=embedder, body_bytes_max=20_000, bodies_bytes_max=1_000_000).test_client()
    answer = await client.post("/v1/embeddings", json={"input": ["x"] * 2_048})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert (await client.post("/v1/embeddings", json={"input": ["x"] * 64})).status_code == 200
    assert (await client.post("/v1/embeddings", json={"input": ["x"] * 65})).status_code == 503
    assert len(embedder.asked) == 1


@pytest.mark.parametrize(
    ("sent", "asked"),
    [
        ([7592, 2088], [(7592, 2088)]),
        ([[7592], [2088, 999.0]], [(7592,), (2088, 999)]),
        ([7592.0], [(7592,)]),
        (["x", [7592]], ["x", (7592,)]),
    ],
)
async def test_openai_s_path_takes_texts_as_their_tokens(
    sent: Any, asked: Any, embedding_client: Any, embedder: FakeEmbedder
) -> None:
    """One text's, or a list of them; the contract's path takes none."""
    answer = await embedding_client.post("/v1/embeddings", json={"input": sent})
    assert len((await answer.get_json())["data"]) == len(asked)
    assert embedder.asked == [asked]
    assert (await embedding_client.post("/v1/embed", json={"input": sent})).status_code == 400


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        ([[]], "an empty list at index 0"),
        ([1, "x"], "a text among tokens (number 1)"),
        ([1.5], "a number among tokens (number 0)"),
        ([1, True], "a boolean among tokens (number 1)"),
        ([[5], [1.5]], "a number among tokens at index 1 (number 0)"),
        ([[5], 5], "a number at index 1"),
        ([5] * 8_193, "8193 tokens; at most 8192"),
        ([[5] * 8_000] * 38, "304000 tokens in all; at most 300000"),
        ([True], "a boolean at index 0"),
        ([[["x"]]], "a list among tokens at index 0 (number 0)"),
    ],
)
async def test_tokens_that_are_none_are_400(
    sent: Any, named: str, embedding_client: Any, embedder: FakeEmbedder
) -> None:
    """Before anything is embedded, with the place."""
    answer = await embedding_client.post("/v1/embeddings", json={"input": sent})
    assert answer.status_code == 400
    assert named in sentence_in(await answer.get_json(), "/v1/embeddings")
    assert embedder.asked == []


@pytest.mark.parametrize(("sent", "place"), [([[5], [7]], " at index 1"), ([7], "")])
async def test_tokens_of_another_model_are_400(
    sent: Any, place: str, embedding_client: Any, embedder: FakeEmbedder
) -> None:
    """Rather than embedded as something else; the sentence says what to do."""
    embedder.unknown = UnknownToken(len(sent) - 1, 7)
    answer = await embedding_client.post("/v1/embeddings", json={"input": sent})
    assert answer.status_code == 400
    sentence = sentence_in(await answer.get_json(), "/v1/embeddings")
    assert f"the token 7{place}, which this model gives to no text: send texts" in sentence


async def test_openai_s_clients_may_wait_longer_than_the_contract_s(make_app: Any, embedder: FakeEmbedder) -> None:
    """Though never longer than a connection is kept without a byte."""
    for read_timeout_s, waited_s in ((120, 50), (30, 30)):
        client = make_app(
            embedder=embedder, embed_timeout_s=7, embeddings_timeout_s=50, read_timeout_s=read_timeout_s
        ).test_client()
        for path in PATHS:
            assert (await client.post(path, json={"input": "x"})).status_code == 200
        assert [timeout_s for _, timeout_s in embedder.asked_by[-2:]] == [7, waited_s]


async def test_the_one_model_is_listed_where_openai_s_clients_look(embedding_client: Any, client: Any) -> None:
    """By its name as well; without embeddings there is none."""
    found = await (await embedding_client.get("/v1/models")).get_json()
    assert found["object"] == "list"
    [model] = found["data"]
    assert model["id"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert await (await embedding_client.get(f"/v1/models/{model['id']}")).get_json() == model
    assert (await (await client.get("/v1/models")).get_json())["data"] == []
    for asked, name in ((embedding_client, "gpt-4o"), (client, model["id"])):
        answer = await asked.get(f"/v1/models/{name}")
        assert answer.status_code == 404
        assert (await answer.get_json())["error"]["code"] == "model_not_found"


async def test_http_errors_have_openai_s_form_on_its_paths(make_app: Any) -> None:
    """405, 413, 415 and 429 as well; `retryAfter` stays beside it."""
    client = make_app(body_bytes_max=10, embed_requests_per_minute=4).test_client()
    encoded = {"Content-Encoding": "gzip"}
    answers = [
        (405, "method_not_allowed", await client.get("/v1/embeddings")),
        (405, "method_not_allowed", await client.post("/v1/models")),
        (413, "body_too_large", await client.post("/v1/embeddings", data=b"x" * 11)),
        (415, "unsupported_encoding", await client.post("/v1/embeddings", data=b"{}", headers=encoded)),
        (400, "missing_required_parameter", await client.post("/v1/embeddings", data=b"{}")),
        (429, "rate_limited", await client.post("/v1/embeddings", data=b"{}")),
    ]
    for status, code, answer in answers:
        found = await answer.get_json()
        assert (answer.status_code, found["error"]["code"]) == (status, code)
        assert sentence_in({"error": found["error"]}, "/v1/embeddings").endswith(".")
    assert found["retryAfter"] == int(answers[-1][2].headers["Retry-After"])


async def test_base64_is_little_endian_float32(embedding_client: Any) -> None:
    """As OpenAI's API has it."""
    answer = await embedding_client.post("/v1/embed", json={"input": "abc", "encoding_format": "base64"})
    [entry] = (await answer.get_json())["data"]
    assert base64.b64decode(entry["embedding"]) == embedding_of("abc").float32


async def test_each_text_is_cut_at_512_characters(embedding_client: Any, embedder: FakeEmbedder) -> None:
    """Characters, not units of UTF-16; also one that the client cut in half an emoji."""
    await embedding_client.post("/v1/embed", data=b'{"input":"' + b"x" * 600 + b'\\ud83d"}')
    await embedding_client.post("/v1/embed", data=b'{"input":"ab\\ud83d"}')
    await embedding_client.post("/v1/embed", json={"input": ["🚀" * 600, "y" * 512]})
    assert embedder.asked == [["x" * 512], ["ab\ufffd"], ["🚀" * 512, "y" * 512]]


async def test_an_address_is_charged_and_its_client_s_patience_told(make_app: Any, embedder: FakeEmbedder) -> None:
    """Behind trusted proxies, and an IPv6 address by its /64; the health probe is the one with less patience."""
    client = make_app(embedder=embedder, embed_timeout_s=7, embed_probe_timeout_s=3).test_client()
    for body, forwarded in (
        ({"input": "x"}, ""),
        ({"input": ["x", "health check"]}, "203.0.113.5"),
        ({"input": "health check", "model": "m"}, "2001:db8:1:2:3::4, 127.0.0.1"),
    ):
        headers = {"X-Forwarded-For": forwarded}
        answer = await client.post(
            "/v1/embed", json=body, headers=headers, scope_base={"client": ("127.0.0.1", 50_000)}
        )
        assert answer.status_code == 200
    assert embedder.asked_by == [("127.0.0.1", 7), ("203.0.113.5", 7), ("2001:db8:1:2::/64", 3)]


@pytest.mark.parametrize("path", PATHS)
async def test_what_cannot_be_done_in_time_is_told_when_it_could_be(
    path: str, embedding_client: Any, embedder: FakeEmbedder
) -> None:
    """The embedder knows; only where it does not, it is what the settings say."""
    embedder.reason, embedder.retry_after_s = UnavailableReason.NO_TIME, 17
    answer = await embedding_client.post(path, json={"input": ["x"] * 64})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "17")
    assert "longer now than clients wait" in sentence_in(await answer.get_json(), path)


async def test_a_text_that_took_nothing_of_the_engine_takes_nothing_of_the_budget(
    make_app: Any, embedder: FakeEmbedder
) -> None:
    """So that any number of clients can start behind one address. Lists, and whatever else, count."""
    client = make_app(embedder=embedder, embed_requests_per_minute=4, embed_requests_per_hour=4).test_client()
    embedder.computed = 0
    for _ in range(20):
        assert (await client.post("/v1/embed", json={"input": "known"})).status_code == 200
    assert (await client.post("/v1/embed", json={"input": ["known"] * 2})).status_code == 200
    assert (await client.post("/v1/embed", json={})).status_code == 400
    embedder.reason = UnavailableReason.QUEUE_FULL
    assert (await client.post("/v1/embed", json={"input": "known"})).status_code == 503
    embedder.reason, embedder.computed = None, 1
    assert (await client.post("/v1/embed", json={"input": "new"})).status_code == 200
    assert (await client.post("/v1/embed", json={"input": "known"})).status_code == 429


async def test_http_errors_apply_here_too(make_app: Any) -> None:
    """413 and 415, in the form of this endpoint."""
    client = make_app(body_bytes_max=10).test_client()
    assert (await client.post("/v1/embed", data=b"x" * 11)).status_code == 413
    answer = await client.post("/v1/embed", data=b"x", headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 415
    assert set(await answer.get_json()) == {"error"}


# OpenAI's own client


@asynccontextmanager
async def served_embeddings(make_app: Any, embedder: Any) -> AsyncIterator[str]:
    """The base URL for OpenAI's client of an application that is really served."""
    app = make_app(embedder=embedder, host="127.0.0.1", port=0)
    config = hypercorn_config(HttpSettings(host="127.0.0.1", port=0))
    shutdown = trio.Event()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            [url] = await nursery.start(partial(serve, app, config, shutdown_trigger=shutdown.wait))
            yield f"{url}/v1"
            shutdown.set()


def call_openai(base_url: str, **request: Any) -> Any:
    """One call of OpenAI's client, which retries nothing."""
    import openai  # noqa: PLC0415 - slow, and not always installed

    with openai.OpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        return client.embeddings.create(**request)


@needs_openai
async def test_openais_client_works_with_base_url_set(make_app: Any, embedder: FakeEmbedder) -> None:
    """With one text and with a list, in both encodings: its default is base64."""
    async with served_embeddings(make_app, embedder) as base_url:
        call = partial(trio.to_thread.run_sync, abandon_on_cancel=True)
        one = await call(partial(call_openai, base_url, model="text-embedding-3-small", input="three"))
        assert one.data[0].embedding == [5.0, *[0.25] * 383]
        assert (one.model, one.usage.total_tokens) == ("sentence-transformers/all-MiniLM-L6-v2", 5)
        two = await call(partial(call_openai, base_url, model="m", input=["a", "bc"], encoding_format="float"))
        assert [(entry.index, entry.embedding[0]) for entry in two.data] == [(0, 1.0), (1, 2.0)]


@needs_openai
async def test_openais_client_understands_a_refusal(make_app: Any, embedder: FakeEmbedder) -> None:
    """Its own exceptions, with our sentence in them."""
    import openai  # noqa: PLC0415 - as above

    async with served_embeddings(make_app, embedder) as base_url:
        with pytest.raises(openai.BadRequestError) as refused:
            await trio.to_thread.run_sync(partial(call_openai, base_url, model="m", input=""))
        assert "is empty" in str(refused.value.body)
        embedder.reason = UnavailableReason.LOADING
        with pytest.raises(openai.InternalServerError) as unavailable:
            await trio.to_thread.run_sync(partial(call_openai, base_url, model="m", input="x"))
        assert "still being loaded" in str(unavailable.value.body)
        assert unavailable.value.response.headers["Retry-After"] == "5"


@needs_openai
async def test_openai_s_client_finds_the_model(make_app: Any, embedder: FakeEmbedder) -> None:
    """Listed, and by its name, whose slash it encodes."""
    import openai  # noqa: PLC0415 - as above

    def names(base_url: str) -> list[str]:
        with openai.OpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
            [listed] = client.models.list().data
            return [listed.id, client.models.retrieve(listed.id).id]

    async with served_embeddings(make_app, embedder) as base_url:
        assert await trio.to_thread.run_sync(names, base_url) == ["sentence-transformers/all-MiniLM-L6-v2"] * 2


@needs_model
async def test_the_published_vectors_come_out_of_the_endpoint(make_app: Any, tmp_path: Path) -> None:
    """The whole way, in one list: 64 texts, with the real model."""
    rows = [json.loads(line) for line in VECTORS.read_text().splitlines()]
    async with open_embeddings(EmbeddingSettings(), tmp_path) as embeddings:
        client = make_app(embedder=embeddings).test_client()
        loading = await client.post("/v1/embed", json={"input": "x"})
        assert loading.status_code == 503
        assert await embeddings.wait_loaded() is State.READY
        for encoding in ("float", "base64"):
            request = {"input": [row["input"] for row in rows], "encoding_format": encoding}
            found = await (await client.post("/v1/embed", json=request)).get_json()
            for row, entry in zip(rows, found["data"], strict=True):
                vector = entry["embedding"]
                if encoding == "base64":
                    vector = unpack(f"<{DIMENSIONS}f", base64.b64decode(vector))
                assert max(abs(a - b) for a, b in zip(vector, row["embedding"], strict=True)) <= 1e-6
