"""`/access`: what is made and ended from a page is in force at once, shown once, and in the audit journal."""

import re
from pathlib import Path

import pytest

from central_command.access.gate import Admitted
from central_command.access.tokens import Scope
from central_command.web.pages import access
from tests.pages.page_client import PageClient, pages_on
from tests.running_service import settings_with
from tests.submitted_texts import leave_token

TOKEN = re.compile(r"cc_[0-9A-Za-z_-]{43}")
PATHS = ("/access", "/access/sessions", "/access/bans", "/access/audit")


async def noted(browser: PageClient) -> list[tuple[str, str]]:
    """Actions of the audit journal and who did them, the earliest first."""
    entries = await browser.run.service.access.audit.entries(after_n=0, limit=100)
    return [(each.action, each.actor) for each in entries]


async def test_a_token_is_made_shown_once_and_revoked(tmp_path: Path) -> None:
    async with pages_on(tmp_path, Scope.ADMIN, Scope.READ) as browser:
        assert "There is no token yet" in (await browser.get("/access")).said
        page = await browser.post("/access/tokens", scopes=["read", "admin"], name="<i>grafana</i>", expires="30d")
        assert page.status == 200
        [text] = set(TOKEN.findall(page.text))
        assert "<i>" not in page.text
        gate = browser.run.service.access.gate
        assert isinstance(await gate.check(text, Scope.READ), Admitted)
        page = await browser.get("/access")
        assert TOKEN.search(page.text) is None, "it is shown once"
        assert "<i>grafana</i>" in page.said
        [question] = re.findall(r'<details class="confirm">.*?</details>', page.text, re.DOTALL)
        assert re.search(r'<button type="button" class="[^"]*" data-closes>Cancel</button>', question), "a way back"
        [token] = await browser.run.service.access.desk.tokens()
        assert token.expires_at is not None
        answer = await browser.post(f"/access/tokens/{token.token_id}/revoke")
        assert (answer.status, answer.headers["Location"]) == (303, "/access?said=revoked")
        assert "works no more" in (await browser.get("/access?said=revoked")).said
        assert not isinstance(await gate.check(text, Scope.READ), Admitted)
        [(_, by), *_] = await noted(browser)
        actions = [action for action, _ in await noted(browser)]
        assert actions == ["browser_session_opened", "token_made", "token_revoked"]
        assert by.startswith("lnk_")
        assert (await browser.post("/access/tokens/tok_0123456789abcdef/revoke")).status == 404
        assert (await browser.post("/access/tokens/..%2F/revoke")).status == 404


@pytest.mark.parametrize(
    ("fields", "status", "sentence"),
    [
        ({"name": "x"}, 400, "scopes must be a list of one or more"),
        ({"scopes": ["read", "root"]}, 400, "scopes must be a list"),
        ({"scopes": "read", "name": "x" * 1_000}, 400, "name must be at most"),
        ({"scopes": "read", "expires": "soon"}, 400, "expires must be a whole number"),
        ({"scopes": "export"}, 403, "Only who has the scope export can give it."),
    ],
)
async def test_a_token_that_cannot_be_is_refused_with_a_sentence(
    tmp_path: Path, fields: dict[str, str], status: int, sentence: str
) -> None:
    async with pages_on(tmp_path, Scope.ADMIN, Scope.READ) as browser:
        page = await browser.post("/access/tokens", **fields)
        assert (page.status, sentence in page.said) == (status, True), page.said
        assert await browser.run.service.access.desk.tokens() == []


async def test_there_is_a_bound_of_tokens_and_the_page_says_so(tmp_path: Path) -> None:
    async with pages_on(tmp_path, Scope.ADMIN, settings=settings_with(access={"tokens_max": 1})) as browser:
        assert (await browser.post("/access/tokens", scopes="admin")).status == 200
        page = await browser.post("/access/tokens", scopes="admin")
        assert (page.status, "revoke one first" in page.said) == (507, True)


