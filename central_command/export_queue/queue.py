"""The exports that were asked for over HTTP: one is made at a time, by the command `central-command export`.

What is asked for is on disk before it is answered. A process may end at any moment: begun again with the same options,
it goes on where it was, and makes the same bytes (`central_command.exporting.engine`). So an export that was running
when the server ended runs again at its next start.
"""

import logging
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from central_command.export_queue.kept import KeptExport, forget, keep, kept_exports
from central_command.exporting.asked import arguments_of, read_asked
from central_command.exporting.manifest import MANIFEST_NAME, UNFINISHED, Manifest, read_manifest
from central_command.exporting.selection import ExportRefused
from central_command.http.endpoints.exports import (
    ExportFile,
    ExportReport,
    ExportState,
    NamedExportFile,
    NotTaken,
    RefusedExport,
)
from central_command.process.children import start_apart, stop
from central_command.settings.configuration import Settings
from central_command.settings.variables import ENVIRONMENT_PREFIX
from persistence.files.file_system import Offload, OsFileSystem
from persistence.format import times
from persistence.format.layout import DataLayout

log = logging.getLogger("central_command.export")

COMMAND: Final = (sys.executable, "-P", "-m", "central_command", "export")
ID_BYTES: Final = 8
FILES_LISTED: Final = 1_000
SAID_BYTES_MAX: Final = 4_096
"""What is held of what a process says: its last sentence says why it failed."""


def folder_of(settings: Settings, data_directory: Path) -> Path:
    """The folder of exports. Raises ExportRefused for one in the data directory that is not the one for them."""
    own, named = DataLayout(data_directory.resolve()).exports, settings.export.directory
    folder = own if named is None else Path(named).resolve()
    if folder != own and folder.is_relative_to(data_directory.resolve()):
        raise ExportRefused(f"export.directory is {folder}, which lies in the data directory: name another folder.")
    return folder


