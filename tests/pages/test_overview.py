"""`/`: what a new server says, what one says that sessions came to, and whom it says what."""

from pathlib import Path

from central_command.access.tokens import Scope
from central_command.web.pages.overview import MEANINGS
from tests.pages.page_client import pages_on


async def test_a_new_server_says_what_fills_it(tmp_path: Path) -> None:
    async with pages_on(tmp_path, Scope.READ) as browser:
        page = await browser.get("/")
        assert "No session has come in yet" in page.said
        assert "export CENTRAL_COMMAND_URL=http://localhost central-command upload" in page.said
        assert "No model yet" in page.said


async def test_what_came_in_is_counted_by_day_model_and_provider(tmp_path: Path) -> None:
    async with pages_on(tmp_path, Scope.READ) as browser:
        for n in range(2):
            client = await browser.run.open(f"sess_{n}")
            await browser.run.send(client.chunk(3, model_engine="gpt-5.5<b>"))
        await browser.run.send(client.close())
        await browser.run.projected()
        page = await browser.get("/")
        assert "No session has come in yet" not in page.said
        assert "Open sessions 1 of 2 in all" in page.said
        assert "Steps today 6 6 in 30 days" in page.said
        assert "gpt-5.5<b>" in page.said
        assert "<b>" not in page.text
        assert 'href="/sessions?model=gpt-5.5%3Cb%3E"' in page.text
        assert page.text.count("<tr data-day=") == 30
        checks = page.said.partition("Health")[2].partition("Storage")[0]
        for name, found in browser.run.service.readiness().checks.items():
            assert (MEANINGS[name] in checks) == (found == "ok"), name
        for part in ("taking envelopes in", "Free on the disk", "Contributors 1", "projection ok"):
            assert part in page.said


async def test_who_administers_and_may_not_read_sees_the_overview_too(tmp_path: Path) -> None:
    async with pages_on(tmp_path, Scope.ADMIN) as browser:
        assert (await browser.get("/")).status == 200
