"""What `upload` and `watch` are given: files, folders and globs; and which agent wrote each file."""

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from central_command.client.transcripts import providers
from central_command.client.transcripts.detection import describe_unknown, detect
from central_command.client.transcripts.reader import FILE_BYTES_MAX, TranscriptReader

SUFFIXES = (".jsonl", ".json")
"""What a folder is searched for."""
FILES_MAX = 100_000
"""More files than this at once are refused: their names are held in memory."""
_GLOB_CHARACTERS = frozenset("*?[")


class FileError(Exception):
    """A file cannot be uploaded at all; the text is one sentence that says why."""


class NoSessionError(FileError):
    """The file can be read but is no session of an agent, or one without a step; in a folder it is passed over."""


class SourceError(Exception):
    """What was named cannot be searched; the text is one sentence that says what and why."""


class Found(msgspec.Struct, frozen=True):
    """A file to upload; `named` says that it was named itself, so that not being a session is a failure."""

    path: Path
    named: bool


def find_files(names: Iterable[str]) -> list[Found]:
    """The files that `names` mean, each once, in order: a folder stands for all *.jsonl and *.json in and below it.

    A name that exists is taken as it is; one that does not is a glob when it has `*`, `?` or `[` (`**` for any depth).
    Links to folders are not followed. Raises SourceError for a name that means nothing, and past FILES_MAX files.
    """
    found: dict[Path, Found] = {}
    for name in names:
        for each in _meant_by(name):
            known = found.get(key := each.path.resolve())
            if known is None or (each.named and not known.named):
                found[key] = each
            if len(found) > FILES_MAX:
                raise SourceError(f"More than {FILES_MAX:,} files at once; name fewer.")
    return list(found.values())


def files_below(folder: Path) -> Iterator[Path]:
    """The *.jsonl and *.json files in `folder` and below it, by name; folders that cannot be read are passed over."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent) / name
            if path.suffix in SUFFIXES and path.is_file():
                yield path


def _meant_by(name: str) -> Iterator[Found]:
    path = Path(name).expanduser()
    if path.is_dir():
        for each in files_below(path):
            yield Found(each, named=False)
    elif path.exists():
        yield Found(path, named=True)
    elif _GLOB_CHARACTERS & set(name):
        matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 -- Path.glob takes no absolute pattern
        if not matches:
            raise SourceError(f"No file matches {name!r}.")
        for match in matches:
            if Path(match).is_dir():
                yield from (Found(each, named=False) for each in files_below(Path(match)))
            else:
                yield Found(Path(match), named=False)
    else:
        raise SourceError(f"{name!r} does not exist.")


def reader_of(path: Path, provider: str | None) -> TranscriptReader:
    """Whose session file `path` is: `provider`'s, or that of the agent whose session it looks like when that is None.

    Raises NoSessionError when it is nobody's, FileError when it cannot be read or is too large.
    """
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise FileError(f"the file is larger than {FILE_BYTES_MAX // 1024**2} MiB.")
        path.open("rb").close()  # raises for what cannot be read; `detect` only says that it knows no agent
    except OSError as error:
        raise unreadable(error) from error
    if provider is not None:
        return providers.READERS[provider]
    found = detect(path)
    if found is None:
        why = describe_unknown(path).rstrip(".")
        raise NoSessionError(f"no steps to upload: {why[:1].lower()}{why[1:]}; --provider says whose file it is.")
    return found


def unreadable(error: OSError) -> FileError:
    """What is said of a file that cannot be read."""
    return FileError(f"the file cannot be read: {error.strerror or error}.")