class ExportQueue:
    """The exports; `run` makes them until it is cancelled."""

    def __init__(
        self,
        settings: Settings,
        data_directory: Path,
        *,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        offload: Offload,
        command: tuple[str, ...] = COMMAND,
    ) -> None:
        """Read what is kept: blocking. Raises ExportRefused for a folder that cannot be, OSError."""
        self._settings = settings.export
        self._model_source = settings.embedding.source
        self.providers = settings.schema.providers
        """Agents that the server takes; they can be others at run time."""
        self._data_directory = data_directory.resolve()
        self._folder = folder_of(settings, data_directory)
        self._is_named = settings.export.directory is not None
        self._clock = clock
        self._random_bytes = random_bytes
        self._offload = offload
        self.ended: Callable[[ExportReport, float], None] = _tell_nobody
        """Told of each export that has ended, and how many seconds it took."""
        self._command = command
        self._kept = {kept.report.id: kept for kept in kept_exports(self._folder)}
        self._writing = trio.Lock()
        """Held while what is kept changes."""
        self._asked = trio.Event()
        self._living = trio.CancelScope()
        self._making: str | None = None

    def __repr__(self) -> str:
        return f"<ExportQueue {self._folder} of={len(self._kept)} waiting={len(self._waiting())}>"

    async def ask(self, members: dict[str, Any]) -> ExportReport | RefusedExport | NotTaken:
        """Take a request in; it is on disk when this returns."""
        try:
            asked = read_asked(members)
        except ExportRefused as refused:
            return RefusedExport(str(refused))
        async with self._writing:
            if len(self._kept) >= self._settings.kept_max:
                return NotTaken.KEPT
            if len(self._waiting()) >= self._settings.waiting_max:
                return NotTaken.WAITING
            export_id = f"exp_{self._random_bytes(ID_BYTES).hex()}"
            kept = KeptExport(
                number=1 + max((each.number for each in self._kept.values()), default=0),
                arguments=tuple(arguments_of(asked)),
                report=ExportReport(
                    id=export_id,
                    state=ExportState.WAITING,
                    asked_at=times.to_text(self._clock()),
                    folder=export_id,
                    formats=asked.format,
                ),
            )
            try:
                await self._offload(self._make_folder)
                await self._keep(kept)
            except ExportRefused:
                return NotTaken.NO_FOLDER
            except OSError as error:
                log.error("an export cannot be kept: %s", error)  # noqa: TRY400 (the sentence says it all)
                return NotTaken.NO_ROOM
        self._asked.set()
        return kept.report

    def reports(self) -> list[ExportReport]:
        """All that there are, the earliest first."""
        return [kept.report for kept in self._kept.values()]

    def report(self, export_id: str) -> ExportReport | None:
        """One of them; None for one that there is not."""
        kept = self._kept.get(export_id)
        return None if kept is None else kept.report

    async def delete(self, export_id: str) -> ExportReport | NotTaken | None:
        """Cancel what is not done, and remove all of it; return what it was."""
        async with self._writing:
            kept = self._kept.get(export_id)
            if kept is None:
                return None
            try:
                with trio.CancelScope(shield=True):
                    await self._offload(forget, self._folder, kept)
            except OSError as error:
                log.error("export %s cannot be deleted: %s", export_id, error)  # noqa: TRY400 (says it all)
                return NotTaken.NO_ROOM
            del self._kept[export_id]
        if self._making == export_id:
            self._living.cancel()  # who runs it removes its folder when the process has ended
        else:
            await self._remove_folder(export_id)
        return kept.report

    async def retry(self, export_id: str) -> bool:
        """Make an export again that has failed; False for one that has not."""
        kept = self._kept.get(export_id)
        if kept is None or kept.report.state is not ExportState.FAILED:
            return False
        await self._move(kept.moved(ExportState.WAITING, reason=None))
        self._asked.set()
        return True

    async def file(self, export_id: str, name: str) -> ExportFile | None:
        """A file of an export that is done; None for what its manifest does not name."""
        report = self.report(export_id)
        if report is None or report.state is not ExportState.DONE:
            return None
        return await self._offload(_named_file, self._folder / report.folder, name)

    async def files(self, export_id: str) -> list[NamedExportFile]:
        """What there is of an export, written so far or done; nothing of one that there is not."""
        report = self.report(export_id)
        return [] if report is None else await self._offload(_files, self._folder / report.folder)

    def arguments(self, export_id: str) -> tuple[str, ...]:
        """The options of the command that make the same; none of an export that there is not."""
        kept = self._kept.get(export_id)
        return () if kept is None else kept.arguments

    async def run(self) -> None:
        """Make what was asked for, in order."""
        while True:
            self._asked = trio.Event()
            waiting = self._waiting()
            if not waiting:
                await self._asked.wait()
                continue
            await self._make(waiting[0])

    def _waiting(self) -> list[KeptExport]:
        """Those that are not done, in order; the first of them is made."""
        left = (ExportState.WAITING, ExportState.RUNNING)
        return [kept for kept in self._kept.values() if kept.report.state in left]

    async def _make(self, kept: KeptExport) -> None:
        export_id = kept.report.id
        self._making = export_id
        began_at = trio.current_time()
        try:
            with trio.CancelScope() as self._living:
                await self._move(kept.moved(ExportState.RUNNING))
                made = await self._made(kept)
                await self._move(made)
                self.ended(made.report, trio.current_time() - began_at)
        finally:
            self._making = None
        if export_id not in self._kept:
            await self._remove_folder(export_id)

    async def _made(self, kept: KeptExport) -> KeptExport:
        """Make an export; return how it ended."""
        target = self._folder / kept.report.folder
        try:
            if not await self._offload(_is_whole, target):
                await self._offload(self._make_folder)
                await self._run_process(kept, target)
            manifest = await self._offload(read_manifest, target)
        except (ExportRefused, OSError) as error:
            log.warning("export %s failed: %s", kept.report.id, error)
            sentence = str(error).replace(f"{self._folder}{os.sep}", "")
            return kept.moved(ExportState.FAILED, reason=sentence)
        return kept.moved(ExportState.DONE, **_counts(manifest))

    def _make_folder(self) -> None:
        """Make the folder of exports, unless a setting names it: where that is missing, its disk may not be mounted.

        Blocking; raises ExportRefused, without the path, which is the log's; OSError.
        """
        if not self._is_named:
            OsFileSystem().make_directory(self._folder)
        elif not self._folder.is_dir():
            log.error("export.directory: the folder %s does not exist: mount its disk, or make it", self._folder)
            raise ExportRefused(NotTaken.NO_FOLDER)

    async def _run_process(self, kept: KeptExport, target: Path) -> None:
        """Run the command to its end; raises ExportRefused with what it said where that was none, OSError."""
        command = [*self._command, *self._options(target), *kept.arguments]
        process = await start_apart(command, self._data_directory, {**os.environ, **self._variables()})
        assert process.stderr is not None
        said = b""
        try:
            while received := await process.stderr.receive_some():
                said = (said + received)[-SAID_BYTES_MAX:]
            await process.wait()
        finally:
            await stop(process, grace_s=self._settings.stop_grace_s)
            with trio.CancelScope(shield=True):
                await process.stderr.aclose()
        if process.returncode:
            lines = said.decode(errors="replace").strip().splitlines()
            raise ExportRefused(lines[-1] if lines else f"its process ended with status {process.returncode}.")

    def _options(self, target: Path) -> list[str]:
        return [str(target), "--data-dir", str(self._data_directory), "--ends-with-input"]

    def _variables(self) -> dict[str, str]:
        """The settings that an export heeds, as the environment has them: it reads no file of settings."""
        values = {
            f"EXPORT__{name.upper()}": value
            for name, value in msgspec.to_builtins(self._settings).items()
            if value is not None
        }
        values["EMBEDDING__SOURCE"] = self._model_source
        values["SCHEMA__PROVIDERS"] = msgspec.json.encode(self.providers).decode()
        return {f"{ENVIRONMENT_PREFIX}{name}": str(value) for name, value in values.items()}

    async def _move(self, kept: KeptExport) -> None:
        async with self._writing:
            if kept.report.id not in self._kept:
                return
            try:
                await self._keep(kept)
            except OSError as error:  # the next start makes it again, and comes to the same
                log.error("how export %s stands cannot be kept: %s", kept.report.id, error)  # noqa: TRY400 (says it all)
                self._kept[kept.report.id] = kept

    async def _keep(self, kept: KeptExport) -> None:
        with trio.CancelScope(shield=True):
            await self._offload(keep, self._folder, kept)
        self._kept[kept.report.id] = kept

    async def _remove_folder(self, export_id: str) -> None:
        await self._offload(partial(shutil.rmtree, ignore_errors=True), self._folder / export_id)


