"""The viewer in a real browser: attacks, keys, search, links to steps, windows that come and go, a large session.

All in one file, so that one process has the server and the browser (`--dist loadfile`).
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.actors.curation.trajectory_lines import prompt, thought
from tests.central_command.viewing.test_windows import call, steps_of
from tests.corpus_maker import put_sessions, session
from tests.indexed import index_async
from tests.pages.attacks import ATTACKS, word
from tests.pages.conftest import Served, _contexts, until
from tests.server_process import CLOSE, INGEST, OPEN, ServerProcess, request
from tests.signing_client import SigningClient

WINDOW_STEPS = 40
LARGE_STEPS = 1_600
LARGE_BYTES = 2_000_000


def attack_steps() -> list[dict[str, Any]]:
    """Each attack once, in turn as a prompt, a call with a result, and a call of a tool of that name."""
    kinds: list[Any] = [
        lambda number, text: [prompt(text)],
        lambda number, text: call(number, result=text, command=text, file_path=text),
        lambda number, text: [{"type": "action", "tool": text, "arguments": {text: [text]}, "content": text}],
        lambda number, text: [{"type": "action", "tool": "Edit", "arguments": {"old_string": text, "new_string": "b"}}],
    ]
    texts = [text.encode(errors="replace").decode() for text in ATTACKS]
    return [step for number, text in enumerate(texts) for step in kinds[number % len(kinds)](number, text)]


def all_kinds() -> list[dict[str, Any]]:
    """A step of each look."""
    table = "# Title\n\n| a | b |\n|---|---|\n| `1` | **2** |\n\n> said\n\n1. one\n\n```python\ndef f(): return 1\n```"
    colours = "".join(f"\x1b[{number}m {number} \x1b[0m" for number in (*range(30, 38), *range(90, 98), *range(40, 48)))
    return [
        prompt(table),
        thought("thinking", source="thinking"),
        *call(1, result=colours, command="make test && echo done"),
        *call(2, result='{"a": {"b": [1, 2, {"c": null}]}}', file_path="a.py", old_string="x = 1", new_string="x = 2"),
        *call(3, result="\n".join(f"line {number}" for number in range(80)), command="cat long"),
        {"type": "error", "content": "it failed", "is_error": True},
        *({"type": kind, "content": kind} for kind in ("resolution", "correction", "delegate", "yield", "approval")),
    ]


async def fill(root: Path) -> None:
    large = [
        *steps_of(LARGE_STEPS // 4),
        thought("the needle " + "hay " * (LARGE_BYTES // 4) + "lies here"),
        thought("end"),
    ]
    sessions = [session(1, attack_steps()), session(2, steps_of(100)), session(3, large), session(4, all_kinds())]
    await put_sessions(root, sessions)
    await index_async(root)


@pytest.fixture(scope="module")
def viewed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with a corpus."""
    root = tmp_path_factory.mktemp("viewed") / "data"
    settings = {
        "CENTRAL_COMMAND__VIEWER__WINDOW_STEPS": str(WINDOW_STEPS),
        "CENTRAL_COMMAND__VIEWER__LIVE_POLL_S": "0.05",
    }
    with ServerProcess(root, settings=settings) as server:
        trio.run(fill, root)
        yield Served(server)


@pytest.fixture
def tabs(viewed: Served, chromium: Any) -> Iterator[Any]:
    """Opens tabs, as for all pages."""
    with _contexts(viewed, chromium) as open_tab:
        yield open_tab


def places(page: Any) -> list[int]:
    """The steps that are on the page."""
    found: list[int] = page.eval_on_selector_all("[data-step]", "all => all.map(each => Number(each.dataset.step))")
    return found


def current(page: Any) -> int:
    """The step that the reader is at."""
    until(page, "document.querySelector('.is-current')")
    return int(page.locator(".is-current").get_attribute("data-step"))


