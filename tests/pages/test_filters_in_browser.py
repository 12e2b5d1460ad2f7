"""Every field of every form of filters, and every key that each page's help lists, tried in a real browser.

All in one file, so that one process has the server and the browser (`--dist loadfile`).
"""

import json
import time
from collections.abc import Iterator
from typing import Any, Final

import pytest

from central_command.web.site import NAVIGATION
from tests.actors.curation.trajectory_lines import call, prompt, thought
from tests.corpus_maker import session
from tests.indexed import put
from tests.pages.conftest import Served, _contexts
from tests.server_process import ServerProcess
from tests.submitted_texts import leave_token

CORPUS: Final = {
    "provider": "codex",
    "model": "gpt-5",
    "domain": "parsers",
    "tier": "B",
    "outcome": "CRASH",
    "tool": "Edit",
    "contributor": "con_of_nobody",
    "after": "2026-11-02",
    "before": "2026-11-02",
}
FORMS: Final[dict[str, dict[str, str]]] = {
    "/sessions": CORPUS,
    "/search?q=needle": {**CORPUS, "q": "hay", "order": "newest"},
    "/tools": {name: CORPUS[name] for name in ("provider", "model", "after", "before")},
    "/jobs": {"queue": "gc", "status": "failed"},
    "/observer": {"source": "test", "success": "false", "endpoint": "tool:two"},
    "/refused": {"code": "schema", "day": "2026-11-20", "session": "sess_1", "machine": "m", "contributor": "a" * 32},
}
"""Of each page with a form of filters, what is put into each of its fields, alone."""

FORM: Final = "main form[method=get][action^='{path}']"
FIELDS: Final = "form => [...form.elements].filter(each => each.name && each.type !== 'hidden' && !each.disabled)"
NAMES: Final = f"form => [...new Set(({FIELDS})(form).map(each => each.name))]"
OFFERED: Final = """(field, value) => {
  if (![...field.options].some(each => each.value === value)) field.add(new Option(value, value));
}"""
RESULT: Final = """() => {
  const main = document.querySelector("main").cloneNode(true);
  main.querySelectorAll("form, time").forEach(each => each.remove());
  return main.textContent.replace(/\\s+/g, " ");
}"""
"""What a page says beside its forms; times of what goes on meanwhile are left out."""


@pytest.fixture(scope="module")
def filtered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with two sessions that have nothing in common, and operations of two endpoints."""
    root = tmp_path_factory.mktemp("filtered") / "data"
    first = session(0, [prompt("look for the needle"), *call("Bash", "done"), thought("done")])
    domains = {"primary": {"domain": "parsers", "confidence": 0.9}, "secondary": None}
    second = session(
        1,
        [prompt("mend the parser"), *call("Edit", "no needle")],
        contributor=2,
        metadata={"provider": "codex", "model_engine": "gpt-5", "domain_tags": domains},
        outcome={"status": "CRASH", "total_steps": 3, "total_chunks": 1},
    )
    put(root, first, second)
    settings = {
        "CENTRAL_COMMAND__HTTP__REQUESTS_PER_MINUTE": "10000",
        "CENTRAL_COMMAND__OBSERVER__OWN_SAMPLE_EVERY": "1000000",
    }
    with ServerProcess(root, settings=settings) as server:
        token, _ = leave_token(root, "intake", now=time.time())
        connection = server.connect()
        for endpoint, succeeds in (("tool:one", True), ("tool:two", False), ("tool:two", True)):
            event = {"endpoint": endpoint, "success": succeeds, "source": "test" if succeeds else "other"}
            headers = {"Authorization": f"Bearer {token}"}
            connection.request("POST", "/api/observer/event", json.dumps(event), headers)
            assert connection.getresponse().read()
        connection.close()
        yield Served(server)


@pytest.fixture
def tabs(filtered: Served, chromium: Any) -> Iterator[Any]:
    """Opens tabs, as for all pages."""
    with _contexts(filtered, chromium) as open_tab:
        yield open_tab


def form_of(page: Any, path: str) -> Any:
    """The form of filters, with nothing of it folded."""
    page.evaluate("document.querySelectorAll('main details').forEach(each => { each.open = true; })")
    return page.locator(FORM.format(path=path.partition("?")[0]))


def put_in(form: Any, name: str, value: str) -> str:
    """Put a value into a field; return what was in it."""
    field = form.locator(f"[name={name}]")
    before: str = field.input_value()
    if field.evaluate("field => field.localName") == "select":
        # Some offer what the server has taken in itself, which of a corpus that was put there is nothing.
        field.evaluate(OFFERED, value)
        field.select_option(value)
    else:
        field.fill(value)
    return before


def test_every_field_of_every_form_of_filters_does_what_it_says_and_goes_back(tabs: Any) -> None:
    tab = tabs()
    for path, fields in FORMS.items():
        page = tab.open(path)
        names = [name for name in form_of(page, path).evaluate(NAMES) if name != "mode"]
        assert sorted(names) == sorted(fields), path
        for name, value in fields.items():
            page.wait_for_load_state()
            result = page.evaluate(RESULT)
            form = form_of(page, path)
            before = put_in(form, name, value)
            with page.expect_navigation():
                form.locator("button:not([type=button])").first.click()
            asked = page.evaluate("Object.fromEntries(new URL(location).searchParams)")
            assert asked[name] == value, (path, name)
            assert page.evaluate(RESULT) != result, (path, name)
            assert form_of(page, path).locator(f"[name={name}]").input_value() == value, (path, name)
            page.go_back()
            assert form_of(page, path).locator(f"[name={name}]").input_value() == before, (path, name)
    tab.check()


def test_each_page_with_filters_is_tried_and_each_key_that_a_page_lists_leads_somewhere(tabs: Any) -> None:
    tab = tabs()
    items = [item for group in NAVIGATION for item in group]
    page = tab.open("/")
    with_forms = set[str]()
    for item in [*(each for each in items if each.key), items[2]]:
        if item.key:
            page.keyboard.press("g")
            with page.expect_navigation():
                page.keyboard.press(item.key)
        else:
            tab.open(item.path)
        assert page.url == f"{tab.url}{item.path}"
        found = page.locator("main form[method=get]").evaluate_all("all => all.map(each => each.action)")
        with_forms |= {each.removeprefix(tab.url).partition("#")[0] for each in found}
        page.keyboard.press("?")
        keys = page.locator("#help .keys dt").all_inner_texts()
        assert [key.split() for key in keys] == [
            ["/"],
            *(["g", each.key] for each in items if each.key),
            ["?"],
            ["Esc"],
        ]
        page.keyboard.press("Escape")
        assert not page.locator("#help").is_visible()
        if page.locator("[data-search-field]").count():
            page.evaluate("document.activeElement.blur()")
            page.keyboard.press("/")
            assert page.evaluate("'searchField' in document.activeElement.dataset")
            page.keyboard.press("Escape")
            assert not page.evaluate("'searchField' in document.activeElement.dataset")
    with page.expect_navigation():
        page.goto(f"{tab.url}/tools")
    with page.expect_navigation():
        page.keyboard.press("/")
    assert page.url == f"{tab.url}/search"
    assert with_forms == {path.partition("?")[0] for path in FORMS}
    tab.check()
