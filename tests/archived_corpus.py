"""A corpus whose days are in an archive, on a disk that can go away and come back."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from persistence.files.file_system import OsFileSystem, inline
from persistence.format.layout import DataLayout
from persistence.format.records import JournalName
from persistence.journals.day_files import DayFiles
from persistence.journals.tiering import make_cold


async def archive_corpus(root: Path, archive: Path) -> None:
    """Move all days of a corpus that nobody writes to an archive."""
    files = DayFiles(OsFileSystem(), DataLayout(root).journal(JournalName.CORPUS))
    OsFileSystem().make_directory(archive)
    for day in files.days():
        await make_cold(files, day, archive, inline)
    assert files.present().cold == {*files.days()}


@contextmanager
def out_of_reach(archive: Path) -> Iterator[None]:
    """As long as the block lasts, the archive's disk is not there."""
    elsewhere = archive.with_name(f"{archive.name}-elsewhere")
    archive.rename(elsewhere)
    try:
        yield
    finally:
        elsewhere.rename(archive)