def test_no_attack_runs_loads_or_hides_anything(tabs: Any) -> None:
    tab = tabs()
    dialogs: list[str] = []
    tab.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page = tab.open("/sessions/sess_1")
    while page.locator("[data-edge='behind']").count():
        page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
        page.wait_for_timeout(20)
    page.mouse.move(400, 600)
    page.keyboard.press("Tab")
    text = page.locator("[data-steps]").evaluate("list => list.textContent")
    assert [number for number in range(len(ATTACKS)) if word(number) not in text] == []
    assert (
        page.locator("[data-steps] :is(script, img, iframe, object, embed, svg image, style, form, input)").count() == 0
    )
    assert page.locator("[data-steps] [style], [data-steps] [hx-get], [data-steps] [hx-trigger]").count() == 0
    links = page.eval_on_selector_all(".step-body a", "all => all.map(each => [each.protocol, each.rel])")
    assert links
    assert all(protocol in {"http:", "https:", "mailto:"} and "noopener" in rel for protocol, rel in links)
    assert dialogs == []
    assert page.url.startswith(f"{tab.url}/sessions/sess_1")
    tab.check()


def test_keys_lead_through_steps_turns_and_to_both_ends(tabs: Any) -> None:
    tab = tabs()
    page = tab.open("/sessions/sess_2")
    page.keyboard.press("j")
    assert current(page) == 1
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert (current(page), page.evaluate("document.activeElement.id")) == (3, "step-3")
    page.keyboard.press("k")
    assert current(page) == 2
    page.keyboard.press("]")
    assert current(page) == 5
    page.keyboard.press("]")
    page.keyboard.press("[")
    assert current(page) == 5
    page.keyboard.press(">")
    until(page, "document.querySelector('.is-current')?.dataset.step === '400'")
    page.keyboard.press("[")
    assert current(page) == 397
    page.keyboard.press("<")
    until(page, "document.querySelector('.is-current')?.dataset.step === '1'")
    page.keyboard.press("?")
    assert page.get_by_role("dialog").get_by_text("Next step, step before").is_visible()
    tab.check()


def test_keys_go_on_behind_the_last_step_that_was_loaded(tabs: Any) -> None:
    tab = tabs()
    page = tab.open(f"/sessions/sess_2?step={WINDOW_STEPS}#step-{WINDOW_STEPS}")
    for _ in range(WINDOW_STEPS + 10):
        page.keyboard.press("j")
        until(page, "!document.querySelector('[aria-busy]')")
    assert current(page) == 2 * WINDOW_STEPS + 10


def test_what_is_looked_for_is_listed_marked_and_gone_through(tabs: Any) -> None:
    tab = tabs()
    page = tab.open("/sessions/sess_2")
    page.keyboard.press("/")
    page.keyboard.type("Thought 9")
    page.keyboard.press("Enter")
    until(page, "document.querySelectorAll('[data-hit]').length === 11")
    assert current(page) == 40
    assert "q=Thought" in page.url
    page.keyboard.press("n")
    until(page, "document.querySelector('.is-current')?.dataset.step === '364'")
    assert page.evaluate("CSS.highlights.get('hit').size") >= 1
    page.keyboard.press("N")
    until(page, "document.querySelector('.is-current')?.dataset.step === '40'")
    page.locator("[data-hit='372']").click()
    until(page, "document.querySelector('.is-current')?.dataset.step === '372'")
    assert re.search(r"step=372.*#step-372$", page.url)
    page.locator("#viewer-q").fill("nowhere")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('[data-hits-told]').textContent.includes('nowhere')")
    assert page.locator("[data-status]").text_content() == "", "it is told once"
    page.go_back()
    until(page, "document.querySelectorAll('[data-hit]').length === 11")
    assert (page.locator("#viewer-q").input_value(), current(page)) == ("Thought 9", 372)
    tab.check()


