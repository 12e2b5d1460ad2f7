"""What is found below folders and by globs, with what could not be looked into; links to folders are not followed.

The walk keeps its place in a list, not in calls, so that no depth of folders is too deep; it holds the names of one
folder at a time, and at most `NAMES_MAX` of those.
"""

import os
from collections.abc import Callable, Iterator
from fnmatch import translate
from pathlib import Path
from re import compile as compile_pattern

import msgspec

NAMES_MAX = 100_000
"""Most folders that wait to be looked into, and most names that are taken of one folder: both are held in memory."""
_MAGIC = frozenset("*?[")
_ANY_DEPTH = "**"


class Unsearchable(msgspec.Struct, frozen=True):
    """A folder that could not be looked into, or not to its end; `problem` is a sentence."""

    path: Path
    problem: str


class _Listing(msgspec.Struct):
    """The names in one folder, sorted: those of folders, and of everything else, links to folders included."""

    folders: list[str]
    others: list[str]
    problem: str | None = None


def is_glob(name: str) -> bool:
    """Whether a name has characters that mean others."""
    return bool(_MAGIC & set(name))


def walk(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path | Unsearchable]:
    """Everything that is no folder and has one of `suffixes`, in `folder` and below it, by name, each folder once."""

    def is_taken(entry: os.DirEntry[str]) -> bool:
        return entry.name.lower().endswith(suffixes) and not (entry.is_symlink() and os.path.isdir(entry.path))  # noqa: PTH112 -- Path.is_dir raises for some

    waiting = [folder]
    while waiting:
        parent = waiting.pop()
        listing = _list(parent, others=is_taken)
        if listing.problem is not None:
            yield Unsearchable(parent, listing.problem)
        for name in listing.others:
            yield parent / name
        room = NAMES_MAX - len(waiting)
        if len(listing.folders) > room:
            yield Unsearchable(parent, f"there are more than {NAMES_MAX:,} folders in and beside it.")
        waiting.extend(parent / name for name in reversed(listing.folders[:room]))


def expand(pattern: Path) -> Iterator[Path | Unsearchable]:
    """Everything that a glob matches, each once: as the standard library's, but `**` does not follow links.

    A link to the folder that it stands in would otherwise be followed forty times, and two of them 2^40 times. As
    there, a name that begins with a dot is matched by a pattern that does.
    """
    parts = pattern.parts
    fixed = next(n for n, part in enumerate(parts) if is_glob(part))
    waiting = [(Path(*parts[:fixed]), fixed)]
    seen: set[tuple[str, int]] = set()
    while waiting:
        folder, place = waiting.pop()
        if (str(folder), place) in seen:
            continue
        if len(seen) >= NAMES_MAX:
            yield Unsearchable(folder, f"more than {NAMES_MAX:,} folders match.")
            return
        seen.add((str(folder), place))
        deeper: list[tuple[Path, int]] = []
        for found in _matches(folder, parts, place):
            if isinstance(found, tuple):
                deeper.append(found)
            else:
                yield found
        waiting.extend(reversed(deeper[: NAMES_MAX - len(waiting)]))


def _matches(folder: Path, parts: tuple[str, ...], place: int) -> Iterator[Path | Unsearchable | tuple[Path, int]]:
    """What the part of a pattern at `place` matches in `folder`: at its end paths, else folders, each with a place."""
    part, is_last = parts[place], place == len(parts) - 1
    if not is_glob(part):
        path = folder / part
        if os.path.lexists(path):
            yield path if is_last else (path, place + 1)
        return
    is_any_depth = part == _ANY_DEPTH
    match = compile_pattern(translate(part)).match

    def is_taken(entry: os.DirEntry[str]) -> bool:
        return match(entry.name) is not None and (part.startswith(".") or not entry.name.startswith("."))

    listing = _list(folder, folders=is_taken, others=is_taken)
    if listing.problem is not None:
        yield Unsearchable(folder, listing.problem)
    if is_any_depth and not is_last:
        yield folder, place + 1
    for name in listing.folders if is_any_depth else ():
        yield folder / name, place
    for name in sorted([*listing.folders, *listing.others]):
        if is_last:
            yield folder / name
        elif not is_any_depth and os.path.isdir(folder / name):  # noqa: PTH112 -- Path.is_dir raises for some
            yield folder / name, place + 1


def _list(
    folder: Path,
    *,
    folders: Callable[[os.DirEntry[str]], bool] = lambda _entry: True,
    others: Callable[[os.DirEntry[str]], bool],
) -> _Listing:
    """The names in `folder` that are to be taken of its folders, and of everything else."""
    listing = _Listing([], [])
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                is_folder = entry.is_dir(follow_symlinks=False)
                names, is_taken = (listing.folders, folders) if is_folder else (listing.others, others)
                if is_taken(entry):
                    names.append(entry.name)
                if len(names) > NAMES_MAX:
                    listing.problem = f"it holds more than {NAMES_MAX:,} names."
                    break
    except NotADirectoryError:
        pass  # a pattern goes on behind a file
    except OSError as error:
        listing.problem = f"it cannot be searched: {error.strerror or error}."
    listing.folders.sort()
    listing.others.sort()
    return listing
