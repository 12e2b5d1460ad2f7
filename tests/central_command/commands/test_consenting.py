"""`consent` and `data`: the local user's consent and records, from the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from central_command.client.contract.identity import own_contributor_id
from central_command.client.spool.records import Opening
from central_command.client.spool.spool import Spool
from central_command.commands import asking, cli
from central_command.training import (
    ConsentManager,
    DomainTagger,
    PIIScrubber,
    TrainingCorpus,
    TrainingDataIntake,
    get_or_create_user_id,
)
from central_command.training.notice import NOTICE


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `~/.groove` is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / ".groove"


def run(*arguments: str, answer: str | None = None) -> Result:
    """Run `central-command` with these arguments; without an answer, where nobody can be asked."""
    return CliRunner().invoke(cli.main, arguments, input=answer)


def read(result: Result) -> Any:
    """The JSON that a command printed."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody can be asked."""
    monkeypatch.setattr(asking, "is_terminal", lambda: True)


def submit(text: str, user_id: str | None = None) -> None:
    """A record of the local user, or of another one who has opted in."""
    consent = ConsentManager()
    if user_id is not None:
        consent.record_consent(user_id, opted_in=True, consent_version="1.0")
    intake = TrainingDataIntake(consent, TrainingCorpus(), PIIScrubber(), DomainTagger())
    assert intake.submit(user_id or get_or_create_user_id(), "s", text, "prompt") is not None


def test_showing_says_what_would_be_collected_and_makes_nothing(folder: Path) -> None:
    result = run("consent", "show")
    assert result.exit_code == 0
    assert NOTICE.text in result.stdout
    assert "consent\tnothing yet: nothing is collected\n" in result.stdout
    state = read(run("consent", "show", "--json"))
    assert (state["state"], state["opted_in"], state["user_id"]) == ("none", False, None)
    assert state["notice"]["sha256"] == NOTICE.sha256
    assert not folder.exists()


def test_nobody_is_asked_without_a_terminal(folder: Path) -> None:
    result = run("consent", "give", answer="y\n")
    assert result.exit_code == 2
    assert NOTICE.text in result.stdout
    assert result.stderr == "central-command: Do you agree? Nobody can be asked here: give --yes to say so.\n"
    assert not folder.exists()


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("answer", ["n\n", "\n"])
def test_who_does_not_say_yes_does_not_agree(folder: Path, answer: str) -> None:
    result = run("consent", "give", answer=answer)
    assert result.exit_code == 1
    assert result.stdout.startswith(NOTICE.text)
    assert "Do you agree? [y/N]" in result.stderr
    assert not folder.exists()


@pytest.mark.usefixtures("terminal")
def test_who_says_yes_agrees_after_the_notice() -> None:
    result = run("consent", "give", answer="y\n")
    assert result.exit_code == 0
    assert result.stdout.startswith(NOTICE.text)
    assert "given: what the notice names is collected" in result.stdout
    assert ConsentManager().is_opted_in(get_or_create_user_id())


def test_a_script_gives_and_withdraws_consent() -> None:
    given = run("consent", "give", "--yes", "--json")
    assert read(given)["opted_in"] is True
    assert given.stderr == f"{NOTICE.text}\n"
    assert read(run("consent", "give", "--json"))["state"] == "given"  # asked once
    submit("text")
    assert read(run("consent", "withdraw", "--json"))["state"] == "withdrawn"
    assert read(run("consent", "withdraw", "--json"))["opted_in"] is False
    assert read(run("data", "--stats", "--json"))["total_records"] == 1
    events = [json.loads(line) for line in run("consent", "history", "--json").stdout.splitlines()]
    assert [each["state"] for each in events] == ["given", "withdrawn"]
    assert run("consent", "history").stdout.splitlines()[1].split("\t")[1:5] == ["given", "1.0", "1.0", "client"]
    assert run("consent", "withdraw").exit_code == 0


def test_whoever_sent_to_a_server_is_told_that_consent_there_is_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By name, where the spool knows it; an id for servers is enough. It is said of deleting, too."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    says = "central-command contributor show, and withdraw or erase there; this machine's consent is another"
    assert says not in run("consent", "withdraw").stdout
    assert says not in run("data", "--delete").stdout
    own_contributor_id(tmp_path / "config" / "central-command")
    assert f"at a server\tsee {says}\n" in run("consent", "withdraw").stdout
    with Spool(tmp_path / "state" / "central-command" / "spool.db") as spool:
        for url in ("http://first.test", "http://second.test"):
            opening = Opening(
                provider="codex", model="m", machine_fingerprint="a", app_version_hash="b", client_version="1"
            )
            spool.add_session(f"sess_{url}", url=url, opening=opening)
    for arguments in (("consent", "withdraw"), ("consent", "show"), ("data", "--delete", "--yes")):
        assert f"{says} (sent to: http://second.test, http://first.test)" in run(*arguments).stdout


def test_withdrawing_what_was_never_given_changes_nothing(folder: Path) -> None:
    assert read(run("consent", "withdraw", "--json"))["state"] == "none"
    assert not folder.exists()


def test_who_agreed_to_other_terms_is_told_and_asked_again() -> None:
    ConsentManager().record_consent(get_or_create_user_id(), opted_in=True, consent_version="0.9")
    assert "given to other terms than those of now" in run("consent", "show").stdout
    assert read(run("consent", "give", "--yes", "--json"))["version"] == "1.0"


