"""`/refused`: which envelopes were refused, of which machine, why, and another try, from pages."""

from pathlib import Path

from actors.envelopes.refusals import Refusal
from central_command.access.tokens import Scope
from tests.pages.operated import Operated, operated
from tests.running_service import running, settings_with
from tests.signing_client import CONTRIBUTOR

STRICT = settings_with(schema={"team_size_max": 3})


async def leave_letters(root: Path, letters: int = 1) -> str:
    """Leave envelopes that a server with other settings refused; return the machine that sent them."""
    async with running(root, settings=STRICT) as run:
        client = await run.open()
        for _ in range(letters):
            assert isinstance(await run.send(client.chunk(3, team_size=4)), Refusal)
        return client.opening()["machine_fingerprint"]


async def first_letter(server: Operated) -> str:
    from persistence.databases.letters import LetterFilter  # noqa: PLC0415

    page = await server.browser.run.service.letters.page(LetterFilter(), 1)
    return page.refused[0].id


async def test_an_empty_server_says_that_nothing_was_refused(tmp_path: Path) -> None:
    async with operated(tmp_path, Scope.ADMIN) as server:
        page = await server.browser.get("/refused")
        assert (page.status, "No envelope was refused." in page.said) == (200, True)
        assert page.said.count("central-command refused") == page.said.count("central-command refused list --url"), (
            "without an address it refuses while this server has the data directory"
        )


async def test_letters_are_listed_with_reason_and_machine_and_filtered_in_the_address(tmp_path: Path) -> None:
    machine = await leave_letters(tmp_path / "data", 2)
    async with operated(tmp_path, Scope.ADMIN) as server:
        letter = await first_letter(server)
        for query in ("", "?code=schema", f"?machine={machine}", "?session=sess_1&code="):
            page = await server.browser.get(f"/refused{query}")
            assert f'href="/refused/{letter}"' in page.text, query
        assert f'title="{machine}"' in page.text
        page = await server.browser.get("/refused?machine=another")
        assert "No envelope was refused so." in page.said
        assert (await server.browser.get("/refused?code=A!")).status == 400


async def test_a_letter_is_shown_and_tried_again_and_the_try_is_noted(tmp_path: Path) -> None:
    await leave_letters(tmp_path / "data")
    async with operated(tmp_path, Scope.ADMIN) as server:
        letter = await first_letter(server)
        page = await server.browser.get(f"/refused/{letter}")
        assert "team_size" in page.said
        assert "contributor_id" in page.said
        assert CONTRIBUTOR not in page.text
        assert '"contributor_id":"con_' in page.said
        answer = await server.browser.post(f"/refused/{letter}/retry")
        assert answer.status == 303
        page = await server.browser.get(answer.headers["Location"])
        assert "It is taken in." in page.said
        assert await server.noted() == [("letter_tried", letter)]
        assert "taken in" in (await server.browser.get("/refused")).said


async def test_a_try_that_changes_nothing_says_why(tmp_path: Path) -> None:
    async with operated(tmp_path, Scope.ADMIN) as server:
        client = await server.browser.run.open()
        assert isinstance(await server.browser.run.send(client.chunk(3, team_size=10**6)), Refusal)
        letter = await first_letter(server)
        answer = await server.browser.post(f"/refused/{letter}/retry")
        assert "stays refused" in (await server.browser.get(answer.headers["Location"])).said


async def test_only_who_administers_sees_what_was_refused(tmp_path: Path) -> None:
    async with operated(tmp_path, Scope.READ, Scope.EXPORT) as server:
        for answer in (
            await server.browser.get("/refused"),
            await server.browser.get("/refused/env_1"),
            await server.browser.post("/refused/env_1/retry"),
        ):
            assert answer.status == 403
    async with operated(tmp_path / "other", Scope.ADMIN) as server:
        assert (await server.browser.get("/refused/env_1")).status == 404
        assert (await server.browser.post("/refused/env_1/retry")).status == 404
