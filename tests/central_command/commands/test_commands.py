"""The commands: help for strangers, options that arrive, failures in one sentence with their exit status."""

import errno
import importlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from actors.audit.examination import Examination
from central_command.commands import cli
from central_command.commands.printing.step_range import parse_steps
from central_command.http.settings import CannotListenError, HttpSettingsError
from central_command.settings.configuration import Settings
from persistence.databases.database import DatabaseFailure, SchemaRefused
from persistence.databases.reports import Statistics, Summary
from persistence.databases.session_index import SessionRow
from persistence.files.failures import DataDirectoryLocked, StorageDamage, StorageFailure
from persistence.keys.sealing import MasterKeyError

COMMANDS = (
    *("serve", "status", "upload", "watch", "mine", "whoami"),
    *("contributor", "consent", "data", "sessions", "show", "stats"),
    *("curate", "corpus", "search", "history", "export", "token", "sign-in", "ban", "unban", "bans"),
    *("jobs", "audit", "digests", "observer"),
    *("verify", "backup", "restore", "rebuild", "refused", "erase", "expire", "config"),
)
LINE = (
    b'{"trajectory_id":"traj_1","session_id":"sess_1","trajectory_log":[{"step":1,"type":"thought"}],"closed_by":"x"}\n'
)
ROW = SessionRow(
    session_id="sess_1",
    provider="codex",
    model="o3",
    closed=False,
    closed_by=None,
    envelopes=1,
    chunks=1,
    steps=1,
    points=None,
    created_at=0.0,
    last_activity_at=0.0,
)
SUMMARY = Summary(
    total_envelopes=1,
    total_steps=2,
    total_sessions=3,
    active_sessions=4,
    unique_contributors=5,
    storage_size_mb=6.0,
    total_points_awarded=7.0,
    unused_sessions=1,
    refused_size_mb=0.5,
    refused_quota_mb=4768.37,
    refused_without_body=2,
    refused_days_dropped=3,
)

Stub = Callable[..., Any]
Replace = Callable[..., None]


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run in an empty folder with a data directory, and without settings from the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GROOVE_CENTRAL_PORT", raising=False)
    (tmp_path / "data").mkdir()


@pytest.fixture
def replace(monkeypatch: pytest.MonkeyPatch) -> Replace:
    """Put functions in the place of those of a module that a command imports when it runs."""

    def put(module: str, **functions: Stub) -> None:
        assert functions.keys() <= vars(importlib.import_module(module)).keys(), "what is there to be replaced?"
        stub = ModuleType(module)
        vars(stub).update(functions)
        package, _, name = module.rpartition(".")
        monkeypatch.setattr(sys.modules[package], name, stub)
        monkeypatch.setitem(sys.modules, module, stub)

    return put


def run(*arguments: str) -> Result:
    """Run `central-command` with these arguments."""
    return CliRunner().invoke(cli.main, arguments)


def answering(value: object) -> tuple[Stub, list[tuple[tuple[object, ...], dict[str, object]]]]:
    """An async function that answers `value`, or raises it, and the list of its calls."""
    calls: list[tuple[tuple[object, ...], dict[str, object]]] = []

    async def answer(*args: object, **options: object) -> object:
        calls.append((args, options))
        if isinstance(value, BaseException):
            raise value
        return value

    return answer, calls


def test_help_lists_every_command_with_what_it_does() -> None:
    """A stranger sees all commands at once, in the order in which they are met."""
    result = run("--help")
    assert result.exit_code == 0
    listed = dict(re.findall(r"^  ([\w-]+)  +(\S.+)$", result.output.split("Commands:")[1], re.MULTILINE))
    assert tuple(listed) == COMMANDS
    assert all(len(words.split()) > 2 for words in listed.values())


@pytest.mark.parametrize("command", COMMANDS)
def test_each_commands_help_has_an_example(command: str) -> None:
    """What it does, its options, and a line to copy."""
    result = run(command, "--help")
    assert result.exit_code == 0, result.output
    assert "Example" in result.output
    assert f"central-command {command}" in result.output


