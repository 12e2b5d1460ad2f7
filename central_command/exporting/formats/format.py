"""What a format is to the engine. Each is a `Format` in a module of its own; `table.py` lists them."""

from collections.abc import Callable, Iterable

import msgspec

from central_command.corpus.trajectory import Record, Trajectory
from central_command.exporting.shape import Row, Shape


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """One format: its name, what it makes of a trajectory, and how its files look.

    `rows` returns a trajectory's rows, at least one, or raises `LeftOut`. It is pure: the same arguments give the same
    rows, their members in the same order. `ending` is that of its files, without the dot. With `file_each` a
    trajectory's one row is a file of its own, or, where that is one of lines (`jsonl`), all its rows are; else each row
    is a line of a common one. `features` are the columns as a dataset card
    declares them, in order: a name, and the YAML (of one line) that says its type (`string`, `list: json`, …); empty
    for what `datasets` cannot read. `version` is that of the format, where it has one. `of_line`, where it is given,
    makes the rows instead: of a trajectory, its line of the corpus as JSON, and the place in it of the trajectory's
    first step. With `of_record` a format is one of the intake's records, and makes a row of each.
    """

    name: str
    rows: Callable[[Trajectory, Shape], Iterable[Row]]
    ending: str = "jsonl"
    file_each: bool = False
    features: tuple[tuple[str, str], ...] = ()
    version: str = ""
    of_line: Callable[[Trajectory, bytes, int], Iterable[msgspec.Raw]] | None = None
    of_record: Callable[[Record], Row] | None = None


def no_rows(trajectory: Trajectory, shape: Shape) -> Iterable[Row]:
    """`rows` of a format that makes its rows of something else than a trajectory alone."""
    raise NotImplementedError("rows of this format are made of something else")
