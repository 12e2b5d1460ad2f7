"""`/api/access/…`: tokens and browser sessions, seen, made and ended by who may, and by nobody else."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.central_command.http.endpoints.test_sign_in import SESSIONS, TOKENS, browsing, described


async def test_a_token_is_made_shown_once_listed_and_revoked(tmp_path: Path) -> None:
    async with browsing(tmp_path) as server:
        admin, admin_id = server.token("admin", "intake")
        asked = {"scopes": ["intake"], "name": "shop", "expires": "90d"}
        answer = await server.ask(admin, "POST", TOKENS, asked)
        assert answer.status_code == 201
        made = described(answer, "post", TOKENS)
        assert (made["name"], made["scopes"]) == ("shop", ["intake"])
        answer = await server.ask(admin, "GET", TOKENS)
        assert made["token"].encode() not in answer.body
        listed = described(answer, "get", TOKENS)["tokens"]
        assert {each["token_id"] for each in listed} == {admin_id, made["token_id"]}
        assert (await server.ask(made["token"], "GET", TOKENS)).status_code == 403
        path = f"{TOKENS}/{made['token_id']}"
        assert described(await server.ask(admin, "DELETE", path), "delete", f"{TOKENS}/{{token_id}}") == {
            "revoked": made["token_id"]
        }
        assert (await server.ask(made["token"], "GET", TOKENS)).status_code == 401


async def test_browser_sessions_are_listed_and_ended(tmp_path: Path) -> None:
    async with browsing(tmp_path) as server:
        admin, _ = server.token("admin")
        cookie = await server.cookie(server.link())
        [session] = described(await server.ask(admin, "GET", SESSIONS), "get", SESSIONS)["sessions"]
        path = f"{SESSIONS}/{session['session_id']}"
        described(await server.ask(admin, "DELETE", path), "delete", f"{SESSIONS}/{{session_id}}")
        assert (await server.send("GET", SESSIONS, Cookie=cookie)).status_code == 401
        [session] = described(await server.ask(admin, "GET", SESSIONS), "get", SESSIONS)["sessions"]
        assert session["revoked_at"] is not None


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"null", 400),
        (b"\xff", 400),
        ({}, 400),
        ({"scopes": []}, 400),
        ({"scopes": "admin"}, 400),
        ({"scopes": {"admin": True}}, 400),
        ({"scopes": ["all"]}, 400),
        ({"scopes": ["ADMIN"]}, 400),
        ({"scopes": [None]}, 400),
        ({"scopes": [["admin"]]}, 400),
        ({"scopes": ["admin"], "name": 1}, 400),
        ({"scopes": ["admin"], "name": "x" * 65}, 400),
        ({"scopes": ["admin"], "name": "a\nb"}, 400),
        ({"scopes": ["admin"], "expires": "soon"}, 400),
        ({"scopes": ["admin"], "expires": 90}, 400),
        ({"scopes": ["admin"], "expires": "0d"}, 400),
        ({"scopes": ["admin"], "expires": ""}, 400),
        ({"scopes": ["admin"], "name": "x" * 5000}, 413),
        ({"scopes": ["export"]}, 403),
        ({"scopes": ["admin", "read"]}, 403),
    ],
)
async def test_what_no_token_can_be_made_of_is_one_sentence_and_changes_nothing(
    tmp_path: Path, body: Any, status: int
) -> None:
    async with browsing(tmp_path) as server:
        admin, _ = server.token("admin")
        before = server.rows("tokens")
        answer = await server.ask(admin, "POST", TOKENS, body)
        assert answer.status_code == status, answer.body
        sentence = described(answer, "post", TOKENS)["error"]
        assert sentence.endswith("can give it." if status == 403 else ".")
        assert server.rows("tokens") == before


@pytest.mark.parametrize("path", [TOKENS, SESSIONS])
@pytest.mark.parametrize(
    "name", ["", "x", "tok_", "ses_0", "tok_0123456789abcdef", "ses_0123456789abcdef", "%00", "a/b"]
)
async def test_what_there_is_not_is_404_and_ends_nothing(tmp_path: Path, path: str, name: str) -> None:
    async with browsing(tmp_path) as server:
        admin, _ = server.token("admin")
        await server.cookie(server.link())
        before = server.rows(), server.rows("tokens")
        answer = await server.ask(admin, "DELETE", f"{path}/{name}")
        assert answer.status_code == 404
        assert json.loads(answer.body)["error"].endswith(".")
        assert (server.rows(), server.rows("tokens")) == before


async def test_only_the_scope_admin_may_ask(tmp_path: Path) -> None:
    async with browsing(tmp_path) as server:
        other, _ = server.token("read", "intake", "export")
        for method, path in (
            ("GET", TOKENS),
            ("POST", TOKENS),
            ("DELETE", f"{TOKENS}/x"),
            ("GET", SESSIONS),
            ("DELETE", f"{SESSIONS}/x"),
        ):
            assert (await server.ask(other, method, path)).status_code == 403
            assert (await server.ask("cc_x", method, path)).status_code == 401
            assert (await server.send(method, path)).status_code == 401
            assert (await server.ask(other, "PUT", path)).status_code == 405


async def test_there_are_no_more_tokens_than_the_settings_allow(tmp_path: Path) -> None:
    async with browsing(tmp_path, tokens_max=1) as server:
        admin, _ = server.token("admin")
        answer = await server.ask(admin, "POST", TOKENS, {"scopes": ["admin"]})
        assert answer.status_code == 507
        described(answer, "post", TOKENS)


async def test_a_database_that_cannot_be_read_is_503_and_no_way_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with browsing(tmp_path) as server:
        admin, _ = server.token("admin")
        cookie = await server.cookie(server.link())
        good = (tmp_path / "access.db").read_bytes()
        (tmp_path / "access.db").write_bytes(b"no database" * 100)
        assert (await server.ask(admin, "GET", TOKENS)).status_code == 503
        assert (await server.send("GET", SESSIONS, Cookie=cookie)).status_code == 503
        assert (await server.send("GET", "/sign-in", Cookie=cookie)).status_code == 503
        assert (await server.sign_in(admin)).status_code == 503
        assert cookie.partition("=")[2] not in caplog.text
        (tmp_path / "access.db").write_bytes(good)
        assert (await server.send("GET", SESSIONS, Cookie=cookie)).status_code == 200