def _tell_nobody(_report: ExportReport, _duration_s: float) -> None:
    """Nobody watches."""


def _is_whole(target: Path) -> bool:
    return (target / MANIFEST_NAME).exists() and not (target / UNFINISHED).exists()


def _counts(manifest: Manifest) -> dict[str, object]:
    return {
        "rows": sum(counts.rows for counts in manifest.formats.values()),
        "bytes": sum(file.size_bytes for file in manifest.files),
        "seen": manifest.seen,
        "kept": manifest.kept,
        "left_out": manifest.left_out,
    }


def _files(folder: Path) -> list[NamedExportFile]:
    """The files of a manifest, it first; of what is not done, those that are there, at most `FILES_LISTED`."""
    try:
        manifest = read_manifest(folder)
        own = NamedExportFile(MANIFEST_NAME, (folder / MANIFEST_NAME).stat().st_size)
        return [own, *(NamedExportFile(file.path, file.size_bytes) for file in manifest.files)]
    except (ExportRefused, OSError):
        pass
    found = list[NamedExportFile]()
    for path in islice(folder.rglob("*"), FILES_LISTED):
        with suppress(OSError):  # it was moved meanwhile
            if path.is_file():
                found.append(NamedExportFile(str(path.relative_to(folder)), path.stat().st_size))
    return sorted(found, key=lambda each: each.name)


def _named_file(folder: Path, name: str) -> ExportFile | None:
    try:
        manifest = read_manifest(folder)
        if name == MANIFEST_NAME:
            return ExportFile(folder / name, (folder / name).stat().st_size)
    except (ExportRefused, OSError):
        return None
    return next((ExportFile(folder / name, file.size_bytes) for file in manifest.files if file.path == name), None)
