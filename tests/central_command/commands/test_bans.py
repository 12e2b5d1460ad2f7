"""`ban`, `unban`, `bans`: beside a server or not, each wrong option one sentence."""

import hashlib
import json
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

from central_command.commands.cli import main
from tests.running_service import running


def run(root: Path, *arguments: str, **environment: str) -> Result:
    """Run a command on a data directory."""
    return CliRunner().invoke(main, [*arguments, "--data-dir", str(root)], env=environment)


def test_somebody_is_banned_listed_and_let_in_again(tmp_path: Path) -> None:
    assert "Nobody is banned" in run(tmp_path, "bans").output
    made = run(tmp_path, "ban", "--address", "192.0.2.9/24", "--reason", "floods", "--days", "7")
    assert made.exit_code == 0, made.output
    ban_id, _, sentence = made.stdout.strip().partition(": ")
    assert sentence == "address 192.0.2.0/24 may open no sessions"
    assert run(tmp_path, "ban", "--contributor", "0" * 32).exit_code == 0
    row = run(tmp_path, "bans").output.splitlines()[1].split("\t")
    assert (row[:4], row[6]) == ([ban_id, "address", "192.0.2.0/24", "banned"], "floods")
    assert "\t" + "0" * 32 not in run(tmp_path, "bans", "--wide").output
    assert run(tmp_path, "unban", ban_id[:12]).output.startswith(f"{ban_id} is taken back")
    assert ban_id not in run(tmp_path, "bans").output


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (("ban",), 2, "give one of --machine, --contributor and --address, and only one"),
        (("ban", "--machine", "a", "--address", "192.0.2.1"), 2, "and only one"),
        (("ban", "--machine", "a b"), 2, "--machine must be 1 to 128 letters"),
        (
            ("ban", "--machine", "192.0.2.1"),
            2,
            "--machine must not be an IP address or a network: those are of the kind",
        ),
        (("ban", "--machine", "21704d48"), 2, "--machine must be the whole fingerprint"),
        (("ban", "--contributor", "me"), 2, "--contributor must be 32 hexadecimal digits"),
        (("ban", "--address", "0.0.0.0/0"), 2, "--address must be an IP address, or a network of at least /8"),
        (("ban", "--machine", "a", "--reason", "\x1b[31m"), 2, "--reason must be at most 200 characters"),
        (("ban", "--machine", "a", "--days", "0"), 2, "0 is not in the range"),
        (("unban", "ban_x"), 1, "there is no ban whose id alone begins so"),
        (("unban", ""), 1, "there is no ban whose id alone begins so"),
    ],
)
def test_what_is_wrong_is_said_and_changes_nothing(
    tmp_path: Path, arguments: tuple[str, ...], status: int, sentence: str
) -> None:
    result = run(tmp_path, *arguments)
    assert (result.exit_code, sentence in result.output) == (status, True), result.output
    assert list(tmp_path.iterdir()) == []


async def test_a_machine_is_named_by_the_beginning_that_sessions_show(tmp_path: Path) -> None:

    async def offloaded(*arguments: str) -> list[dict[str, str]]:
        printed = await trio.to_thread.run_sync(run, tmp_path, *arguments)  # a command has an event loop of its own
        return list(map(json.loads, printed.stdout.splitlines()))

    machine = hashlib.sha256(b"sess_1").hexdigest()
    async with running(tmp_path) as server:
        await server.open("sess_1")
    (row,) = await offloaded("sessions", "--json")
    assert row["machine"] == machine
    made = await trio.to_thread.run_sync(run, tmp_path, "ban", "--machine", row["machine"][:8])
    assert (made.exit_code, f"machine {machine} may open no sessions" in made.output) == (0, True)
    (ban,) = await offloaded("bans", "--json")
    assert (ban["kind"], ban["subject"]) == ("machine", machine)


def test_there_are_no_more_than_the_settings_allow(tmp_path: Path) -> None:
    bound = {"CENTRAL_COMMAND__ACCESS__BANS_MAX": "1"}
    assert run(tmp_path, "ban", "--machine", "a" * 64, **bound).exit_code == 0
    result = run(tmp_path, "ban", "--machine", "b" * 64, **bound)
    assert (result.exit_code, "access.bans_max" in result.output) == (2, True)