async def test_a_browser_s_session_is_seen_and_ended(tmp_path: Path) -> None:
    async with pages_on(tmp_path, Scope.ADMIN) as browser:
        page = await browser.get("/access/sessions")
        assert "this one" in page.said
        [session] = await browser.run.service.access.desk.sessions()
        answer = await browser.post(f"/access/sessions/{session.session_id}/revoke")
        assert (answer.status, answer.headers["Location"]) == (303, "/access/sessions?said=ended")
        assert (await browser.get("/access/sessions")).headers["Location"].startswith("/sign-in?next=")
        assert (await noted(browser))[-1] == ("browser_session_revoked", session.session_id)


async def test_somebody_is_banned_and_the_ban_is_lifted(tmp_path: Path) -> None:
    async with pages_on(tmp_path, Scope.ADMIN) as browser:
        answer = await browser.post("/access/bans", kind="address", subject="192.0.2.1/24", reason="noise", days="2")
        assert (answer.status, answer.headers["Location"]) == (303, "/access/bans?said=banned")
        bans = browser.run.service.bans
        assert await bans.refuses(machine="m", contributor_id=None, address="192.0.2.7")
        assert "192.0.2.0/24" in (await browser.get("/access/bans")).said
        [ban] = await bans.all()
        answer = await browser.post(f"/access/bans/{ban.ban_id}/lift")
        assert answer.headers["Location"] == "/access/bans?said=unbanned"
        assert not await bans.refuses(machine="m", contributor_id=None, address="192.0.2.7")
        assert [action for action, _ in await noted(browser)][-2:] == ["banned", "unbanned"]
        for wrong in ({"kind": "address", "subject": "x"}, {"kind": "planet", "subject": "x"}, {"subject": "x"}):
            assert (await browser.post("/access/bans", **wrong)).status == 400
        page = await browser.post("/access/bans", kind="machine", subject="192.0.2.1")
        assert (page.status, "must not be an IP address" in page.said) == (400, True)
        for days in ("0", "x", "²", "9" * 30, "-1"):
            page = await browser.post("/access/bans", kind="machine", subject="m", days=days)
            assert (page.status, "days must be" in page.said) == (400, True)
        assert await bans.all() == []


async def test_what_was_changed_is_listed_the_latest_first_by_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "ROWS_MAX", 10)
    async with pages_on(tmp_path, Scope.ADMIN) as browser:
        audit = browser.run.service.access.audit
        for n in range(25):
            await audit.note("ses_1", "banned", f"subject {n}", "192.0.2.1")
        page = await browser.get("/access/audit")
        assert page.text.index("subject 24") < page.text.index("subject 23")
        seen = re.findall(r"subject \d+", page.text)
        while following := re.search(r'href="(/access/audit\?before=\d+)"', page.text):
            page = await browser.get(following[1])
            seen += re.findall(r"subject \d+", page.text)
        assert seen == [f"subject {n}" for n in range(24, -1, -1)]
        assert "subject" not in (await browser.get("/access/audit?before=1")).said
        assert (await browser.get("/access/audit?before=x")).status == 400


async def test_access_is_for_administrators_and_no_other_site_changes_it(tmp_path: Path) -> None:
    async with pages_on(tmp_path, Scope.READ, Scope.EXPORT) as browser:
        for path in (*PATHS, "/settings"):
            page = await browser.get(path)
            assert (page.status, "You have not the scope admin" in page.said) == (403, True), path
        _, token_id = leave_token(tmp_path, "read", now=browser.run.clock.now)
        forms = ("/access/tokens", f"/access/tokens/{token_id}/revoke", "/access/bans")
        for path in forms:
            assert (await browser.post(path, scopes="read")).status == 403
        await browser.sign_in(Scope.ADMIN, Scope.READ)
        for path in forms:
            assert (await browser.post(path, {"Sec_Fetch_Site": "cross-site"}, scopes="read")).status == 403
        said = (await browser.post(forms[0], {"Sec_Fetch_Site": "cross-site"}, scopes="read")).said
        assert "Sec-Fetch-Site or Origin says otherwise" in said
        said = (await browser.post(forms[0], {"Sec_Fetch_Site": None}, scopes="read")).said
        assert "says neither in Sec-Fetch-Site nor in Origin where it comes from" in said
        [token] = await browser.run.service.access.desk.tokens()
        assert token.revoked_at is None
