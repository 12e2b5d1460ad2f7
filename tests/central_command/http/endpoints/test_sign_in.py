"""Browsers: signed in by a token or by a link that works once, let in by a cookie, kept from what other sites ask."""

import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from werkzeug.datastructures import Headers

from actors.envelopes.settings import SchemaSettings
from central_command.access.making import Maker, NewLink
from central_command.access.settings import AccessSettings
from central_command.access.tokens import Scope, new_cookie
from central_command.http.app import create_app
from central_command.http.requests.replies import CONTENT_POLICY, Reply
from central_command.http.settings import HttpSettings
from persistence.databases.browser_sessions import BrowserSessionFile
from tests.central_command.http.description.test_openapi import check_described
from tests.running_service import Running, running, settings_with
from tests.submitted_texts import leave_token

SIGN_IN = "/sign-in"
TOKENS = "/api/access/tokens"
SESSIONS = "/api/access/sessions"
OURS = {"Sec_Fetch_Site": "same-origin"}
PROXIED = {"client": ("127.0.0.1", 4000)}
DIRECT = {"client": ("192.0.2.1", 4000)}


class Browsing:
    """A running service behind its HTTP application, and what a browser without a script can do."""

    def __init__(self, run: Running, http: HttpSettings | None = None, **settings: Any) -> None:
        self.run = run
        app = create_app(
            run.service, http or HttpSettings(), schema=SchemaSettings(), clock=run.clock, access=run.service.access
        )
        self.client: Any = app.test_client(use_cookies=False)
        self.maker = Maker(
            run.root / "access.db",
            AccessSettings(**settings),
            clock=run.clock,
            random_bytes=os.urandom,
        )

    async def send(
        self, method: str, path: str, data: bytes = b"", *, scope: Any = DIRECT, **headers: str | None
    ) -> Any:
        sent = Headers([(name.replace("_", "-"), value) for name, value in headers.items() if value is not None])
        answer = await self.client.open(
            path, method=method, headers=sent, scope_base=scope, **({"data": data} if data else {})
        )
        answer.body = await answer.get_data()
        return answer

    async def sign_in(self, key: str, more: str = "", **headers: Any) -> Any:
        return await self.send("POST", SIGN_IN, f"key={key}{more}".encode(), **{**OURS, **headers})

    async def lands(self, *scopes: str) -> str:
        """Where a browser is led that was sent to sign in from the first page."""
        key, _ = self.token(*scopes)
        location: str = (await self.sign_in(key, "&next=%2F")).headers["Location"]
        return location

    async def cookie(self, key: str) -> str:
        answer = await self.sign_in(key)
        assert answer.status_code == 303, answer.body
        return str(answer.headers["Set-Cookie"]).partition(";")[0]

    def link(self, *scopes: Scope) -> str:
        made = self.maker.link(scopes or [*Scope])
        assert isinstance(made, NewLink)
        return made.code

    def token(self, *scopes: str, **options: Any) -> tuple[str, str]:
        return leave_token(self.run.root, *(scopes or ("admin",)), now=self.run.clock.now, **options)

    async def ask(self, token: str, method: str, path: str, body: Any = None) -> Any:
        """Ask as a program does, with a token."""
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.send(method, path, data, Authorization=f"Bearer {token}")

    def rows(self, table: str = "browser_sessions") -> list[tuple[Any, ...]]:
        return self.run.rows("access.db", f"SELECT * FROM {table} ORDER BY 1")


def described(answer: Any, method: str, path: str) -> Any:
    """The answer's JSON, found to be described."""
    names = ("WWW-Authenticate", "Retry-After")
    headers = tuple((name, answer.headers[name]) for name in names if name in answer.headers)
    check_described(method, path, Reply(answer.status_code, answer.body, headers))
    return json.loads(answer.body)


@asynccontextmanager
async def browsing(root: Path, **settings: Any) -> AsyncIterator[Browsing]:
    async with running(root, settings=settings_with(access=settings)) as run:
        yield Browsing(run, **settings)


async def test_a_browser_signs_in_with_a_token_and_does_what_the_token_may_until_it_signs_out(tmp_path: Path) -> None:
    async with browsing(tmp_path) as server:
        token, token_id = server.token("admin", name="me")
        answer = await server.sign_in(token, "&next=/api/access/tokens%3Fa=b")
        assert (answer.status_code, answer.headers["Location"]) == (303, "/api/access/tokens?a=b")
        set_cookie = answer.headers["Set-Cookie"]
        assert re.fullmatch(
            r"central_command=[0-9A-Za-z_-]{43}; Path=/; Max-Age=43200; HttpOnly; SameSite=Lax", set_cookie
        )
        cookie = set_cookie.partition(";")[0]
        shown = await server.send("GET", SIGN_IN, Cookie=cookie)
        assert b"Sign out" in shown.body
        answer = await server.send("GET", SESSIONS, Cookie=cookie)
        [session] = json.loads(answer.body)["sessions"]
        assert (session["origin"], session["name"], session["scopes"]) == (token_id, "me", ["admin"])
        assert (await server.send("GET", "/api/exports", Cookie=cookie)).status_code == 404
        answer = await server.send("POST", "/sign-out", Cookie=cookie, **OURS)
        assert (answer.status_code, answer.headers["Location"]) == (303, SIGN_IN)
        assert "central_command=; Path=/; Max-Age=0" in answer.headers["Set-Cookie"]
        assert (await server.send("GET", SESSIONS, Cookie=cookie)).status_code == 401
        assert (await server.send("GET", SIGN_IN, Cookie=cookie)).body.count(b"password") == 1