def test_a_link_to_a_step_leads_there_and_back_and_forward_work(tabs: Any) -> None:
    tab = tabs()
    page = tab.open("/sessions/sess_2?step=300#step-300")
    assert current(page) == 300
    page.locator("#step-304 .step-number").first.click()
    assert current(page) == 304
    page.locator(".timeline-ends a", has_text="First step").click()
    until(page, "document.querySelector('.is-current')?.dataset.step === '1'")
    page.go_back()
    until(page, "document.querySelector('.is-current')?.dataset.step === '304'")
    page.go_forward()
    until(page, "document.querySelector('.is-current')?.dataset.step === '1'")
    page = tabs(width=390).open("/sessions/sess_2?step=99999")
    assert current(page) == 400
    until(page, "document.querySelector('#step-396') && !document.querySelector('[aria-busy]')")
    box = page.get_by_text("There is no step 99,999").bounding_box()
    assert 0 < box["y"] < 900, "it is seen, also when earlier steps have come"
    tab.check()


def test_windows_come_and_go_and_what_is_read_stays_where_it_is(tabs: Any) -> None:
    tab = tabs()
    page = tab.open("/sessions/sess_3")
    for _ in range(14):
        last = max(places(page))
        page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
        until(page, f"[...document.querySelectorAll('[data-step]')].some(each => Number(each.dataset.step) > {last})")
        until(page, "!document.querySelector('[aria-busy]')")
    shown = places(page)
    assert max(shown) > 500
    assert len(shown) <= 8 * WINDOW_STEPS, "what was passed long ago is gone from the page"
    assert shown == sorted(shown)
    assert len(set(shown)) == len(shown)
    first = min(shown)
    page.evaluate("window.scrollTo(0, document.querySelector('[data-window]').offsetTop - 300)")
    until(page, f"[...document.querySelectorAll('[data-step]')].some(each => Number(each.dataset.step) < {first})")
    assert abs(page.locator(f"#step-{first}").bounding_box()["y"]) < 1_000, "it did not jump"
    tab.check()


def test_a_result_stands_once_when_the_windows_of_its_call_and_its_own_are_both_there(tabs: Any) -> None:
    tab = tabs()
    page = tab.open("/sessions/sess_2?step=202#step-199")
    until(page, "document.querySelector('#step-198') && !document.querySelector('[aria-busy]')")
    assert abs(page.locator("#step-199").bounding_box()["y"] - 72) < 60, "what is read stays where it is"
    assert (current(page), page.evaluate("document.activeElement.id")) == (199, "step-199")
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    until(page, "document.querySelector('#step-240')")
    numbers = page.eval_on_selector_all("[data-steps] .step-number", "all => all.map(each => Number(each.textContent))")
    assert numbers == sorted(set(numbers)), "also at the end of the window that was there first"
    assert set(range(numbers[0], 241)) <= set(places(page)), "each is led to"
    tab.check()


def test_a_large_session_and_a_large_step_are_open_at_once(tabs: Any) -> None:
    tab = tabs()
    page = tab.open("/sessions/sess_3")
    page.keyboard.press(">")
    until(page, f"document.querySelector('.is-current')?.dataset.step === '{LARGE_STEPS + 2}'")
    assert page.locator("#step-1601").get_by_text("Show all of step").is_visible()
    page.locator("[data-search] input").fill("hay lies HERE")
    page.keyboard.press("Enter")
    until(page, "document.querySelectorAll('[data-hit]').length === 1")
    answer = page.request.get(f"{tab.url}/sessions/sess_3/steps/1601.txt")
    assert len(answer.body()) > LARGE_BYTES
    tab.check()


def test_folds_and_types_and_copies(tabs: Any) -> None:
    tab = tabs()
    page = tab.open("/sessions/sess_2")
    page.get_by_role("checkbox", name="thought").check()
    page.wait_for_url(re.compile("type=thought"))
    assert places(page)[:2] == [4, 8]
    text = page.request.get(page.locator("[data-copy]").evaluate("link => link.href")).text()
    assert text.startswith("# Session sess_2")
    tab.check()


