"""What `upload` and `watch` are given: files, folders, archives and globs; and which agent wrote each file."""

import os
import stat
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

import msgspec

from central_command.client.transcripts import archives, providers
from central_command.client.transcripts.beside_sessions import is_beside_sessions, is_credentials
from central_command.client.transcripts.detection import bears_anothers_sign, describe_head, read_head, reader_for
from central_command.client.transcripts.opening import size_of
from central_command.client.transcripts.other_agents import refused_file
from central_command.client.transcripts.reader import FILE_BYTES_MAX, TranscriptReader
from central_command.client.uploading.names import kept_path
from central_command.client.uploading.searching import Unsearchable, expand, is_glob, walk
from central_command.process.steering import escaped

_PLAIN = (".jsonl", ".json")
_PACKINGS = (".gz", ".zst", ".xz", ".bz2", ".lz4")
ENTRY_SUFFIXES = (*_PLAIN, *(plain + packing for plain in _PLAIN for packing in _PACKINGS))
"""What is looked for in a zip archive; a packing that is not read is said to be none."""
SUFFIXES = (*ENTRY_SUFFIXES, archives.SUFFIX, ".tar", ".tar.gz", ".tgz", ".tar.zst", ".7z")
"""What a folder is searched for, in capital letters or small ones."""
_BESIDE_IN_ARCHIVES = "._"
"""What macOS puts beside every file that it archives."""
_WHAT_IS_LOOKED_FOR = "*.jsonl or *.json, also compressed as .gz or .zst or in a .zip"
FILES_MAX = 100_000
"""More files than this at once are refused: their names are held in memory."""
BESIDE = "it holds no session, and its name is that of a file that is kept beside sessions."
_BINARY = frozenset("\x00\ufffd")
"""What text of an agent's session never begins with: whose file it is does not matter then."""


class FileError(Exception):
    """A file cannot be uploaded at all; the text is one sentence that says why."""


class NoSessionError(FileError):
    """The file can be read but is no session of an agent that is read."""


class NoStepsError(NoSessionError):
    """The file is an agent's, or one that agents keep beside their sessions, and holds no step: nothing is missing."""


class SourceError(Exception):
    """What was named cannot be searched; the text is one sentence that says what and why."""


class Found(msgspec.Struct, frozen=True):
    """A file to upload; `named` says that it was named itself, so that holding no step is a failure.

    `problem` says, in a sentence, why it is not even looked at: it is a folder that cannot be searched, say.
    """

    path: Path
    named: bool
    problem: str | None = None

    @property
    def is_subagents(self) -> bool:
        """Whether it has the name of a sub-agent's file, as Claude Code gives them."""
        return self.path.name.startswith("agent-") or "subagents" in self.path.parts

    def checked(self) -> Path:
        """The path; raises FileError when there is a problem, NoStepsError for what is known by its name alone."""
        if self.problem is not None:
            raise FileError(self.problem)
        name = self.path.name
        if not self.named and (name.startswith(_BESIDE_IN_ARCHIVES) or is_credentials(name)):
            raise NoStepsError("its name is that of a file that is kept beside sessions, and it is not opened.")
        return self.path


def find_files(names: Iterable[str]) -> list[Found]:
    """The files that `names` mean, each once, in order: a folder stands for all that has a session file's name in it.

    Those of sub-agents come last: what one has from its parent's history is the parent's.

    So does a zip archive, whose entries are files in it (`archives`). A name that exists is taken as it is; one that
    does not is a glob when it has `*`, `?` or `[` (`**` for any depth). Links to folders are not followed. What has
    such a name and is no file, a folder that cannot be searched, and one without any such file, is among them, for its
    failure to be said. Raises SourceError for a name that means nothing, and past FILES_MAX files.
    """
    found: dict[str, Found] = {}
    for name in names:
        for each in _meant_by(name):
            key = os.path.realpath(each.path) if each.problem is None else str(each.path)
            known = found.get(key)
            if known is None or (each.named and not known.named):
                found[key] = each
            if len(found) > FILES_MAX:
                raise SourceError(f"More than {FILES_MAX:,} files at once; name fewer.")
    return sorted(found.values(), key=lambda each: each.is_subagents)


def changed_since(files: Iterable[Found], since_s: float, *, besides: Container[str]) -> list[Found]:
    """Those that were changed at `since_s` (seconds since the epoch) or later; a file in an archive with that one.

    So are those of the kept paths in `besides`, folders, and what cannot be asked: whoever looks at it says why not.
    """
    return [
        each
        for each in files
        if (changed_s := _changed_s(each.path)) is None
        or changed_s >= since_s
        or kept_path(each.path.resolve()) in besides
    ]


