"""What an upload says and sends where its contributor has not agreed, has withdrawn or was erased."""

from pathlib import Path

import pytest

from tests.central_command.client.uploading.conftest import Command


def test_what_was_refused_without_consent_is_sent_once_it_is_given_again(command: Command, transcripts: Path) -> None:
    """The server is asked whether it is, once for all files, and nothing else is until then."""
    server, files = command.server, [transcripts / "short.jsonl", transcripts / "tool_heavy.jsonl"]
    server.consent, server.refusal_code = "withdrawn", "consent_withdrawn"
    server.refuse = lambda _envelope: "The contributor has withdrawn their consent."
    for _ in range(2):
        refused = command.run(*files)
        assert refused.exit_code == 1
        assert refused.stdout.count("not delivered: Nothing more is taken: the contributor has withdrawn") == 2
        assert refused.stdout.count("once you have given consent again: central-command contributor give") == 2
        assert "--no-resume" not in refused.stdout
    opened = len(server.bodies("/v1/sessions/open"))
    assert (opened, server.consent_asked) == (2, 2), "the second run opened nothing, and each asked once"
    server.consent, server.refuse = "given", lambda _envelope: None
    result = command.run(*files)
    assert result.exit_code == 0, result.output
    assert "accepted: 2 of 2 envelopes, 8 of 8 steps" in result.stdout
    assert "continues" not in result.stdout, "of the first sessions the server has nothing"
    assert command.run(*files).stdout.count("already uploaded completely") == 2


def test_a_session_in_the_midst_of_which_consent_was_withdrawn_goes_on_in_a_further_one(
    command: Command, transcripts: Path
) -> None:
    server = command.server
    server.consent, server.refusal_code = "withdrawn", "consent_withdrawn"
    server.refuse = lambda each: "Withdrawn." if each.get("chunk_sequence") else None
    assert command.run(transcripts / "long.jsonl").exit_code == 1
    taken = sum(len(each.get("trajectory_log", ())) for each in server.envelopes)
    assert 0 < taken < 483
    server.consent, server.refuse = "given", lambda _envelope: None
    result = command.run(transcripts / "long.jsonl")
    assert result.exit_code == 0, result.output
    assert f"{taken} of its steps were sent before" in result.stdout
    assert sum(len(each.get("trajectory_log", ())) for each in server.envelopes) == 483


def test_of_who_was_erased_nothing_is_sent_again_and_no_way_is_named(command: Command, transcripts: Path) -> None:
    command.server.consent, command.server.refusal_code = "given", "contributor_erased"
    command.server.refuse = lambda _envelope: "The contributor's data was erased, and no more of it is taken."
    for _ in range(2):
        result = command.run(transcripts / "short.jsonl")
        assert "not delivered: Nothing more is taken: the contributor was erased at this server." in result.stdout
        assert "neither trying again nor --no-resume will help" in result.stdout
    assert len(command.server.bodies("/v1/sessions/open")) == 1


def test_of_an_erased_contributor_is_said_what_the_server_says_now(command: Command, transcripts: Path) -> None:
    """Whatever was refused or delivered before: nothing of it is there, and no consent brings it back."""
    server = command.server
    server.consent = "given"
    assert command.run(transcripts / "short.jsonl").exit_code == 0
    server.consent, server.refusal_code = "withdrawn", "consent_withdrawn"
    server.refuse = lambda _envelope: "The contributor has withdrawn their consent."
    refused = command.run(transcripts / "tool_heavy.jsonl")
    assert command.run(transcripts / "tool_heavy.jsonl").stdout.count("there before") == 0
    assert (refused.exit_code, "contributor give" in refused.stdout) == (1, True)
    server.is_erased = True
    opened = len(server.bodies("/v1/sessions/open"))
    for more in ((), ("--no-resume",)):
        result = command.run(transcripts / "short.jsonl", transcripts / "tool_heavy.jsonl", *more)
        assert result.exit_code == 1
        assert result.stdout.count("not delivered: Nothing more is taken: the contributor was erased") == 2
        assert result.stdout.count("neither trying again nor --no-resume will help") == 2
        for wrong in ("contributor give", "already uploaded", "there before", "Credited to", "accepted: "):
            assert wrong not in result.stdout
        rows = [line.split("\t") for line in result.stdout.splitlines() if "\tsess_" in line]
        assert sorted((row[0], row[5]) for row in rows) == [
            ("short.jsonl", "erased"),
            ("tool_heavy.jsonl", "not delivered"),
        ]
    assert len(server.bodies("/v1/sessions/open")) == opened


@pytest.mark.parametrize(
    ("state", "mode", "is_held"),
    [
        ("none", "required", True),
        ("outdated", "client", True),
        ("none", "client", False),
        ("given", "required", False),
        (None, "required", False),
    ],
)
def test_what_waits_for_consent_is_said_once_at_the_end_as_the_server_says_it(
    command: Command,
    transcripts: Path,
    state: str | None,
    mode: str,
    is_held: bool,  # noqa: FBT001
) -> None:
    command.server.consent, command.server.consent_mode = state, mode
    files = [transcripts / "short.jsonl", transcripts / "tool_heavy.jsonl"]
    result = command.run(*files, "--url", "http://server.test")
    assert result.exit_code == 0
    assert result.stdout.count("central-command contributor give --url http://server.test") == is_held
    assert result.stdout.count("is held there, and not used, until you agree") == is_held
