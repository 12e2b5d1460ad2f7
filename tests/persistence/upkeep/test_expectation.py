"""What the databases should hold, projected anew: what one of them had not seen is added, once."""

from pathlib import Path

from persistence.digests import DigestCheck
from persistence.format.layout import DataLayout
from persistence.format.records import JournalName
from persistence.settings.storage import StorageSettings
from persistence.upkeep.expectation import expectation
from persistence.upkeep.findings import Findings

AT = "2026-11-20T10:00:00.000000Z"


async def test_what_only_one_database_had_seen_is_projected_once_with_the_rest(stored: Path, tmp_path: Path) -> None:
    """The ledger may be behind or ahead of the sessions' database."""
    layout, findings, credited = DataLayout(stored), Findings(), []
    for index, (sessions_n, ledger_n) in enumerate([(9, 0), (1, 0), (0, 1), (1, 1), (9, 9)]):
        workplace = DataLayout(tmp_path / f"{index}")
        workplace.root.mkdir()
        async with expectation(
            layout, workplace, StorageSettings(), findings, DigestCheck([]), applied_at=AT
        ) as expected:
            await expected.project_seen({JournalName.TRAJECTORIES: sessions_n}, {JournalName.TRAJECTORIES: ledger_n})
            await expected.project_rest()
            credited.append(await expected.ledger.read("SELECT session_id FROM credits ORDER BY session_id"))
    assert credited == [[("sess_http",), ("sess_told",)]] * 5
