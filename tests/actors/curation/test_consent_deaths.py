"""Whatever dies between an event of consent and the corpus: afterwards those who agree are in it, each once."""

import shutil
from collections import defaultdict
from itertools import count, pairwise
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from actors.consent.register import Said, Statement
from actors.consent.settings import ConsentSettings
from persistence.corpus import Corpus
from persistence.databases.consents import Consents
from persistence.format.consent_events import ConsentSource, Decision
from persistence.format.records import JournalName
from tests.actors.curation.deaths import Killed, dying_behind, reached_before
from tests.curated import corpus_lines, corpus_rows, curate, leave_session, shown
from tests.running_service import Running, running, settings_with
from tests.signing_client import CONTRIBUTOR
from tests.stored_state import findings

OTHER: Final = "f" * 32
MINE: Final = frozenset({"sess_mine", "sess_too"})
ALL: Final = MINE | {"sess_other"}
UNPROJECTED: Final = settings_with(storage={"projection_interval_s": 86_400.0})
"""Lines wait on disk for their rows until the server ends."""


async def say(run: Running, decision: Decision) -> None:
    statement = Statement(contributor_id=CONTRIBUTOR, decision=decision, version="1.0", source=ConsentSource.API)
    assert isinstance(await run.service.desk.say(statement), Said)


async def said(root: Path, decision: Decision) -> None:
    """Let it be said, on disk and in the databases."""
    async with running(root) as run:
        await say(run, decision)


