"""What holds for every page: who sees it, what an error looks like, how it is guarded, and what it loads."""

import re
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.envelopes.settings import SchemaSettings
from central_command.access.tokens import Scope
from central_command.http.app import Offered, create_app
from central_command.http.requests.replies import CONTENT_POLICY
from central_command.http.settings import HttpSettings, Side
from central_command.tallies.tallies import Tallies
from central_command.viewing.desk import ViewerDesk
from central_command.viewing.settings import ViewerSettings
from central_command.web.all_pages import WebPages
from central_command.web.pages.form_paths import FORM_PATHS
from central_command.web.site import NAVIGATION, Sources
from persistence.settings.search import SearchSettings
from tests.pages.operated import operated
from tests.pages.page_client import pages_on
from tests.running_service import Running, running

LOADED = re.compile(r'(?:href|src)="(/assets/[^"#]+)')


async def test_the_first_page_is_the_overview_and_leads_to_all_others(tmp_path: Path) -> None:
    async with pages_on(tmp_path, Scope.READ, Scope.EXPORT, Scope.ADMIN) as browser:
        page = await browser.get("/")
        assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert page.headers["Content-Security-Policy"] == CONTENT_POLICY
        assert page.headers["Cache-Control"] == "no-store"
        assert "unsafe" not in CONTENT_POLICY
        for group in NAVIGATION:
            for item in group:
                assert f'href="{item.path}"' in page.text
        assert page.text.count("aria-current") == 1
        assert "<style" not in page.text
        assert not re.search(r"<script(?![^>]* src=)", page.text)


@pytest.mark.parametrize("scope", [Scope.READ, Scope.EXPORT, Scope.ADMIN, Scope.INTAKE])
async def test_a_page_leads_to_those_that_its_reader_may_see_and_to_no_other(tmp_path: Path, scope: Scope) -> None:
    items = [item for group in NAVIGATION for item in group]
    async with pages_on(tmp_path, scope) as browser:
        first = await browser.get("/")
        navigation = first.text.partition('<nav class="navigation"')[2].partition("</nav>")[0]
        shown = [item for item in items if f'href="{item.path}"' in navigation]
        assert [item for item in items if (await browser.get(item.path)).status != 403] == shown
        assert "<ul>\n</ul>" not in navigation, "no group is empty"
        if first.status == 403:
            ways = re.findall(r'<a class="button" href="([^"]+)"', first.text)
            assert ways == [item.path for item in shown[:1]], "the first page that they may see"


@pytest.mark.parametrize("scope", [Scope.READ, Scope.ADMIN])
async def test_figures_of_the_overview_lead_to_no_page_that_is_refused(tmp_path: Path, scope: Scope) -> None:
    async with operated(tmp_path, scope) as server:
        page = await server.browser.get("/")
        ways = set(re.findall(r'<dt><a href="([^"?]+)', page.text))
        assert ways & {"/sessions", "/jobs"}
        assert [way for way in ways if (await server.browser.get(way)).status == 403] == []


async def test_without_a_session_a_page_leads_to_the_sign_in_page_and_back(tmp_path: Path) -> None:
    async with pages_on(tmp_path) as browser:
        answer = await browser.get("/?a=b")
        assert (answer.status, answer.headers["Location"]) == (303, "/sign-in?next=%2F%3Fa%3Db")
        form = await browser.get(answer.headers["Location"])
        assert 'name="next" value="/?a=b"' in form.text
        assert "/assets/" in form.text
        assert 'aria-label="Pages"' not in form.text
        refused = await browser.post("/sign-in", key="x", next="/?a=b")
        assert (refused.status, 'name="next" value="/?a=b"' in refused.text) == (401, True)
        assert refused.text.index("no valid token") < refused.text.index('<input id="token" name="key"')
        assert 'aria-describedby="wrong" aria-invalid="true"' in refused.text
        assert "aria-invalid" not in form.text, "nothing was wrong yet"
        await browser.sign_in(Scope.READ)
        assert (await browser.get("/?a=b")).status == 200


async def test_who_has_signed_in_finds_the_account_among_the_pages(tmp_path: Path) -> None:
    async with pages_on(tmp_path, Scope.READ) as browser:
        page = await browser.get("/sign-in")
        assert "You are signed in until" in page.said
        assert 'href="/sign-in" aria-current="page"' in page.text
        navigation = page.text.partition('<nav class="navigation"')[2].partition("</nav>")[0]
        assert ('href="/sessions"' in navigation, 'href="/jobs"' in navigation) == (True, False)


