"""Opening and closing sessions over HTTP."""

from typing import Any

import pytest

from actors.envelopes.refusals import InvalidPublicKey
from actors.sessions.messages import OpenSession
from actors.sessions.outcomes import (
    ActorFailed,
    Busy,
    BusyReason,
    Closed,
    Credit,
    FullReason,
    KeyConflict,
    MachineLimit,
    StorageFull,
    UnknownSession,
)
from tests.central_command.http.conftest import OPENING


async def test_an_opening_is_answered_with_the_server_s_key(client: Any, gateway: Any) -> None:
    """The message below has the same seven fields."""
    answer = await client.post("/v1/sessions/open", json=OPENING | {"more": 1})
    assert answer.status_code == 200
    assert await answer.get_json() == {"server_public_key": "server-key"}
    assert gateway.asked == [("open", OpenSession(**OPENING))]


@pytest.mark.parametrize("field", list(OPENING))
@pytest.mark.parametrize("value", [None, "", 5, ["x"], {}])
async def test_a_field_that_is_no_text_counts_as_missing(field: str, value: Any, client: Any, gateway: Any) -> None:
    """400 with all that is required, as the contract's server says it."""
    answer = await client.post("/v1/sessions/open", json=OPENING | {field: value})
    body = await answer.get_json()
    assert answer.status_code == 400
    assert field in body["error"]
    assert body["required"] == list(OPENING)
    assert gateway.asked == []


async def test_absent_fields_are_all_named(client: Any) -> None:
    """An empty object misses seven."""
    answer = await client.post("/v1/sessions/open", json={})
    assert answer.status_code == 400
    sentence = (await answer.get_json())["error"]
    assert all(field in sentence for field in OPENING)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("session_id", "a b"),
        ("session_id", "x" * 129),
        ("session_id", "a\n"),
        ("public_key", "é"),
        ("public_key", "A" * 257),
        ("provider", "a\x00"),
        ("provider", "p" * 51),
        ("model", "m" * 101),
        ("model", "a\u202eb"),
        ("model", "a\ud83d"),
        ("machine_fingerprint", "a/b"),
        ("app_version_hash", "x" * 129),
        ("groove_version", "1" * 21),
    ],
)
async def test_text_that_is_not_safe_is_refused_by_name(field: str, value: str, client: Any, gateway: Any) -> None:
    """What is stored and logged holds no control characters and has a bounded length."""
    answer = await client.post("/v1/sessions/open", json=OPENING | {field: value})
    body = await answer.get_json()
    assert answer.status_code == 400
    assert body["error"].startswith(f"{field} must be ")
    assert gateway.asked == []


@pytest.mark.parametrize("provider", ["windsurf", "Codex", "codex ", "unheard-of"])
async def test_a_provider_that_the_server_does_not_take_is_refused_at_the_opening(
    provider: str, client: Any, gateway: Any
) -> None:
    """Otherwise every envelope of the session would be refused, one by one."""
    answer = await client.post("/v1/sessions/open", json=OPENING | {"provider": provider})
    assert answer.status_code == 400
    assert await answer.get_json() == {"error": "provider must be one of claude-code, codex, gemini."}
    assert gateway.asked == []