class Stages:
    """Data directories as they are before and after what was said; each made once, and copied by who needs it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def make(self) -> None:
        """Make all of them, one from the other."""
        sessions = self._folder / "sessions"
        async with running(sessions) as run:
            for name in sorted(MINE):
                await leave_session(run, name, [f"{name} says hello"])
            await leave_session(run, "sess_other", ["world"], contributor_id=OTHER)
            await run.projected()
        curated = self.copy("sessions", self._folder / "curated")
        await curate(curated)
        await said(self.copy("sessions", self._folder / "sessions, withdrawn"), Decision.WITHDRAWN)
        withdrawn = self.copy("curated", self._folder / "curated, withdrawn")
        await said(withdrawn, Decision.WITHDRAWN)
        left = self.copy("curated, withdrawn", self._folder / "left")
        await curate(left)
        await said(self.copy("left", self._folder / "left, given"), Decision.GIVEN)

    def copy(self, stage: str, to: Path) -> Path:
        """A copy of one of them."""
        shutil.rmtree(to, ignore_errors=True)
        return Path(shutil.copytree(self._folder / stage, to))


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Stages:
    stages = Stages(tmp_path_factory.mktemp("stages"))
    trio.run(stages.make)
    return stages


async def is_whole(root: Path, expected: frozenset[str]) -> None:
    """Those are in, each once, and no line was written twice."""
    assert set(shown(root)) == expected
    rows = corpus_rows(root, "SELECT session_id FROM records")
    assert len(rows) == len(expected)
    reasons = corpus_rows(root, "SELECT session_id, reason FROM passed_over")
    assert sorted(reasons) == [(name, "no_consent") for name in sorted(ALL - expected)]
    kinds = defaultdict(list)
    for line in corpus_lines(root):
        kinds[line["session_id"]].append("taken_back" in line)
    for name, of_session in kinds.items():
        assert of_session[0] is False, name
        assert all(one != other for one, other in pairwise(of_session)), f"{name}: what was so was written again"


async def dies_behind(fatal: int, root: Path, **options: Any) -> bool:
    """Curate up to a boundary; False when there are fewer."""
    died = False
    with dying_behind(fatal):
        try:
            await curate(root, **options)
        except* Killed:
            died = True
    return died


SCENARIOS: Final[dict[str, tuple[str, dict[str, Any], frozenset[str]]]] = {
    "withdrawn": ("curated, withdrawn", {}, ALL - MINE),
    "withdrawn before it was curated": ("sessions, withdrawn", {}, ALL - MINE),
    "given again": ("left, given", {}, ALL),
    "other terms": ("curated", {"consent": ConsentSettings(current_version="2.0")}, frozenset()),
    "everything again, withdrawn": ("curated, withdrawn", {"anew": True}, ALL - MINE),
}


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_curation_may_die_at_every_boundary(stages: Stages, tmp_path: Path, scenario: str) -> None:
    stage, options, expected = SCENARIOS[scenario]
    for fatal in count(1):
        root = stages.copy(stage, tmp_path / "data")
        died = await dies_behind(fatal, root, **options)
        await curate(root, **{name: value for name, value in options.items() if name != "anew"})
        await is_whole(root, expected)
        if not died:
            break
    assert fatal > 5, "there are more boundaries than that"
    assert await findings(root) == []


async def test_it_may_die_again_and_again_one_boundary_further_each_time(stages: Stages, tmp_path: Path) -> None:
    root = stages.copy("curated, withdrawn", tmp_path / "data")
    for fatal in count(1):
        if not await dies_behind(fatal, root):
            break
    await is_whole(root, ALL - MINE)
    assert await findings(root) == []


@pytest.mark.parametrize(
    ("stage", "decision", "before", "after"),
    [
        ("curated", Decision.WITHDRAWN, ALL, ALL - MINE),
        ("sessions", Decision.WITHDRAWN, ALL, ALL - MINE),
        ("left", Decision.GIVEN, ALL - MINE, ALL),
    ],
)
async def test_the_server_may_die_between_the_event_and_its_row(
    stages: Stages, tmp_path: Path, stage: str, decision: Decision, before: frozenset[str], after: frozenset[str]
) -> None:
    """Curation that runs before the restart knows nothing of it, and heeds it after."""
    root = stages.copy(stage, tmp_path / "data")
    async with running(root, settings=UNPROJECTED) as run:
        await say(run, decision)
        killed = Path(shutil.copytree(root, tmp_path / "killed"))
        shutil.copytree(root, tmp_path / "at once")
    (event,) = (killed / "consent").glob("*.jsonl")
    assert f'"state":"{decision}"'.encode() in event.read_bytes()
    await curate(killed)
    assert set(shown(killed)) == before
    for name in ("killed", "at once"):
        async with running(tmp_path / name):
            pass
        await curate(tmp_path / name)
        await is_whole(tmp_path / name, after)
        assert await findings(tmp_path / name) == []


@pytest.mark.parametrize(
    ("method", "of", "number"),
    [
        *(("standing", Consents, number) for number in (1, 2, 3)),
        *(("put", Corpus, number) for number in (1, 2, 3)),
        *(("look_past", Corpus, number) for number in (1, 2)),
    ],
)
async def test_it_may_be_said_at_any_moment_of_a_look(
    stages: Stages, tmp_path: Path, method: str, of: type, number: int
) -> None:
    """Also between the question whether somebody agrees and the line that this leads to: the next look finds it."""
    root = stages.copy("sessions", tmp_path / "data")
    async with running(root) as run:

        async def withdraw() -> None:
            await say(run, Decision.WITHDRAWN)
            await run.projected()

        with reached_before(method, of, number, withdraw):
            await curate(root)
        assert run.lines(JournalName.CONSENT)[-1]["state"] == Decision.WITHDRAWN
        await curate(root)
    await is_whole(root, ALL - MINE)


@pytest.mark.parametrize("looks", [1, 2], ids=["before its row is there again", "and again"])
async def test_what_a_crash_of_the_machine_took_from_the_register_is_looked_at_again(
    stages: Stages, tmp_path: Path, looks: int
) -> None:
    """The databases are not synced with each transaction: sessions.db may be older than what the corpus has seen."""
    root = stages.copy("left", tmp_path / "data")
    older = stages.copy("curated", tmp_path / "older")
    for name in ("sessions.db", "ledger.db"):
        shutil.copy(older / name, root / name)
    for _ in range(looks):
        await curate(root, anew=True)
        assert set(shown(root)) == ALL, "nothing there says that they have withdrawn"
    async with running(root):
        pass
    await curate(root)
    await is_whole(root, ALL - MINE)
    assert await findings(root) == []
