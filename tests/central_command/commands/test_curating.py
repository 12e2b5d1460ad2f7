"""`curate` and `corpus`: the corpus made once, counted, and a record of it shown."""

import json
from functools import partial
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

from actors.curation.summarizing import Summarizing
from central_command.commands.cli import main
from persistence.corpus import open_corpus
from tests.curated import EMAIL, NOW, STORAGE, curate, leave_session, leave_sessions, refused, shown
from tests.running_service import running
from tests.signing_client import CONTRIBUTOR
from tests.submitted_texts import USER, leave_texts


def run(root: Path, *arguments: str) -> Result:
    """Run a command on a data directory."""
    return CliRunner().invoke(main, [*arguments, "--data-dir", str(root)], env={"COLUMNS": "100"})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data directory with closed sessions and no corpus."""
    trio.run(leave_sessions, tmp_path / "data", "sess_a", "sess_b")
    return tmp_path / "data"


def test_the_corpus_is_made_once_counted_and_shown(root: Path) -> None:
    """By the record's id, its session's, or a beginning of them; never the contributor's id, nor what was scrubbed."""
    result = run(root, "curate")
    assert (result.exit_code, result.output) == (0, "2 record(s) made of 2 trajectories\n")
    assert run(root, "curate", "--all").output == "0 record(s) made of 2 trajectories\n"
    counted = run(root, "corpus", "stats")
    assert counted.exit_code == 0
    assert [line.split("\t") for line in counted.output.splitlines()[:5]][1:] == [
        ["records", "2"],
        ["steps", "4"],
        ["tokens", "28"],
        ["findings", "2"],
    ]
    record_id = shown(root)["sess_b"]["record_id"]
    for name in (record_id, "sess_b", record_id.removeprefix("rec_")[:-4], "b"):
        result = run(root, "corpus", "show", name)
        assert result.exit_code == 0, result.output
        assert "write to [EMAIL]" in result.output
        assert "session\tsess_b\n" in result.output
        assert "scrubbed\t1 [EMAIL]\n" in result.output
    whole = run(root, "corpus", "show", record_id, "--json").output
    assert json.loads(whole)["trajectory_log"][1]["content"] == "sess_b: done"
    for text in (whole, result.output):
        assert CONTRIBUTOR not in text
        assert EMAIL not in text
    assert run(root, "corpus", "show", "sess_b", "--steps", "2").output.count("[EMAIL]") == 1  # in the header


def test_a_record_s_title_and_summary_are_shown_first_once_they_are_made(root: Path) -> None:
    run(root, "curate")
    assert run(root, "corpus", "show", "sess_a").output.startswith("session\tsess_a\n")

    async def summed() -> None:
        async with open_corpus(root, STORAGE, clock=lambda: NOW) as corpus:
            await Summarizing(corpus, None, lambda: NOW).make(10)

    trio.run(summed)
    lines = run(root, "corpus", "show", "sess_a").output.splitlines()
    assert lines[0] == "title\twrite to [EMAIL]"
    assert lines[1] == "summary\t2 steps. sess_a: done."
    assert lines[2] == "session\tsess_a"


def test_texts_of_the_intake_are_made_counted_and_shown_too(root: Path) -> None:
    """By the record's id or its session's; never the user, nor what was scrubbed, nor what steers a terminal."""
    content = "\n".join([f"write to {EMAIL}\x1b[31m", *(f"line {n}" for n in range(9))])
    record_id, other = trio.run(partial(leave_texts, root, content, "other", metadata={"model_name": "q\x1b[1m"}))
    assert run(root, "curate").output.splitlines()[1] == "2 record(s) made of 2 text(s) of the intake"
    counted = run(root, "corpus", "stats").output
    for line in ("texts\t2", "users\t1", "prompt\t2", "general\t2"):
        assert f"{line}\n" in counted
    found = json.loads(run(root, "corpus", "stats", "--json").output)
    assert (found["texts_waiting"], found["totals"]["texts"]["records"]) == (0, 2)
    result = run(root, "corpus", "show", record_id[:12])
    assert result.exit_code == 0, result.output
    for text in ("session\tsess_001\n", "type\tprompt\n", "scrubbed\t1 [EMAIL]\n", "write to [EMAIL]", "4 more lines"):
        assert text in result.output
    assert "line 8" in run(root, "corpus", "show", record_id, "--full").output
    whole = run(root, "corpus", "show", record_id, "--json").output
    assert json.loads(whole)["metadata"]["model_name"] == "q\x1b[1m"
    for text in (whole, result.output):
        assert (EMAIL in text, USER in text, "sha256:" in text, "\x1b" in text) == (False,) * 4
    several = run(root, "corpus", "show", "sess_001")
    assert (several.exit_code, "More than one record begins with 'sess_001'" in several.output) == (1, True)
    assert other in several.output


def test_figures_are_there_for_programs(root: Path) -> None:
    run(root, "curate")
    found = json.loads(run(root, "corpus", "stats", "--json").output)
    assert (found["waiting"], found["totals"]["records"], found["totals"]["models"]) == (0, 2, {"gpt-5.5": 2})


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("rec_nowhere", "There is no record 'rec_nowhere' in the corpus of"),
        ("", "There is no record ''"),
        ("sess_", "More than one record begins with 'sess_': rec_"),
    ],
)
def test_what_is_no_record_is_said(root: Path, name: str, sentence: str) -> None:
    run(root, "curate")
    result = run(root, "corpus", "show", name)
    assert result.exit_code == 1
    assert sentence in result.output


def test_why_a_session_has_no_record_is_said(root: Path) -> None:
    async def passed_over() -> None:
        await curate(root, consented=refused(CONTRIBUTOR))

    trio.run(passed_over)
    assert "Session sess_a has no record in the corpus: no_consent." in run(root, "corpus", "show", "sess_a").output
    assert "no_consent\t2" in run(root, "corpus", "stats").output


def test_without_a_corpus_one_sentence_says_how_to_get_one(root: Path, tmp_path: Path) -> None:
    for command in (["corpus", "stats"], ["corpus", "show", "x"]):
        result = run(root, *command)
        assert result.exit_code == 2
        assert "holds no corpus: `central-command curate` makes one." in result.output
    (tmp_path / "empty").mkdir()
    result = run(tmp_path / "empty", "curate")
    assert result.exit_code == 2
    assert "is not a server's data directory" in result.output
    assert list((tmp_path / "empty").iterdir()) == []


def test_what_steers_a_terminal_is_not_shown(tmp_path: Path) -> None:
    async def leave() -> None:
        async with running(tmp_path / "data") as run:
            await leave_session(run, "sess_x", ["\x1b[31mred\u202e"])

    trio.run(leave)
    run(tmp_path / "data", "curate")
    for options in ([], ["--json"]):
        output = run(tmp_path / "data", "corpus", "show", "sess_x", *options).output
        assert "red" in output
        assert "\x1b" not in output
        assert "\u202e" not in output