async def test_a_session_is_kept_as_a_digest_and_says_what_it_came_from_and_when_it_was_used(tmp_path: Path) -> None:
    async with browsing(tmp_path) as server:
        code = server.link(Scope.ADMIN)
        cookie = await server.cookie(code)
        await server.send("GET", SESSIONS, Cookie=cookie)
        await server.run.service._gate._note()
        [session] = BrowserSessionFile(tmp_path / "access.db", server.run.clock).all()
        assert session.origin.startswith("lnk_")
        assert session.last_used_at is not None
        content = (tmp_path / "access.db").read_bytes()
        assert cookie.partition("=")[2].encode() not in content
        assert code.encode() not in content


async def test_looking_at_a_link_does_not_use_it_and_using_it_works_once(tmp_path: Path) -> None:
    async with browsing(tmp_path) as server:
        code = server.link(Scope.READ)
        for method in ("GET", "HEAD", "GET"):
            page = await server.send(method, f"{SIGN_IN}/link?code={code}")
            assert page.status_code == 200
        assert f'name="key" value="{code}"'.encode() in page.body
        assert b"<script" not in page.body
        assert b"style" not in page.body
        assert len(server.rows("sign_in_links")) == 1
        assert (await server.sign_in(code)).status_code == 303
        assert server.rows("sign_in_links") == []
        answer = await server.sign_in(code)
        assert (answer.status_code, "Set-Cookie" in answer.headers) == (401, False)
        assert len(server.rows()) == 1


async def test_a_link_and_a_session_end_with_their_time(tmp_path: Path) -> None:
    async with browsing(tmp_path, link_s=60.0, browser_session_s=120.0) as server:
        late, code = server.link(Scope.ADMIN), server.link(Scope.ADMIN)
        cookie = await server.cookie(code)
        server.run.clock.now += 60
        assert (await server.sign_in(late)).status_code == 401
        assert (await server.send("GET", SESSIONS, Cookie=cookie)).status_code == 200
        server.run.clock.now += 60
        assert (await server.send("GET", SESSIONS, Cookie=cookie)).status_code == 401


async def test_a_session_is_over_with_the_token_that_opened_it(tmp_path: Path) -> None:
    async with browsing(tmp_path) as server:
        short, _ = server.token(lasting_s=100)
        token, token_id = server.token()
        answer = await server.sign_in(short)
        assert "Max-Age=100;" in answer.headers["Set-Cookie"]
        cookie, other = await server.cookie(token), await server.cookie(server.link())
        answer = await server.send("DELETE", f"{TOKENS}/{token_id}", Cookie=other, **OURS)
        assert json.loads(answer.body) == {"revoked": token_id}
        assert (await server.send("GET", SESSIONS, Cookie=cookie)).status_code == 401
        assert (await server.send("GET", SESSIONS, Cookie=other)).status_code == 200
        assert (await server.sign_in(token)).status_code == 401


