"""What `upload` and `watch` are given: files, folders and globs; and which agent wrote each file."""

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from central_command.client.transcripts import providers
from central_command.client.transcripts.detection import describe_unknown, detect
from central_command.client.transcripts.opening import open_transcript
from central_command.client.transcripts.reader import FILE_BYTES_MAX, TranscriptReader
from central_command.client.uploading.searching import Unsearchable, expand, is_glob, walk
from central_command.process.steering import escaped

SUFFIXES = (".jsonl", ".json")
"""What a folder is searched for."""
FILES_MAX = 100_000
"""More files than this at once are refused: their names are held in memory."""


class FileError(Exception):
    """A file cannot be uploaded at all; the text is one sentence that says why."""


class NoSessionError(FileError):
    """The file can be read but is no session of an agent, or one without a step; in a folder it is passed over."""


class SourceError(Exception):
    """What was named cannot be searched; the text is one sentence that says what and why."""


class Found(msgspec.Struct, frozen=True):
    """A file to upload; `named` says that it was named itself, so that not being a session is a failure.

    `problem` says, in a sentence, why it is not even looked at: it is a folder that cannot be searched.
    """

    path: Path
    named: bool
    problem: str | None = None

    def checked(self) -> Path:
        """The path; raises FileError when there is a problem."""
        if self.problem is not None:
            raise FileError(self.problem)
        return self.path


def find_files(names: Iterable[str]) -> list[Found]:
    """The files that `names` mean, each once, in order: a folder stands for all *.jsonl and *.json in and below it.

    A name that exists is taken as it is; one that does not is a glob when it has `*`, `?` or `[` (`**` for any depth).
    Links to folders are not followed. What has such a name and is no file, and a folder that cannot be searched, is
    among them, for its failure to be said. Raises SourceError for a name that means nothing, and past FILES_MAX files.
    """
    found: dict[str, Found] = {}
    for name in names:
        for each in _meant_by(name):
            known = found.get(key := os.path.realpath(each.path))
            if known is None or (each.named and not known.named):
                found[key] = each
            if len(found) > FILES_MAX:
                raise SourceError(f"More than {FILES_MAX:,} files at once; name fewer.")
    return list(found.values())


def files_below(folder: Path) -> Iterator[Path]:
    """What has the name of a session file in `folder` and below it; folders that cannot be read are passed over."""
    return (each for each in walk(folder, SUFFIXES) if isinstance(each, Path))


def _meant_by(name: str) -> Iterator[Found]:
    try:
        path = Path(name).expanduser()
    except RuntimeError:  # `~someone`; the shell knows such names, too, and better
        path = Path(name)
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if is_glob(name):
            yield from _matched_by(path, name)
        elif isinstance(error, FileNotFoundError | NotADirectoryError) and not path.is_symlink():
            raise SourceError(f"'{escaped(name)}' does not exist.") from error
        else:
            yield Found(path, named=True)  # reading it says why not
    else:
        yield from _in(path) if stat.S_ISDIR(mode) else (Found(path, named=True),)


def _matched_by(pattern: Path, name: str) -> Iterator[Found]:
    is_any = False
    for each in expand(pattern):
        is_any = True
        if isinstance(each, Unsearchable):
            yield Found(each.path, named=False, problem=each.problem)
        elif os.path.isdir(each):  # noqa: PTH112 -- Path.is_dir raises for some
            yield from _in(each)
        else:
            yield Found(each, named=False)
    if not is_any:
        raise SourceError(f"No file matches '{escaped(name)}'.")


def _in(folder: Path) -> Iterator[Found]:
    for each in walk(folder, SUFFIXES):
        if isinstance(each, Unsearchable):
            yield Found(each.path, named=False, problem=each.problem)
        else:
            yield Found(each, named=False)


def reader_of(path: Path, provider: str | None) -> TranscriptReader:
    """Whose session file `path` is: `provider`'s, or that of the agent whose session it looks like when that is None.

    Raises NoSessionError when it is nobody's, FileError when it cannot be read or is too large.
    """
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise FileError(f"the file is larger than {FILE_BYTES_MAX // 1024**2} MiB.")
        open_transcript(path).close()  # raises for what cannot be read; `detect` only says that it knows no agent
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
