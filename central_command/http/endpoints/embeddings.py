"""`POST /v1/embed` (contract, section 4) and `POST /v1/embeddings`, the name that OpenAI's clients use.

The answer has the members of both: those of the contract, and `object`, `index` and `usage` of OpenAI's API. What may
be asked for is wider on OpenAI's path (`embedding_requests`), and a refusal there has OpenAI's form.
"""

from base64 import b64encode
from collections.abc import Sequence
from http import HTTPStatus
from typing import Protocol

import msgspec
import trio

from actors.embedding.embedding import (
    DIMENSIONS,
    EMBEDDING_BYTES,
    Embedded,
    Embedding,
    EmbedOutcome,
    Input,
    Unavailable,
    UnavailableReason,
    UnknownToken,
)
from actors.embedding.settings import REQUEST_INPUTS_MAX
from central_command.http.endpoints.embedding_requests import (
    BASE64,
    EmbedBody,
    Terms,
    WrongMember,
    inputs_of,
    unknown_token,
    what_is_wrong,
)
from central_command.http.requests.bodies import ProblemError, Reader
from central_command.http.requests.direct import DirectEndpoint, ReceivedBody
from central_command.http.requests.replies import EMBEDDINGS_PATH, HttpProblem, Replies, Reply, error, problem
from central_command.http.settings import HttpSettings

EMBED_PATH = "/v1/embed"
EMBED_PATHS = frozenset({EMBED_PATH, EMBEDDINGS_PATH})
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
"""The name answered, whatever the client asked for: newer clients name another one (decisions, "What clients do")."""

PROBE_TEXT = "health check"
"""What clients ask for first, to see whether there are embeddings."""

_NUMBER_CHARS_MAX = 16
_SENTENCES = {
    UnavailableReason.LOADING: "The embedding model is still being loaded; come back later.",
    UnavailableReason.NO_MODEL: "Embeddings are not available now.",
    UnavailableReason.QUEUE_FULL: "Too many texts wait to be embedded; come back later.",
    UnavailableReason.NO_TIME: "These texts take longer now than clients wait; come back later, or send fewer at once.",
    UnavailableReason.ENGINE_FAILED: "These texts could not be embedded; send them again later.",
    UnavailableReason.TIMED_OUT: "Embedding these texts took too long; send them again later.",
    UnavailableReason.SHUTTING_DOWN: "The server is shutting down; send this again later.",
}


class Embedder(Protocol):
    """What makes embeddings."""

    async def embed(self, inputs: Sequence[Input], *, address: str, timeout_s: float) -> EmbedOutcome:
        """The embeddings of the texts in their order, or why there are none now.

        `address` is whose request it is, `timeout_s` how long its client waits.
        """
        ...


_EMBED = msgspec.json.Decoder(EmbedBody)


def embedding_endpoints(
    embedder: Embedder | None, reader: Reader, replies: Replies, settings: HttpSettings
) -> dict[str, DirectEndpoint]:
    """What answers on each of the two paths; without an embedder that is 503, and clients fall back to keywords."""
    openai_timeout_s = min(settings.embeddings_timeout_s, settings.read_timeout_s)
    terms = {
        EMBED_PATH: Terms(settings.embed_timeout_s),
        EMBEDDINGS_PATH: Terms(openai_timeout_s, lists_are_long=True, tokens_are_taken=True),
    }
    return {path: _Embeddings(path, terms[path], embedder, reader, replies, settings) for path in terms}


class _Embeddings:
    """What answers on one path."""

    def __init__(
        self,
        path: str,
        terms: Terms,
        embedder: Embedder | None,
        reader: Reader,
        replies: Replies,
        settings: HttpSettings,
    ) -> None:
        self._path = path
        self._terms = terms
        self._embedder = embedder
        self._reader = reader
        self._replies = replies
        self._settings = settings

    def __repr__(self) -> str:
        return f"<_Embeddings at {self._path}>"

    async def __call__(self, received: ReceivedBody) -> Reply:
        try:
            body = self._reader.decoded(_EMBED, received.text)
        except ProblemError as error:
            return problem(self._path, error.problem)
        wrong = what_is_wrong(body, self._terms)
        if wrong is not None:
            return _refused(self._path, wrong)
        if self._embedder is None:
            return self._unavailable(Unavailable(UnavailableReason.NO_MODEL))
        inputs = inputs_of(body.input, self._settings.embed_input_chars_max)
        as_base64 = body.encoding_format == BASE64
        if not _has_room_for_answer(received, len(inputs), as_base64=as_base64):
            return problem(self._path, self._replies.bodies_full())
        timeout_s = self._settings.embed_probe_timeout_s if inputs == [PROBE_TEXT] else self._terms.timeout_s
        outcome = await self._embedder.embed(inputs, address=received.address, timeout_s=timeout_s)
        if isinstance(outcome, Unavailable):
            return self._unavailable(outcome)
        if isinstance(outcome, UnknownToken):
            return _refused(self._path, unknown_token(body.input, outcome))
        if len(inputs) == 1 and not outcome.computed:
            # It cost no more than the 429 would. Forty clients that start behind one address ask for the same texts.
            received.charge.give_back()
        text = await _embedded(outcome, as_base64=as_base64)
        return Reply(HTTPStatus.OK, text, permit=received.permit)

    def _unavailable(self, outcome: Unavailable) -> Reply:
        found = self._replies.overloaded("embedding_unavailable", _SENTENCES[outcome.reason], outcome.retry_after_s)
        return problem(self._path, found)


def _refused(path: str, wrong: WrongMember) -> Reply:
    """The 400 for a request that no retry can mend, naming what is wrong with it."""
    if path == EMBEDDINGS_PATH:
        found = HttpProblem(HTTPStatus.BAD_REQUEST, wrong.code, wrong.sentence, param=wrong.member)
        return problem(path, found)
    if wrong.member == "input":
        return error(HTTPStatus.BAD_REQUEST, wrong.sentence, required=["input"])
    return error(HTTPStatus.BAD_REQUEST, wrong.sentence)


def _has_room_for_answer(received: ReceivedBody, inputs: int, *, as_base64: bool) -> bool:
    """Whether a list's answer may be held: a short question may have a long one, so it counts as bodies do.

    It takes the vectors, their texts, and those joined.
    """
    text_bytes = EMBEDDING_BYTES * 4 // 3 if as_base64 else DIMENSIONS * _NUMBER_CHARS_MAX
    answer_bytes = inputs * (EMBEDDING_BYTES + 2 * text_bytes)
    return inputs <= REQUEST_INPUTS_MAX or received.permit is None or received.permit.hold(answer_bytes)


async def _embedded(outcome: Embedded, *, as_base64: bool) -> bytes:
    """The answer, put together from JSON text that each embedding keeps: most are asked for again and again."""
    data: list[bytes] = []
    for index, embedding in enumerate(outcome.embeddings):
        data.append(b'{"object":"embedding","index":%d,"embedding":%b}' % (index, _vector(embedding, as_base64)))
        if index % REQUEST_INPUTS_MAX == REQUEST_INPUTS_MAX - 1:
            await trio.lowlevel.checkpoint()  # so many texts of vectors take some milliseconds
    return b'{"object":"list","data":[%b],"model":"%b","usage":{"prompt_tokens":%d,"total_tokens":%d}}' % (
        b",".join(data),
        MODEL.encode(),
        outcome.tokens,
        outcome.tokens,
    )


def _vector(embedding: Embedding, as_base64: bool) -> bytes:  # noqa: FBT001 (positional is clear here)
    return b'"%b"' % b64encode(embedding.float32) if as_base64 else embedding.json
