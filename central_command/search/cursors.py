"""The places at which a page of hits may begin; as texts they are `central_command.corpus.cursors`. Pure."""

from typing import Annotated, Final

import msgspec

from central_command.corpus.cursors import Cursors

_Row = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class Newest(msgspec.Struct, frozen=True, tag="n", array_like=True):
    """Behind a row, from the newest to the oldest."""

    row: _Row


class Ranked(msgspec.Struct, frozen=True, tag="r", array_like=True):
    """Behind a hit with a score, from the best to the worst."""

    score: float
    row: _Row


class Offset(msgspec.Struct, frozen=True, tag="o", array_like=True):
    """Behind so many hits."""

    hits: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


Place = Newest | Ranked | Offset
CURSORS: Final[Cursors[Place]] = Cursors(Place, "search")
