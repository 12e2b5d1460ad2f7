"""`/observer`: failures with what to do, playbooks, and the last operations, filtered in the address."""

from pathlib import Path

from central_command.access.tokens import Scope
from tests.pages.operated import Operated, operated


async def seen(server: Operated, **members: object) -> None:
    await server.watched.observer.record({"endpoint": "tool:search", "source": "mcp", **members}, 100)


async def test_an_empty_server_says_how_operations_come(tmp_path: Path) -> None:
    async with operated(tmp_path, Scope.READ) as server:
        page = await server.browser.get("/observer")
        assert page.status == 200
        assert "No operation came yet." in page.said
        assert "/api/observer/event" in page.said
        assert "Nothing has failed." in page.said
        assert "Of what this server itself did well one in 100 is kept" in page.said


async def test_failures_are_grouped_with_what_to_do_and_playbooks_stand_beside_them(tmp_path: Path) -> None:
    async with operated(tmp_path, Scope.READ) as server:
        for n in range(3):
            await seen(server, success=False, error=f"connection refused to <host> 10.0.0.{n}:443")
        for n in range(6):
            await seen(server, success=True, duration_ms=40.0, input_summary=f"search for part {n}")
        for _ in range(5):
            await server.watched.observer.cycle()
        page = await server.browser.get("/observer")
        assert "3 times" in page.said
        assert "Do:" in page.said
        assert "<host>" not in page.text
        assert "search for part" in page.said
        assert "40 ms" in page.said


async def test_what_failed_once_has_one_time_and_what_failed_again_two(tmp_path: Path) -> None:
    async with operated(tmp_path, Scope.READ) as server:
        await seen(server, success=False, error="once")
        for _ in range(5):
            await server.watched.observer.cycle()
        page = await server.browser.get("/observer")
        assert "1 group, the latest first" in page.said
        assert "</time> to <time" not in page.text
        server.watched.now += 60
        await seen(server, success=False, error="once")
        for _ in range(5):
            await server.watched.observer.cycle()
        assert "</time> to <time" in (await server.browser.get("/observer")).text


async def test_operations_are_filtered_and_paged_in_the_address(tmp_path: Path) -> None:
    async with operated(tmp_path, Scope.READ) as server:
        for n in range(120):
            await seen(server, success=n % 2 == 0, error=None if n % 2 == 0 else "no", input_summary=f"input-{n}.")
        await seen(server, source="scenario", endpoint="other", success=True, input_summary="elsewhere")
        page = await server.browser.get("/observer")
        assert ("elsewhere" in page.said, "input-119." in page.said, "input-3." in page.said) == (True, True, False)
        page = await server.browser.get("/observer?source=mcp&success=false&endpoint=tool:search")
        assert ("input-119." in page.said, "input-118." in page.said, "input-1." in page.said) == (True, False, True)
        assert "elsewhere" not in page.said
        page = await server.browser.get("/observer?source=scenario")
        assert ("elsewhere" in page.said, "input-119." in page.said) == (True, False)
        page = await server.browser.get("/observer?endpoint=nowhere")
        assert "No operation is like that." in page.said
        assert (await server.browser.get("/observer?success=maybe")).status == 400
        assert (await server.browser.get("/observer?before=x")).status == 400


async def test_only_who_reads_sees_the_observer(tmp_path: Path) -> None:
    async with operated(tmp_path, Scope.EXPORT) as server:
        assert (await server.browser.get("/observer")).status == 403