async def test_keys_are_told_for_the_pages_that_the_navigation_has(tmp_path: Path) -> None:
    keys = [item.key for group in NAVIGATION for item in group if item.key]
    assert len({*keys}) == len(keys) == 11
    async with pages_on(tmp_path, Scope.READ, Scope.EXPORT, Scope.ADMIN) as browser:
        for scopes, paths in (((), ("/contributors", "/refused", "/settings")), ((Scope.READ,), ("/contributors",))):
            if scopes:
                await browser.sign_in(*scopes)
            page = await browser.get("/")
            told = re.findall(r"<kbd>g</kbd> <kbd>(.)</kbd>", page.text)
            assert told == re.findall(r'data-key="(.)"', page.text)
            assert {item.path for group in NAVIGATION for item in group if item.key in told} >= {*paths}
        assert "d" not in told, "dead letters are for administrators"


async def test_who_signs_in_without_a_page_to_go_back_to_sees_the_overview(tmp_path: Path) -> None:
    async with pages_on(tmp_path, Scope.READ) as browser:
        answer = await browser.post("/sign-in", key=browser.link(Scope.READ), next="//elsewhere.example")
        assert (answer.status, answer.headers["Location"]) == (303, "/")


async def test_what_is_wrong_is_said_as_a_page_to_browsers_and_as_json_to_programs(tmp_path: Path) -> None:
    async with pages_on(tmp_path, Scope.EXPORT) as browser:
        page = await browser.get("/")
        assert (page.status, "You have not the scope" in page.said) == (403, True)
        page = await browser.get("/nothing/<b>")
        assert (page.status, "There is no such page." in page.said) == (404, True)
        page = await browser.post("/theme", theme="pink")
        assert (page.status, "The theme must be one of" in page.said) == (400, True)
        page = await browser.post("/", theme="x")
        assert (page.status, page.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
        for path, headers in (("/nothing", {"Accept": "application/json"}), ("/api/nothing", {}), ("/v1/nothing", {})):
            answer = await browser.get(path, **headers)
            assert (answer.status, answer.headers["Content-Type"]) == (404, "application/json")


async def test_where_forms_are_sent_to_leads_back_to_the_page_that_has_them(tmp_path: Path) -> None:
    async with operated(tmp_path) as server:
        rules = [rule for rule in server.browser.app.url_map.iter_rules() if rule.endpoint.startswith("pages_")]
        taking = {rule.rule: rule for rule in rules if rule.methods and "POST" in rule.methods}
        asked = {re.sub(r"<[^>]+>", "<>", rule.rule) for rule in rules if rule.methods and "GET" in rule.methods}
        assert len(taking) >= 10
        assert [path for path in taking if re.sub(r"<[^>]+>", "<>", path) not in asked] == [], "a way back is missing"
        for path in FORM_PATHS:
            answer = await server.browser.get(re.sub(r"<[^>]+>", "some", path))
            assert (answer.status, answer.headers["Location"]) == (303, FORM_PATHS[path])
            assert (await server.browser.get(FORM_PATHS[path])).status == 200
        assert (await server.browser.get("/jobs/work__1/state")).status == 200, "no form is sent there"


async def test_what_has_nothing_yet_says_how_to_send_it_to_this_server(tmp_path: Path) -> None:
    def offering(run: Running) -> Offered:
        open_sessions = run.service.desks.open_sessions(trio.Event())
        return Offered(open_sessions=open_sessions, refused=run.service.desks.refused())

    desk, tallies = ViewerDesk(tmp_path, ViewerSettings()), Tallies(tmp_path, SearchSettings())
    async with pages_on(tmp_path, Scope.READ, Scope.ADMIN, offering=offering, viewer=desk, tallies=tallies) as browser:
        for path in ("/", "/sessions", "/sessions?state=open", "/tools", "/contributors"):
            page = await browser.get(path)
            said = re.findall(r"<code>(export [^<]+)</code>", page.text)
            assert len(said) == 1, path
            first, *commands = said[0].splitlines()
            assert first == "export CENTRAL_COMMAND_URL=http://localhost"
            assert all(re.match(r"central-command (upload|watch) ~/\.claude/projects", each) for each in commands)
            assert commands
        page = await browser.get("/refused")
        assert "central-command refused list --url http://localhost --token-file admin.token" in page.text


async def test_a_form_from_elsewhere_changes_nothing_and_is_told_so_as_a_page(tmp_path: Path) -> None:
    async with pages_on(tmp_path, Scope.READ) as browser:
        answer = await browser.post("/theme", {"Sec_Fetch_Site": "cross-site"}, theme="dark")
        assert (answer.status, "Set-Cookie" in answer.headers) == (403, False)
        assert "must come from a page of this server" in answer.said


async def test_htmx_is_told_a_sentence_and_who_must_sign_in_is_led_there(tmp_path: Path) -> None:
    async with pages_on(tmp_path) as browser:
        asked = {"HX_Request": "true", "Accept": "*/*", "HX_Current_URL": "http://localhost/sessions?q=a"}
        answer = await browser.get("/", **asked)
        assert (answer.status, answer.headers["HX-Redirect"]) == (401, "/sign-in?next=%2Fsessions%3Fq%3Da")
        assert answer.headers["Content-Type"].startswith("text/plain")
        answer = await browser.get("/", **{**asked, "HX_Current_URL": "http://["})
        assert answer.headers["HX-Redirect"] == "/sign-in?next=%2F"
        await browser.sign_in(Scope.EXPORT)
        answer = await browser.get("/", **asked)
        assert (answer.status, "HX-Redirect" in answer.headers) == (403, False)


@pytest.mark.parametrize("theme", ["light", "dark", "system"])
async def test_the_theme_is_in_the_page_itself_and_a_form_changes_it(tmp_path: Path, theme: str) -> None:
    async with pages_on(tmp_path) as browser:
        answer = await browser.post("/theme", theme=theme, next="/sessions?a=b")
        assert (answer.status, answer.headers["Location"]) == (303, "/sessions?a=b")
        cookie = answer.headers["Set-Cookie"]
        assert cookie == f"theme={theme}; Path=/; Max-Age=31536000; SameSite=Lax"
        page = await browser.get("/sign-in", Cookie=cookie.partition(";")[0])
        assert f'data-theme="{theme}"' in page.text
        assert 'data-theme="system"' in (await browser.get("/sign-in", Cookie='theme=x"><script>')).text


async def test_pages_are_where_administration_is(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        pages = WebPages(
            Sources(gateway=run.service, offered={}, settings=lambda: run.service.settings, clock=run.clock)
        )

        def application(side: Side) -> Any:
            http = HttpSettings()
            access = run.service.access
            return create_app(
                run.service, http, schema=SchemaSettings(), clock=run.clock, side=side, access=access, pages=pages
            )

        public, apart = application(Side.PUBLIC), application(Side.ADMINISTRATION)
        for path in ("/", "/sign-in", "/theme", "/assets/<version>/<name>"):
            assert [any(rule.rule == path for rule in app.url_map.iter_rules()) for app in (public, apart)] == [
                False,
                True,
            ]
        answer = await public.test_client().get("/nothing", headers={"Accept": "text/html"})
        assert answer.content_type == "application/json", "no page stands where there are none"


async def test_what_pages_load_is_kept_for_ever_compressed_and_said_what_it_is(tmp_path: Path) -> None:
    async with pages_on(tmp_path, Scope.READ) as browser:
        page = await browser.get("/")
        loaded = set(LOADED.findall(page.text))
        assert len(loaded) >= 6
        total = len(page.text.encode())
        for path in loaded:
            plain = await browser.get_bytes(path)
            total += len(plain.content)
            assert plain.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            assert plain.headers["X-Content-Type-Options"] == "nosniff"
            assert plain.headers["Vary"] == "Accept-Encoding"
            packed = await browser.get_bytes(path, Accept_Encoding="br, gzip")
            assert packed.headers["Content-Encoding"] == "gzip"
            assert len(packed.content) < len(plain.content)
            again = await browser.get_bytes(path, If_None_Match=plain.headers["ETag"])
            assert (again.status, again.content) == (304, b"")
        assert total < 250_000, "all that a first visit loads"
        old = await browser.get_bytes(f"/assets/0123456789abcdef/{next(iter(loaded)).rpartition('/')[2]}")
        assert (old.status, old.headers["Cache-Control"]) == (200, "public, no-cache")
        for wrong in ("/assets/x/vendored.toml", "/assets/x/nothing.js", "/assets/x/..%2Fsite.py"):
            assert (await browser.get_bytes(wrong)).status == 404
