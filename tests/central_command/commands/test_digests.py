"""`digests`: the ledger's, a line a day."""

import json
from pathlib import Path

import trio
from click.testing import CliRunner

from central_command.commands.cli import main
from tests.persistence.test_digests import at_noon, filled


def run(root: Path, *arguments: str) -> str:
    result = CliRunner().invoke(main, ["digests", *arguments, "--data-dir", str(root)])
    assert result.exit_code == 0, result.output
    return result.output


def test_each_day_with_credits_is_a_line_and_the_hashes_are_a_chain(tmp_path: Path) -> None:
    trio.run(filled, tmp_path, at_noon())
    first, second = map(json.loads, run(tmp_path, "--json").splitlines())
    assert (first["day"], first["credits"], second["credits"]) == ("2026-11-20", 3, 2)
    assert second["previous_sha256"] == first["sha256"]
    rows = [line.split("\t") for line in run(tmp_path).splitlines()]
    assert rows[1:] == [[each["day"], str(each["credits"]), each["root"], each["sha256"]] for each in (first, second)]


def test_without_any_it_says_when_the_first_is_made(tmp_path: Path) -> None:
    assert "There is no digest" in run(tmp_path)
    assert run(tmp_path, "--json") == ""
