"""`/search`: hits with their marks, each a link to its step; filters in the address; what cannot be asked, said."""

import re
from pathlib import Path

import pytest

from central_command.access.tokens import Scope
from central_command.tallies.tallies import Tallies
from central_command.viewing.desk import ViewerDesk
from central_command.viewing.settings import ViewerSettings
from persistence.settings.search import SearchSettings
from tests.actors.curation.trajectory_lines import prompt
from tests.corpus_maker import session
from tests.indexed import put
from tests.pages.page_client import pages_on
from tests.pages.test_session_pages import summed
from tests.running_service import settings_with


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    put(root, *(session(number, [prompt(f"look for <b>needle</b> {number}")] * 2) for number in range(3)))
    return root


async def test_hits_are_marked_and_lead_to_their_steps_page_by_page(root: Path) -> None:
    async with pages_on(root, Scope.READ, settings=settings_with(search={"hits_max": 4})) as browser:
        page = await browser.get("/search?q=needle&order=newest")
        assert re.findall(r'class="hit-title" href="([^"]+)"', page.text) == [
            f"/sessions/sess_{number}?step={step}#step-{step}" for number, step in ((2, 2), (2, 1), (1, 2), (1, 1))
        ]
        assert "look for &lt;b&gt;<mark>needle</mark>&lt;/b&gt; 2" in page.text
        [following] = re.findall(r'rel="next" href="([^"]+)"', page.text)
        page = await browser.get(following.replace("&amp;", "&"))
        assert page.text.count('class="hit-title"') == 2
        assert "First page" in page.said


async def test_hits_name_the_titles_of_their_sessions(root: Path) -> None:
    async with pages_on(root, Scope.READ, viewer=ViewerDesk(root, ViewerSettings())) as browser:
        await summed(root, "<script>alert(1)</script>", {"sess_1"})
        page = await browser.get("/search?q=needle")
    assert "<script>alert" not in page.text
    assert page.said.count("<script>alert(1)</script> sess_1") == 2
    assert page.text.count("session-title") == 2


async def test_filters_stand_in_the_address_and_in_the_form(root: Path) -> None:
    async with pages_on(root, Scope.READ) as browser:
        page = await browser.get("/search?q=needle&provider=claude-code&model=&before=2026-11-02&tool=")
        assert page.text.count('class="hit-title"') == 2
        assert 'name="before" type="date" value="2026-11-02"' in page.text
        assert '<option value="claude-code" selected>' in page.text
        assert '<details class="search-filters" open>' in page.text
        [clear] = re.findall(r'href="([^"]+)">Clear filters', page.text)
        assert clear == "/search?q=needle"
        assert "Nothing was found" in (await browser.get("/search?q=needle&provider=nobody")).said


async def test_filters_are_chosen_as_in_the_table_of_sessions_and_keep_what_the_api_takes_beside(root: Path) -> None:
    offered = {"viewer": ViewerDesk(root, ViewerSettings()), "tallies": Tallies(root, SearchSettings())}
    async with pages_on(root, Scope.READ, **offered) as browser:
        for path in ("/search", "/sessions", "/tools"):
            page = await browser.get(path)
            for label, name in (("From", "after"), ("Until before", "before")):
                assert f'<label for="field-{name}">{label} (UTC)</label>' in page.text, path
                assert re.search(rf'name="{name}" type="date" value=""', page.text), path
        for path in ("/search", "/sessions"):
            page = await browser.get(f"{path}?tier=A&model=unheard")
            assert '<option value="A" selected>' in page.text
            assert '<option value="unheard" selected>' in page.text
        for path in ("/tools", "/sessions"):
            said = (await browser.get(path)).said
            assert re.search(r"not (by|those of) their upload", said), "times are the sessions' own"
        page = await browser.get("/search?q=needle&after=2026-11&tier=A&tier=B")
        assert 'name="after" type="text" value="2026-11"' in page.text, "a field of days would lose it"
        assert '<input type="hidden" name="tier" value="B">' in page.text


@pytest.mark.parametrize(
    ("query", "status", "sentence"),
    [
        ("", 200, "Everything that the corpus says can be found"),
        ("?q=", 200, "Everything that the corpus says can be found"),
        ("?q=%22open", 400, "does not close"),
        ("?q=a&mode=magic", 400, "mode is 'magic'; it must be one of"),
        ("?q=a&after=yesterday", 400, "no time"),
        ("?q=a&colour=red", 400, "There is no argument"),
        ("?q=a&cursor=x", 400, "The cursor is none of this search"),
        ("?q=a&mode=semantic", 200, "not embedded here"),
    ],
)
async def test_what_cannot_be_asked_is_said_on_the_page(root: Path, query: str, status: int, sentence: str) -> None:
    async with pages_on(root, Scope.READ) as browser:
        page = await browser.get(f"/search{query}")
        assert (page.status, sentence in page.said) == (status, True), page.said
        assert 'name="q"' in page.text


@pytest.mark.parametrize("semantic", [False, True])
async def test_meaning_is_offered_where_sessions_are_found_by_it(root: Path, *, semantic: bool) -> None:
    async with pages_on(root, Scope.READ, settings=settings_with(search={"semantic": semantic})) as browser:
        page = await browser.get("/search?q=needle&mode=hybrid")
        radios = dict(re.findall(r'name="mode" value="(\w+)"([^>]*)>', page.text))
        assert ["disabled" in radios[mode] for mode in ("text", "semantic", "hybrid")] == [False, *[not semantic] * 2]
        assert [mode for mode, rest in radios.items() if "checked" in rest] == ["hybrid" if semantic else "text"]
        assert ("search.semantic" in page.text) != semantic


async def test_without_an_index_or_without_a_search_the_page_says_so(tmp_path: Path) -> None:
    async with pages_on(tmp_path, Scope.READ) as browser:
        assert "There is no index of the corpus yet" in (await browser.get("/search?q=a")).said
    async with pages_on(tmp_path, Scope.READ, search=None) as browser:
        assert "This server has no search" in (await browser.get("/search?q=a")).said


async def test_what_can_be_found_later_is_said_with_when_to_ask_again(root: Path) -> None:
    """A page that shows why nothing is found is a 503 as any other."""
    (root / "search.db").write_bytes(b"no database " * 1_000)
    async with pages_on(root, Scope.READ) as browser:
        page = await browser.get("/search?q=needle")
    assert (page.status, page.headers["Retry-After"]) == (503, "5")