def _changed_s(path: Path) -> float | None:
    """When a file, or the archive that it is in, was changed last."""
    for place in (path, *path.parents):
        try:
            status = place.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            return None
        return None if stat.S_ISDIR(status.st_mode) else status.st_mtime
    return None


def files_below(folder: Path) -> Iterator[Path]:
    """What has the name of a session file in `folder` and below it; folders that cannot be read are passed over.

    Archives are too: they do not grow. So are credentials, which are not opened.
    """
    return (each for each in walk(folder, ENTRY_SUFFIXES) if isinstance(each, Path) and not is_credentials(each.name))


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
        yield from _in(path) if stat.S_ISDIR(mode) else _of(path, named=True)


def _matched_by(pattern: Path, name: str) -> Iterator[Found]:
    is_any = False
    for each in expand(pattern):
        is_any = True
        if isinstance(each, Unsearchable):
            yield Found(each.path, named=False, problem=each.problem)
        elif os.path.isdir(each):  # noqa: PTH112 -- Path.is_dir raises for some
            yield from _in(each)
        else:
            yield from _of(each, named=False)
    if not is_any:
        raise SourceError(f"No file matches '{escaped(name)}'.")


def _in(folder: Path) -> Iterator[Found]:
    is_any = False
    for each in walk(folder, SUFFIXES):
        is_any = True
        if isinstance(each, Unsearchable):
            yield Found(each.path, named=False, problem=each.problem)
        else:
            yield from _of(each, named=False)
    if not is_any:
        yield Found(folder, named=True, problem=f"the folder holds no session file ({_WHAT_IS_LOOKED_FOR}).")


def _of(path: Path, *, named: bool) -> Iterator[Found]:
    """A file, or what an archive holds; whoever reads what is none says why not."""
    if not named and path.suffix.lower() != archives.SUFFIX:
        yield Found(path, named=named)
        return
    try:
        entries = archives.entries(path) if archives.is_archive(path) else None
    except OSError as error:
        yield Found(path, named=named, problem=str(unreadable(error)))
        return
    if entries is None:
        yield Found(path, named=named)
        return
    is_any = False
    for name in sorted(entries):
        problem = entries[name].problem
        if name.lower().endswith(archives.SUFFIX):
            problem = problem or "it is an archive within an archive, which is not opened."
        if name.lower().endswith((*ENTRY_SUFFIXES, archives.SUFFIX)) or problem is not None:
            is_any = True
            yield Found(Path(f"{path}/{name.lstrip('/')}"), named=False, problem=problem and f"{problem.rstrip('.')}.")
    if not is_any:
        yield Found(path, named=True, problem=f"the archive holds no session file ({_WHAT_IS_LOOKED_FOR}).")


def reader_of(path: Path, provider: str | None) -> TranscriptReader:
    """Whose session file `path` is: `provider`'s, or that of the agent whose session it looks like when that is None.

    Raises NoSessionError when it is nobody's, or another agent's whatever `provider` says, NoStepsError when it is what
    agents keep beside their sessions, FileError when it cannot be read or is too large.
    """
    try:
        if size_of(path) > FILE_BYTES_MAX:
            raise FileError(f"the file is larger than {FILE_BYTES_MAX // 1024**2} MiB.")
        head = read_head(path)
    except OSError as error:
        raise unreadable(error) from error
    is_refused = refused_file(head) is not None
    if provider is not None and not bears_anothers_sign(head, provider):
        return providers.READERS[provider]
    found = reader_for(head)
    if provider is not None and found is not None:
        raise NoSessionError(f"no steps to upload: the file is of {found.provider}, whatever --provider says.")
    if found is None:
        if is_beside_sessions(path.parts):
            raise NoStepsError(BESIDE)
        why = describe_head(head).rstrip(".")
        is_text = head.text.strip() and _BINARY.isdisjoint(head.text)
        hint = "." if is_refused or not is_text else "; --provider says whose file it is."
        raise NoSessionError(f"no steps to upload: {why[:1].lower()}{why[1:]}{hint}")
    return found


def unreadable(error: OSError) -> FileError:
    """What is said of a file that cannot be read."""
    if isinstance(error, FileNotFoundError) and error.filename is not None and os.path.islink(error.filename):  # noqa: PTH114 -- it may be bytes
        return FileError("the file cannot be read: it is a link that leads nowhere.")
    return FileError(f"the file cannot be read: {error.strerror or error}.")
