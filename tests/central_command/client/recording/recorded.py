"""What is recorded in tests, and where it is sent."""

from collections.abc import Callable
from typing import Any

OPEN, INGEST, CLOSE = "/v1/sessions/open", "/v1/training/ingest", "/v1/sessions/close"
BATCH = "/v1/training/ingest/batch"

Opener = Callable[..., Any]


def thought(content: Any = "thinking", **members: Any) -> dict[str, Any]:
    return {"type": "thought", "content": content} | members
