"""`refused`: dead letters listed, shown and tried again while the server is stopped."""

import json
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

from actors.envelopes.refusals import Refusal
from central_command.commands.cli import main
from tests.running_service import running, settings_with
from tests.signing_client import CONTRIBUTOR


async def _leave_letters(root: Path) -> None:
    async with running(root, settings=settings_with(schema={"team_size_max": 3})) as run:
        client = await run.open()
        for _ in range(2):
            assert isinstance(await run.send(client.chunk(3, team_size=4, note="\x1b[31mred")), Refusal)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    trio.run(_leave_letters, tmp_path / "data")
    return tmp_path / "data"


def run(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["refused", *arguments, "--data-dir", str(root)])


def listed(root: Path, *arguments: str) -> list[dict[str, object]]:
    found = run(root, "list", "--json", *arguments)
    assert found.exit_code == 0, found.output
    return [json.loads(line) for line in found.stdout.splitlines()]


def test_letters_are_listed_shown_and_taken_in(root: Path) -> None:
    first, second = listed(root)
    assert (first["sequence"], second["sequence"]) == (1, 0)
    shown = run(root, "show", str(second["id"]))
    assert shown.exit_code == 0
    assert "team_size" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert '"contributor_id":"con_' in shown.stdout
    assert CONTRIBUTOR not in shown.stdout
    tried = run(root, "retry", str(second["id"]))
    assert tried.exit_code == 0, tried.output
    assert f"{second['id']}: It is taken in as env_" in tried.stdout
    again = run(root, "retry", "--all")
    assert again.exit_code == 0
    assert again.stdout.startswith(str(first["id"]))
    assert [each["can_retry"] for each in listed(root)] == [False, False]
    assert "nothing that could be tried" in run(root, "retry", "--code", "schema").stderr


def test_a_letter_that_there_is_not_ends_with_1(root: Path) -> None:
    assert run(root, "show", "env_nobody").exit_code == 1
    assert run(root, "retry", "env_nobody").exit_code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("retry",),
        ("retry", "env_1", "--all"),
        ("retry", "env_1", "--code", "schema"),
        ("list", "--code", "No"),
        ("list", "--day", "today"),
        ("list", "--session", "a b"),
        ("list", "--contributor", "me"),
        ("list", "--limit", "0"),
        ("list", "--url", "http://127.0.0.1:1"),
        ("list", "--token-file", "/dev/null"),
        ("list", "--url", "nonsense", "--token-file", "/dev/null"),
        ("list", "--url", "http://127.0.0.1:1", "--token-file", "/dev/null"),
        ("show",),
    ],
)
def test_wrong_options_start_nothing(root: Path, arguments: tuple[str, ...]) -> None:
    ended = run(root, *arguments)
    assert ended.exit_code == 2
    assert len(listed(root)) == 2


def test_beside_a_folder_that_is_none_nothing_is_made(tmp_path: Path) -> None:
    assert run(tmp_path / "none", "list").exit_code == 2
    assert not (tmp_path / "none").exists()
