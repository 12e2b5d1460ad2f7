"""`search`: what is found is printed for people and programs, and nothing in it steers a terminal."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from central_command.commands.cli import main
from central_command.commands.printing.hits import print_hits
from central_command.search.questions import Question
from tests.actors.curation.trajectory_lines import prompt
from tests.corpus_maker import session
from tests.indexed import ask, put


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    put(root, *(session(number, [prompt(f"look for\x1b[31m needle {number} " + "x " * 200)]) for number in range(3)))
    return root


def run(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["search", *arguments, "--data-dir", str(root)], env={"COLUMNS": "80"})


def test_hits_are_lines_of_whole_values_for_a_program(root: Path) -> None:
    result = run(root, "needle", "--order", "newest", "--limit", "2")
    assert result.exit_code == 0
    heading, first, second = result.stdout.splitlines()
    assert heading.split("\t")[:2] == ["session", "step"]
    assert [line.split("\t")[:2] for line in (first, second)] == [["sess_2", "1"], ["sess_1", "1"]]
    assert "\x1b" not in result.output
    cursor = result.stderr.partition("--cursor ")[2].strip()
    last = run(root, "needle", "--order", "newest", "--limit", "2", "--cursor", cursor).stdout.splitlines()
    assert [line.split("\t")[0] for line in last[1:]] == ["sess_0"]


def test_json_is_what_the_server_answers(root: Path) -> None:
    page = json.loads(run(root, "needle", "--json").stdout)
    assert {*page} == {"mode", "order", "hits", "cursor", "complete"}
    assert "\x1b" not in run(root, "needle", "--json").output


def test_a_terminal_gets_lines_of_80_columns_without_what_steers_it(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    print_hits(ask(root, "needle"))
    shown = capsys.readouterr().out
    assert "\x1b[31m" not in shown
    assert "sess_2 step 1  instruction  claude-code" in shown
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (("nothing_of_that_name",), 1, "Nothing was found."),
        (('"open',), 2, "does not close"),
        (("needle", "--cursor", "made-up"), 2, "The cursor is none of this search"),
        (("needle", "--after", "yesterday"), 2, "no time"),
        (("needle", "--mode", "semantic"), 2, "set search.semantic"),
        (("needle", "--tier", "\udc80"), 2, "no valid Unicode"),
        (("needle", "--tier", "D"), 2, "There is no tier 'D'; there are A, B, C, none"),
        (("needle", "-quota"), 2, "stands behind --, as in: search -- torn -journal"),
        (("needle", "--provder", "codex"), 2, "No such option '--provder'"),
    ],
)
def test_what_cannot_be_answered_is_said_in_one_sentence(
    root: Path, arguments: tuple[str, ...], status: int, sentence: str
) -> None:
    result = run(root, *arguments)
    assert result.exit_code == status
    assert sentence in result.stderr
    assert "Traceback" not in result.output


def test_without_an_index_the_command_says_how_one_is_made(tmp_path: Path) -> None:
    result = run(tmp_path, "needle")
    assert result.exit_code == 2
    assert "no index" in result.stderr


def test_a_question_is_the_same_wherever_it_is_asked() -> None:
    assert Question(q="a") == Question(q="a", tiers=())


def test_behind_two_dashes_a_word_is_left_out(root: Path) -> None:
    assert run(root, "needle").exit_code == 0
    result = CliRunner().invoke(main, ["search", "--data-dir", str(root), "--", "needle", "-needle"])
    assert result.exit_code == 1
    assert "Nothing was found." in result.stderr
