"""`POST /v1/embed` (contract, section 4) and `POST /v1/embeddings`, the same under the name that OpenAI's clients use.

The answer has the members of both: those of the contract, and `object`, `index` and `usage` of OpenAI's API.
"""

from base64 import b64encode
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Protocol

import msgspec

from actors.embedding.embedding import DIMENSIONS, Embedded, Embedding, EmbedOutcome, Unavailable, UnavailableReason
from actors.embedding.settings import REQUEST_INPUTS_MAX
from central_command.http.requests.bodies import ProblemError, Reader
from central_command.http.requests.direct import DirectEndpoint, ReceivedBody
from central_command.http.requests.replies import Replies, Reply, error, problem
from central_command.http.settings import HttpSettings

EMBED_PATH = "/v1/embed"
EMBEDDINGS_PATH = "/v1/embeddings"
EMBED_PATHS = frozenset({EMBED_PATH, EMBEDDINGS_PATH})
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
"""The name answered, whatever the client asked for: newer clients name another one (decisions, "What clients do")."""

PROBE_TEXT = "health check"
"""What clients ask for first, to see whether there are embeddings."""

_BASE64 = "base64"
_ENCODING_FORMATS = (None, "float", _BASE64)
_WANTED = f"it must be text, or a list of up to {REQUEST_INPUTS_MAX} texts."
_KINDS = {type(None): "null", bool: "a boolean", int: "a number", float: "a number", dict: "an object", list: "a list"}

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

    async def embed(self, texts: Sequence[str], *, address: str, timeout_s: float) -> EmbedOutcome:
        """The embeddings of the texts in their order, or why there are none now.

        `address` is whose request it is, `timeout_s` how long its client waits.
        """
        ...


class _EmbedBody(msgspec.Struct):
    input: Any = None
    encoding_format: Any = None
    dimensions: Any = None


_EMBED = msgspec.json.Decoder(_EmbedBody)


def embedding_endpoint(
    embedder: Embedder | None, reader: Reader, replies: Replies, settings: HttpSettings
) -> DirectEndpoint:
    """What answers a request; without an embedder that is 503, and clients fall back to keywords."""

    def unavailable(outcome: Unavailable) -> Reply:
        found = replies.overloaded("embedding_unavailable", _SENTENCES[outcome.reason], outcome.retry_after_s)
        return problem(EMBED_PATH, found)

    async def embed(received: ReceivedBody) -> Reply:
        try:
            body = reader.decoded(_EMBED, received.text)
        except ProblemError as error:
            return problem(EMBED_PATH, error.problem)
        wrong = _what_is_wrong(body)
        if wrong is not None:
            return wrong
        texts = [body.input] if isinstance(body.input, str) else body.input
        if embedder is None:
            return unavailable(Unavailable(UnavailableReason.NO_MODEL))
        timeout_s = settings.embed_probe_timeout_s if texts == [PROBE_TEXT] else settings.embed_timeout_s
        cut = [text[: settings.embed_input_chars_max] for text in texts]
        outcome = await embedder.embed(cut, address=received.address, timeout_s=timeout_s)
        if isinstance(outcome, Unavailable):
            return unavailable(outcome)
        if len(texts) == 1 and not outcome.computed:
            # It cost no more than the 429 would. Forty clients that start behind one address ask for the same texts.
            received.charge.give_back()
        return _embedded(outcome, as_base64=body.encoding_format == _BASE64)

    return embed


def _what_is_wrong(body: _EmbedBody) -> Reply | None:
    """The 400 for a request that no retry can mend, naming what is wrong with it."""
    sentence = _wrong_input(body.input)
    if sentence is not None:
        return error(HTTPStatus.BAD_REQUEST, sentence, required=["input"])
    if not any(body.encoding_format == known for known in _ENCODING_FORMATS):
        return error(HTTPStatus.BAD_REQUEST, 'The field encoding_format must be "float" or "base64".')
    if body.dimensions is not None and body.dimensions != DIMENSIONS:
        return error(HTTPStatus.BAD_REQUEST, f"The field dimensions can only be {DIMENSIONS}: the model has no others.")
    return None


def _wrong_input(value: object) -> str | None:
    if value is None:
        return f"The field input is required; {_WANTED}"
    if value in ("", []):
        return f"The field input is empty; {_WANTED}"
    if isinstance(value, str):
        return None
    if not isinstance(value, list):
        return f"The field input is {_KINDS[type(value)]}; {_WANTED}"
    if len(value) > REQUEST_INPUTS_MAX:
        return f"The field input is a list of {len(value)} texts; at most {REQUEST_INPUTS_MAX} are taken at once."
    for index, text in enumerate(value):
        if not isinstance(text, str):
            return f"The field input holds {_KINDS[type(text)]} at index {index}; each of its elements must be text."
        if text == "":
            return f"The field input holds an empty text at index {index}."
    return None


def _embedded(outcome: Embedded, *, as_base64: bool) -> Reply:
    """The answer, put together from JSON text that each embedding keeps: most are asked for again and again."""
    data = b",".join(
        b'{"object":"embedding","index":%d,"embedding":%b}' % (index, _vector(embedding, as_base64=as_base64))
        for index, embedding in enumerate(outcome.embeddings)
    )
    body = b'{"object":"list","data":[%b],"model":"%b","usage":{"prompt_tokens":%d,"total_tokens":%d}}' % (
        data,
        MODEL.encode(),
        outcome.tokens,
        outcome.tokens,
    )
    return Reply(HTTPStatus.OK, body)


def _vector(embedding: Embedding, *, as_base64: bool) -> bytes:
    return b'"%b"' % b64encode(embedding.float32) if as_base64 else embedding.json
