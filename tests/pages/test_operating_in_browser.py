"""Operators' pages in a real browser: what runs is watched without reloading, and things are changed by buttons.

All in one file, so that one process has the server and the browser (`--dist loadfile`).
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.pages.conftest import Served
from tests.server_process import INGEST, OPEN, request
from tests.signing_client import SigningClient

ENDS_MS_MAX = 30_000
"""How long a job, or an export, may take on a slow machine."""


@pytest.fixture(scope="module")
def operated(served: Served) -> Iterator[Served]:
    """The server, with an envelope that it has refused."""
    connection = served.server.connect()
    client = SigningClient("sess_refused")
    opened = request(connection, "POST", OPEN, json.dumps(client.opening()).encode())
    client.opened(opened.members["server_public_key"])
    assert not request(connection, "POST", INGEST, client.chunk(3, team_size=10**6)).members["accepted"]
    connection.close()
    return served


def calm(page: Any, path: str) -> bool:
    """Whether a page asks for a state no more."""
    asked: list[str] = []
    page.on("request", lambda each: asked.append(each.url))
    page.wait_for_timeout(2_500)
    return not [each for each in asked if path in each]


def test_a_job_is_run_from_the_page_and_its_state_follows_until_it_has_ended(operated: Served, tabs: Any) -> None:
    tab = tabs("dark")
    page = tab.open("/jobs")
    page.get_by_role("row", name="verify").first.get_by_role("button", name="Run now").click()
    assert page.get_by_role("status").filter(has_text="The job waits; it begins").is_visible()
    page.locator("table.jobs").get_by_role("link", name=re.compile("verify__")).first.click()
    state = page.locator("#job-state")
    state.get_by_text("completed", exact=True).first.wait_for(timeout=ENDS_MS_MAX)
    assert state.get_attribute("hx-trigger") is None
    assert calm(page, "/state")
    assert tab.violations() == []
    tab.check()


def test_an_export_is_made_by_the_form_watched_and_removed(operated: Served, tabs: Any) -> None:
    tab = tabs()
    page = tab.open("/exports")
    page.get_by_label("jsonl").check()
    page.get_by_label("Model").fill("gpt-*")
    page.get_by_role("button", name="Make the export").click()
    state = page.locator("#export-state")
    assert "--model=gpt-*" in state.inner_text()
    state.get_by_text(re.compile("^(done|failed)$")).first.wait_for(timeout=ENDS_MS_MAX)
    assert calm(page, "/state")
    assert tab.violations() == []
    page.locator("summary", has_text="Remove").click()
    page.get_by_role("button", name="Remove").click()
    assert page.get_by_text("all of its files are removed").is_visible()
    tab.check()


def test_a_queue_is_paused_and_resumed_without_a_script(operated: Served, tabs: Any) -> None:
    page = tabs(scripts=False, width=390).open("/jobs")
    row = page.get_by_role("row", name="retention").first
    row.get_by_role("button", name="Pause").click()
    assert page.get_by_text("The queue is paused").is_visible()
    row.get_by_role("button", name="Resume").click()
    assert page.get_by_text("The queue goes on.").is_visible()
    assert row.get_by_role("button", name="Pause").is_visible()


def test_a_dead_letter_is_tried_again_by_keyboard(operated: Served, tabs: Any) -> None:
    tab = tabs("dark", width=390)
    page = tab.open("/refused")
    page.locator("tbody a[href^='/refused/']").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/refused/env_"))
    assert tab.violations() == []
    page.get_by_role("button", name="Try again").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("tried=stays"))
    assert "stays refused" in page.locator("main").inner_text()
    over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert over == 0
    tab.check()


def test_an_operators_filters_stand_in_the_address_and_go_back_with_it(operated: Served, tabs: Any) -> None:
    tab = tabs()
    page = tab.open("/tools")
    page.get_by_role("link", name="yesterday").click()
    assert "after=" in page.url
    page.get_by_role("link", name="Clear").click()
    page.go_back()
    assert page.get_by_role("link", name="yesterday").get_attribute("aria-current") == "true"
    page = tab.open("/observer")
    page.get_by_label("Result").select_option("false")
    page.get_by_role("button", name="Show").click()
    assert "success=false" in page.url
    tab.check()