def test_version() -> None:
    """`--version` says name and version."""
    result = run("--version")
    assert result.exit_code == 0
    assert result.output.strip().split()[-1][0].isdigit()


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["--help"], {"quart", "hypercorn", "httpx", "rich", "trio", "aiosqlite", "msgspec"}),
        (["serve", "--help"], {"quart", "hypercorn", "httpx", "rich", "trio", "aiosqlite", "msgspec"}),
        (["upload", "--help"], {"quart", "hypercorn", "aiosqlite", "central_command.service"}),
        (["watch", "--help"], {"quart", "hypercorn", "aiosqlite", "central_command.service"}),
    ],
)
def test_a_command_loads_only_what_it_needs(arguments: list[str], unwanted: set[str]) -> None:
    """`--help` answers at once: no HTTP stack, no event loop; and a client has nothing of the server."""
    code = (
        "import sys\nfrom central_command.commands.cli import main\n"
        f"main({arguments!r}, standalone_mode=False)\n"
        f"print(sorted({unwanted!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_serve_hands_settings_and_data_directory_over(replace: Replace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options win over the environment, the environment over the file in the current folder."""
    Path("config.toml").write_text("[http]\nport = 1\nbacklog = 5\n[log]\nqueue_lines_max = 20")
    monkeypatch.setenv("CENTRAL_COMMAND__LOG__LEVEL", "error")
    serve, calls = answering(None)
    replace("central_command.running", run_service=serve)
    result = run("serve", "--data-dir", "elsewhere", "--host", "::1", "--port", "9")
    assert result.exit_code == 0, result.output
    ((settings, data_dir), _) = calls[0]
    assert isinstance(settings, Settings)
    assert (settings.http.host, settings.http.port, settings.http.backlog) == ("::1", 9, 5)
    assert settings.log.level == "error"
    assert data_dir == Path("elsewhere")


def test_another_file_is_read_when_named(replace: Replace) -> None:
    """`--config` wins over config.toml in the current folder."""
    Path("config.toml").write_text("nonsense")
    Path("other.toml").write_text("[http]\nport = 7")
    serve, calls = answering(None)
    replace("central_command.running", run_service=serve)
    assert run("serve", "--config", "other.toml").exit_code == 0
    ((settings, data_dir), _) = calls[0]
    assert isinstance(settings, Settings)
    assert settings.http.port == 7
    assert data_dir == Path("data")


@pytest.mark.parametrize("command", [["serve"], ["show", "x"], ["sessions"], ["stats"], ["verify"], ["rebuild"]])
def test_a_wrong_setting_is_one_sentence(command: list[str], replace: Replace) -> None:
    """On stderr, with exit status 2, and nothing is started."""
    replace("central_command.running", run_service=None)
    for module in ("inspection", "verification", "rebuilding"):
        replace(f"persistence.upkeep.{module}")
    Path("config.toml").write_text("[http]\nprot = 1")
    result = run(*command)
    assert result.exit_code == 2
    assert result.stderr == "central-command: config.toml: there is no setting http.prot; did you mean http.port?\n"
    assert result.stdout == ""


@pytest.mark.parametrize("command", [["serve"], ["sessions"], ["upload", "x.jsonl"], ["whoami"]])
def test_a_misspelt_variable_is_refused_by_every_command(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With the right name; its help is printed all the same."""
    monkeypatch.setenv("CENTRAL_COMMAND_SERVER_URL", "http://server.test")
    result = run(*command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(
        "central-command: environment variable CENTRAL_COMMAND_SERVER_URL: there is no such variable; "
    )
    assert run(command[0], "--help").exit_code == 0


FAILURES = [
    (DataDirectoryLocked("in use"), 2, "in use"),
    (MasterKeyError("no key"), 2, "no key"),
    (HttpSettingsError("no network"), 2, "no network"),
    (CannotListenError("Cannot listen on ::1"), 2, "Cannot listen on ::1"),
    (PermissionError(errno.EACCES, "Permission denied", "data/lock"), 2, "data/lock: Permission denied"),
    (StorageDamage("broken"), 3, "broken"),
    (StorageFailure("I/O error"), 5, "I/O error"),
    (DatabaseFailure("disk full"), 5, "disk full"),
    (SchemaRefused("a later schema"), 2, "a later schema"),
    (ExceptionGroup("", [StorageDamage("said twice"), StorageDamage("said twice")]), 3, "said twice"),
    (ExceptionGroup("", [ExceptionGroup("", [KeyError(1), StorageFailure("I/O error")])]), 5, "I/O error"),
]


@pytest.mark.parametrize(("failure", "status", "sentence"), FAILURES)
def test_a_failure_of_the_world_is_one_sentence(
    failure: Exception, status: int, sentence: str, replace: Replace
) -> None:
    """With the exit status that says whether a restart can help, and no traceback."""
    serve, _ = answering(failure)
    replace("central_command.running", run_service=serve)
    result = run("serve")
    assert result.exit_code == status
    assert result.stderr.startswith(f"central-command: {sentence}")
    assert len(result.stderr.splitlines()) == 1


def test_a_bug_keeps_its_traceback(replace: Replace) -> None:
    """What nobody expected is not hidden from whoever has to mend it."""
    serve, _ = answering(KeyError("a bug"))
    replace("central_command.running", run_service=serve)
    result = run("serve")
    assert result.exit_code == 1
    assert isinstance(result.exception, KeyError)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), BaseExceptionGroup("", [KeyboardInterrupt()])])
def test_an_interrupt_is_no_failure(interrupt: BaseException, replace: Replace) -> None:
    """Ctrl-C ends a command quietly, also within a nursery."""
    verify, _ = answering(interrupt)
    replace("persistence.upkeep.verification", verify=verify)
    result = run("verify")
    assert (result.exit_code, result.output) == (130, "")


@pytest.mark.parametrize("command", [["show", "x"], ["sessions"], ["stats"], ["verify"], ["rebuild"]])
def test_a_missing_data_directory_is_said(command: list[str]) -> None:
    """Only `serve` creates one; the others say which folder they looked for."""
    result = run(*command, "--data-dir", "missing")
    assert result.exit_code == 2
    assert "'missing' does not exist" in result.stderr
    assert "Name it with --data-dir" in result.stderr


@pytest.mark.parametrize("command", [["show", "x"], ["sessions"], ["stats"]])
def test_an_empty_folder_is_no_damaged_data_directory(command: list[str], tmp_path: Path) -> None:
    """Status 2: another folder is to be named, nothing is to be mended."""
    result = run(*command, "--data-dir", str(tmp_path))
    assert result.exit_code == 2
    assert result.stderr == (
        f"central-command: {tmp_path} is not a server's data directory: name that with --data-dir.\n"
    )


def test_show_prints_header_and_steps(replace: Replace) -> None:
    """The trajectory's line is rendered."""
    found, calls = answering(LINE)
    replace("persistence.upkeep.inspection", trajectory_line=found)
    result = run("show", "sess_1")
    assert result.exit_code == 0, result.output
    assert "traj_1" in result.output
    assert "thought" in result.output
    assert calls == [((Path("data"), Settings().storage, "sess_1"), {})]


def test_show_prints_only_the_steps_asked_for(replace: Replace) -> None:
    """`--steps` picks them; what is no range is refused with a sentence."""
    found, _ = answering(LINE)
    replace("persistence.upkeep.inspection", trajectory_line=found)
    assert "thought" not in run("show", "sess_1", "--steps", "2-").output
    result = run("show", "sess_1", "--steps", "x")
    assert result.exit_code == 2
    assert "'x' is no range of steps" in result.stderr


@pytest.mark.parametrize(
    ("chosen", "status", "said"),
    [
        ("2-", 1, "Error: The session has 1 step(s): there is no step 2.\n"),
        ("1-9", 0, "The session has 1 step(s): those up to 9 are not there.\n"),
        ("1-", 0, ""),
    ],
)
def test_a_range_past_the_end_is_said(replace: Replace, chosen: str, status: int, said: str) -> None:
    """On stderr; nothing is printed when no step is in it."""
    found, _ = answering(LINE)
    replace("persistence.upkeep.inspection", trajectory_line=found)
    result = run("show", "sess_1", "--steps", chosen)
    assert (result.exit_code, result.stderr) == (status, said)
    assert ("thought" in result.stdout) == (status == 0)


def test_steps_that_the_numbers_leave_out_are_said(replace: Replace) -> None:
    """A client may number its steps as it likes."""
    found, _ = answering(LINE.replace(b'"step":1', b'"step":7'))
    replace("persistence.upkeep.inspection", trajectory_line=found)
    result = run("show", "sess_1", "--steps", "2-3")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "Error: The session has 1 step(s), the last with the number 7: there is no step of those that were asked for.\n"
    )


@pytest.mark.parametrize(
    ("text", "first", "last"), [("10-20", 10, 20), ("10-", 10, 10**9), ("-20", 1, 20), ("10", 10, 10), (" 7 ", 7, 7)]
)
def test_ranges_of_steps(text: str, first: int, last: int) -> None:
    """Both ends are included, and either may be left out."""
    assert parse_steps(text) == range(first, last + 1)


@pytest.mark.parametrize("text", ["", "-", "a", "1-2-3", "20-10", "0", "0-4", "-0", "\uff11", "1" * 10])
def test_what_is_no_range_is_refused(text: str) -> None:
    """With a sentence that says how a range is written."""
    with pytest.raises(ValueError, match=r"is no range of steps|ends before it begins|names a step 0"):
        parse_steps(text)


def test_show_json_is_the_line_itself(replace: Replace) -> None:
    """Byte for byte, for programs."""
    found, _ = answering(LINE)
    replace("persistence.upkeep.inspection", trajectory_line=found)
    assert run("show", "sess_1", "--json").stdout_bytes == LINE


def test_show_json_takes_no_part_of_the_line(replace: Replace) -> None:
    """It prints the whole line, as its help says: what would be left out is refused."""
    found, _ = answering(LINE)
    replace("persistence.upkeep.inspection", trajectory_line=found)
    for option in (["--steps", "1"], ["--full"]):
        result = run("show", "sess_1", "--json", *option)
        assert result.exit_code == 2
        assert "prints the whole line" in result.stderr


def test_a_line_that_cannot_be_read_is_damage(replace: Replace) -> None:
    """One sentence and exit status 3 instead of a traceback."""
    found, _ = answering(b'{"session_id":1}\n')
    replace("persistence.upkeep.inspection", trajectory_line=found)
    result = run("show", "sess_1")
    assert result.exit_code == 3
    assert result.stderr.startswith("central-command: the trajectory of session sess_1 is damaged: ")


def test_show_says_why_there_is_no_trajectory(replace: Replace) -> None:
    """An unknown session, or one still open, is a sentence and exit status 1."""
    missing, _ = answering("the session x is still open.")
    replace("persistence.upkeep.inspection", trajectory_line=missing)
    result = run("show", "x")
    assert (result.exit_code, result.stderr) == (1, "Error: the session x is still open.\n")


def test_sessions_filters_and_prints(replace: Replace) -> None:
    """The filters arrive; --json is a line a session."""
    found, calls = answering([ROW, ROW])
    replace("persistence.upkeep.inspection", list_sessions=found)
    result = run("sessions", "--status", "closed", "--limit", "3")
    assert result.exit_code == 0, result.output
    assert result.output.count("sess_1") == 2
    assert calls[0][1] == {"closed": True, "limit": 3, "contributor": None}
    lines = run("sessions", "--json").stdout.splitlines()
    assert [msgspec.json.decode(line, type=SessionRow) for line in lines] == [ROW, ROW]
    assert run("sessions", "--contributor", "0123").exit_code == 0
    assert [options for _, options in calls[1:]] == [
        {"closed": None, "limit": 50, "contributor": None},
        {"closed": None, "limit": 50, "contributor": "0123"},
    ]


def test_stats_prints_what_the_server_reports(replace: Replace) -> None:
    """--json has the five reports with the members that the endpoints serve."""
    value = Statistics(summary=SUMMARY, daily=[], models={}, providers={}, leaderboard=[])
    found, calls = answering(value)
    replace("persistence.upkeep.inspection", read_statistics=found)
    assert "total envelopes" in run("stats").output
    decoded = msgspec.json.decode(run("stats", "--days", "2", "--limit", "1", "--json").stdout_bytes)
    assert decoded["summary"]["totalEnvelopes"] == 1
    assert set(decoded) == {"summary", "daily", "models", "providers", "leaderboard"}
    assert [options for _, options in calls] == [{"days": 7, "leaders": 10}, {"days": 2, "leaders": 1}]


def test_verify_is_quiet_when_all_is_well(replace: Replace) -> None:
    """Exit status 0 and one line."""
    clean, _ = answering([])
    replace("persistence.upkeep.verification", verify=clean)
    result = run("verify")
    assert (result.exit_code, result.output) == (0, "all is well\n")


def test_verify_prints_a_line_for_each_finding(replace: Replace) -> None:
    """Exit status 1, findings on stdout, their number on stderr."""
    findings, _ = answering(["one", "two"])
    replace("persistence.upkeep.verification", verify=findings)
    result = run("verify")
    assert (result.exit_code, result.stdout) == (1, "one\ntwo\n")
    assert result.stderr == "2 places where the stored data differs\n"


def test_verify_looks_closer_when_asked(replace: Replace) -> None:
    """What it looks with is scored by the settings; its notes are no findings."""
    Path("config.toml").write_text("[scoring]\nsteps_max = 7")
    clean, calls = answering([])
    replace("persistence.upkeep.verification", verify=clean)
    result = run("verify", "--deep")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "note: signatures that verify: 0; trajectories stitched and scored anew: 0\nall is well\n"
    assert isinstance(calls[0][1]["closer_look"], Examination)
    assert run("verify").output == "all is well\n"
    assert "closer_look" not in calls[1][1]


def test_rebuild_says_what_it_did(replace: Replace) -> None:
    """One sentence, or one about why it could not."""
    done, _ = answering("3 sessions from 9 lines")
    replace("persistence.upkeep.rebuilding", rebuild=done)
    result = run("rebuild")
    assert (result.exit_code, result.output) == (0, "3 sessions from 9 lines\n")
    locked, _ = answering(DataDirectoryLocked("in use"))
    replace("persistence.upkeep.rebuilding", rebuild=locked)
    assert run("rebuild").exit_code == 2


def test_config_check_looks_at_the_folders_that_jobs_write_to(tmp_path: Path) -> None:
    """A job says so at night only."""
    path = tmp_path / "settings.toml"
    path.write_text(
        "[jobs]\nbackup_dir = 'backups'\n[tiers]\ncompress_after_days = 9\narchive_dir = 'archive'\n"
        "[export]\ndirectory = 'elsewhere'\n"
    )
    result = run("config", "check", str(path))
    why = "does not exist: mount its disk, or make it."
    missing = {"jobs.backup_dir": "backups", "export.directory": "elsewhere", "tiers.archive_dir": "archive"}
    assert (result.exit_code, result.stdout.splitlines()) == (
        1,
        [f"{name}: the folder {folder} {why}" for name, folder in missing.items()],
    )
    for folder in missing.values():
        Path(folder).mkdir()
    assert run("config", "check", str(path)).stdout == "ok\n"


def test_config_check_says_ok_or_everything_that_is_wrong(tmp_path: Path) -> None:
    """With exit status 1, on stdout, as `verify` does; also what only shows where the settings are used."""
    path = tmp_path / "settings.toml"
    path.write_text("[http]\nport = 1\n")
    result = run("config", "check", str(path))
    assert (result.exit_code, result.stdout) == (0, "ok\n")
    path.write_text("[http]\nprot = 1\nport = 'x'\n")
    result = run("config", "check", str(path))
    assert result.exit_code == 1
    assert [line.startswith(f"{path}: ") for line in result.stdout.splitlines()] == [True, True]
    path.write_text("[http]\ntrusted_proxies = ['1.2.3.4/99']\ntls_key = 'none.key'\ntls_certificate = 'none.pem'\n")
    result = run("config", "check", str(path))
    assert result.exit_code == 1
    tls, network = result.stdout.splitlines()
    assert "none.pem cannot be read" in tls
    assert "1.2.3.4/99" in network
    assert run("config", "check", str(tmp_path / "absent.toml")).exit_code == 2
    path.write_text("[http]\nport = 1\n")
    assert run("config", "check", "--config", str(path)).stdout == "ok\n"
    assert run("config", "check", "--config", str(path), str(path)).exit_code == 2
    assert run("config", "check", "--config", str(tmp_path / "absent.toml")).exit_code == 2
