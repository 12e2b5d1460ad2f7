"""Requests that reach an endpoint, told to the observer: all that fail, and of the others one in so many.

What is refused before that (an address's budget, the bounds of memory, a path that there is not) is counted alone: it
may come by the thousand.

What agents send all the time (envelopes, texts to be embedded) does not go by the framework, and is not observed: their
figures are counted where they are taken in.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
import trio
from quart import Quart, Response, g, request

from central_command.observing.own import answered

NOT_OBSERVED: Final = ("/health", "/ready", "/livez", "/readyz", "/metrics", "/openapi.json", "/api/observer/")
"""Probes, and what is asked of the observer itself."""
SAID_BYTES_MAX: Final = 4_096
"""Bytes of a refusal that are looked at for its sentence."""


class _Refusal(msgspec.Struct):
    error: object = ""
    reason: object = ""


_REFUSAL: Final = msgspec.json.Decoder(_Refusal)


def observe_requests(app: Quart, note: Callable[[dict[str, Any]], None], *, sample_every: int) -> None:
    """Have `note` told of requests, of those that succeed one in `sample_every`."""
    succeeded = 0

    @app.before_request
    async def begin() -> None:
        g.began_at = trio.current_time()

    @app.after_request
    async def end(response: Response) -> Response:
        nonlocal succeeded
        rule = request.url_rule
        if rule is None or rule.rule.startswith(NOT_OBSERVED) or request.method == "OPTIONS":
            return response
        if response.status_code < 400:
            succeeded += 1
            if succeeded % sample_every:
                return response
        sentence = await _sentence(response) if response.status_code >= 400 else ""
        duration_s = trio.current_time() - g.get("began_at", trio.current_time())
        note(answered(request.method, rule.rule, response.status_code, duration_s, sentence))
        return response


async def _sentence(response: Response) -> str:
    """What a refusal says."""
    if not response.is_json or (response.content_length or 0) > SAID_BYTES_MAX:
        return ""
    try:
        found = _REFUSAL.decode(await response.get_data(as_text=False))
    except msgspec.DecodeError:
        return ""
    said = found.error or found.reason
    return said if isinstance(said, str) else ""
