"""What contributors say of their consent is heeded by curation: who withdraws leaves the corpus, and may come back."""

from pathlib import Path

from actors.consent.register import Said, Statement
from actors.consent.settings import ConsentMode, ConsentSettings
from persistence.format.consent_events import ConsentSource, Decision
from tests.curated import corpus_lines, corpus_rows, curate, leave_session, shown
from tests.running_service import running, settings_with
from tests.signing_client import CONTRIBUTOR

OTHER = "f" * 32
REQUIRED = ConsentSettings(mode=ConsentMode.REQUIRED)


async def leave_two(root: Path) -> None:
    """Leave a session each of two contributors."""
    async with running(root) as run:
        await leave_session(run, "sess_mine", ["hello"])
        await leave_session(run, "sess_other", ["world"], contributor_id=OTHER)
        await run.projected()


async def say(root: Path, decision: Decision, version: str = "1.0") -> None:
    async with running(root) as run:
        statement = Statement(contributor_id=CONTRIBUTOR, decision=decision, version=version, source=ConsentSource.API)
        assert isinstance(await run.service.desk.say(statement), Said)
        await run.projected()


async def test_a_first_envelope_is_consent_of_the_client(tmp_path: Path) -> None:
    await leave_two(tmp_path)
    await curate(tmp_path)
    consents = [line["consent"] for line in corpus_lines(tmp_path)]
    assert consents == [{"given": True, "version": "1.0", "source": "client"}] * 2


async def test_who_withdraws_leaves_the_corpus_and_nobody_else(tmp_path: Path) -> None:
    await leave_two(tmp_path)
    await curate(tmp_path)
    assert set(shown(tmp_path)) == {"sess_mine", "sess_other"}
    await say(tmp_path, Decision.WITHDRAWN)
    await curate(tmp_path)
    assert set(shown(tmp_path)) == {"sess_other"}
    assert corpus_rows(tmp_path, "SELECT session_id, reason FROM passed_over") == [("sess_mine", "no_consent")]


async def test_who_gives_it_again_comes_back_once(tmp_path: Path) -> None:
    await leave_two(tmp_path)
    await curate(tmp_path)
    for decision in (Decision.WITHDRAWN, Decision.GIVEN):
        await say(tmp_path, decision)
        await curate(tmp_path)
    assert set(shown(tmp_path)) == {"sess_mine", "sess_other"}
    assert shown(tmp_path)["sess_mine"]["consent"] == {"given": True, "version": "1.0", "source": "api"}
    assert corpus_rows(tmp_path, "SELECT count(*) FROM passed_over") == [(0,)]
    lines = len(corpus_lines(tmp_path))
    await curate(tmp_path)
    assert len(corpus_lines(tmp_path)) == lines, "nothing is made again for what was heeded"


async def test_withdrawn_before_it_is_curated_it_never_enters(tmp_path: Path) -> None:
    await leave_two(tmp_path)
    await say(tmp_path, Decision.WITHDRAWN)
    await curate(tmp_path)
    assert [line["session_id"] for line in corpus_lines(tmp_path)] == ["sess_other"]


async def test_where_consent_is_required_nobody_is_in_before_they_have_said_yes(tmp_path: Path) -> None:
    async with running(tmp_path, settings=settings_with(consent={"mode": "required"})) as run:
        await leave_session(run, "sess_mine", ["hello"])
        await run.projected()
    await curate(tmp_path, consent=REQUIRED)
    assert shown(tmp_path) == {}
    async with running(tmp_path, settings=settings_with(consent={"mode": "required"})) as run:
        statement = Statement(
            contributor_id=CONTRIBUTOR, decision=Decision.GIVEN, version="1.0", source=ConsentSource.API
        )
        assert isinstance(await run.service.desk.say(statement), Said)
        await run.projected()
    await curate(tmp_path, consent=REQUIRED)
    assert set(shown(tmp_path)) == {"sess_mine"}


async def test_other_terms_ask_everybody_again(tmp_path: Path) -> None:
    """Also those whose records were made long ago."""
    await leave_two(tmp_path)
    await curate(tmp_path)
    await curate(tmp_path, consent=ConsentSettings(current_version="2.0"))
    assert shown(tmp_path) == {}
    await curate(tmp_path)
    assert set(shown(tmp_path)) == {"sess_mine", "sess_other"}
