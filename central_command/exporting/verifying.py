"""`export verify`: whether an export is what its manifest says, and whether that adds up."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from central_command.exporting.contents import INDEX_NAME, Entry, WrittenFile
from central_command.exporting.facts import facts_of
from central_command.exporting.manifest import MANIFEST_NAME, Manifest, is_as_written, read_manifest
from central_command.exporting.selection import ExportRefused
from central_command.exporting.splits import SPLITS_MAX
from central_command.exporting.writing import LINES, paths_of

READ_BYTES: Final = 1_048_576


def verify_export(folder: Path) -> Iterator[str]:
    """Yield a sentence for everything that is wrong. Raises ExportRefused for a folder that is no export, OSError."""
    manifest = read_manifest(folder)
    yield from _files(folder, manifest)
    if not is_as_written((folder / MANIFEST_NAME).read_bytes()):
        yield f"{MANIFEST_NAME} has been changed: it is not what its own SHA-256 says."
    yield from _sums(manifest)
    yield from _index(folder, manifest)
    if facts_of(read_index(folder)) != manifest.facts:
        yield "the facts in the manifest are not those of the index."
    known = {file.path for file in manifest.files} | {MANIFEST_NAME}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if name not in known and (path.is_symlink() or not path.is_dir()):
            yield f"{name} is not in the manifest."


def read_index(folder: Path) -> Iterator[Entry]:
    """Yield the records of an export, in their order. Raises ExportRefused where its index cannot be read."""
    decoder = msgspec.json.Decoder(Entry)
    try:
        with (folder / f"{INDEX_NAME}.{LINES}").open("rb") as lines:
            for line in lines:
                yield decoder.decode(line)
    except (OSError, msgspec.DecodeError) as error:
        raise ExportRefused(f"the index of {folder} cannot be read: {error}.") from None


def described(folder: Path, name: str) -> WrittenFile:
    """A file as it is: its bytes and hash, and its lines where it has some."""
    checksum = hashlib.sha256()
    size_bytes = lines = 0
    with (folder / name).open("rb") as file:
        while piece := file.read(READ_BYTES):
            checksum.update(piece)
            size_bytes += len(piece)
            lines += piece.count(b"\n")
    rows = lines if name.endswith(f".{LINES}") else 0
    return WrittenFile(path=name, rows=rows, size_bytes=size_bytes, sha256=checksum.hexdigest())


def _files(folder: Path, manifest: Manifest) -> Iterator[str]:
    for file in manifest.files:
        if not (folder / file.path).is_file():
            yield f"{file.path} is missing."
            continue
        found = described(folder, file.path)
        if (found.size_bytes, found.sha256) != (file.size_bytes, file.sha256):
            yield f"{file.path} has been changed: its SHA-256 is {found.sha256} instead of {file.sha256}."
        elif found.rows and found.rows != file.rows:
            yield f"{file.path} has {found.rows} rows, and {file.rows} stand in the manifest."


def _sums(manifest: Manifest) -> Iterator[str]:
    if manifest.kept + sum(manifest.left_out.values()) != manifest.seen:
        yield f"{manifest.kept} kept and {sum(manifest.left_out.values())} left out are not the {manifest.seen} seen."
    for name, counts in manifest.formats.items():
        if counts.trajectories + sum(counts.left_out.values()) != manifest.kept:
            yield f"the trajectories in {name} and those left out of it are not the {manifest.kept} kept."
        rows = sum(file.rows for file in manifest.files if file.format == name)
        if rows != counts.rows:
            yield f"the files of {name} have {rows} rows, and {counts.rows} stand in the manifest."


def _index(folder: Path, manifest: Manifest) -> Iterator[str]:
    """What holds of the records: each once, each in one split, no cluster in two, rows where they are said to be."""
    rows: Counter[str] = Counter()
    splits = {split.name: number for number, split in enumerate(manifest.selection.splits)}
    assert len(splits) <= SPLITS_MAX, "splits are few"
    cluster_splits: dict[bytes, int] = {}
    in_file = {file.path: file.rows for file in manifest.files}
    count = 0
    for entry in read_index(folder):
        count += 1
        for place in entry.places.values():
            if place.rows > in_file.get(place.path, 0):  # each of its rows is a file
                rows.update(paths_of(place.path, place.rows))
            else:
                rows[place.path] += place.rows
        if entry.split not in splits:
            yield f"{entry.record_id} is in the split {entry.split}, which there is none of."
            continue
        if entry.cluster and len(splits) > 1:
            key = hashlib.blake2b(entry.cluster.encode(), digest_size=8).digest()
            if cluster_splits.setdefault(key, splits[entry.split]) != splits[entry.split]:
                yield f"near copies of {entry.record_id} are in another split than it."
    if count != manifest.kept:
        yield f"the index has {count} records, and {manifest.kept} stand in the manifest."
    for file in manifest.files:
        if file.format and rows[file.path] != file.rows:
            yield f"the index has {rows[file.path]} rows in {file.path}, and {file.rows} stand in the manifest."
