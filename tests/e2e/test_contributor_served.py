"""A contributor's commands against a real server: upload, withdraw, get a receipt, verify it, on two machines."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from central_command.commands import cli
from tests.server_process import REPOSITORY, ServerProcess

SHORT = REPOSITORY / "tests" / "transcripts" / "short.jsonl"


class Machine:
    """A machine with folders of its own."""

    def __init__(self, home: Path, server: ServerProcess) -> None:
        self.environment = {
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_STATE_HOME": str(home / "state"),
            "CENTRAL_COMMAND_URL": server.url,
        }

    def run(self, *arguments: str | Path) -> Result:
        result = CliRunner().invoke(cli.main, [*map(str, arguments)], env=self.environment)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    def shown(self) -> Any:
        result = self.run("contributor", "show", "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


def test_a_contributor_withdraws_and_has_a_receipt_that_verifies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GROOVE_CENTRAL_URL", raising=False)
    with ServerProcess(tmp_path / "data") as server:
        mine, second = Machine(tmp_path / "mine", server), Machine(tmp_path / "second", server)
        assert mine.run("contributor", "receipt").exit_code == 1
        assert mine.run("upload", SHORT).exit_code == 0
        until = time.monotonic() + 30
        while mine.shown()["state"] != "given" and time.monotonic() < until:
            pass  # the first envelope is recorded as consent behind its answer
        receipt = tmp_path / "receipt.json"
        receipt.write_text(mine.run("contributor", "receipt").stdout)
        verified = mine.run("contributor", "verify", receipt)
        assert verified.exit_code == 0, verified.output
        assert "consent\tgiven" in verified.stdout
        other = second.run("contributor", "verify", receipt)
        assert (other.exit_code, "of another contributor" in other.stderr) == (1, True)

        contributor_id = (tmp_path / "mine" / "config" / "central-command" / "contributor_id").read_text().strip()
        refused = second.run("contributor", "withdraw", "--contributor-id", contributor_id)
        assert refused.exit_code == 1
        assert "this machine has no key" in refused.stderr
        assert mine.run("contributor", "export", tmp_path / "key.json").exit_code == 0
        assert second.run("contributor", "import", tmp_path / "key.json", "--yes").exit_code == 0
        withdrawn = second.run("contributor", "withdraw")
        assert withdrawn.exit_code == 0, withdrawn.output
        assert "consent\twithdrawn: nothing is used, and nothing more is taken" in withdrawn.stdout
        assert [each["source"] for each in mine.shown()["history"]] == ["client", "api"]
        assert second.run("contributor", "give").exit_code == 2
        given = second.run("contributor", "give", "--yes")
        assert given.exit_code == 0, given.output
        assert "is stored, and used for training data" in given.stdout
        assert mine.shown()["state"] == "given"

        receipt.write_text(receipt.read_text().replace('"given"', '"withdrawn"'))
        changed = mine.run("contributor", "verify", receipt)
        assert (changed.exit_code, "it was changed" in changed.stderr) == (1, True)
        receipt.write_text("{}")
        assert "holds no receipt" in mine.run("contributor", "verify", receipt).stderr
    gone = mine.run("contributor", "withdraw")
    assert gone.exit_code == 1
    assert gone.stderr.count("\n") == 1
