"""A step is credited once, whichever client sends which copy of it, and in whatever order: points are those of the
distinct steps, counted by what was written into the files.
"""

from pathlib import Path

import pytest

from tests.copies_proof import SETTINGS, SessionFiles, check, prove, upload
from tests.server_process import ServerProcess

FORKS = 6


@pytest.mark.parametrize("orders", [("forks first", "sessions first"), ("sessions first", "forks first")])
def test_what_forks_and_two_homes_copy_is_credited_once(tmp_path: Path, orders: tuple[str, str]) -> None:
    """A fork without a mark is sent as a whole by who has not sent its history, and without it by who has."""
    files = SessionFiles(tmp_path, sessions=FORKS, forks=FORKS)
    folders = {"forks first": (files.forks, files.sessions), "sessions first": (files.sessions, files.forks)}
    with ServerProcess(tmp_path / "data", settings=SETTINGS) as server:
        for home, order in enumerate(orders):
            for folder in folders[order]:
                upload(folder, server.url, home=tmp_path / f"home-{home}")
        assert server.terminate() == 0
    check(tmp_path / "data", files.steps)


def test_small_sessions_that_two_homes_upload_three_times_are_credited_once(tmp_path: Path) -> None:
    """`make copies-proof` in small: eight of them at once."""
    said = prove(tmp_path, sessions=24, forks=9)
    assert said.startswith("24 sessions and 9 forks, uploaded 3 times from 2 homes: ")
