"""What becomes of a record of the corpus: rows that are ready to be written, or why it is left out."""

from collections.abc import Callable, Iterator

import msgspec

from central_command.exporting.contents import Entry
from central_command.exporting.plan import Candidate
from central_command.exporting.prepared import Prepared
from central_command.exporting.reasons import LeftOutReason


class Shaped(msgspec.Struct, frozen=True, array_like=True):
    """Its rows by format and what is counted of it, without the places of its rows; or a reason, and its detail."""

    prepared: dict[str, Prepared] = {}
    entry: Entry | None = None
    left_out: LeftOutReason | None = None
    detail: str = ""


Shapes = Iterator[tuple[Candidate, Callable[[], Shaped]]]
"""Records in order, each with what tells, once, what becomes of it. Of a copy of what was kept nobody has to ask."""
