"""The audit journal over HTTP: every change is a line that says who, what and from where, and no secret."""

from pathlib import Path

import pytest

from persistence.format.records import JournalName
from persistence.journals.writing import JournalEnd
from tests.central_command.http.endpoints.test_sign_in import OURS, SESSIONS, TOKENS, browsing, described

AUDIT = "/api/admin/audit"
BANS = "/api/access/bans"


async def test_every_change_is_a_line_that_says_who_what_and_from_where(tmp_path: Path) -> None:
    async with browsing(tmp_path) as server:
        admin, admin_id = server.token("admin")
        made = described(
            await server.ask(admin, "POST", TOKENS, {"scopes": ["admin"], "name": "secret name"}), "post", TOKENS
        )
        cookie = await server.cookie(made["token"])
        body = {"address": "198.51.100.0/24", "reason": "what people wrote"}
        ban = described(await server.ask(admin, "POST", BANS, body), "post", BANS)
        await server.ask(admin, "DELETE", f"{BANS}/{ban['ban_id']}")
        [session] = described(await server.ask(admin, "GET", SESSIONS), "get", SESSIONS)["sessions"]
        await server.send("DELETE", f"{SESSIONS}/{session['session_id']}", Cookie=cookie, **OURS)
        await server.ask(admin, "DELETE", f"{TOKENS}/{made['token_id']}")
        again = await server.cookie(admin)
        await server.send("POST", "/sign-out", Cookie=again, **OURS)
        await server.ask(admin, "DELETE", f"{TOKENS}/tok_0123456789abcdef")
        answer = await server.ask(admin, "GET", AUDIT)
        entries = described(answer, "get", AUDIT)["entries"]
        named = f"{ban['ban_id']} address 198.51.100.0/24"
        assert [(each["actor"], each["action"], each["subject"]) for each in entries[:6]] == [
            (admin_id, "token_made", made["token_id"]),
            (made["token_id"], "browser_session_opened", session["session_id"]),
            (admin_id, "banned", named),
            (admin_id, "unbanned", named),
            (session["session_id"], "browser_session_revoked", session["session_id"]),
            (admin_id, "token_revoked", made["token_id"]),
        ]
        assert [each["action"] for each in entries[6:]] == ["browser_session_opened", "browser_session_ended"]
        assert {each["address"] for each in entries} == {"192.0.2.1"}
        [path] = (tmp_path / JournalName.AUDIT).iterdir()
        text = path.read_text()
        for secret in (admin, made["token"], cookie.partition("=")[2], "secret name", "what people wrote"):
            assert secret not in text


async def test_it_is_read_some_at_a_time_with_the_scope_admin_alone(tmp_path: Path) -> None:
    async with browsing(tmp_path) as server:
        admin, _ = server.token("admin")
        other, _ = server.token("read", "intake", "export")
        assert described(await server.ask(admin, "GET", AUDIT), "get", AUDIT) == {"entries": [], "next": None}
        for number in range(3):
            await server.run.service.access.audit.note("command", "banned", f"b{number}", "")
        first = described(await server.ask(admin, "GET", f"{AUDIT}?limit=2"), "get", AUDIT)
        assert ([each["subject"] for each in first["entries"]], first["next"]) == (["b0", "b1"], 2)
        rest = described(await server.ask(admin, "GET", f"{AUDIT}?after=2&limit=2"), "get", AUDIT)
        assert ([each["subject"] for each in rest["entries"]], rest["next"]) == (["b2"], None)
        for query in ("after=-1", "after=x", "limit=0", "limit=1001", "limit=1&limit=2", "after="):
            answer = await server.ask(admin, "GET", f"{AUDIT}?{query}")
            assert answer.status_code == 400
            described(answer, "get", AUDIT)
        assert (await server.ask(other, "GET", AUDIT)).status_code == 403
        assert (await server.send("GET", AUDIT)).status_code == 401
        assert (await server.ask(admin, "DELETE", AUDIT)).status_code == 405


async def test_who_changes_something_that_cannot_be_noted_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with browsing(tmp_path) as server:
        admin, _ = server.token("admin")
        _, token_id = server.token("read")
        monkeypatch.setattr(JournalEnd, "write", lambda *_: None)
        answer = await server.ask(admin, "DELETE", f"{TOKENS}/{token_id}")
        assert answer.status_code == 507
        assert described(answer, "delete", f"{TOKENS}/{{token_id}}")["error"].startswith("It was done, but the audit")
        assert f"not in the audit journal: token_revoked {token_id}" in caplog.text
        revoked = [row for row in server.rows("tokens") if row[0] == token_id]
        assert revoked[0][6] is not None