def test_an_open_session_grows_and_what_is_read_and_open_stays(tabs: Any, viewed: Served) -> None:
    connection = viewed.server.connect()
    client = SigningClient("sess_growing")
    client.opened(request(connection, "POST", OPEN, json.dumps(client.opening()).encode()).members["server_public_key"])

    def grow(count: int) -> None:
        steps = [client.step(content=f"grown {number} " + "word " * 300) for number in range(count)]
        assert request(connection, "POST", INGEST, client.chunk_of(steps)).members["accepted"]

    grow(WINDOW_STEPS - 10)
    tab = tabs()
    page = tab.open("/sessions/sess_growing")
    until(page, f"document.querySelectorAll('[data-step]').length === {WINDOW_STEPS - 10}")  # counted behind ingestion
    page.keyboard.press("j")
    page.keyboard.press("j")
    seen = page.locator("#step-2").bounding_box()
    grow(5)
    until(page, f"document.querySelectorAll('[data-step]').length === {WINDOW_STEPS - 5}")
    grow(60)
    until(page, f"document.querySelectorAll('[data-step]').length === {WINDOW_STEPS + 55}")
    assert places(page) == list(range(1, WINDOW_STEPS + 56))
    assert page.locator("#step-2").bounding_box() == seen
    assert current(page) == 2
    request(connection, "POST", CLOSE, json.dumps({"session_id": "sess_growing"}).encode())
    until(page, "!document.querySelector('[data-live-mark]')")
    connection.close()
    tab.check()


RING = """() => {
    const field = document.activeElement, at = field.getBoundingClientRect(), style = getComputedStyle(field);
    const around = field.closest(".viewer-tools").getBoundingClientRect();
    const ring = parseFloat(style.outlineWidth) + Math.max(0, parseFloat(style.outlineOffset));
    return [ring > 0, at.left - around.left >= ring, at.top - around.top >= ring];
}"""


def test_what_stands_side_by_side_is_level_and_the_ring_of_the_focus_is_seen_whole(tabs: Any) -> None:
    tab = tabs()
    page = tab.open("/sessions/sess_4?beside=sess_2")
    first, second = page.eval_on_selector_all(".steps", "all => all.map(each => each.getBoundingClientRect().top)")
    assert first == second
    page = tab.open("/sessions/sess_4")
    page.keyboard.press("/")
    assert page.evaluate(RING) == [True, True, True]
    page = tab.open("/sessions")
    page.get_by_text("Filters").click()
    bottom = "each => each.getBoundingClientRect().bottom"
    show, field = (page.locator(each).evaluate(bottom) for each in (".fields .button.primary", "#field-contributor"))
    assert abs(show - field) <= 1, "a button is level with the fields, not with their labels"
    tab.check()


PAGES = [
    "/sessions",
    "/sessions?state=open",
    "/sessions/sess_4",
    "/sessions/sess_2?q=Thought+9&step=380",
    "/sessions/sess_4?beside=sess_2",
]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(tabs: Any, theme: str) -> None:
    tab = tabs(theme)
    found = {}
    for path in PAGES:
        page = tab.open(path)
        page.evaluate("document.querySelectorAll('main details').forEach(each => each.open = true)")
        if violations := tab.violations():
            found[path] = violations
    assert found == {}


@pytest.mark.parametrize("width", [390, 2560])
def test_no_page_is_wider_than_the_window(tabs: Any, width: int) -> None:
    tab = tabs(width=width)
    for path in PAGES:
        page = tab.open(path)
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0, path


def test_sessions_are_read_without_a_script(tabs: Any) -> None:
    tab = tabs(scripts=False)
    page = tab.open("/sessions")
    page.get_by_role("link", name="sess_2").click()
    assert page.locator("#step-1").is_visible()
    page.get_by_role("link", name="Later steps").click()
    assert places_without_script(page)[0] == WINDOW_STEPS + 1
    page.locator("#viewer-q").fill("Thought 99")
    page.keyboard.press("Enter")
    page.locator("[data-hit='400']").click()
    assert page.locator("#step-400").is_visible()
    tab.check()


def places_without_script(page: Any) -> list[int]:
    return [int(each.removeprefix("step-")) for each in re.findall(r'id="(step-\d+)"', page.content())]


