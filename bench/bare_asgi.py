"""A reference in Python: hypercorn's trio worker with a function that reads the body and answers, and nothing else.

`python -m bench.bare_asgi PORT`. Unlike the yardstick it is as fast at its first request as at its ten thousandth.
"""

import sys

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

ANSWER = b'{"accepted":true}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]


async def application(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Answer one request."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    parts: list[bytes] = []
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return
        parts.append(message["body"])
        more = message["more_body"]
    b"".join(parts)
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER, "more_body": False})


def main() -> None:
    """Serve until the process is ended."""
    config = Config()
    config.bind = [f"127.0.0.1:{sys.argv[1]}"]
    config.keep_alive_max_requests = sys.maxsize
    trio.run(serve, application, config)


if __name__ == "__main__":
    main()
