"""What is kept of an export that was asked for, beside its folder: it is there as long as this file is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from central_command.http.endpoints.exports import ExportReport, ExportState
from persistence.files.file_system import OsFileSystem
from persistence.files.whole_file import read_file, remove_file, replace_file

ENDING: Final = ".json"


class KeptExport(msgspec.Struct, frozen=True, kw_only=True):
    """An export: the `number` by which they are in order, the options of the command, and how it stands."""

    number: int
    arguments: tuple[str, ...]
    report: ExportReport

    def moved(self, state: ExportState, **members: object) -> "KeptExport":
        """The export in another state."""
        return msgspec.structs.replace(self, report=msgspec.structs.replace(self.report, state=state, **members))


_KEPT: Final = msgspec.json.Decoder(KeptExport)


def kept_exports(folder: Path) -> Iterator[KeptExport]:
    """Yield what is kept in a folder, in order. Raises OSError; what cannot be read is passed over."""
    found = []
    for path in folder.glob(f"exp_*{ENDING}") if folder.is_dir() else ():
        try:
            found.append(_KEPT.decode(read_file(OsFileSystem(), path) or b""))
        except msgspec.DecodeError:
            continue
    yield from sorted(found, key=lambda kept: kept.number)


def keep(folder: Path, kept: KeptExport) -> None:
    """Write how an export stands, in a folder that is there; it is on disk when this returns. Raises OSError."""
    files = OsFileSystem()
    replace_file(files, folder / f"{kept.report.id}{ENDING}", msgspec.json.encode(kept))


def forget(folder: Path, kept: KeptExport) -> None:
    """Forget an export. Raises OSError."""
    remove_file(OsFileSystem(), folder / f"{kept.report.id}{ENDING}")