def test_turns_are_listed_and_jumped_to_by_keyboard_and_the_list_follows(tabs: Any) -> None:
    tab = tabs()
    page = tab.open("/sessions/sess_2?step=9#step-9")
    until(page, "document.querySelectorAll('[data-turn-entry]').length === 100")
    assert page.locator("[data-turn-entry][aria-current=true]").inner_text().split() == ["3", "ask", "2"]
    page.keyboard.press("t")
    until(page, "document.activeElement.dataset.turnEntry === '3'")
    for key, entry in (("ArrowDown", 4), ("End", 100), ("ArrowUp", 99), ("Home", 1), ("ArrowUp", 1), ("ArrowDown", 2)):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.dataset.turnEntry") == str(entry), key
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.dataset.step") == "9"
    page.keyboard.press("t")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    until(page, "document.activeElement.dataset.step === '397'")
    assert "step=397" in page.url
    until(page, "document.querySelector('[data-turn-entry][aria-current]').dataset.turnEntry === '100'")
    page.locator("[data-turn-entry='50']").click()
    until(page, "document.activeElement.dataset.step === '197'")
    assert tab.violations() == []
    page = tab.open("/sessions/sess_3?turn=150")
    until(page, "document.querySelector('[data-turn-entry]')?.dataset.turnEntry === '101'")
    page.locator("[data-turns-from='1']").click()
    until(page, "document.activeElement.dataset.turnEntry === '1'")
    tab.check()


def test_turns_of_an_open_session_are_listed_as_they_begin(viewed: Served, tabs: Any) -> None:
    connection = viewed.server.connect()
    client = SigningClient("sess_turning")
    opened = request(connection, "POST", OPEN, json.dumps(client.opening()).encode())
    client.opened(opened.members["server_public_key"])

    def ask(text: str) -> None:
        steps = [{**client.step(content=text), "type": "instruction"}, {**client.step(content="hm"), "type": "thought"}]
        assert request(connection, "POST", INGEST, client.chunk_of(steps)).members["accepted"]

    ask("The first thing")
    tab = tabs()
    page = tab.open("/sessions/sess_turning")
    until(page, "document.querySelectorAll('[data-turn-entry]').length === 1")
    ask("The second thing. And more")
    until(page, "document.querySelectorAll('[data-turn-entry]').length === 2")
    assert page.locator("[data-turn-entry='2']").inner_text().split() == ["2", "The", "second", "thing"]
    assert page.locator("[data-turns-shown]").inner_text() == "2"
    tab.check()
    connection.close()


def test_each_key_that_the_help_of_a_session_lists_does_something(tabs: Any) -> None:
    tab = tabs()
    page = tab.open("/sessions/sess_2?q=Thought&step=41#step-41")
    until(page, "document.querySelectorAll('[data-hit]').length > 1 && document.querySelector('.is-current')")
    page.keyboard.press("?")
    listed = page.locator("#help .keys > div").evaluate_all(
        "rows => rows.map(row => [...row.querySelectorAll('dt kbd')].map(key => key.textContent))"
    )
    page.keyboard.press("Escape")
    step = "Number(document.querySelector('.is-current')?.dataset.step)"
    does = {
        "j": f"{step} === 42",
        "k": f"{step} === 41",
        "]": f"{step} === 45",
        "[": f"{step} === 41",
        "t": "document.activeElement.dataset.turnEntry === '11'",
        "n": f"{step} === Number(document.querySelector('[data-hit][aria-current=true]')?.dataset.hit)",
        "N": f"{step} === 200 && document.querySelector('[data-hit][aria-current=true]').dataset.hit === '200'",
        "<": f"{step} === 1",
        ">": f"{step} === 400",
    }
    own = [key for keys in listed for key in keys if keys[0] not in {"g", "/", "?", "Esc"}]
    assert sorted(own) == sorted([*does, "o"])
    for key, condition in does.items():
        page.keyboard.press(key)
        until(page, condition)
        if key == "t":
            page.keyboard.press("Escape")
    page = tab.open("/sessions/sess_4?step=6#step-6")
    until(page, "document.querySelector('.is-current details')")
    before = page.evaluate("document.querySelectorAll('.is-current details[open]').length")
    page.keyboard.press("o")
    assert page.evaluate("document.querySelectorAll('.is-current details[open]').length") != before
    tab.check()
