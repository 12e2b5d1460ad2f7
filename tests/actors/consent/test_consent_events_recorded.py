"""What contributors say is recorded in a chain, behind their first envelope or when they say it, and once."""

import json
import zlib
from pathlib import Path

import msgspec
import pytest
import trio

from actors.consent.register import NotSigned, Said, Statement, TooManyContributors
from actors.consent.restrictions import subject_of
from actors.curation.consent import RecordedConsent
from persistence.format.consent_events import (
    BEFORE_FIRST,
    CURRENT_CONSENT_VERSION,
    ConsentEvent,
    ConsentSource,
    ConsentState,
    Decision,
    check_chain,
)
from persistence.format.records import JournalName
from persistence.journals.journal import AppendRefused
from persistence.settings.storage import StorageSettings
from persistence.upkeep.rebuilding import rebuild
from tests.running_service import Running, running, settings_with
from tests.signing_client import CONTRIBUTOR
from tests.stored_state import findings, stored_state

OTHER = "f" * 32


def says(decision: Decision, contributor_id: str = CONTRIBUTOR) -> Statement:
    return Statement(
        contributor_id=contributor_id,
        decision=decision,
        version=CURRENT_CONSENT_VERSION,
        source=ConsentSource.API,
    )


async def said(run: Running, decision: Decision, contributor_id: str = CONTRIBUTOR) -> ConsentEvent:
    outcome = await run.service.desk.say(says(decision, contributor_id))
    assert isinstance(outcome, Said), outcome
    return outcome.event


async def state(run: Running, contributor_id: str = CONTRIBUTOR) -> ConsentState:
    shown = await run.service.desk.show(contributor_id, None)
    assert not isinstance(shown, NotSigned)
    return shown.state


