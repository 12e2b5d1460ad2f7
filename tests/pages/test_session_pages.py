"""The table of sessions and the viewer, as a browser without a script sees them."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from central_command.access.tokens import Scope
from central_command.http.app import Offered
from central_command.settings.configuration import Settings
from central_command.viewing.desk import ViewerDesk
from central_command.viewing.settings import ViewerSettings
from central_command.web.session_steps import KINDS, LEGEND
from persistence.files.failures import StorageFailure
from persistence.format.records import JournalName, Position
from persistence.journals.reading import JournalDamage, JournalOutOfReach
from persistence.journals.stored import StoredJournal
from tests.actors.curation.trajectory_lines import prompt, thought
from tests.central_command.viewing.test_windows import call, steps_of
from tests.corpus_maker import put_sessions, session, summed
from tests.indexed import index_async
from tests.pages.attacks import ATTACKS
from tests.pages.page_client import PageClient, pages_on
from tests.running_service import Running
from tests.server_process import REPOSITORY


@asynccontextmanager
async def showing(
    root: Path, *sessions: dict[str, Any], scopes: tuple[Scope, ...] = (Scope.READ,), **settings: Any
) -> AsyncIterator[PageClient]:
    """A browser that may read, and a corpus of these sessions."""
    async with pages_on(root, *scopes, viewer=ViewerDesk(root, ViewerSettings(**settings))) as client:
        if sessions:
            await put_sessions(root, list(sessions))
            await index_async(root)
        yield client


ONCE_MORE = "found once more, after the client's own scrubbing"


async def test_a_session_is_shown_with_its_steps_and_what_is_known_of_it(tmp_path: Path) -> None:
    feedback = [{"signal": "rejected", "timestamp": 1_795_169_534, "context": "not what I asked"}]
    async with showing(tmp_path, session(1, steps_of(2), feedback=feedback)) as client:
        said = (await client.get("/sessions/sess_1")).said
        assert (await client.get("/sessions/sess_1/figures")).status == 200
    for text in (
        "sess_1",
        "claude-opus-4-6",
        "ask 0",
        "Result 1",
        "Thought 1",
        "not what I asked",
        "Total points 18.0",
        ONCE_MORE,
    ):
        assert text in said, said
    assert "0" * 31 not in said, "the contributor's own id is a secret"


async def test_a_tier_or_an_outcome_that_there_is_not_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    """On every page that sessions are chosen on, as `export` says it."""
    async with showing(tmp_path, session(1, steps_of(2))) as client:
        unknown = await client.get("/sessions?tier=Z")
        failed = await client.get("/sessions?outcome=success")
        assert (await client.get("/sessions?tier=none&tier=")).status == 200
    assert (unknown.status, failed.status) == (400, 400)
    assert "There is no tier 'Z'; there are A, B, C, none." in unknown.said
    assert "There is no outcome 'success'; there are SUCCESS" in failed.said


async def test_why_is_told_in_words(tmp_path: Path) -> None:
    async with showing(tmp_path, session(1, steps_of(2)), session(2, [prompt("a")])) as client:
        one, two = [(await client.get(f"/sessions/sess_{number}")).said for number in (1, 2)]
    for text in (
        "Base points 3.0",
        "Model multiplier",
        "Ends whole 10.0",
        "Calls answered (2) 10.0",
        "Unrecovered failures (0) 20.0",
    ):
        assert text in one, one
    assert "Not to train on: too few steps, no actions, " in two
    for said in (one, two):
        why = said[said.index("Why:") : said.index("Steps 1 to 1")]
        assert not re.search(r"[a-z]_[a-z]|[a-z][A-Z]", why), why


async def test_the_timeline_says_what_its_colours_are(tmp_path: Path) -> None:
    steps = [*steps_of(1), {"type": "made_up", "content": "a"}]
    async with showing(tmp_path, session(1, steps), session(2, [thought("a")])) as client:
        first, second = [(await client.get(f"/sessions/sess_{number}")).said for number in (1, 2)]
    assert "Prompts Thoughts Calls and edits Results Other types Below: a turn begins" in first
    assert "Last step Thoughts Search" in second, "of what is there alone"


def test_a_colour_means_the_same_in_the_timeline_in_its_legend_and_at_a_step() -> None:
    css = (REPOSITORY / "central_command/web/assets/viewer.css").read_text()

    def colours(prefix: str, declaration: str) -> dict[str, str]:
        rules = re.findall(rf"^({prefix}[^{{]*) {{[^}}]*{declaration}: ([^;]+);", css, re.MULTILINE)
        return {name: colour for names, colour in rules for name in re.findall(rf"{prefix}(\w+)", names)}

    strip, names, at_steps = (
        colours(r"\.l-", "fill"),
        colours(r"\.kind-", "--kind"),
        colours(r"\.step\.kind-", "--kind"),
    )
    assert {kind: names[kind] for kind in KINDS} == {kind: strip[kind] for kind in KINDS}
    assert at_steps.items() <= names.items()
    assert sorted(kind for _, _, kinds in LEGEND for kind in kinds) == sorted(KINDS), "each kind is in one group"
    for kind, _, kinds in LEGEND:
        assert {names[each] for each in kinds} == {names[kind]}
    assert len({names[kind] for kind, _, _ in LEGEND}) == len(LEGEND), "no two groups look the same"


async def test_the_keys_of_a_session_stand_in_the_help_before_those_of_every_page(tmp_path: Path) -> None:
    async with showing(tmp_path, session(1)) as client:
        text = (await client.get("/sessions/sess_1")).text
    dialog = text[text.index('<dialog id="help"') :]
    assert dialog.index("Next step, step before") < dialog.index("These keys")
    assert text.count("Next step, step before") == 1


async def test_windows_are_reached_without_a_script(tmp_path: Path) -> None:
    async with showing(tmp_path, session(1, steps_of(100)), window_steps=20) as client:
        seen, path = list[int](), "/sessions/sess_1"
        while path:
            text = (await client.get(path)).text
            seen += [int(each) for each in re.findall(r'id="step-(\d+)"', text)]
            found = re.search(r'rel="next" href="([^"]+)"', text)
            path = found[1].replace("&amp;", "&") if found else ""
    assert sorted(seen) == list(range(1, 401))


async def test_a_link_to_a_step_or_a_turn_shows_it(tmp_path: Path) -> None:
    async with showing(tmp_path, session(1, steps_of(100)), window_steps=20) as client:
        assert 'id="step-250"' in (await client.get("/sessions/sess_1?step=250")).text
        assert 'id="step-201"' in (await client.get("/sessions/sess_1?turn=51")).text
        assert 'id="step-400"' in (await client.get("/sessions/sess_1?step=999999")).text
        fragment = (await client.get("/sessions/sess_1/steps?from=41", HX_Request="true")).text
    assert "<html" not in fragment
    assert 'id="step-41"' in fragment


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("step=99999", "There is no step 99,999: the last one is 40."),
        ("from=41", "There is no step 41: the last one is 40."),
        ("turn=11", "There is no turn 11: the last one is 10."),
        ("step=40", None),
        ("turn=10", None),
    ],
)
async def test_a_step_or_turn_that_is_not_there_is_said_and_the_end_is_shown(
    tmp_path: Path, query: str, told: str | None
) -> None:
    async with showing(tmp_path, session(1, steps_of(10)), window_steps=20) as client:
        pages = [await client.get(f"/sessions/sess_1?{query}"), await client.get(f"/sessions/sess_1/steps?{query}")]
    for page in pages:
        assert ("There is no" in page.text) == (told is not None)
        assert (told or "") in page.text
        assert 'id="step-40"' in page.text


@pytest.mark.parametrize(
    "query", ["step=x", "step=-1", "from=1.5", "turn=" + "9" * 20, "q=" + "x" * 300, "step=%EF%BC%91"]
)
async def test_what_is_no_number_of_a_step_is_said_to_be_none(tmp_path: Path, query: str) -> None:
    async with showing(tmp_path, session(1)) as client:
        assert (await client.get(f"/sessions/sess_1?{query}")).status == 400


async def test_turns_are_listed_to_jump_from_also_without_a_script(tmp_path: Path) -> None:
    hostile = session(2, [prompt("<b>bold</b> & \u202e so"), thought("hm"), prompt("```\ncode\n```")])
    async with showing(tmp_path, session(1, steps_of(250)), hostile, session(3, steps_of(1))) as client:
        page = await client.get("/sessions/sess_1")
        assert ("Turns 250" in page.said, 'href="/sessions/sess_1/turns"' in page.text) == (True, True)
        assert "/turns" not in (await client.get("/sessions/sess_3")).text, "of one turn there is no list"
        seen, path = list[tuple[str, str]](), "/sessions/sess_1/turns"
        while path:
            page = await client.get(path)
            assert "<h1>Turns of sess_1</h1>" in page.text
            seen += re.findall(r'\?step=(\d+)#step-\d+"[^>]*>.*?<span class="turn-title">([^<]*)<', page.text)
            found = re.search(r'rel="next" href="([^"]+)"', page.text)
            path = found[1] if found else ""
        assert seen == [(str(4 * number + 1), f"ask {number}") for number in range(250)]
        piece = await client.get("/sessions/sess_1/turns?from=101", HX_Request="true")
        assert "<html" not in piece.text
        assert 'data-turns-from="1"' in piece.text
        text = (await client.get("/sessions/sess_2/turns")).text
        assert "bold &amp;" in text
        assert "\u202e" not in text
        assert "Nothing in words" in text
        assert (await client.get("/sessions/sess_1/turns?from=x")).status == 400
        assert (await client.get("/sessions/sess_9/turns")).status == 404


async def test_types_are_chosen_and_counted(tmp_path: Path) -> None:
    async with showing(tmp_path, session(1, steps_of(5))) as client:
        answer = await client.get("/sessions/sess_1?type=thought")
    assert re.findall(r'id="step-(\d+)"', answer.text) == ["4", "8", "12", "16", "20"]
    assert "action 5" in answer.said


async def test_what_is_found_is_listed_with_links(tmp_path: Path) -> None:
    async with showing(tmp_path, session(1, steps_of(50)), hits_max=10) as client:
        answer = await client.get("/sessions/sess_1?q=Thought+4")
        assert re.findall(r'data-hit="(\d+)"', answer.text) == ["20", *map(str, range(164, 200, 4))]
        assert "More hits" in answer.said
        nothing = await client.get("/sessions/sess_1?q=nowhere")
    assert "Nothing with “nowhere”" in nothing.said


async def test_a_large_step_is_cut_and_all_of_it_is_text_behind_a_link(tmp_path: Path) -> None:
    text = "long line of words\n" * 20_000
    async with showing(tmp_path, session(1, [prompt("a"), *call(1, result=text)])) as client:
        answer = await client.get("/sessions/sess_1")
        assert len(answer.content) < 200_000
        assert "Show all of step 3" in answer.said
        whole = await client.get_bytes("/sessions/sess_1/steps/3.txt")
        missing = await client.get("/sessions/sess_1/steps/9.txt")
    assert whole.text == text
    assert whole.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert whole.headers["X-Content-Type-Options"] == "nosniff"
    assert missing.status == 404


async def test_a_session_is_copied_as_text_and_handed_out_as_atif(tmp_path: Path) -> None:
    async with showing(tmp_path, session(1, steps_of(2))) as client:
        copied = await client.get_bytes("/sessions/sess_1/text?first=2&last=3")
        document = await client.get_bytes("/sessions/sess_1/atif.json")
    assert copied.text.startswith("# Session sess_1\nagent: claude-code\n")
    assert "## 2. action Bash" in copied.text
    assert "## 4." not in copied.text
    found = json.loads(document.text)
    assert (found["schema_version"], found["session_id"], len(found["steps"])) == ("ATIF-v1.7", "sess_1", 6)
    assert "sess_1.atif.json" in document.headers["Content-Disposition"]


async def test_a_session_that_is_too_large_for_a_document_says_so(tmp_path: Path) -> None:
    async with showing(tmp_path, session(1), download_bytes_max=100) as client:
        answer = await client.get("/sessions/sess_1/atif.json")
    assert (answer.status, "too large" in answer.said) == (422, True)


@pytest.mark.parametrize(
    ("failure", "status"),
    [(JournalOutOfReach(JournalName.CORPUS, "it is away"), 503), (JournalDamage(JournalName.CORPUS, "changed"), 422)],
)
async def test_a_session_of_a_cold_day_that_cannot_be_read_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: JournalDamage, status: int
) -> None:
    def fail(*_: object) -> bytes:
        raise failure

    async with showing(tmp_path, session(1, steps_of(1))) as client:
        monkeypatch.setattr(StoredJournal, "read_now", fail)
        assert (await client.get("/sessions/sess_1/atif.json")).status == status
        monkeypatch.setattr(StoredJournal, "part_now", fail)
        for path in ("", "/steps", "/steps/1.txt", "/text", "/atif.json", "/find?q=ask"):
            assert (await client.get(f"/sessions/sess_1{path}")).status == status, path


async def test_two_sessions_stand_side_by_side(tmp_path: Path) -> None:
    async with showing(tmp_path, session(1, steps_of(1)), session(2, [thought("the other one")])) as client:
        said = (await client.get("/sessions/sess_1?beside=sess_2")).said
        assert "the other one" in said
        assert "ask 0" in said
        assert (await client.get("/sessions/sess_1?beside=sess_9")).status == 404


async def test_the_other_session_is_named_by_a_link_too_and_can_be_closed(tmp_path: Path) -> None:
    async with showing(tmp_path, session(1, steps_of(1)), session(2, [thought("the other one")])) as client:
        link = "https%3A%2F%2Fcentral.example%2Fsessions%2Fsess_2%3Fstep%3D1%23step-1"
        answer = await client.get(f"/sessions/sess_1?type=thought&beside={link}&beside_step=1")
        assert "the other one" in answer.said
        assert 'href="/sessions/sess_1?type=thought">Close the other session' in answer.text


async def test_an_id_that_cannot_stand_beside_a_session_is_named_at_its_field_and_the_session_is_shown(
    tmp_path: Path,
) -> None:
    async with showing(tmp_path, session(1, steps_of(1))) as client:
        answer = await client.get("/sessions/sess_1?beside=sess_9")
    assert "sess_9: The corpus holds no such session" in answer.said
    assert 'name="beside" value="sess_9"' in answer.text
    assert "Close the other session" not in answer.said
    assert "ask 0" in answer.said


@pytest.mark.parametrize(
    "path",
    [
        *("/sessions/sess_9", "/sessions/sess_9/steps", "/sessions/sess_9/text", "/sessions/%00"),
        *(f"/sessions/sess_1/steps/{number}.txt" for number in ("0", "9" * 12, "9" * 19, "9" * 5_000)),
    ],
)
async def test_a_session_that_is_not_there_is_not_found(tmp_path: Path, path: str) -> None:
    async with showing(tmp_path, session(1)) as client:
        assert (await client.get(path)).status == 404


@pytest.mark.parametrize(
    "path", ["/sessions", "/sessions/sess_1", "/sessions/sess_1/text", "/sessions/sess_1/steps/1.txt"]
)
async def test_who_may_not_read_sees_no_session(tmp_path: Path, path: str) -> None:
    async with showing(tmp_path, session(1), scopes=(Scope.INTAKE,)) as client:
        assert (await client.get(path)).status == 403
        client.cookie = None
        assert (await client.get(path)).status in {302, 303, 401}


async def test_attacks_are_text_wherever_a_page_shows_them(tmp_path: Path) -> None:
    """What the pages themselves put in: tools, types, models, ids. Each is well formed, without a style or script."""
    texts = [text.encode(errors="replace").decode() for text in ATTACKS]
    steps = [{"type": "action", "tool": text[:90], "arguments": {text: text}, "content": text} for text in texts]
    metadata = {"provider": ATTACKS[0], "model_engine": ATTACKS[11], "continues_session": ATTACKS[12]}
    async with showing(tmp_path, session(1, steps, metadata=metadata), window_steps=200) as client:
        for path in ("/sessions/sess_1", "/sessions", "/sessions/sess_1?q=%3Cscript", "/sessions?provider=%3Cb%3E"):
            answer = await client.get(path)
            assert answer.status == 200
            assert "<script>" not in answer.text


# Titles and summaries


async def test_the_table_shows_titles_where_there_are_some_and_ids_where_not(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script> \u202egnihton"
    async with showing(tmp_path, session(1), session(2)) as client:
        await summed(tmp_path, hostile, {"sess_1"})
        answer = await client.get("/sessions")
    assert answer.said.count("<script>alert(1)</script>") == 1
    assert "<script>" not in answer.text
    assert "\u202e" not in answer.text, "what is hidden in a text is shown"
    assert re.findall(r'<a class="(session-title|mono)[^"]*" href="/sessions/(sess_.)"', answer.text) == [
        ("mono", "sess_2"),
        ("session-title", "sess_1"),
    ]


async def test_a_session_is_headed_by_its_title_and_names_others_by_theirs(tmp_path: Path) -> None:
    known = {"provider": "codex", "model_engine": "gpt-5.5"}
    continuing = session(2, steps_of(1), metadata={**known, "continues_session": "sess_1"})
    async with showing(tmp_path, session(1, steps_of(1), metadata=known), continuing) as client:
        await summed(tmp_path, "</title><script>alert(1)</script>", {"sess_1"})
        titled, other = await client.get("/sessions/sess_1"), await client.get("/sessions/sess_2")
    assert "<script>alert" not in titled.text + other.text
    [heading] = re.findall(r"<h1[^>]*>(.*?)</h1>", titled.text)
    assert heading == "&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;"
    assert "sess_1" in titled.said
    assert "About </title><script>alert(1)</script>." in titled.said
    assert re.findall(r"<h1[^>]*>(.*?)</h1>", other.text) == ["sess_2"]
    assert "Goes on from </title><script>alert(1)</script>" in other.said


async def test_a_title_is_of_the_steps_that_a_session_has(tmp_path: Path) -> None:
    async with showing(tmp_path, session(1, steps_of(1))) as client:
        await summed(tmp_path, "Of one turn", {"sess_1"})
        assert "Of one turn" in (await client.get("/sessions")).said
        await put_sessions(tmp_path, [session(1, steps_of(2))])
        await index_async(tmp_path)
        said = [(await client.get(path)).said for path in ("/sessions", "/sessions/sess_1")]
    assert not any("Of one turn" in each for each in said)


async def test_sessions_are_shown_without_titles_where_those_cannot_be_read(tmp_path: Path) -> None:
    async with showing(tmp_path, session(1)) as client:
        (tmp_path / "corpus.db").write_bytes(b"no database " * 1_000)
        assert {(await client.get(path)).status for path in ("/sessions", "/sessions/sess_1")} == {200}


# Open sessions

OPEN = Settings(viewer=ViewerSettings(live_poll_s=0.01))


def followed(run: Running) -> Offered:
    return Offered(open_sessions=run.service.desks.open_sessions(trio.Event()))


async def test_an_open_session_is_shown_raw_to_administrators_and_followed_until_it_is_closed(tmp_path: Path) -> None:
    desk = ViewerDesk(tmp_path, ViewerSettings())
    async with pages_on(tmp_path, Scope.READ, Scope.ADMIN, settings=OPEN, offering=followed, viewer=desk) as client:
        opened = await client.run.open("sess_live")
        await client.run.send(
            opened.chunk_of([opened.step(content="the first one"), opened.step(content="by jane@doe.com")])
        )
        await client.run.projected()
        shown = await client.get("/sessions/sess_live")
        assert "the first one" in shown.said
        assert "jane@doe.com" in shown.said
        assert "data-live" in shown.text
        assert (await client.get("/sessions/sess_live/find?q=FIRST")).text.count("data-hit=") == 1
        assert (await client.get_bytes("/sessions/sess_live/steps/1.txt")).text == "the first one"
        assert (await client.get("/sessions/sess_live/turns", HX_Request="true")).status == 200
        assert (await client.get("/sessions/sess_live/atif.json")).status == 404
        answers = []

        async def follow() -> None:
            answers.append(await client.get_bytes("/sessions/sess_live/live?from=3"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await client.run.send(opened.chunk_of([opened.step(content="<b>the third one</b>")]))
            await client.run.send(opened.close())
    (answer,) = answers
    assert answer.headers["Content-Type"] == "text/event-stream"
    (event,) = re.findall(r"event: steps\nid: 3\ndata: (.*)\n\n", answer.text)
    assert "the third one" in json.loads(event)["html"]
    assert "<b>" not in json.loads(event)["html"]
    assert json.loads(event)["turns"] == 0, "nobody asked for anything"
    assert "the first one" not in event
    assert answer.text.endswith("event: closed\ndata: {}\n\n")


async def test_who_may_no_more_sees_nothing_more_of_a_session_that_they_follow(tmp_path: Path) -> None:
    desk = ViewerDesk(tmp_path, ViewerSettings())
    sessions = list[object]()

    def remembered(run: Running) -> Offered:
        offered = followed(run)
        sessions.append(offered["open_sessions"])
        return offered

    async with pages_on(tmp_path, Scope.ADMIN, settings=OPEN, offering=remembered, viewer=desk) as client:
        opened = await client.run.open("sess_live")
        await client.run.send(opened.chunk_of([opened.step(content="the first one")]))
        await client.run.projected()
        answers = []

        async def follow() -> None:
            answers.append(await client.get_bytes("/sessions/sess_live/live?from=2"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            while "1 followers" not in repr(sessions[0]):
                await trio.lowlevel.checkpoint()
            (session,) = await client.run.service.access.desk.sessions()
            await client.run.service.access.desk.revoke_session(session.session_id)
            await client.run.send(opened.chunk_of([opened.step(content="the second one")]))
            await client.run.projected()
            await client.run.send(opened.close())
    (answer,) = answers
    assert answer.status == 200
    assert answer.text == "retry: 3000\n\n"


async def test_an_open_session_whose_disk_fails_is_said_to_be_unreadable_and_then_shown_whole(tmp_path: Path) -> None:
    desk = ViewerDesk(tmp_path, ViewerSettings())
    is_failing = True

    def failing(run: Running) -> Offered:
        def read_line(place: Position) -> bytes:
            if is_failing:
                raise StorageFailure("the disk does not answer")
            return run.service._storage.envelopes.read_now(place)

        live = run.service.desks.open_sessions(trio.Event())
        live._read_line = read_line
        return Offered(open_sessions=live)

    async with pages_on(tmp_path, Scope.READ, Scope.ADMIN, settings=OPEN, offering=failing, viewer=desk) as client:
        opened = await client.run.open("sess_live")
        await client.run.send(opened.chunk_of([opened.step(content="the first one")]))
        await client.run.projected()
        assert (await client.get("/sessions/sess_live")).status == 503
        assert (await client.get("/sessions/sess_live/live")).status == 503
        is_failing = False
        assert "the first one" in (await client.get("/sessions/sess_live")).said


async def test_a_last_event_that_is_no_number_is_not_gone_on_behind(tmp_path: Path) -> None:
    desk = ViewerDesk(tmp_path, ViewerSettings())
    async with pages_on(tmp_path, Scope.ADMIN, settings=OPEN, offering=followed, viewer=desk) as client:
        opened = await client.run.open("sess_live")
        answers = []

        async def follow(last: str) -> None:
            answers.append(await client.get_bytes("/sessions/sess_live/live", Last_Event_ID=last))

        async with trio.open_nursery() as nursery:
            for last in ("\xb2", "x", "-1", "9" * 5_000):
                nursery.start_soon(follow, last)
            await client.run.send(opened.close())
    assert {answer.status for answer in answers} == {200}


async def test_an_open_session_is_not_there_for_who_may_only_read(tmp_path: Path) -> None:
    desk = ViewerDesk(tmp_path, ViewerSettings())
    async with pages_on(tmp_path, Scope.READ, settings=OPEN, offering=followed, viewer=desk) as client:
        opened = await client.run.open("sess_live")
        await client.run.send(opened.chunk_of([opened.step(content="secret")]))
        assert (await client.get("/sessions/sess_live")).status in {404, 503}
        assert (await client.get("/sessions/sess_live/live")).status == 403


async def test_open_sessions_are_listed_for_administrators_page_by_page(tmp_path: Path) -> None:
    settings = Settings(viewer=ViewerSettings(sessions_max=2))
    desk = ViewerDesk(tmp_path, settings.viewer)
    async with pages_on(tmp_path, Scope.READ, Scope.ADMIN, settings=settings, offering=followed, viewer=desk) as client:
        for number in range(3):
            await client.run.open(f"sess_{number}")
            client.run.clock.jump(1)
        first = await client.get("/sessions?state=open")
        assert re.findall(r'href="/sessions/(sess_\d)"', first.text) == ["sess_2", "sess_1"]
        found = re.search(r'rel="next" href="([^"]+)"', first.text)
        assert found is not None
        second = await client.get(found[1].replace("&amp;", "&"))
        assert re.findall(r'href="/sessions/(sess_\d)"', second.text) == ["sess_0"]
        assert (await client.get("/sessions?state=open&cursor=x")).status == 400
        assert 'href="/sessions?state=open"' in (await client.get("/sessions")).text
        await client.sign_in(Scope.READ)
        assert (await client.get("/sessions?state=open")).status == 403
        assert "state=open" not in (await client.get("/sessions")).text


async def test_nobody_more_follows_than_may(tmp_path: Path) -> None:
    settings = Settings(viewer=ViewerSettings(live_max=0))
    desk = ViewerDesk(tmp_path, settings.viewer)
    async with pages_on(tmp_path, Scope.ADMIN, settings=settings, offering=followed, viewer=desk) as client:
        await client.run.open("sess_live")
        assert (await client.get("/sessions/sess_live/live")).status == 503
        assert (await client.get("/sessions/sess_other/live")).status in {404, 503}


# The table


async def test_the_table_is_chosen_and_sorted_by_the_address(tmp_path: Path) -> None:
    sessions = [
        session(1, steps_of(1), contributor=1),
        session(2, steps_of(3), contributor=2, outcome=None),
        session(3, steps_of(2), metadata={"provider": "codex", "model_engine": "gpt-5.5"}),
    ]
    async with showing(tmp_path, *sessions) as client:

        async def shown(query: str = "") -> list[str]:
            answer = await client.get(f"/sessions?{query}")
            assert answer.status == 200, answer.said
            return re.findall(r'href="/sessions/(sess_\d)"', answer.text)

        assert await shown() == ["sess_3", "sess_2", "sess_1"]
        assert await shown("sort=step_count") == ["sess_1", "sess_3", "sess_2"]
        assert await shown("sort=-step_count") == ["sess_2", "sess_3", "sess_1"]
        assert await shown("provider=codex") == ["sess_3"]
        assert await shown("model=gpt-5.5&provider=claude-code") == []
        assert await shown("outcome=none") == ["sess_2"]
        assert await shown("tool=bash") == ["sess_3", "sess_2", "sess_1"]
        assert await shown("after=2026-11-03&before=2026-11-04") == ["sess_2"]
        zoned = "after=2026-11-03T23:00:00%2B23:00&before=2026-11-03T01:00:00-23:00"
        assert await shown(zoned) == ["sess_2"], "the same day, as other zones have it"
        text = (await client.get("/sessions")).text
        (pseudonym,) = set(re.findall(r'contributor=(con_[0-9a-f]{32})" title', text)) - set(
            re.findall(r'contributor=(con_[0-9a-f]{32})" title', (await client.get("/sessions?outcome=SUCCESS")).text)
        )
        assert await shown(f"contributor={pseudonym}") == ["sess_2"]


async def test_pages_of_the_table_are_all_of_it_each_session_once(tmp_path: Path) -> None:
    async with showing(tmp_path, *(session(n, steps_of(1 + n % 3)) for n in range(12)), sessions_max=5) as client:
        for sort in ("-started_at", "step_count", "-points"):
            seen, path = list[str](), f"/sessions?sort={sort}"
            while path:
                text = (await client.get(path)).text
                seen += re.findall(r'href="/sessions/(sess_\d+)"', text)
                found = re.search(r'rel="next" href="([^"]+)"', text)
                path = found[1].replace("&amp;", "&") if found else ""
            assert sorted(seen) == sorted(f"sess_{n}" for n in range(12)), sort


@pytest.mark.parametrize(
    "query", ["sort=contributor_id", "after=yesterday", "cursor=x", "tool=" + "x" * 300, "model=%ED%A0%80"]
)
async def test_what_the_table_cannot_do_is_said(tmp_path: Path, query: str) -> None:
    async with showing(tmp_path, session(1)) as client:
        assert (await client.get(f"/sessions?{query}")).status in {200, 400}


async def test_a_server_without_a_corpus_says_what_to_do(tmp_path: Path) -> None:
    async with showing(tmp_path) as client:
        said = (await client.get("/sessions")).said
        assert "export CENTRAL_COMMAND_URL=http://localhost central-command upload" in said
        assert "central-command watch ~/.claude/projects" in said
        assert (await client.get("/sessions/sess_1")).status == 503
