"""`export`: options that arrive, sentences for what is wrong, and what is said of what was done."""

import json
import os
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

from central_command.commands import exporting
from central_command.commands.cli import main
from central_command.exporting.engine import Progress
from central_command.exporting.known_exports import known_exports
from tests.architecture.test_extras import run as run_without_extras
from tests.corpus_maker import put_sessions, session, steps_of, take_back


@pytest.fixture(autouse=True)
def _as_nice_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "nice", lambda _: 0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data directory with a corpus of six sessions, two of them the same."""
    root = tmp_path / "data"
    lines = [session(number, contributor=number) for number in range(5)]
    trio.run(put_sessions, root, [*lines, session(5, steps_of("alpha0"))])
    return root


def run(root: Path, *arguments: str) -> Result:
    """The command, with that data directory."""
    return CliRunner().invoke(main, ["export", *arguments, "--data-dir", str(root)], catch_exceptions=False)


def test_an_export_is_made_said_checked_and_added_to(root: Path, tmp_path: Path) -> None:
    target = str(tmp_path / "out")
    done = run(root, target, "--format", "messages", "--format", "parquet", "--columns", "record_id,messages")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == (
        f"{target} holds 5 of 6 sessions; rows: 5 messages, 5 parquet\n"
        "left out: 1 exact_copy (kept with --dedup none)\n"
    )
    assert run(root, "verify", target).stdout == "all is well\n"
    again = run(root, target, "--incremental")
    assert (again.exit_code, again.stdout) == (0, done.stdout)
    refused = run(root, target, "--format", "messages")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "holds an export already" in refused.stderr
    row = json.loads((tmp_path / "out/messages/train-00000.jsonl").read_text().splitlines()[0])
    assert list(row) == ["record_id", "messages"]
    (tmp_path / "out" / "more").write_text("x")
    found = run(root, "verify", target)
    assert (found.exit_code, found.stdout) == (1, "more is not in the manifest.\n")


def test_what_has_gone_is_said_by_its_reason_and_files_by_what_became_of_them(root: Path, tmp_path: Path) -> None:
    target = str(tmp_path / "out")
    run(root, target, "--format", "messages", "--format", "traces")
    trio.run(take_back, root, 1)
    done = run(root, target, "--incremental")
    assert done.stdout.splitlines()[:4] == [
        f"{target} holds 4 of 5 sessions; rows: 4 messages, 44 traces",
        "left out: 1 exact_copy (kept with --dedup none)",
        "taken out, because the corpus holds it no more: 1 no_consent",
        "written anew without what was taken out: messages/train-00000.jsonl",
    ]
    assert done.stdout.splitlines()[4].startswith("removed with what was taken out: traces/train-00000/")
    trio.run(take_back, root, 0, 2, 3, 4, 5)
    lines = run(root, target, "--incremental").stdout.splitlines()
    assert lines[0] == f"{target} holds 0 of 0 sessions; rows: 0 messages, 0 traces"
    assert "messages holds no rows: there is nothing to load of it" in lines
    assert "removed with what was taken out: messages/train-00000.jsonl" in lines
    assert run(root, "verify", target).stdout == "all is well\n"


def test_files_that_an_export_was_made_with_are_given_again_when_it_is_added_to(root: Path, tmp_path: Path) -> None:
    """Else what they leave out would come in."""
    target = str(tmp_path / "out")
    benchmark = tmp_path / "benchmark.txt"
    words = next(step["content"] for step in steps_of("alpha1") if step["type"] == "resolution").split()
    benchmark.write_text(" ".join(words[1:15]))
    given = ["--decontaminate", str(benchmark)]
    done = run(root, target, "--format", "messages", *given)
    assert "left out: 1 contaminated\n" in done.stdout
    refused = run(root, target, "--incremental")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "was made with --decontaminate benchmark.txt: give the same files" in refused.stderr
    assert run(root, target, "--incremental", *given).stdout == done.stdout
    benchmark.write_text("something else")
    assert run(root, target, "--incremental", *given).exit_code == 2
    tokenizer = tmp_path / "tokenizer.json"
    tokenizer.write_text('{"version":"1.0","model":{"type":"WordLevel","vocab":{"a":0},"unk_token":"a"}}')
    counted = str(tmp_path / "counted")
    assert run(root, counted, "--format", "messages", "--tokenizer", str(tokenizer)).exit_code == 0
    refused = run(root, counted, "--incremental")
    assert refused.exit_code == 2
    assert "was made with --tokenizer tokenizer.json (SHA-256 " in refused.stderr
    assert run(root, counted, "--incremental", "--tokenizer", str(tokenizer)).exit_code == 0


def test_every_filter_of_the_command_is_heeded(root: Path, tmp_path: Path) -> None:
    """Each alone leaves out everything, by the reason of its own."""
    for option, value, reason in (
        ("--after", "2030", "date"),
        ("--before", "2020", "date"),
        ("--provider", "codex", "provider"),
        ("--model", "gpt-*", "model"),
        ("--domain", "security", "domain"),
        ("--cognitive-target", "planning", "cognitive_target"),
        ("--tier", "C", "tier"),
        ("--outcome", "CRASH", "outcome"),
        ("--feedback", "accepted", "feedback"),
        ("--contributor", "con_0", "contributor"),
        ("--tool", "Edit", "tool"),
        ("--text", "nowhere", "text"),
        ("--quality-min", "100", "quality"),
        ("--quality-max", "0", "quality"),
        ("--tokens-min", "999999", "tokens"),
        ("--tokens-max", "1", "tokens"),
        ("--steps-min", "999", "steps"),
        ("--steps-max", "1", "steps"),
    ):
        done = run(root, str(tmp_path / option), "--format", "jsonl", "--dedup", "none", option, value)
        assert done.exit_code == 0, done.stderr
        assert f"left out: 6 {reason}\n" in done.stdout, option


def test_what_cannot_be_done_is_one_sentence(root: Path, tmp_path: Path) -> None:
    target = str(tmp_path / "out")
    for arguments, sentence in (
        ([target], "name at least one format (--format); there are messages, parquet, "),
        ([target, "--format", "jsonl", "--format", "jsonl"], "the format jsonl is named twice (--format)"),
        ([target, "--format", "jsonl", "--limit", "9" * 400], "--limit is 9999"),
        ([target, "--format", "jsonl", "--seed", "9" * 400], "--seed is 9999"),
        ([target, "--format", "jsonl", "--documents", "files"], "--documents files is of atif alone"),
        ([target, "--format", "jsonl", "--after", "2026-13-45"], "after is '2026-13-45', which is no time"),
        ([target, "--format", "csv"], "there is no format 'csv'; there are messages, "),
        ([target, "--format", "jsonl", "--split", "a=2"], "--split holds 'a=2'"),
        ([target, "--format", "messages", "--columns", "colour"], "has no column 'colour'"),
        ([target, "--format", "messages", "--after", "yesterday"], "after is 'yesterday', which is no time such as"),
        ([target, "--format", "messages", "--tier", "X"], "There is no tier 'X'; there are A, B, C, none."),
        (
            [target, "--format", "atif", "--outcome", "success"],
            "There is no outcome 'success'; there are SUCCESS, CRASH",
        ),
        ([target, "--format", "kto", "--feedback", "good"], "There is no feedback 'good'; there are accepted, "),
        ([target, "--format", "jsonl", "--cognitive-target", "fun"], "no cognitive target 'fun'; there are planning, "),
        (
            [target, "--format", "records", "--domain", "law"],
            "no domain of records 'law'; there are journalism, code, ",
        ),
        (
            [target, "--format", "jsonl", "--provider", "claude"],
            "There is no provider 'claude'; there are claude-code, ",
        ),
        ([target, "--format", "messages", "--before", "20"], "before is '20', which is no time such as"),
        ([target, "--format", "messages", "--reasoning-key", "content"], "none of content, name, role, tool_call_id, "),
        ([target, "--format", "messages", "--reasoning-key", "a b"], "--reasoning-key is up to 64 letters"),
        ([target, "--format", "messages", "--text", "\udcff"], "holds what is not UTF-8"),
        ([f"{target}\udcff", "--format", "messages"], "is not UTF-8, and could not be remembered"),
        ([str(root / "out"), "--format", "jsonl"], "lies in the data directory"),
        (["verify", str(tmp_path)], "is no whole export"),
    ):
        done = run(root, *arguments)
        assert (done.exit_code, done.stdout) == (2, ""), arguments
        assert sentence in done.stderr
        assert done.stderr.count("\n") == 1
    assert not list(tmp_path.glob("out*"))
    nothing = run(tmp_path / "nowhere", target, "--format", "jsonl")
    assert nothing.exit_code == 2
    assert "holds no corpus: there is no such folder; name the server's with --data-dir." in nothing.stderr
    assert not list(tmp_path.glob("out*"))
    (tmp_path / "nowhere").mkdir()
    assert (
        "holds no corpus: `central-command curate` makes one."
        in run(tmp_path / "nowhere", target, "--format", "jsonl").stderr
    )


def test_only_parquet_needs_an_extra(root: Path, tmp_path: Path) -> None:
    """And the one sentence says what to install."""
    options = ["--data-dir", str(root), "--format"]
    done = run_without_extras("export", str(tmp_path / "lines"), *options, "messages", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    done = run_without_extras("export", str(tmp_path / "columns"), *options, "parquet", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "central-command: this needs pyarrow, which comes with the extra 'export': "
        "in this clone, `make export-tools` installs it.\n"
    )
    assert not (tmp_path / "columns").exists()
    assert known_exports(root) == [str((tmp_path / "lines").resolve())], "what was begun is remembered, nothing else"


def test_what_was_left_out_unasked_names_the_option_that_keeps_it(root: Path, tmp_path: Path) -> None:
    done = run(root, str(tmp_path / "out"), "--format", "jsonl", "--tier", "A", "--tier", "B")
    assert "left out: 1 exact_copy (kept with --dedup none)\n" in done.stdout
    kept = run(root, str(tmp_path / "all"), "--format", "jsonl", "--dedup", "none")
    assert "left out" not in kept.stdout


def test_a_split_that_nothing_is_in_is_named_with_the_reason(tmp_path: Path) -> None:
    """All are one contributor's, and so in one split."""
    root, target = tmp_path / "one", str(tmp_path / "out")
    trio.run(put_sessions, root, [session(number) for number in range(3)])
    done = run(root, target, "--format", "messages", "--split", "train=0.5,test=0.5")
    (line,) = (line for line in done.stdout.splitlines() if "is empty" in line)
    held = {path.name.partition("-")[0] for path in (tmp_path / "out/messages").glob("*.jsonl")}
    assert line.partition(" ")[0] in {"train", "test"} - held
    assert "contributors are put into splits whole" in line
    whole = run(root, str(tmp_path / "whole"), "--format", "messages")
    assert "is empty" not in whole.stdout


def test_progress_says_what_is_done_and_how_long_the_rest_takes(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    reports = exporting.Reports(lambda: now[0])
    for now[0] in (1.0, 60.0, 61.0):
        reports(Progress(10, 40, 25_000_000, 100_000_000, 12))
    assert capsys.readouterr().err == "10 of 40 sessions, 12 rows, 25 of 100 MB read, 180 s left\n"
