"""A backup made into a data directory again, and checked as a whole.

Every file is compared with the manifest while it is copied. Then the databases, which may know less than the journals,
are brought up to them as a start would do it, and everything is checked against everything else as `verify` does. Only
then the folder takes its name: there is never a data directory that is half restored.
"""

from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec

from persistence.corpus import project_lines
from persistence.databases.migrations import ACCESS_SCHEMA, CORPUS_SCHEMA, JOBS_SCHEMA, LEDGER_SCHEMA, SESSIONS_SCHEMA
from persistence.databases.opening import open_inline_database
from persistence.files.failures import StorageDamage
from persistence.files.file_copies import copy_file
from persistence.files.file_system import OsFileSystem
from persistence.files.lock import single_instance
from persistence.files.regular import check_file
from persistence.format import times
from persistence.format.layout import DataLayout
from persistence.format.records import INGESTED
from persistence.journals.erasure_register import ErasureRegister, register_path
from persistence.settings.storage import StorageSettings
from persistence.upkeep.copying import Progress, appearing_whole, make_folders, no_progress, summed
from persistence.upkeep.manifest import (
    DATABASES,
    MANIFEST_FILE,
    BackupRefused,
    Manifest,
    path_in,
    read_manifest,
)
from persistence.upkeep.rebuilding import project_journals
from persistence.upkeep.verification import verify


class RestoreReport(msgspec.Struct, frozen=True):
    """What was restored, and each place where the stored data differs from itself (none, when all is well)."""

    manifest: Manifest
    findings: list[str]
    erasures: int = 0
    """Requests for erasure that the next start does again."""


async def restore(
    backup: Path,
    data_directory: Path,
    settings: StorageSettings,
    *,
    applied_at: str,
    progress: Progress = no_progress,
    erasures: Path | None = None,
) -> RestoreReport:
    """Make `data_directory`, which must be absent or empty, from a backup.

    Whoever was erased, by what the backup holds or the file `erasures` (of the data directory that was in use last),
    is to be erased again by the next start.

    Raises BackupRefused, DataDirectoryLocked, StorageDamage, DatabaseFailure or OSError, each for one sentence; then
    nothing is restored.
    """
    manifest = read_manifest(backup)
    _check_schemas(backup, manifest)
    _check_not_in_use(data_directory)
    with appearing_whole(data_directory) as unfinished:
        layout = DataLayout(unfinished)
        _copy_files(backup, layout, manifest, progress)
        to_erase = _take_over_erasures(layout, erasures, applied_at)
        progress("checks", 0, 1)
        async with (
            open_inline_database(
                layout.sessions_database, SESSIONS_SCHEMA, settings, applied_at=applied_at
            ) as sessions,
            open_inline_database(layout.ledger_database, LEDGER_SCHEMA, settings, applied_at=applied_at) as ledger,
        ):
            await project_journals(layout, sessions, ledger, settings)
            await sessions.checkpoint()
            await ledger.checkpoint()
        if layout.corpus_database.exists():
            await _project_corpus(layout, settings, applied_at)
        findings = await verify(unfinished, settings, applied_at=applied_at, closes_are_finished=False)
        progress("checks", 1, 1)
    return RestoreReport(manifest, findings, to_erase)


def _take_over_erasures(layout: DataLayout, newer: Path | None, applied_at: str) -> int:
    """Note that all requests, also those of a newer file, are to be done again; return how many they are."""
    files, clock = OsFileSystem(), partial(times.from_text, applied_at)
    others = [] if newer is None else ErasureRegister(newer, files, clock).all()
    if newer is not None and not others and newer.stat().st_size:
        raise BackupRefused(f"{newer} holds no request for erasure: name the file of a data directory")
    register = ErasureRegister(register_path(layout), files, clock)
    register.take_over(others)
    return len(register)


async def _project_corpus(layout: DataLayout, settings: StorageSettings, applied_at: str) -> None:
    async with open_inline_database(layout.corpus_database, CORPUS_SCHEMA, settings, applied_at=applied_at) as corpus:
        await project_lines(layout, corpus, settings, files=OsFileSystem())
        await corpus.checkpoint()


def _check_schemas(backup: Path, manifest: Manifest) -> None:
    held = {file.path for file in manifest.files}
    others = [schema for schema in (CORPUS_SCHEMA, ACCESS_SCHEMA, JOBS_SCHEMA) if schema.name in held]
    for schema in (SESSIONS_SCHEMA, LEDGER_SCHEMA, *others):
        version = manifest.schemas.get(schema.name, 0)
        if version < 1:
            raise StorageDamage(
                f"{backup / MANIFEST_FILE} is damaged (no program gave {schema.name} the schema version {version}): "
                "use another backup"
            )
        if version > len(schema.migrations):
            raise BackupRefused(
                f"{backup} was made by a newer version of this program ({schema.name} has schema version {version}, "
                f"and this one knows versions up to {len(schema.migrations)}): restore it with that version"
            )


def _check_not_in_use(data_directory: Path) -> None:
    """Raise DataDirectoryLocked when a server runs there: that says more than that the folder is not empty."""
    if (data_directory / "lock").is_file():
        with suppress(OSError), single_instance(data_directory):
            pass


def _copy_files(backup: Path, layout: DataLayout, manifest: Manifest, progress: Progress) -> None:
    add = summed(progress, "files, bytes", manifest.size_bytes)
    folders = {*INGESTED, *(str(Path(file.path).parent) for file in manifest.files)}
    make_folders(layout, [Path(folder) for folder in sorted(folders)])
    for file in manifest.files:
        source = path_in(DataLayout(backup), file)
        try:
            check_file(source, follows_links=False)
            size_bytes = source.lstat().st_size
        except (FileNotFoundError, NotADirectoryError):
            raise StorageDamage(
                f"{source} is missing, and the backup's manifest names it: use another backup"
            ) from None
        # What was put in its place may be larger than the disk, so its size is compared before anything is copied.
        if size_bytes != file.size_bytes or copy_file(source, layout.root, file.path, progress=add) != file:
            raise StorageDamage(f"{source} was changed after the backup was made: use another backup")
    assert all((layout.root / name).is_file() for name in DATABASES), "a manifest without them is refused"