async def test_a_model_s_name_may_have_spaces(client: Any) -> None:
    """Names are for people."""
    answer = await client.post("/v1/sessions/open", json=OPENING | {"model": "Claude Opus 4.6 (1M)"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("outcome", "status", "code"),
    [
        (KeyConflict(), 409, "key_conflict"),
        (InvalidPublicKey("The key is not on the curve."), 400, "invalid_public_key"),
        (Busy(BusyReason.SHUTTING_DOWN), 503, "shutting_down"),
        (StorageFull(FullReason.QUOTA), 507, "quota"),
        (StorageFull(FullReason.DISK_FULL), 507, "disk_full"),
        (MachineLimit(retry_after_s=1), 429, "machine_limit"),
        (ActorFailed(), 500, "internal_error"),
    ],
)
async def test_what_comes_of_an_opening_has_its_status(
    outcome: Any, status: int, code: str, client: Any, gateway: Any
) -> None:
    """Always one sentence under `error`; it is counted by its code."""
    gateway.opening = outcome
    answer = await client.post("/v1/sessions/open", json=OPENING)
    assert answer.status_code == status
    assert set(await answer.get_json()) - {"retryAfter"} == {"error"}
    assert ("Retry-After" in answer.headers) == (status in {429, 503})
    assert client.app.asgi_app.figures.statistics().refusals == {code: 1}


async def test_what_has_no_code_of_its_own_is_counted_by_its_status(client: Any) -> None:
    """And what a probe says of the server is no refusal."""
    await client.post("/v1/sessions/open", json={})
    await client.post("/v1/sessions/close", json={"session_id": "sess_none"})
    await client.get("/readyz")
    assert client.app.asgi_app.figures.statistics().refusals.get("bad_request") == 1


async def test_a_machine_s_limit_is_429_with_the_time_to_wait(client: Any, gateway: Any) -> None:
    """In the header and in the body."""
    gateway.opening = MachineLimit(retry_after_s=1234)
    answer = await client.post("/v1/sessions/open", json=OPENING)
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "1234"
    assert (await answer.get_json())["retryAfter"] == 1234


@pytest.mark.parametrize("path", ["/v1/sessions/open", "/v1/sessions/close", "/v1/embed"])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b'{"a":"\xff"}', b"[" * 100_000])
async def test_a_body_that_is_no_json_object_is_400(path: str, body: bytes, client: Any) -> None:
    """However it is broken."""
    answer = await client.post(path, data=body)
    assert answer.status_code == 400
    assert (await answer.get_json())["error"]


@pytest.mark.parametrize(
    ("outcome", "body"),
    [
        (Closed(already_closed=False, credit=None), {"closed": True}),
        (Closed(already_closed=True, credit=None), {"closed": True, "already_closed": True}),
        (
            Closed(already_closed=True, credit=Credit(total_points=7.5, total_steps=3)),
            {"closed": True, "already_closed": True, "points": 7.5, "steps": 3},
        ),
        (
            Closed(already_closed=False, credit=Credit(total_points=5, total_steps=9, copied_steps=8, copied_from="s")),
            {"closed": True, "points": 5, "steps": 9, "copied_steps": 8, "copied_from": "s"},
        ),
        (
            Closed(already_closed=False, credit=Credit(total_points=3, total_steps=3, has_model_tier=False)),
            {"closed": True, "points": 3, "steps": 3, "model_tier": None},
        ),
    ],
)
async def test_a_close_is_answered_with_what_is_known(outcome: Any, body: Any, client: Any, gateway: Any) -> None:
    """The contract's members, and the credit when there is one."""
    gateway.closing = outcome
    answer = await client.post("/v1/sessions/close", json={"session_id": "sess_1"})
    assert answer.status_code == 200
    assert await answer.get_json() == body
    assert gateway.asked == [("close", "sess_1")]


async def test_closing_an_unknown_session_is_404(client: Any, gateway: Any) -> None:
    """And an id that cannot be is unknown without asking."""
    gateway.closing = UnknownSession()
    for session_id in ("sess_1", "no such id", "x" * 129):
        answer = await client.post("/v1/sessions/close", json={"session_id": session_id})
        assert answer.status_code == 404
        assert set(await answer.get_json()) == {"error"}
    assert len(gateway.asked) == 1


@pytest.mark.parametrize("body", [{}, {"session_id": None}, {"session_id": ""}, {"session_id": 1}])
async def test_a_close_without_a_session_is_400(body: Any, client: Any) -> None:
    """With what is required."""
    answer = await client.post("/v1/sessions/close", json=body)
    assert answer.status_code == 400
    assert (await answer.get_json())["required"] == ["session_id"]


@pytest.mark.parametrize(
    ("outcome", "status"),
    [(Busy(BusyReason.JOURNAL_FULL), 503), (StorageFull(FullReason.DISK_FULL), 507), (ActorFailed(), 500)],
)
async def test_a_close_that_cannot_be_done_has_its_status(outcome: Any, status: int, client: Any, gateway: Any) -> None:
    """As for openings."""
    gateway.closing = outcome
    assert (await client.post("/v1/sessions/close", json={"session_id": "s"})).status_code == status
