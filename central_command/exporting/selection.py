"""All that is asked of an export: what is chosen, how it is split and shaped. The same on the same corpus: same bytes.

It stands in the manifest as it is, so it holds nothing of the machine: of files their names and hashes only.
"""

from typing import Literal

import msgspec

from central_command.corpus.filters import Filters
from central_command.exporting.shape import Shape
from central_command.exporting.splits import Split

Dedup = Literal["exact", "near", "none"]
Overlong = Literal["drop", "cut", "split"]


class NamedFile(msgspec.Struct, frozen=True):
    """A file that was given: its name without folders, and its SHA-256."""

    name: str
    sha256: str


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """What is exported, and how. `columns` are those that rows keep, None for all; `license` is the card's."""

    formats: tuple[str, ...]
    filters: Filters = Filters()
    dedup: Dedup = "near"
    keep_cut_arguments: bool = False
    keep_sequence_gaps: bool = False
    benchmarks: tuple[NamedFile, ...] = ()
    limit: int | None = None
    sample: int | None = None
    seed: int = 0
    splits: tuple[Split, ...] = (Split("train", 1.0),)
    shape: Shape = Shape()
    tokenizer: NamedFile | None = None
    max_tokens: int | None = None
    overlong: Overlong = "drop"
    columns: tuple[str, ...] | None = None
    license: str = "other"


class ExportRefused(Exception):  # noqa: N818 (a state of the world, not an error in a call)
    """Nothing was written: one sentence says what has to be another way."""
