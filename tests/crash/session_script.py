"""What a client does in one session, request by request, so that it can be interrupted and gone on with anywhere."""

from collections.abc import Generator
from random import Random
from typing import Any, NamedTuple

from tests.server_process import CLOSE, INGEST, OPEN, Answer
from tests.signing_client import SigningClient, dumps

STEP_TYPES = ("thought", "action", "observation", "error", "correction", "coordination", "resolution")
MODELS = ("gpt-5.5", "o4-mini", "gemini-2.5-flash", "a-model-without-a-tier")


class Request(NamedTuple):
    """One POST."""

    path: str
    body: bytes


def session_script(client: SigningClient, random: Random) -> Generator[Request, Answer, None]:
    """Yield a session's requests, and take their answers: open, chunks, resends, feedback, and one of the closes.

    Some chunks break the schema, which uses up their sequence. Some sessions are left open, some have no chunk.
    """
    answer = yield Request(OPEN, dumps(client.opening()).encode())
    client.opened(answer.members["server_public_key"])
    metadata: dict[str, Any] = {
        "model_engine": random.choice(MODELS),
        "task_complexity": random.choice(("medium", "heavy")),
    }
    sent: list[Request] = []
    for _ in range(random.choice((0, 1, 2, 2, 3, 4))):
        if random.random() < 0.1:
            yield Request(INGEST, client.chunk(1, **metadata, provider="unheard-of"))
        log = [client.step(random.choice(STEP_TYPES)) for _ in range(random.randint(1, 12))]
        sent.append(Request(INGEST, client.chunk_of(log, **metadata)))
        yield sent[-1]
        if random.random() < 0.2:
            # Feedback does not move the server's sequence, so in the middle of a session it must not move the client's.
            sent.append(Request(INGEST, client.feedback("iterated", sequence=client.sequence)))
            yield sent[-1]
        if random.random() < 0.2:
            yield random.choice(sent)
    yield from _ending(client, random)


def _ending(client: SigningClient, random: Random) -> Generator[Request, Answer, None]:
    close = Request(INGEST, client.close())
    http_close = Request(CLOSE, dumps({"session_id": client.session_id}).encode())
    match random.choice(("whole", "whole", "signed", "http", "open")):
        case "whole":
            yield close
            yield Request(INGEST, client.feedback())
            yield http_close
        case "signed":
            yield close
            yield close
        case "http":
            yield http_close
            yield http_close