def test_a_changed_history_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("consent", "give", "--yes")
    assert run("consent", "history").exit_code == 0
    monkeypatch.setattr("central_command.training.consent.head", lambda _connection: "0f" * 32)
    result = run("consent", "history")
    assert result.exit_code == 1
    assert f"{folder}/consent.db was changed: event 1 is not the last one" in result.stderr


def test_a_receipt_has_the_fields_of_the_specification(folder: Path) -> None:
    refused = run("consent", "receipt")
    assert (refused.exit_code, refused.stdout) == (1, "")
    run("consent", "give", "--yes")
    run("consent", "withdraw")
    receipt = read(run("consent", "receipt"))
    assert receipt["schema_version"] == "ISO/IEC TS 27560:2023"
    assert receipt["pii_principal_id"] == get_or_create_user_id()
    assert receipt["record_id"] == receipt["events"][-1]["id"]
    assert receipt["signature"] is None
    processing = receipt["pii_processing"]
    assert processing["privacy_notice"] == {"version": NOTICE.version, "sha256": NOTICE.sha256}
    assert processing["purposes"] == list(NOTICE.purposes)
    assert processing["storage_locations"] == [str(folder / "training_data")]
    assert processing["recipient_third_parties"] == []
    assert set(processing) >= {
        "language",
        "lawful_basis",
        "pii_information",
        "pii_controllers",
        "retention_period",
        "jurisdiction",
        "withdrawal_method",
    }
    first, second = receipt["events"]
    assert [first["state"], second["state"]] == ["given", "withdrawn"]
    assert second["previous_sha256"] == first["sha256"]


def test_an_export_holds_the_users_own_records_alone(tmp_path: Path) -> None:
    run("consent", "give", "--yes")
    submit("mine")
    submit("not mine", "somebody else")
    output = tmp_path / "mine.jsonl"
    assert run("data", "--export", str(output)).stdout == f"1 record(s) are in {output}.\n"
    (line,) = output.read_text().splitlines()
    assert json.loads(line)["content"] == "mine"
    result = run("data", "--export", str(output))
    assert result.exit_code == 2
    assert "is there already. Replace it? Nobody can be asked here: give --yes" in result.stderr
    assert read(run("data", "--export", str(output), "--yes", "--json")) == {"records": 1, "file": str(output)}


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    run("consent", "give", "--yes")
    result = run("data", "--export", str(tmp_path / "nowhere" / "mine.jsonl"))
    assert result.exit_code == 2
    assert result.stderr == f"central-command: {tmp_path}/nowhere/mine.jsonl: No such file or directory\n"


def test_deleting_asks_withdraws_and_deletes_the_users_own_records(monkeypatch: pytest.MonkeyPatch) -> None:
    run("consent", "give", "--yes")
    submit("mine")
    submit("not mine", "somebody else")
    assert run("data", "--delete").exit_code == 2
    monkeypatch.setattr(asking, "is_terminal", lambda: True)
    assert run("data", "--delete", answer="n\n").exit_code == 1
    assert read(run("data", "--stats", "--json"))["total_records"] == 2
    result = run("data", "--delete", answer="y\n")
    assert result.stdout == "1 record(s) were deleted, and nothing more is collected.\n"
    assert read(run("data", "--stats", "--json"))["total_records"] == 1
    assert read(run("consent", "show", "--json"))["state"] == "withdrawn"
    assert read(run("data", "--delete", "--yes", "--json")) == {"consent_revoked": True, "records_deleted": 0}


def test_without_a_user_there_is_nothing_to_export_or_delete(folder: Path, tmp_path: Path) -> None:
    assert read(run("data", "--stats", "--json"))["total_records"] == 0
    assert "records         0" in run("data", "--stats").stdout
    assert read(run("data", "--delete", "--json")) == {"consent_revoked": False, "records_deleted": 0}
    assert run("data", "--export", str(tmp_path / "out")).stdout == "Nothing is stored of you: no file was written.\n"
    assert not folder.exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [[], ["--stats", "--delete"], ["--delete", "--export", "x"]])
def test_one_thing_is_done_at_a_time(options: list[str]) -> None:
    result = run("data", *options)
    assert result.exit_code == 2
    assert "Give one of --stats, --export FILE and --delete." in result.stderr


def test_files_that_cannot_be_used_are_one_sentence(folder: Path) -> None:
    run("consent", "give", "--yes")
    (folder / "consent.db").write_bytes(b"no database" * 1_000)
    for arguments in (["consent", "show"], ["consent", "withdraw"], ["data", "--delete", "--yes"], ["data", "--stats"]):
        result = run(*arguments)
        assert result.exit_code == 2, arguments
        assert result.stderr == (f"central-command: {folder}/consent.db cannot be used: file is not a database.\n"), (
            arguments
        )
    (folder / "user_id").write_text("")
    assert "does not hold the id of a user" in run("consent", "show").stderr


def test_another_folder_can_be_named(tmp_path: Path, folder: Path) -> None:
    other = str(tmp_path / "other")
    assert read(run("consent", "give", "--yes", "--json", "--local-dir", other))["opted_in"] is True
    assert read(run("consent", "show", "--json", "--local-dir", other))["opted_in"] is True
    assert not folder.exists()
