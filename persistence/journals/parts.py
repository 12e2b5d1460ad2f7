"""What a backup takes of a journal, and what is done to the copy. The paths are this room's: others only hand them on.

A journal is copied while it may be written. It only grows, so what stood there when its length was noted is copied as
it is; the last lines may be some that were just being written, and are checked in the copy. Only of
refused envelopes and operations the oldest days may be dropped meanwhile: such a day is not copied, and what says that
it was dropped is copied last.
Blocking, raises OSError.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from persistence.files.failures import StorageDamage
from persistence.files.file_copies import CopiedFile, copy_file
from persistence.files.file_system import OsFileSystem
from persistence.format.layout import DataLayout
from persistence.format.records import FORGETTING, JournalName, Mark
from persistence.journals.cold_files import COMPRESSED_ENDING, ColdFiles
from persistence.journals.day_files import ANEW_ENDING, DROPPED_NAME, DayFiles
from persistence.journals.day_names import day_of, name_of
from persistence.journals.reading import BadLine
from persistence.journals.scanning import READ_BYTES, damage, good_line_of_a_later_batch, scan

DROPPED_PATHS = frozenset(f"{name}/{DROPPED_NAME}" for name in FORGETTING)


class Part(msgspec.Struct, frozen=True):
    """A piece of a journal: its path below the data directory, and its bytes; the last may end within a line.

    What says which days were dropped is a piece, too; it is copied as it is when its turn comes. A day that is archived
    is a piece like one that is compressed, whose file is elsewhere (`source`).
    """

    path: str
    size_bytes: int
    source: Path | None = None


def parts_of(layout: DataLayout, name: JournalName) -> list[Part]:
    """Return what a journal consists of now."""
    files = _files(layout, name)
    parts: list[Part] = []
    for day in files.days():
        with suppress(FileNotFoundError):  # dropped since it was listed
            parts.append(_part(files, name, day))
    return [*parts, Part(f"{name}/{DROPPED_NAME}", 0)] if name in FORGETTING else parts


def is_part(path: str) -> bool:
    """Whether a path below a data directory is that of a journal's part."""
    return holds_lines(path) or path in DROPPED_PATHS


def holds_lines(path: str) -> bool:
    """Whether a path below a data directory is that of a part with lines."""
    folder, _, name = path.partition("/")
    return folder in {*JournalName} and day_of(name.removesuffix(COMPRESSED_ENDING)) is not None


def is_compressed(path: str) -> bool:
    """Whether a path below a data directory is that of a part with lines that is compressed."""
    return holds_lines(path) and path.endswith(COMPRESSED_ENDING)


def lies_among_parts(path: str) -> bool:
    """Whether a path below a data directory is that of a part, or of one that is being made, or says where one is."""
    folder, _, name = path.partition("/")
    is_draft = folder in {*JournalName} and (
        ColdFiles.is_ours(name) or day_of(name.removesuffix(ANEW_ENDING)) is not None
    )
    return is_part(path) or is_draft


def archived_files(layout: DataLayout) -> list[tuple[str, Path]]:
    """Return the files of days that are archived, each with the path below the data directory that it would have.

    Raises UnreadableFile for one that is out of reach.
    """
    found: list[tuple[str, Path]] = []
    for name in JournalName:
        files = _files(layout, name)
        for day in files.present().cold:
            place = files.cold.place_of(day)
            if place.parent != files.directory:
                files.open_read_only(day).close()
                found.append((_path(name, day) + COMPRESSED_ENDING, place))
    return found


def lines_in(copy: DataLayout, path: str) -> int:
    """Count the lines of a compressed part of a copy."""
    folder, _, name = path.partition("/")
    files, count, offset = _files(copy, JournalName(folder)), 0, 0
    with files.reading(name.removesuffix(COMPRESSED_ENDING).removesuffix(".jsonl")) as file:
        while piece := file.read_at(offset, READ_BYTES):
            count += piece.count(b"\n")
            offset += len(piece)
    return count


def copy_part(layout: DataLayout, part: Part, target: Path, progress: Callable[[int], None]) -> CopiedFile | None:
    """Copy a part to the same path below the folder `target`; `progress` is told how many bytes each piece had.

    None for what is not there: nothing was dropped yet, or it was dropped since. A day that was made cold since it was
    noted is copied as it is now. Raises OSError, and UnreadableFile for a day whose archive is out of reach.
    """
    size_bytes = None if part.path in DROPPED_PATHS else part.size_bytes
    source = layout.root / part.path if part.source is None else part.source
    try:
        return copy_file(source, target, part.path, size_bytes=size_bytes, progress=progress)
    except FileNotFoundError:
        folder, _, name = part.path.partition("/")
        if folder in FORGETTING:
            return None
        files, day = _files(layout, JournalName(folder)), day_of(name.removesuffix(COMPRESSED_ENDING))
        assert day is not None, "only of journals that forget another file is a part"
        now = _part(files, JournalName(folder), day)
        if now == part:
            raise
        return copy_part(layout, now, target, progress)


def cut_torn(copy: DataLayout, name: JournalName, seen: Mark | None) -> list[str]:
    """Check every line of a copied journal, and cut off what is torn; return the paths of the parts that were cut.

    `seen` is how far the copied databases have seen it, None where none knows of it. Raises StorageDamage where a line
    was changed or is missing.
    """
    files = _files(copy, name)
    dropped = files.dropped()
    if seen is not None and dropped.n > seen.n:
        raise StorageDamage(
            f"lines of the {name} journal up to {dropped.n} were dropped while it was copied, and the databases have "
            f"seen up to line {seen.n}: try again."
        )
    bad = next((item for item in scan(files, Mark()) if isinstance(item, BadLine)), None)
    if bad is None:
        return []
    later = good_line_of_a_later_batch(files, bad)
    if later is not None or (seen is not None and bad.expected_n <= seen.n):
        shown = "good lines after it" if seen is None or later else f"the databases have seen up to line {seen.n}"
        raise StorageDamage(
            f"the {name} journal holds {bad.what} at byte {bad.offset} of {name_of(bad.day)}, and {shown}: if no "
            "server is running, find out what happened to that file; else try again."
        )
    cut = [day for day in files.days() if day >= bad.day]
    if {*cut} & files.present().cold:
        raise damage(name, bad)  # a cold day was whole when it was made cold
    for day in cut:
        with files.changing(day) as file:
            file.truncate(bad.offset if day == bad.day else 0)
    return [_path(name, day) for day in cut]


def _part(files: DayFiles, name: JournalName, day: str) -> Part:
    if not files.is_cold(day):
        return Part(_path(name, day), files.size_bytes(day))
    place = files.cold.place_of(day)
    source = None if place.parent == files.directory else place
    return Part(_path(name, day) + COMPRESSED_ENDING, files.cold.file_bytes(place), source)


def _files(layout: DataLayout, name: JournalName) -> DayFiles:
    return DayFiles(OsFileSystem(), layout.journal(name))


def _path(name: JournalName, day: str) -> str:
    return f"{name}/{name_of(day)}"
