"""What is said before the first delivery: who is credited, and what it is taken for."""

from pathlib import Path

import httpx
import pytest

from central_command.client.contract.endpoints import DEFAULT_URL
from central_command.client.contract.identity import Identity
from central_command.client.uploading.introduction import Introduction
from central_command.client.uploading.standing import ConsentStanding
from tests.central_command.client.conftest import FakeServer
from tests.central_command.client.uploading.conftest import Command

AGREEMENT = "is taken as your agreement to its terms"


def test_a_first_upload_says_who_is_credited_and_that_it_is_taken_as_agreement(
    command: Command, transcripts: Path, tmp_path: Path
) -> None:
    """Of a server that does not say how consent stands: before anything is sent, and once."""
    planned = command.run(transcripts / "short.jsonl", "--dry-run").stdout
    assert "It would be credited to an id of your own, which the first upload makes" in planned
    assert AGREEMENT in planned
    credited, agreement, *_ = command.run(transcripts / "short.jsonl").stdout.splitlines()
    contributor_id = (tmp_path / "config" / "central-command" / "contributor_id").read_text().strip()
    assert credited == f"Credited to {contributor_id[:8]}… (central-command whoami)."
    assert AGREEMENT in agreement
    assert "Credited to" not in command.run(transcripts / "short.jsonl").stdout, "nothing is sent"
    again = command.run(transcripts / "short.jsonl", "--no-resume", "--dry-run").stdout
    assert f"It would be credited to {contributor_id[:8]}… (central-command whoami)." in again
    assert AGREEMENT not in again + command.run(transcripts / "long.jsonl").stdout


def test_of_a_folder_without_sessions_and_without_a_server_nothing_is_agreed_to(
    command: Command, transcripts: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.jsonl").write_text("not json\n")
    for more in ((), ("--dry-run",)):
        result = command.run(tmp_path / "other", *more)
        assert (result.exit_code, AGREEMENT in result.output, "redited to" in result.output) == (1, False, False)

    async def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    command.server.consent_fault = away
    command.server.faults.extend([away] * 5)
    result = command.run(transcripts / "short.jsonl")
    assert (result.exit_code, AGREEMENT in result.output, "redited to" in result.output) == (1, False, False)


@pytest.mark.parametrize(
    ("state", "mode", "says"),
    [
        ("given", "client", ["Credited to 01234567… (central-command whoami); terms 1.0 agreed."]),
        ("none", "required", ["Credited to 01234567… (central-command whoami)."]),
        ("withdrawn", "client", ["Credited to 01234567… (central-command whoami)."]),
        ("none", "client", ["Credited to 01234567… (central-command whoami).", AGREEMENT]),
    ],
)
async def test_what_is_said_is_what_the_server_says_now(
    fake_server: FakeServer, identity: Identity, state: str, mode: str, says: list[str]
) -> None:
    """Whatever went there before; and once, however many files ask."""
    fake_server.consent, fake_server.consent_mode = state, mode
    said: list[str] = []
    async with fake_server.client() as client:
        consent = ConsentStanding(client, identity, now_s=lambda: 0.0)
        for is_known in (False, True):
            said.clear()
            introduction = Introduction(identity.contributor_id, DEFAULT_URL, is_known=is_known)
            for _ in range(2):
                await introduction.make(consent, said.extend)
            assert len(said) == len(says)
            assert all(part in line for part, line in zip(says, said, strict=True))
    assert fake_server.consent_asked == 1


async def test_what_waits_for_a_server_or_came_there_all_the_same_is_said(
    fake_server: FakeServer, identity: Identity
) -> None:
    async def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    fake_server.consent_fault = away
    said: list[str] = []
    async with fake_server.client() as client:
        consent = ConsentStanding(client, identity, now_s=lambda: 0.0)
        introduction = Introduction(identity.contributor_id, DEFAULT_URL, is_known=False)
        await introduction.make(consent, said.extend)
        assert not said
        await introduction.make(consent, said.extend, is_sure=True)
    assert AGREEMENT in said[-1]
