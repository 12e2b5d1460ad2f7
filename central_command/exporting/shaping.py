"""Records read, judged and shaped one by one: in the export's own process, or in one beside (`worker`)."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from central_command.corpus.stored import StoredCorpus
from central_command.exporting.formats.format import Format
from central_command.exporting.plan import Candidate, Plan
from central_command.exporting.prepared import preparing
from central_command.exporting.selection import Selection
from central_command.exporting.sessions import Sessions
from central_command.exporting.shape import Shape
from central_command.exporting.shaped import Shaped, Shapes
from central_command.exporting.source import Left, Means, Source
from central_command.exporting.texts import Texts


class Shaping:
    """Shapes the records of a source; with `is_chosen` those that were judged before."""

    def __init__(self, source: Source[Any], formats: Sequence[Format], shape: Shape, *, is_chosen: bool) -> None:
        self._source = source
        self._read = source.read if is_chosen else source.judged
        self._preparing = {known.name: preparing(known, shape) for known in formats}

    def __repr__(self) -> str:
        return f"<Shaping {self._source!r}>"

    def shaped(self, candidates: Iterable[Candidate]) -> Shapes:
        """Yield records in order; each is read when it is asked for."""
        return ((candidate, partial(self.shape, candidate)) for candidate in candidates)

    def shape(self, candidate: Candidate) -> Shaped:
        """Read a record, and make of it what is written."""
        try:
            rows, entry = self._source.made(candidate, self._read(candidate))
        except Left as left:
            return Shaped(left_out=left.reason, detail=left.detail)
        return Shaped({name: self._preparing[name](of_format) for name, of_format in rows.items()}, entry)


def source_of(
    stored: StoredCorpus, plan: Plan, selection: Selection, formats: Sequence[Format], means: Means
) -> Source[Any]:
    """Where the records come from that these formats are of."""
    kind = Sessions if formats[0].of_record is None else Texts
    return kind(stored, plan, selection, formats, means)
