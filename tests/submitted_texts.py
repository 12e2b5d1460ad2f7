"""Tokens and texts of an application's users, for tests of the intake."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from actors.consent.register import Said, UserStatement
from actors.intake.desk import TakenRecord
from actors.intake.reading import read_record
from central_command.access.tokens import new_token, token_sha256
from persistence.databases.access_tokens import StoredToken, TokenFile
from persistence.format import times
from persistence.format.consent_events import Decision
from tests.running_service import Running, running

USER = "f8e7d6c5b4a3f8e7d6c5b4a3f8e7d6c5"
OTHER = "0123456789abcdef0123456789abcdef"


def leave_token(
    root: Path, *scopes: str, name: str = "", now: float = 1_795_169_541.0, lasting_s: float | None = None
) -> tuple[str, str]:
    """Make a token; return it with its id."""
    token, token_id = new_token(os.urandom), f"tok_{os.urandom(8).hex()}"
    stored = StoredToken(
        token_id=token_id,
        name=name,
        scopes=tuple(sorted(scopes)),
        created_at=times.to_text(now),
        expires_at=None if lasting_s is None else times.to_text(now + lasting_s),
        revoked_at=None,
        last_used_at=None,
    )
    assert TokenFile(root / "access.db", lambda: now).add(stored, token_sha256(token), tokens_max=100) is None
    return token, token_id


def record(content: str = "hello", **changes: Any) -> dict[str, Any]:
    """A record as an application sends it; a member of None is left out."""
    members = {"user_id": USER, "session_id": "sess_001", "content": content, "content_type": "prompt", **changes}
    return {name: value for name, value in members.items() if value is not None}


def body(records: Iterable[Any]) -> bytes:
    """A request's body; what is bytes already stays as it is."""
    return b"".join((each if isinstance(each, bytes) else json.dumps(each).encode()) + b"\n" for each in records)


async def say(run: Running, decision: Decision = Decision.GIVEN, user_id: str = USER) -> None:
    statement = UserStatement(user_id=user_id, decision=decision, version="1.0")
    assert isinstance(await run.service.intake.desk.say(statement), Said)


async def submit(run: Running, *records: dict[str, Any]) -> list[str]:
    read = [read_record(json.dumps(each).encode(), bytes_max=1_048_576) for each in records]
    outcomes = await run.service.intake.desk.submit(read, token_id="tok_1")
    assert isinstance(outcomes, list)
    assert all(isinstance(each, TakenRecord) for each in outcomes), outcomes
    return [each.record_id for each in outcomes if isinstance(each, TakenRecord)]


async def leave_texts(root: Path, *contents: str, user_id: str = USER, **changes: Any) -> list[str]:
    """Leave texts of a user who has agreed."""
    async with running(root) as run:
        await say(run, user_id=user_id)
        return await submit(run, *(record(content, user_id=user_id, **changes) for content in contents))