async def test_a_first_envelope_is_recorded_as_consent_behind_its_answer_and_once(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        for session_id in ("sess_1", "sess_2"):
            client = await run.open(session_id)
            await run.send(client.chunk())
        await run.send((await run.open("sess_3", contributor_id=OTHER.upper())).chunk())
        await run.projected()
        await run.projected()
        lines = run.lines(JournalName.CONSENT)
        assert {line["subject"] for line in lines} == {subject_of(CONTRIBUTOR), subject_of(OTHER)}
        assert [(line["state"], line["version"], line["source"]) for line in lines] == [("given", "1.0", "client")] * 2
        assert await state(run) is await state(run, OTHER) is ConsentState.GIVEN
    assert await findings(tmp_path) == []


async def test_no_line_holds_a_contributor_s_id(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        await run.send((await run.open()).chunk())
        await said(run, Decision.WITHDRAWN)
        await run.projected()
        assert CONTRIBUTOR not in json.dumps(run.lines(JournalName.CONSENT))


async def test_with_required_consent_a_first_envelope_says_nothing(tmp_path: Path) -> None:
    """It is accepted and credited all the same, and kept out of the corpus until somebody has said yes."""
    settings = settings_with(consent={"mode": "required"})
    async with running(tmp_path, settings=settings) as run:
        client = await run.open()
        await run.send(client.chunk())
        await run.send(client.close())
        await run.projected()
        recorded = RecordedConsent(run.service._storage.consents, settings.consent)
        assert run.lines(JournalName.CONSENT) == []
        assert not (await recorded(CONTRIBUTOR)).given
        await said(run, Decision.GIVEN)
        await run.projected()
        assert (await recorded(CONTRIBUTOR)).given
        await said(run, Decision.WITHDRAWN)
        await run.projected()
        assert not (await recorded(CONTRIBUTOR)).given
    assert await findings(tmp_path) == []


async def test_events_form_one_chain_over_restarts(tmp_path: Path) -> None:
    for decision in (Decision.GIVEN, Decision.WITHDRAWN, Decision.GIVEN):
        async with running(tmp_path) as run:
            await said(run, decision)
            await said(run, decision, OTHER)
            events = await run.service._consent.events(CONTRIBUTOR)
            await run.projected()
            head = await run.service._storage.consents.head_sha256()
            lines = run.lines(JournalName.CONSENT)
    chain = [msgspec.convert({**line, "received": None}, ConsentEvent) for line in lines]
    found = check_chain(chain, head_sha256=head)
    assert (found.events, found.wrong) == (6, None)
    assert chain[0].previous_sha256 == BEFORE_FIRST
    assert [event.state for event in events] == ["given", "withdrawn", "given"]


async def test_what_is_said_already_is_not_recorded_again(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        first = await run.service.desk.say(says(Decision.GIVEN))
        second = await run.service.desk.say(says(Decision.GIVEN))
        assert isinstance(first, Said)
        assert second == Said(first.event, is_new=False)
        assert len(run.lines(JournalName.CONSENT)) == 1


async def test_requests_at_once_are_recorded_one_after_the_other_and_bounded(tmp_path: Path) -> None:
    outcomes: list[object] = []
    async with running(tmp_path, settings=settings_with(consent={"waiting_max": 4})) as run:

        async def say(number: int) -> None:
            outcomes.append(await run.service.desk.say(says(Decision.GIVEN, f"{number:032x}")))

        async with trio.open_nursery() as nursery:
            for number in range(9):
                nursery.start_soon(say, number)
        assert AppendRefused.QUEUE_FULL in outcomes
        assert len(run.lines(JournalName.CONSENT)) == sum(isinstance(outcome, Said) for outcome in outcomes) >= 4
    assert await findings(tmp_path) == []


async def test_withdrawals_are_bounded_and_the_same_one_again_is_not_counted(tmp_path: Path) -> None:
    async with running(tmp_path, settings=settings_with(consent={"withdrawn_max": 1})) as run:
        await said(run, Decision.WITHDRAWN)
        await said(run, Decision.WITHDRAWN)
        assert await run.service.desk.say(says(Decision.WITHDRAWN, OTHER)) == TooManyContributors()
        await said(run, Decision.GIVEN)
        await said(run, Decision.WITHDRAWN, OTHER)


async def test_a_changed_event_is_found(tmp_path: Path) -> None:
    """Also when it was framed anew: the next event does not follow it any more."""
    async with running(tmp_path) as run:
        await said(run, Decision.WITHDRAWN)
        await said(run, Decision.GIVEN)
    (path,) = (tmp_path / "consent").glob("*.jsonl")
    first, second = path.read_bytes().splitlines(keepends=True)
    changed = first.rpartition(b',"crc32":')[0].replace(b'"state":"withdrawn"', b'"state":"given"')
    path.write_bytes(changed + b',"crc32":"%08x"}\n' % zlib.crc32(changed) + second)
    found = await findings(tmp_path)
    assert any("line 2 does not follow the event before it, in line 1" in finding for finding in found), found


async def test_a_rebuild_gives_the_same_rows(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        await run.send((await run.open()).chunk())
        await said(run, Decision.WITHDRAWN)
        before = await stored_state(run)
    await rebuild(tmp_path, StorageSettings(), applied_at="2026-11-20T10:00:00.000000Z")
    async with running(tmp_path) as run:
        after = await stored_state(run)
        assert await state(run) is ConsentState.WITHDRAWN
    for table in ("consents", "consent_events"):
        assert after[f"sessions.db {table}"] == before[f"sessions.db {table}"]


@pytest.mark.parametrize("current", ["1.0", "2.0"])
async def test_whoever_agreed_to_older_terms_is_asked_again(tmp_path: Path, current: str) -> None:
    settings = settings_with(consent={"current_version": current})
    async with running(tmp_path, settings=settings) as run:
        recorded = RecordedConsent(run.service._storage.consents, settings.consent)
        assert (await recorded(CONTRIBUTOR)).given is (current == "1.0"), "before the event is recorded"
        await run.send((await run.open()).chunk())
        await run.projected()
        assert (await recorded(CONTRIBUTOR)).given is (current == "1.0")
        assert await state(run) is (ConsentState.GIVEN if current == "1.0" else ConsentState.OUTDATED)
