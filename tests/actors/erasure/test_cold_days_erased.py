"""What is erased leaves days that are compressed or archived, too; while an archive is out of reach it waits."""

from pathlib import Path

import pytest
import zstandard

from actors.erasure.job import Report
from persistence.journals.erasure_register import ErasureState, ErasureSubject
from tests.actors.erasure.test_job import SECRET_WORDS, THEIRS, done, erased, filled, findings, holding
from tests.running_service import Running, running, settings_with

DAY_S = 86_400


async def make_cold(service: Running) -> None:
    """Have all days made cold that can be, a month later."""
    service.clock.now += 30 * DAY_S
    assert (await service.service.tiers.make_cold(lambda _line: None))["days"]


def unpacked(folder: Path) -> bytes:
    found = b""
    for path in sorted(folder.rglob("*.zst")):
        with path.open("rb") as file:
            found += zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read()
    return found


def tiers(archive: Path | None) -> dict[str, object]:
    return {"compress_after_days": 1, "archive_dir": None if archive is None else str(archive)}


@pytest.mark.parametrize("is_archived", [False, True], ids=["compressed", "archived"])
async def test_nothing_of_an_erased_contributor_is_left_in_cold_days(tmp_path: Path, is_archived: bool) -> None:  # noqa: FBT001
    root, archive = tmp_path / "data", tmp_path / "archive"
    archive.mkdir()
    settings = settings_with(sessions={"sequence_gaps": "accept"}, tiers=tiers(archive if is_archived else None))
    async with running(root, settings=settings) as service:
        await filled(service)
        await make_cold(service)
        cold = archive if is_archived else root
        assert THEIRS.encode() in unpacked(cold)
        report = await erased(service, ErasureSubject.CONTRIBUTOR, THEIRS)
        assert (report.hindered, report.erasure.state) == (None, ErasureState.DONE)
        assert report.erasure.counts == {"envelopes": 5 + 5 + 4, "refused": 3, "trajectories": 3}
        left = unpacked(cold).lower()
        assert not any(text.encode() in left for text in (THEIRS, "sess_theirs", SECRET_WORDS.lower()))
        assert b"sess_other_" in left
        assert await findings(root) == []
    assert holding(root, THEIRS, "sess_theirs", SECRET_WORDS) == []
    assert await findings(root) == []


async def test_an_erasure_waits_for_an_archive_that_is_out_of_reach_and_says_so(tmp_path: Path) -> None:
    root, archive = tmp_path / "data", tmp_path / "archive"
    archive.mkdir()
    async with running(root, settings=settings_with(tiers=tiers(archive))) as service:
        await filled(service, theirs=1, others=4)
        await make_cold(service)
        archive.rename(tmp_path / "elsewhere")
        asked = await service.service.ask_erasure(ErasureSubject.CONTRIBUTOR, THEIRS)
        assert isinstance(asked, Report)
        report = await done(service, asked.erasure.request)
        assert report.erasure.state is ErasureState.REQUESTED
        assert report.hindered is not None
        assert "make its archive reachable again" in report.hindered
        client = await service.open("sess_meanwhile")
        await service.send(client.chunk())  # all else goes on
        (tmp_path / "elsewhere").rename(archive)
        report = await done(service, asked.erasure.request)
        assert (report.hindered, report.erasure.state) == (None, ErasureState.DONE)
        assert THEIRS.encode() not in unpacked(archive)
