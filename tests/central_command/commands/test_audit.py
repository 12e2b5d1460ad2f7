"""`audit`: what commands have changed, by whom and when."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from central_command.commands.cli import main


def run(root: Path, *arguments: str) -> Result:
    """Run a command on a data directory."""
    return CliRunner().invoke(main, [*arguments, "--data-dir", str(root)])


def test_each_command_that_changes_something_is_a_line(tmp_path: Path) -> None:
    assert "Nothing was changed" in run(tmp_path, "audit").output
    token_id = run(tmp_path, "token", "create", "--scope", "read").stderr.partition(":")[0]
    run(tmp_path, "token", "revoke", token_id)
    link_id = run(tmp_path, "sign-in").stderr.partition(":")[0]
    ban_id = run(tmp_path, "ban", "--machine", "ab" * 32).stdout.partition(":")[0]
    run(tmp_path, "unban", ban_id)
    run(tmp_path, "unban", ban_id)
    rows = [line.split("\t") for line in run(tmp_path, "audit", "--since", "1h").output.splitlines()[1:]]
    assert [(row[0], *row[2:5]) for row in rows] == [
        ("1", "command", "token_made", token_id),
        ("2", "command", "token_revoked", token_id),
        ("3", "command", "link_made", link_id),
        ("4", "command", "banned", f"{ban_id} machine {'ab' * 32}"),
        ("5", "command", "unbanned", f"{ban_id} machine {'ab' * 32}"),
    ]
    assert "Nothing was changed" in run(tmp_path, "audit", "--since", "2090-01-01").output


@pytest.mark.parametrize("since", ["", "soon", "0d", "2026-13-45", "2026-02-30", "2026-11-20T00:00:00Z"])
def test_since_is_a_duration_or_a_day(tmp_path: Path, since: str) -> None:
    result = run(tmp_path, "audit", "--since", since)
    assert (result.exit_code, "--since takes a whole number" in result.output) == (2, True)
