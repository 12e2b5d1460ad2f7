"""`/corpus`, `/tools`, `/contributors`: figures with their filters and orders, and nobody by their id."""

from pathlib import Path

import pytest
import trio

from central_command.access.tokens import Scope
from tests.actors.curation.trajectory_lines import call, prompt
from tests.corpus_maker import session
from tests.curated import leave_session
from tests.indexed import put
from tests.pages.operated import operated
from tests.running_service import running

CONTRIBUTOR = "ab" * 16


@pytest.fixture
async def root(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    async with running(root) as run:
        await leave_session(run, "sess_credited", contributor_id=CONTRIBUTOR)
    lines = [
        session(
            0, [prompt("mail jane.doe@example.com"), *call("Bash", "done"), *call("<b>Read</b>", "x", failed=True)]
        ),
        session(1, [*call("Bash", "no", failed=True)], metadata={"provider": "codex", "model_engine": "gpt-5"}),
    ]
    await trio.to_thread.run_sync(put, root, *lines)
    return tmp_path


async def test_an_empty_server_says_what_fills_each_page(tmp_path: Path) -> None:
    async with operated(tmp_path, Scope.READ) as server:
        for path, command in (
            ("/corpus", "central-command curate"),
            ("/tools", "central-command upload"),
            ("/contributors", "central-command upload"),
        ):
            page = await server.browser.get(path)
            assert (page.status, command in page.said) == (200, True), page.said
            is_sent = "upload" in command
            assert ("export CENTRAL_COMMAND_URL=http://localhost central-command upload" in page.said) is is_sent


async def test_a_corpus_in_which_nothing_is_yet_says_what_fills_it(tmp_path: Path) -> None:
    await trio.to_thread.run_sync(put, tmp_path / "data")
    async with operated(tmp_path, Scope.READ) as server:
        page = await server.browser.get("/corpus")
        assert "No session is in the corpus yet." in page.said
        assert "export CENTRAL_COMMAND_URL=http://localhost central-command upload" in page.said


async def test_the_corpus_says_what_is_in_it_what_was_found_and_what_is_alike(root: Path) -> None:
    async with operated(root, Scope.READ) as server:
        page = await server.browser.get("/corpus")
        for text in ("Sessions in it 2", "EMAIL", "Found by scrubbing", "gpt-5", "Tiers", "Domains"):
            assert text in page.said, text
        assert "0 groups of like ones" in page.said, "a session alone is like no other"
        assert "found once more, after the clients' own scrubbing" in page.said


async def test_groups_of_like_sessions_are_counted_from_two_on(tmp_path: Path) -> None:
    sessions = [session(number, [prompt("the same " * 50)]) for number in range(2)]
    await trio.to_thread.run_sync(put, tmp_path / "data", *sessions, session(2, [prompt("something else")]))
    async with operated(tmp_path, Scope.READ) as server:
        assert "1 group of like ones" in (await server.browser.get("/corpus")).said


async def test_tools_are_sorted_and_chosen_in_the_address(root: Path) -> None:
    async with operated(root, Scope.READ) as server:
        page = await server.browser.get("/tools")
        assert "Tools 2 Calls 3 Failed 2 66.7 %" in page.said
        assert page.said.index("Bash") < page.said.index("<b>Read</b>"), "most time first"
        assert "<b>Read" not in page.text
        assert 'href="/sessions?tool=%3Cb%3ERead%3C/b%3E"' in page.text
        page = await server.browser.get("/tools?sort=tool&model=gpt-5")
        assert ("Bash" in page.said, "Read" in page.said) == (True, False)
        page = await server.browser.get("/tools?after=2030-01-01")
        assert "No tool was called in such sessions." in page.said
        for query in ("sort=colour", "cursor=x", f"model={'x' * 301}"):
            assert (await server.browser.get(f"/tools?{query}")).status == 400, query


async def test_times_of_tools_mean_what_they_mean_in_the_table_of_sessions(root: Path) -> None:
    async with operated(root, Scope.READ) as server:
        for times, tools in (
            ("after=2026-11-02T10:12:00Z", ["Bash"]),
            ("after=2026-11-03T09:12:00%2B23:00", ["Bash"]),  # the same moment, in another zone
            ("after=2026-11-03T09:12:01%2B23:00", []),
            ("before=2026-11-01T11:12:01-23:00&after=2026-11", ["Bash", "Read"]),
            ("before=2026-11-01T11:12:00%2B01:00", []),
        ):
            page = await server.browser.get(f"/tools?{times}")
            assert page.status == 200, times
            assert [name for name in ("Bash", "Read") if name in page.said] == tools, times
        page = await server.browser.get("/tools?after=2026-13-45")
        assert page.status == 400
        assert "after is '2026-13-45', which is no time that there is." in page.said


async def test_contributors_are_shown_by_pseudonym_with_points_trust_and_consent(root: Path) -> None:
    async with operated(root, Scope.READ, Scope.ADMIN) as server:
        page = await server.browser.get("/contributors")
        assert "con_" in page.said
        assert "given" in page.said
        assert CONTRIBUTOR not in page.text
        assert CONTRIBUTOR[:8] not in page.text
        page = await server.browser.get("/contributors?sort=trust")
        assert page.status == 200


async def test_only_who_reads_sees_figures(tmp_path: Path) -> None:
    async with operated(tmp_path, Scope.EXPORT) as server:
        for path in ("/corpus", "/tools", "/contributors"):
            assert (await server.browser.get(path)).status == 403
