"""Cold days, and digests of the ledger, are read by what docs/format.md says of them."""

import hashlib
import json
import re
import struct
from pathlib import Path

from tests.format.page_reader import read_journal
from tests.persistence.test_digests import at_noon, filled
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


def root_of(entries: list[bytes]) -> bytes:
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    split = 1
    while 2 * split < len(entries):
        split *= 2
    return hashlib.sha256(b"\x01" + root_of(entries[:split]) + root_of(entries[split:])).digest()


async def test_digests_are_what_the_page_says(tmp_path: Path) -> None:
    await filled(tmp_path, at_noon())
    page = (Path(__file__).parents[2] / "docs" / "format.md").read_text()
    rows = re.findall(r"^\| (`.+?`) \|", page.split("\n## digests/\n", 1)[1].split("\n## ", 1)[0], re.MULTILINE)
    names = re.findall(r"`(\w+)`", " ".join(rows))
    digests, torn = read_journal(tmp_path / "digests")
    trajectories, _ = read_journal(tmp_path / "trajectories")
    assert (torn, len(digests)) == (None, 2)
    before, first_n = "0" * 64, 1
    for digest in digests:
        members = {name: digest.members[name] for name in names}
        assert [*digest.members][:-2] == names
        assert (members["previous_sha256"], members["first_n"]) == (before, first_n)
        entries = [
            line.n.to_bytes(8, "big")
            + struct.pack(">d", line.members["score"]["totalPoints"])
            + hashlib.sha256(line.text).digest()
            for line in trajectories[first_n - 1 : members["last_n"]]
        ]
        assert root_of(entries).hex() == members["root"]
        canonical = json.dumps(members, sort_keys=True, separators=(",", ":")).encode()
        before, first_n = hashlib.sha256(canonical).hexdigest(), members["last_n"] + 1
