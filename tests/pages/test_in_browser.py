"""Pages in a real browser: what axe-core finds, the theme, keys, times, and life without a script.

All in one file, so that one process has the server and the browser (`--dist loadfile`).
"""

import re
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from tests.pages.conftest import until

PATHS = [
    "/",
    "/sessions",
    "/search",
    "/search?q=needle",
    "/search?q=%22open",
    "/access",
    "/access/sessions",
    "/access/bans",
    "/access/audit",
    "/settings",
    "/sign-in",
    "/nothing",
    "/jobs",
    "/exports",
    "/observer",
    "/refused",
    "/corpus",
    "/tools",
    "/contributors",
]
"""Every page, as it is looked at by axe-core in both themes; a page adds its path here."""

WIDTHS = [390, 1280]

CUT = "[...document.querySelectorAll('.table-scroll')].map(each => each.scrollWidth - each.clientWidth)"
"""By how much tables are wider than what they scroll in."""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_any_page(tabs: Any, theme: str) -> None:
    tab = tabs(theme)
    found = {}
    for path in PATHS:
        tab.open(path)
        if violations := tab.violations():
            found[path] = violations
    assert found == {}
    tab.check()


@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_is_wider_than_the_window(tabs: Any, width: int) -> None:
    tab = tabs(width=width)
    wider = {}
    for path in PATHS:
        page = tab.open(path)
        over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if width >= 1280:
            over = max(over, *page.evaluate(CUT), 0)
        if over > 0:
            wider[path] = over
    assert wider == {}


def test_every_page_can_be_read_without_a_script(tabs: Any) -> None:
    tab = tabs(scripts=False)
    for path in PATHS:
        page = tab.open(path)
        assert page.locator("h1").inner_text()
        assert page.locator("main").inner_text().strip()
        assert page.locator(".needs-script:visible").count() == 0
    tab.check()


def test_a_theme_that_is_chosen_stays_and_is_there_before_any_script(tabs: Any) -> None:
    tab = tabs("light")
    page = tab.open("/")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Dark").click()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark != light
    answer = page.request.get(tab.url + "/")
    assert 'data-theme="dark"' in answer.text(), "the server sends it so"
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
    assert page.get_by_role("button", name="Dark").get_attribute("aria-pressed") == "true"
    tab.check()


def test_a_theme_can_be_chosen_without_a_script(tabs: Any) -> None:
    page = tabs("light", scripts=False).open("/")
    page.get_by_role("button", name="Dark").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert page.url.endswith("/")


def test_keys_lead_to_search_and_pages_and_tell_what_they_do(tabs: Any) -> None:
    tab = tabs()
    page = tab.open("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("?")
    assert page.get_by_role("dialog").is_visible()
    page.keyboard.press("Escape")
    assert not page.get_by_role("dialog").is_visible()
    page.keyboard.press("g")
    with page.expect_navigation(url=re.compile(r"/jobs$")):
        page.keyboard.press("j")
    with page.expect_navigation(url=re.compile(r"/search$")):
        page.keyboard.press("/")


def test_htmx_runs_and_may_do_nothing_that_the_policy_forbids(tabs: Any) -> None:
    tab = tabs()
    page = tab.open("/")
    config = page.evaluate("({...htmx.config})")
    assert (config["allowEval"], config["selfRequestsOnly"], config["includeIndicatorStyles"]) == (False, True, False)
    assert config["allowScriptTags"] is False
    # In a task of its own: what the debugger evaluates directly is exempt from the policy.
    tried = (
        "new Promise(done => setTimeout(() => { try { eval('1'); done('ran') } catch (error) { done(error.name) } }))"
    )
    assert page.evaluate(tried) == "EvalError"
    tab.complaints.clear()  # of the eval that was tried


def test_charts_are_drawn_over_their_tables(tabs: Any) -> None:
    tab = tabs()
    page = tab.open("/")
    page.locator(".chart canvas").first.wait_for()
    page.get_by_role("button", name="Dark").click()
    assert page.locator(".chart canvas").count() >= 1
    tab.check()


def test_times_are_in_the_reader_s_zone_and_the_exact_one_is_their_title(tabs: Any) -> None:
    tab = tabs(zone="Asia/Kolkata")
    time = tab.open("/access").locator("tbody time").first
    exact = time.get_attribute("datetime")
    assert exact.endswith("Z")
    assert exact in time.get_attribute("title")
    expected = tab.page.evaluate(
        "at => new Intl.DateTimeFormat('en-GB', {timeStyle: 'medium', timeZone: 'Asia/Kolkata'}).format(new Date(at))",
        exact,
    )
    assert time.inner_text() == expected
    plain = tabs(scripts=False).open("/access").locator("tbody time").first
    assert plain.inner_text() == f"{exact[:10]} {exact[11:16]} UTC"


def test_a_token_is_made_and_revoked_with_keys_alone(tabs: Any) -> None:
    tab = tabs()
    page = tab.open("/access")
    page.get_by_label("Name").fill("by hand")
    page.keyboard.press("Enter")
    assert page.locator("#new-token").inner_text().startswith("cc_")
    revoke = page.locator("summary[aria-label='Revoke by hand']")
    revoke.focus()
    page.keyboard.press("Enter")
    until(page, "document.activeElement.matches('[data-closes]')")
    page.keyboard.press("Enter")
    assert revoke.evaluate("each => each === document.activeElement && !each.parentElement.open")
    page.keyboard.press("Enter")
    until(page, "document.activeElement.matches('[data-closes]')")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/access?said=revoked")
    assert page.get_by_role("status").first.inner_text().startswith("The token works no more")
    tab.check()


def test_signing_in_leads_to_the_page_that_was_asked_for_and_signing_out_ends_it(tabs: Any, served: Any) -> None:
    tab = tabs(signed_in=False)
    page = tab.open("/search?q=needle")
    assert page.url.startswith(f"{tab.url}/sign-in?next=")
    page.get_by_label("Token").fill(served.token)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{tab.url}/search?q=needle")
    assert page.locator("mark").first.inner_text() == "needle"
    page.get_by_role("link", name="Account").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{tab.url}/sign-in")
    assert "/sign-in" in tab.open("/").url
    tab.check()


def test_a_session_that_has_expired_leads_to_signing_in_and_back_to_the_page(tabs: Any, served: Any) -> None:
    tab = tabs(signed_in=False)
    page = tab.open("/tools")
    page.get_by_label("Token").fill(served.token)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{tab.url}/tools")
    with closing(sqlite3.connect(served.server.data_directory / "access.db")) as database, database:
        latest = "(SELECT session_id FROM browser_sessions ORDER BY created_at DESC LIMIT 1)"
        long_ago = "2020-01-01T00:00:00.000000Z"
        database.execute(f"UPDATE browser_sessions SET expires_at = ? WHERE session_id = {latest}", (long_ago,))
    page = tab.open("/jobs")
    assert page.url.startswith(f"{tab.url}/sign-in?next=")
    page.get_by_label("Token").fill(served.token)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{tab.url}/jobs")
    tab.check()


def test_a_search_goes_back_and_forward(tabs: Any) -> None:
    tab = tabs()
    page = tab.open("/search")
    page.get_by_role("searchbox").fill("needle")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search?q=needle**")
    assert page.locator(".hits > li").count() == 4
    page.go_back()
    assert page.locator(".hits").count() == 0
    page.go_forward()
    assert page.locator(".hits > li").count() == 4
    tab.check()
