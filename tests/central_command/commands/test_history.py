"""`history`: the conversation of a session as one JSON array, whatever is in it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from central_command.commands.cli import main
from central_command.live_sessions.history import PIECE_BYTES
from tests.actors.curation.trajectory_lines import prompt
from tests.corpus_maker import session
from tests.indexed import put


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    steps = [{**prompt(f"do {number} \x1b[31m" + "x" * 2_000), "type": "instruction"} for number in range(50)]
    put(root, session(0, steps), session(10), session(11))
    return root


def run(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["history", *arguments, "--data-dir", str(root)])


def test_a_long_conversation_is_printed_whole_and_steers_no_terminal(root: Path) -> None:
    """It is longer than one piece."""
    for name in ("sess_0", "0"):
        printed = run(root, name)
        assert printed.exit_code == 0
        assert len(printed.output) > PIECE_BYTES
        assert "\x1b" not in printed.output
        found = json.loads(printed.output)
        assert [each["content"].split(" \x1b")[0] for each in found] == [f"do {number}" for number in range(50)]
        assert {*found[0]} == {"role", "content", "createdAt"}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("sess_1", "More than one session begins with 'sess_1': sess_10, sess_11."),
        ("sess_2", "There is no session sess_2 in the corpus."),
        ("", "There is no session  in the corpus."),
    ],
)
def test_what_is_not_there_is_a_sentence_and_a_status(root: Path, name: str, sentence: str) -> None:
    printed = run(root, name)
    assert (printed.exit_code, printed.output) == (1, f"central-command: {sentence}\n")


def test_a_folder_without_a_corpus_says_so(tmp_path: Path) -> None:
    printed = run(tmp_path, "sess_0")
    assert printed.exit_code == 1
    assert "holds no corpus" in printed.output
