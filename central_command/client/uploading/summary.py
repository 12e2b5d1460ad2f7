"""What is said at the end of many files: what failed, by reason, and what is much the same of most of them, in sum."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from central_command.client.contract.placing import Placing
from central_command.client.uploading.names import shown_path
from central_command.process.steering import escaped
from central_command.reaching.unreachable import printable

_NAMES_MAX = 3
"""So many files of those with one reason are named."""
_REASONS_MAX = 20
_KINDS_MAX = 12
"""So many kinds of what was left out are named."""

Failure = tuple[Path, str]
"""A file, or a folder, and why it is not delivered: one sentence."""


def describe_left_out(left_out: Mapping[str, int]) -> Iterator[str]:
    """What of a file is no step, by kind."""
    if left_out:
        kinds = ", ".join(f"{count} {printable(kind)}" for kind, count in sorted(left_out.items()))
        yield f"no steps of this session, and left out: {kinds}"


def describe_shift(placing: Placing) -> Iterator[str]:
    """By how much the times of a session are moved, if at all, and what of it is kept."""
    if not placing.moves:
        return
    direction = "forward" if placing.to_s >= placing.from_s else "back"
    kept = "distances between steps are kept"
    if placing.factor < 1:
        kept = f"the session spans more than the server takes, so its distances are {placing.factor:.1%} of the real"
    yield f"times shifted {direction} by {_moved(placing)}, so that the last step is now; {kept}"


class Usual:
    """Notes that stand at most files in much the same words: said of each, or of many files only counted.

    What is not as usual, a session whose times are compressed, is said of each all the same.
    """

    def __init__(self, *, of_each: bool) -> None:
        self._of_each = of_each
        self._left_out: Counter[str] = Counter()
        self._files_with_left_out = 0
        self._moved: list[timedelta] = []

    def left_out(self, left_out: Mapping[str, int]) -> Iterator[str]:
        """Count what of a file is no step; gives what is said of that file."""
        if self._of_each:
            return describe_left_out(left_out)
        self._left_out.update(left_out)
        self._files_with_left_out += bool(left_out)
        return iter(())

    def shift(self, placing: Placing) -> Iterator[str]:
        """Count by how much a file's times are moved; gives what is said of that file."""
        if self._of_each or not placing.moves or placing.factor < 1:
            return describe_shift(placing)
        self._moved.append(_moved(placing))
        return iter(())

    def lines(self) -> Iterator[str]:
        """What was counted, and how to see it of each file."""
        hint = "; --verbose says it of each file"
        if self._left_out:
            kinds = self._left_out.most_common()
            named = ", ".join(f"{count:,} {printable(kind)}" for kind, count in kinds[:_KINDS_MAX])
            more = f" and {len(kinds) - _KINDS_MAX:,} more kinds" if len(kinds) > _KINDS_MAX else ""
            yield f"Left out of {self._files_with_left_out:,} file(s), as no steps: {named}{more}{hint}"
            hint = ""
        if self._moved:
            least, most = min(self._moved), max(self._moved)
            by = f"by {least}" if least == most else f"by {least} to {most}"
            kept = "so that the last step of each is now; distances between steps are kept"
            yield f"Of {len(self._moved):,} file(s) times shifted {by}, {kept}{hint}"


def lines_of_failures(failures: Sequence[Failure]) -> Iterator[str]:
    """What was not delivered: a line for each reason, the most frequent first, with how many files and the first."""
    by_reason: defaultdict[str, list[Path]] = defaultdict(list)
    for path, reason in failures:
        by_reason[reason].append(path)
    of_name = Counter(path.name for path, _ in failures)

    def name(path: Path) -> str:
        return escaped(path.name) if path.name and of_name[path.name] == 1 else shown_path(path)

    ordered = sorted(by_reason.items(), key=lambda each: -len(each[1]))
    for reason, paths in ordered[:_REASONS_MAX]:
        named = ", ".join(map(name, paths[:_NAMES_MAX]))
        more = f" and {len(paths) - _NAMES_MAX:,} more" if len(paths) > _NAMES_MAX else ""
        yield f"  {_counted(paths)}: {reason.removesuffix('.')}: {named}{more}"
    if rest := ordered[_REASONS_MAX:]:
        yield f"  {sum(len(paths) for _, paths in rest):,} more, each for a reason of its own"


def describe_failed(failures: Sequence[Failure], *, of: int, untried: int = 0, is_planned: bool = False) -> str:
    """How many of all `of` files and folders were not delivered, or would not be, as the last line.

    `untried` ones come on top of the failures.
    """
    folders = sum(map(_is_folder, (path for path, _ in failures)))
    files = len(failures) - folders + untried
    were = "would not be delivered" if is_planned else "were not delivered whole"
    parts = [f"{files} of {of - folders} file(s) {were}"] if files else []
    parts += [f"{folders} folder(s) hold no session file, or cannot be searched"] if folders else []
    return f"Error: {', and '.join(parts)}."


def _counted(paths: Sequence[Path]) -> str:
    folders = sum(map(_is_folder, paths))
    files = len(paths) - folders
    return ", ".join([f"{files:,} file(s)"] * bool(files) + [f"{folders:,} folder(s)"] * bool(folders))


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 -- Path.is_dir raises for some


def _moved(placing: Placing) -> timedelta:
    return timedelta(seconds=round(abs(placing.to_s - placing.from_s)))
