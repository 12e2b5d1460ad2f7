"""Figures of tools, the corpus and contributors: every call once, in any order and time, and nobody by their id."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from actors.consent.register import Statement
from central_command.corpus.index_filters import Choice
from central_command.search.questions import NO_INDEX, Refusal, Unable
from central_command.tallies.tallies import TOO_SLOW, Contributors, CorpusTally, Tallies
from persistence.databases.figures_reading import TOOL_KEYS, ToolPage
from persistence.format.consent_events import ConsentSource, Decision
from persistence.settings.search import SearchSettings
from tests.actors.curation.trajectory_lines import call, prompt
from tests.corpus_maker import session, take_back
from tests.curated import leave_session
from tests.indexed import index, put
from tests.running_service import running

EVERYTHING = Choice()
CONTRIBUTOR = "ab" * 16


def told(root: Path, **settings: Any) -> Tallies:
    return Tallies(root, SearchSettings(**settings))


async def tools(root: Path, key: Any = "total_ms", filters: Choice = EVERYTHING, **asked: Any) -> ToolPage:
    options = {"descending": True, "offset": 0, "limit": 50} | asked
    page = await told(root).tools(filters, key, **options)
    assert isinstance(page, ToolPage), page
    return page


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "data"

    async def begin() -> None:
        async with running(root):
            pass

    trio.run(begin)
    put(
        root,
        session(0, [prompt("mail jane.doe@example.com"), *call("Bash", "done"), *call("Read", "no", failed=True)]),
        session(1, [prompt("again"), *call("Bash", "no", failed=True), *call("Bash", None)], contributor=2),
        session(2, [*call("Edit", "done")], metadata={"provider": "codex", "model_engine": "gpt-5"}),
    )
    return root


def named(page: ToolPage) -> list[tuple[Any, ...]]:
    return [(each.tool, each.calls, each.failures, each.timed, each.total_ms, each.sessions) for each in page.tools]


async def test_calls_of_all_sessions_are_summed_by_tool(root: Path) -> None:
    page = await tools(root)
    assert named(page) == [
        ("Bash", 3, 1, 2, 40_000, 2),
        ("Edit", 1, 0, 1, 20_000, 1),
        ("Read", 1, 1, 1, 20_000, 1),
    ]
    assert (page.tools_count, page.calls, page.failures, page.has_more) == (3, 5, 2, False)
    assert (page.tools[0].slowest_ms, page.tools[0].slowest_step, page.tools[0].average_ms) == (20_000, 2, 20_000.0)
    assert page.tools[1].slowest_session == "sess_2"


async def test_a_time_a_model_or_a_provider_is_asked_for_alone(root: Path) -> None:
    page = await tools(root, filters=Choice(after="2026-11-02", before="2026-11-03"))
    assert named(page) == [("Bash", 2, 1, 1, 20_000, 1)]
    assert named(await tools(root, filters=Choice(models=("gpt-5",)))) == [("Edit", 1, 0, 1, 20_000, 1)]
    assert (await tools(root, filters=Choice(providers=("gemini",)))).tools_count == 0


@pytest.mark.parametrize("key", TOOL_KEYS)
async def test_every_order_has_all_tools_on_its_pages(root: Path, key: Any) -> None:
    for descending in (True, False):
        pages = [await tools(root, key, descending=descending, offset=offset, limit=2) for offset in (0, 2)]
        listed = [each.tool for page in pages for each in page.tools]
        assert sorted(listed) == ["Bash", "Edit", "Read"]
        assert [page.has_more for page in pages] == [True, False]


async def test_what_is_taken_back_or_replaced_is_in_no_sum(root: Path) -> None:
    await take_back(root, 0)
    await trio.to_thread.run_sync(index, root)
    assert named(await tools(root, "tool", descending=False))[0] == ("Bash", 2, 1, 1, 20_000, 1)
    tally = await told(root).corpus()
    assert isinstance(tally, CorpusTally)
    assert tally.index is not None
    assert tally.index.findings == []


async def test_the_corpus_is_told_with_its_findings_domains_and_near_copies(root: Path) -> None:
    tally = await told(root).corpus()
    assert isinstance(tally, CorpusTally)
    assert tally.state is not None
    assert tally.index is not None
    assert tally.state.totals.records == 3
    assert [(each.name, each.count, each.sessions) for each in tally.index.findings] == [("[EMAIL]", 1, 1)]
    assert tally.index.domains == [("none", 3)]
    assert (tally.state.totals.clusters, tally.clusters) == (0, []), "who is alone is no group"


async def test_where_there_is_nothing_that_is_said(tmp_path: Path) -> None:
    desk = told(tmp_path)
    page = await desk.tools(EVERYTHING, "calls", descending=True, offset=0, limit=1)
    assert page == NO_INDEX
    assert await desk.corpus() == CorpusTally(state=None, index=None, clusters=[])


async def test_a_question_ends_with_its_time_and_too_many_are_refused(root: Path) -> None:
    late = await told(root, timeout_s=1e-9).corpus()
    assert late == TOO_SLOW or isinstance(late, CorpusTally)  # few steps of SQLite's machine are not looked at
    desk = told(root, concurrency_max=1, waiting_max=0)
    with desk._threads.asked():
        refused = await desk.corpus()
    assert isinstance(refused, Refusal)
    assert refused.code is Unable.BUSY


async def test_contributors_are_told_by_pseudonym_with_points_trust_and_consent(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        await leave_session(run, "sess_1", contributor_id=CONTRIBUTOR)
        await leave_session(run, "sess_2", contributor_id="cd" * 16)
        await leave_session(run, "sess_3", contributor_id="cd" * 16)
        await run.projected()
        found = await told(tmp_path).contributors("sessions", descending=True, offset=0, limit=1)
        assert isinstance(found, Contributors)
        assert (found.count, found.has_more, [row.sessions for row in found.rows]) == (2, True, [2])
        rest = await told(tmp_path).contributors("sessions", descending=True, offset=1, limit=1)
    assert isinstance(rest, Contributors)
    assert (rest.has_more, rest.rows[0].trust, rest.rows[0].consent) == (False, 1.0, "given")
    for each in (*found.rows, *rest.rows):
        assert each.pseudonym.startswith("con_")
    assert CONTRIBUTOR not in msgspec.json.encode([found, rest]).decode()
    assert found.rows[0].points > 0
    assert found.consents == {"given": 2}


async def test_who_was_erased_is_in_no_list_of_contributors(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        await leave_session(run, "sess_1", contributor_id=CONTRIBUTOR)
        await run.projected()
        await run.service.erase_contributor(CONTRIBUTOR, None)
        await run.service.eraser.erase_pending()
        found = await told(tmp_path).contributors("points", descending=True, offset=0, limit=10)
    assert isinstance(found, Contributors)
    assert found.rows == []


async def test_who_was_erased_is_in_no_count_of_contributors_whatever_they_said(tmp_path: Path) -> None:
    """The sum of points stays, in the name of a request; what they said of consent counts for nothing."""
    async with running(tmp_path) as run:
        await leave_session(run, "sess_1", contributor_id=CONTRIBUTOR)
        await leave_session(run, "sess_2", contributor_id="cd" * 16)
        await run.projected()
        before = await told(tmp_path).contributors("points", descending=True, offset=0, limit=10)
        await run.service.erase_contributor(CONTRIBUTOR, None)
        await run.service.eraser.erase_pending()
        await run.service.desk.say(
            Statement(contributor_id=CONTRIBUTOR, decision=Decision.GIVEN, version="1.0", source=ConsentSource.API)
        )
        await run.projected()
        found = await told(tmp_path).contributors("points", descending=True, offset=0, limit=10)
    assert isinstance(before, Contributors)
    assert isinstance(found, Contributors)
    assert (before.count, before.erased, before.consents) == (2, 0, {"given": 2})
    assert (found.count, found.erased, found.consents) == (1, 1, {"given": 1})
    assert found.points == before.points