async def test_sessions_and_links_are_bounded_and_those_that_are_over_make_room(tmp_path: Path) -> None:
    async with browsing(tmp_path, browser_sessions_max=2, links_max=3, browser_session_s=1000.0) as server:
        codes = [server.link() for _ in range(3)]
        assert not isinstance(server.maker.link([Scope.READ]), NewLink)
        cookies = [await server.cookie(code) for code in codes[:2]]
        assert (await server.sign_in(codes[2])).status_code == 507
        assert len(server.rows("sign_in_links")) == 1, "a link that opened nothing works later"
        await server.send("POST", "/sign-out", Cookie=cookies[0], **OURS)
        assert (await server.sign_in(codes[2])).status_code == 303
        assert len(server.rows()) == 2


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec_Fetch_Site": "same-origin"}, 404),
        ({"Sec_Fetch_Site": "none"}, 404),
        ({"Origin": "http://localhost"}, 404),
        ({"Origin": "HTTP://LOCALHOST"}, 404),
        ({"Sec_Fetch_Site": "same-origin", "Origin": "http://elsewhere.example"}, 404),
        ({}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Origin": "http://localhost"}, 403),
        ({"Sec_Fetch_Site": ""}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://localhost"}, 403),
        ({"Origin": "http://localhost:8080"}, 403),
        ({"Origin": "http://localhost.elsewhere.example"}, 403),
        ({"Referer": "http://localhost/"}, 403),
    ],
)
async def test_with_a_cookie_only_a_page_of_ours_changes_anything(
    tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    async with browsing(tmp_path) as server:
        cookie = await server.cookie(server.link())
        for path in (f"{TOKENS}/tok_0123456789abcdef", f"{SESSIONS}/ses_0123456789abcdef"):
            answer = await server.send("DELETE", path, Cookie=cookie, **headers)
            assert answer.status_code == status, answer.body
        before = server.rows()
        for path in (SIGN_IN, "/sign-out"):
            answer = await server.send("POST", path, b"key=x", Cookie=cookie, **headers)
            assert (answer.status_code == 403) is (status == 403)
        if status == 403:
            assert server.rows() == before
        token, _ = server.token("admin")
        answer = await server.send(
            "DELETE", f"{TOKENS}/tok_0123456789abcdef", Authorization=f"Bearer {token}", **headers
        )
        assert answer.status_code == 404, "a token no page sends by itself"


async def test_behind_a_proxy_that_is_trusted_the_origin_is_what_the_proxy_says(tmp_path: Path) -> None:
    async with browsing(tmp_path) as server:
        proxy = {"X_Forwarded_Proto": "https", "X_Forwarded_Host": "cc.example", "scope": PROXIED}
        stranger = {**proxy, "scope": DIRECT}
        code = server.link()
        answer = await server.sign_in(code, **proxy)
        cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith("__Host-central_command=")
        assert cookie.endswith("; HttpOnly; SameSite=Lax; Secure")
        cookie = cookie.partition(";")[0]
        for more, status in ((proxy, 404), (stranger, 403)):
            sent: Any = {**more, "Origin": "https://cc.example", "Cookie": cookie}
            answer = await server.send("DELETE", f"{TOKENS}/tok_0123456789abcdef", **sent)
            assert answer.status_code == (status if more is proxy else 401)
        plain = await server.cookie(server.link())
        for origin in ("https://cc.example", "http://cc.example"):
            sent = {**stranger, "Origin": origin, "Cookie": plain}
            assert (await server.send("DELETE", f"{TOKENS}/tok_0123456789abcdef", **sent)).status_code == 403


async def test_a_browser_without_a_session_is_sent_to_sign_in_and_a_program_is_told(tmp_path: Path) -> None:
    async with browsing(tmp_path) as server:
        page: Any = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
        answer = await server.send("GET", f"{SESSIONS}?a=b&c=%2F", **page)
        assert (answer.status_code, answer.headers["Location"]) == (
            303,
            "/sign-in?next=%2Fapi%2Faccess%2Fsessions%3Fa%3Db%26c%3D%252F",
        )
        shown = await server.send("GET", answer.headers["Location"])
        assert b'name="next" value="/api/access/sessions?a=b&amp;c=%2F"' in shown.body
        answer = await server.send("GET", SESSIONS, Cookie="central_command=" + new_cookie(os.urandom), **page)
        assert answer.status_code == 303
        assert "Max-Age=0" in answer.headers["Set-Cookie"], "it would be sent in vain for ever"
        assert (await server.send("GET", f"{SESSIONS}?{'x' * 600}", **page)).headers["Location"] == SIGN_IN
        for headers in ({}, {"Accept": "application/json"}, {"Authorization": "Bearer x", **page}):
            answer = await server.send("GET", SESSIONS, **headers)
            assert (answer.status_code, answer.content_type) == (401, "application/json")
        assert (await server.send("DELETE", f"{SESSIONS}/x", **page)).status_code == 401


@pytest.mark.parametrize(
    "path",
    ["//elsewhere.example", "https://elsewhere.example", "/%5C", "\\\\x", "/a\nb", "x", "", "/\\x", "/" + "a" * 600],
)
async def test_nobody_is_sent_to_another_site(tmp_path: Path, path: str) -> None:
    async with browsing(tmp_path) as server:
        answer = await server.sign_in(server.link(), f"&next={quote(path)}")
        assert answer.status_code == 303
        assert answer.headers["Location"] == (path if path == "/%5C" else SIGN_IN)


async def test_every_wrong_key_is_answered_alike_and_limited_by_address(tmp_path: Path) -> None:
    async with browsing(tmp_path, wrong_per_minute=7) as server:
        _, revoked_id = revoked = server.token()
        expired, _ = server.token(lasting_s=1)
        server.run.clock.now += 2
        await server.run.service.access.desk.revoke_token(revoked_id)
        used = server.link()
        await server.cookie(used)
        keys = ["", "x", revoked[0], expired, used, "cc_" + "A" * 43, "cl_" + "A" * 43]
        answers = [await server.sign_in(key) for key in keys]
        assert {(each.status_code, each.body) for each in answers} == {(401, answers[0].body)}
        answer = await server.sign_in("x")
        assert (answer.status_code, answer.headers["Retry-After"] != "") == (429, True)
        assert (await server.sign_in(server.link())).status_code == 303, "a right one is not kept out"
        assert (await server.send("GET", SESSIONS, Cookie="central_command=x")).status_code == 429, "counted together"
        elsewhere: Any = {"client": ("192.0.2.2", 4000)}
        for cookie in ("x", "A" * 43, "A" * 44):
            answer = await server.send("GET", SESSIONS, Cookie=f"central_command={cookie}", scope=elsewhere)
            assert answer.status_code == 401
        for _ in range(9):
            answer = await server.send("GET", SESSIONS, Cookie="central_command=x", scope=elsewhere)
        assert answer.status_code == 429


async def test_pages_and_answers_of_ours_are_guarded_and_the_contract_s_are_as_they_were(tmp_path: Path) -> None:
    async with browsing(tmp_path) as server:
        cookie = await server.cookie(server.link())
        for path, has_cookie in (
            (SIGN_IN, False),
            (f"{SIGN_IN}/link", False),
            (SESSIONS, True),
            (SESSIONS, False),
            ("/nothing", False),
            ("/openapi.json", False),
        ):
            answer = await server.send("GET", path, Cookie=cookie if has_cookie else None)
            assert answer.headers["Content-Security-Policy"] == CONTENT_POLICY
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "same-origin"
            assert answer.headers.get("Cache-Control") == (None if path == "/openapi.json" else "no-store")
        for path in ("/health", "/ready", "/v1/stats/summary", "/v1/nothing"):
            answer = await server.send("GET", path)
            assert {"Content-Security-Policy", "Cache-Control"}.isdisjoint(answer.headers.keys())


async def test_two_cookies_of_the_name_are_none(tmp_path: Path) -> None:
    """A neighbouring host can add one to what the browser sends, and which of them is ours cannot be told."""
    async with browsing(tmp_path) as server:
        cookie = await server.cookie(server.link())
        assert (await server.send("GET", SESSIONS, Cookie=f"{cookie}; central_command=x")).status_code == 401
        assert (await server.send("GET", SESSIONS, Cookie=f"other=1; {cookie}")).status_code == 200


async def test_who_signs_in_lands_where_they_may_look(tmp_path: Path) -> None:
    """Not at a page that refuses them: the overview is for the scopes `read` and `admin`."""
    async with browsing(tmp_path) as server:
        for scopes, path in ((("read",), "/"), (("export", "admin"), "/"), (("export",), "/exports")):
            assert await server.lands(*scopes) == path
        assert await server.lands("intake") == SIGN_IN
        key, _ = server.token("intake")
        shown = await server.send("GET", SIGN_IN, cookie=await server.cookie(key))
        assert (b"No page is for what you are signed in for" in shown.body, b"for: intake" in shown.body) == (
            True,
            True,
        )
        key, _ = server.token("export")
        shown = await server.send("GET", SIGN_IN, cookie=await server.cookie(key))
        assert b"No page is for" not in shown.body


async def test_who_is_signed_in_gets_through_where_a_neighbour_has_used_up_the_address(tmp_path: Path) -> None:
    """Behind a NAT, or a proxy that is not trusted; and nobody else does, nor one who has signed out."""
    async with running(tmp_path) as run:
        browsing = Browsing(run, http=HttpSettings(requests_per_minute=9, browser_requests_per_minute=4))
        cookie = await browsing.cookie(browsing.token("admin")[0])
        early = await browsing.cookie(browsing.token("admin")[0])
        forged = f"central_command={new_cookie(os.urandom)}"
        assert (await browsing.send("GET", TOKENS, Cookie=cookie)).status_code == 200
        while (await browsing.send("GET", "/nothing")).status_code != 429:
            pass
        for _ in range(20):
            assert (await browsing.send("GET", TOKENS, Cookie=cookie)).status_code == 200
        answers = [await browsing.send("GET", TOKENS, Cookie=other) for other in (forged, early, None)]
        assert [answer.status_code for answer in answers] == [429, 429, 429], "it was right nowhere yet, or is none"
        batch = await browsing.send("POST", "/v1/training/ingest/batch", b"{}", Cookie=cookie)
        assert batch.status_code == 429, "envelopes have sessions, and no cookie"
        assert (await browsing.send("POST", "/sign-out", Cookie=cookie, **OURS)).status_code == 303
        # What it costs is not given back any more: three of the four are left.
        answers = [await browsing.send("GET", TOKENS, Cookie=cookie) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
