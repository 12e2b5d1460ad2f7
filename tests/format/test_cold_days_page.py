"""Cold days, compressed and archived, are read by what docs/format.md says of them."""

from pathlib import Path

from tests.format.page_reader import read_journal
from tests.persistence.upkeep.one_of_everything import fill, leave
from tests.running_service import running, settings_with


async def test_cold_days_are_read_as_the_page_says(tmp_path: Path) -> None:
    root, archive = tmp_path / "data", tmp_path / "archive"
    archive.mkdir()
    await leave(root, fill)
    before = {name: read_journal(root / name) for name in ("envelopes", "trajectories")}
    for folder in (None, archive):
        tiers = {"compress_after_days": 1, "archive_dir": None if folder is None else str(folder)}
        async with running(root, settings=settings_with(tiers=tiers)) as run:
            run.clock.now += 30 * 86_400
            assert (await run.service.tiers.make_cold(lambda _line: None))["days"] == 2
        assert len(list(root.glob("*/*.zst" if folder is None else "*/*.archived"))) == 2
        assert {name: read_journal(root / name) for name in before} == before
