"""Ten kinds of failure in a thousand wordings, as services really say them."""

import random
from collections.abc import Iterator
from typing import Any

KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "/v1/chat",
        (
            "429 Too Many Requests: rate limit reached for gpt-x in organization org-{id}: limit {n}, used {n}",
            "Rate limit reached: {n} requests per min exceeded, please try again in {n}s (request {uuid})",
        ),
    ),
    (
        "/v1/chat",
        (
            "This model's maximum context length is {n} tokens, but {n} tokens were requested",
            "prompt is too long: {n} tokens were requested, and the maximum context is {n}",
        ),
    ),
    (
        "/v1/chat",
        (
            "could not parse tool call arguments as JSON: unexpected token '{id}' at position {n}",
            'failed to parse JSON of the tool call: unexpected token at position {n} of "{id}"',
        ),
    ),
    (
        "/db/query",
        (
            "connect to {addr} refused: connection refused (attempt {n})",
            "Connection refused by {addr} at {time}, attempt {n}",
        ),
    ),
    (
        "/db/query",
        (
            "canceling statement after {n} ms: query timed out on table orders_{n}",
            "query on table orders_{n} timed out, statement canceled after {n}ms",
        ),
    ),
    (
        "/db/query",
        ("deadlock detected: process {n} waits for lock {n} on {path}", "deadlock detected on {path} by process {n}"),
    ),
    (
        "/files/write",
        ("[Errno 28] No space left on device: '{path}'", "write {path} failed: no space left on device {id}"),
    ),
    (
        "/files/write",
        ("[Errno 13] Permission denied: '{path}'", "open {path}: permission denied for user u{n}"),
    ),
    (
        "scenario:fill",
        ("no worker matched role welder in shift {n}", "no worker for shift {n} matched role welder (of {n})"),
    ),
    (
        "scenario:fill",
        ("playbook {id} has drifted, seal {hex} broken", "seal {hex} of playbook {id} broken: it has drifted"),
    ),
)


def replay(count: int, *, seed: int = 1) -> Iterator[tuple[int, dict[str, Any]]]:
    """So many failures, each with the number of its kind: a thousand wordings, each said more than once."""
    chance = random.Random(seed)
    said = [
        (kind, {"endpoint": endpoint, "error": _filled(templates[each % len(templates)], chance), "success": False})
        for kind, (endpoint, templates) in enumerate(KINDS)
        for each in range(100)
    ]
    for _ in range(count):
        yield chance.choice(said)


def _filled(template: str, chance: random.Random) -> str:
    def digits(length: int) -> str:
        return "".join(chance.choices("0123456789abcdef", k=length))

    while "{n}" in template:
        template = template.replace("{n}", str(chance.randrange(1, 100_000)), 1)
    return template.format(
        id=f"a{digits(6)}9",
        hex=digits(40),
        uuid="-".join(map(digits, (8, 4, 4, 4, 12))),
        addr=f"10.0.{chance.randrange(256)}.{chance.randrange(256)}:{chance.randrange(1_024, 60_000)}",
        time=f"2026-11-{chance.randrange(10, 29)}T0{chance.randrange(10)}:12:33.{chance.randrange(1_000):03d}Z",
        path=f"/var/lib/{digits(5)}/{digits(8)}.dat",
    )
