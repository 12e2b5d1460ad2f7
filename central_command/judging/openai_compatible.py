"""A judge behind an OpenAI-compatible endpoint (`POST {judge_url}/chat/completions`).

The key comes from the environment, is sent to that one URL, and is in no setting, log line or error. Redirects are not
followed: they would send a session, and the key, to whoever is named there. An answer is read up to a bound, and within
a time for all of it.
"""

from collections.abc import Mapping
from typing import Annotated, Final

import httpx
import msgspec
import trio

from actors.curation.enrichment.settings import EnrichmentSettings
from actors.curation.judge import ANSWER_TOKENS, Answer, JudgeError, JudgeProblem, Question
from central_command.client.contract.connection import Trust, new_client, server_url

KEY_VARIABLE: Final = "CENTRAL_COMMAND_JUDGE_KEY"

_OF_THE_QUESTION: Final = frozenset(
    {
        httpx.codes.BAD_REQUEST,
        httpx.codes.REQUEST_ENTITY_TOO_LARGE,
        httpx.codes.UNPROCESSABLE_ENTITY,
    }
)
"""Statuses with which a judge refuses what it was asked, and not whoever asks."""


class _Message(msgspec.Struct, frozen=True):
    content: str


class _Choice(msgspec.Struct, frozen=True):
    message: _Message


class _Usage(msgspec.Struct, frozen=True):
    total_tokens: Annotated[int, msgspec.Meta(ge=0, le=10**9)]


class _Completion(msgspec.Struct, frozen=True):
    choices: Annotated[list[_Choice], msgspec.Meta(min_length=1)]
    usage: _Usage | None = None


_COMPLETION = msgspec.json.Decoder(_Completion)


class OpenAiCompatibleJudge:
    """Satisfies `Judge`. One question at a time is enough: it is asked in batches."""

    def __init__(self, client: httpx.AsyncClient, settings: EnrichmentSettings, key: str | None) -> None:
        self._client = client
        self._settings = settings
        # An answer that is packed could be of any size once it is unpacked.
        self._headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {key}"} if key else {})

    def __repr__(self) -> str:
        return f"<OpenAiCompatibleJudge {self._settings.judge_model!r}>"

    async def aclose(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def ask(self, question: Question) -> Answer:
        """Ask about some sessions; raises JudgeError when there is no answer in time, in size or in form."""
        with trio.move_on_after(self._settings.judge_timeout_s):
            try:
                body = await self._post(question)
            except httpx.ConnectError:
                raise JudgeError(JudgeProblem.UNREACHABLE) from None
            except httpx.HTTPError:
                raise JudgeError(JudgeProblem.BROKEN_OFF) from None
            return _answer(body)
        raise JudgeError(JudgeProblem.TOO_LATE)

    async def _post(self, question: Question) -> bytes:
        asked = {
            "model": self._settings.judge_model,
            "messages": [
                {"role": "system", "content": question.instructions},
                {"role": "user", "content": question.sessions},
            ],
            "temperature": 0,
            "max_tokens": ANSWER_TOKENS * len(question.ids),
        }
        body = bytearray()
        with trio.CancelScope() as reading:
            async with self._client.stream("POST", "/chat/completions", json=asked, headers=self._headers) as response:
                if response.status_code != httpx.codes.OK:
                    refused = response.status_code in _OF_THE_QUESTION
                    raise JudgeError(JudgeProblem.REFUSED if refused else JudgeProblem.UNAVAILABLE)
                # Whoever leaves this loop in the middle leaves a generator of httpcore to the garbage collector, which
                # warns of it. Cancelled where it waits for more, it ends by itself, and the connection with it.
                async for piece in response.aiter_raw():
                    if len(body) + len(piece) > self._settings.judge_answer_bytes_max:
                        reading.cancel()
                    else:
                        body += piece
        if reading.cancel_called:
            raise JudgeError(JudgeProblem.TOO_LONG)
        return bytes(body)


def new_judge(settings: EnrichmentSettings, environ: Mapping[str, str]) -> OpenAiCompatibleJudge | None:
    """The judge of the settings; None without a URL: then nothing leaves the machine.

    Raises ValueError, with a sentence without the key, for a URL that no server can have, or a key that no header can.
    """
    if settings.judge_url is None:
        return None
    if "@" in settings.judge_url:
        raise ValueError(f"enrichment.judge_url holds a user or a password: a key belongs into {KEY_VARIABLE}.")
    key = environ.get(KEY_VARIABLE, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise ValueError(f"{KEY_VARIABLE} holds what no key is made of: only printable ASCII can be sent.")
    client = new_client(server_url(settings.judge_url), Trust())
    client.timeout = httpx.Timeout(None)  # there is one for the whole of an answer
    return OpenAiCompatibleJudge(client, settings, key or None)


def _answer(body: bytes) -> Answer:
    try:
        completion = _COMPLETION.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise JudgeError(JudgeProblem.UNREADABLE) from None
    return Answer(completion.choices[0].message.content, completion.usage.total_tokens if completion.usage else None)
