"""Which of the waiting texts are computed next, and how they lie side by side: a pure decision on their lengths.

A batch is a rectangle of tokens, rows of one width. Whatever no text fills is padding and costs as much as text. And
every batch costs something by itself, because all weights pass through the processor's caches once: as measured, as
much as 15 tokens. With one text a row, mixed lengths make either much padding or small batches: on 16 requesters at
once both together took a tenth of the time. So a row may hold several texts; the graph keeps them apart.

The policy:

- The first text is always taken. So a text with n before it waits for at most n batches, whatever comes after it.
- Then those nearest to it in length, of the first `HORIZON_INPUTS`, as long as the bounds allow. Wide rows cost more
  than narrow ones, so short texts are better off among themselves.
- The rows' width is chosen among some by what the rectangle costs; texts go into rows longest first, each into the
  first row that has room (first-fit decreasing). Where the last few texts would force wide rows, they are left out.
- No timer: the decision is made when the engine is free, on what waits then.

Rejected: one text a row (see above; an exact cut by dynamic programming was the best of it), fixed length buckets (at
16 requesters most hold one text), and whichever batch has the most text per unit of time (short texts starve).
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from math import ceil

import msgspec

from actors.embedding.settings import TEXT_TOKENS_MAX

HORIZON_INPUTS = 96
"""Waiting texts that one decision looks at, here and in the order of turns; bounds its time."""

_EQUAL_COST_WIDTH = 1_200
"""Width at which attention, which grows with the square of it, costs as much as everything else; measured."""

BATCH_OVERHEAD_COST = 15
"""What a batch costs besides its texts, as that many tokens in a narrow row would; measured."""

_LEFT_OUT_MAX = 4
"""How many of the texts that would fit may be left for the next batch to make this one's rows narrower."""

_ROWS_TRIED_MAX = 12
_SLACKS_TRIED = (1.0, 1.03, 1.07)
"""First-fit rarely fills rows to the last token."""


class BatchBounds(msgspec.Struct, frozen=True):
    """What a batch may hold; `tokens_max` counts padding and is at least the longest text's length."""

    tokens_max: int
    inputs_max: int


class Batch(msgspec.Struct, frozen=True):
    """Positions of the texts of each row, and the rows' width in tokens."""

    rows: tuple[tuple[int, ...], ...]
    width: int

    @property
    def positions(self) -> list[int]:
        """The texts' positions, row by row."""
        return list(chain.from_iterable(self.rows))

    @property
    def padded_tokens(self) -> int:
        """Tokens of the rectangle, padding included."""
        return len(self.rows) * self.width


def text_cost(length: int) -> float:
    """Return what a text of `length` tokens costs, in the unit of `BATCH_OVERHEAD_COST`."""
    return length * (1 + length / _EQUAL_COST_WIDTH)


def next_batch(lengths: Sequence[int], bounds: BatchBounds) -> Batch:
    """Return the batch to compute next, which holds position 0.

    `lengths` are the tokens of texts that wait, in the order of their turns: at least one, each from 1 to
    `TEXT_TOKENS_MAX`.
    """
    assert 0 < max(lengths) <= TEXT_TOKENS_MAX <= bounds.tokens_max
    first = lengths[0]
    candidates = range(min(len(lengths), HORIZON_INPUTS))
    chosen: list[int] = []
    tokens = 0
    for position in sorted(candidates, key=lambda position: (abs(lengths[position] - first), position)):
        if tokens + lengths[position] <= bounds.tokens_max:
            chosen.append(position)
            tokens += lengths[position]
            if len(chosen) == bounds.inputs_max:
                break
    batch: Batch | None = None
    left_out = 0
    while chosen and (batch is None or left_out <= _LEFT_OUT_MAX):  # a text alone always fits
        layout = _cheapest_layout(chosen, lengths, bounds.tokens_max)
        if layout is not None and (batch is None or _cost_a_token(layout, lengths) < _cost_a_token(batch, lengths)):
            batch = layout
        chosen.pop()
        left_out += 1
    assert batch is not None
    return batch


def _cheapest_layout(chosen: Sequence[int], lengths: Sequence[int], tokens_max: int) -> Batch | None:
    """Return the best layout of the texts chosen that is within the bound, if any of those tried is."""
    by_length = sorted(chosen, key=lambda position: (-lengths[position], position))
    layouts = (Batch(_rows(by_length, lengths, width), width) for width in _widths(by_length, lengths))
    return min((layout for layout in layouts if layout.padded_tokens <= tokens_max), key=_cost, default=None)


def _cost(batch: Batch) -> float:
    return len(batch.rows) * text_cost(batch.width)


def _cost_a_token(batch: Batch, lengths: Sequence[int]) -> float:
    return (BATCH_OVERHEAD_COST + _cost(batch)) / sum(lengths[position] for position in batch.positions)


def _widths(by_length: Sequence[int], lengths: Sequence[int]) -> Iterator[int]:
    """Return the widths to try: that of the longest text, and those that even rows would have."""
    longest = lengths[by_length[0]]
    total = sum(lengths[position] for position in by_length)
    even = {ceil(total / rows * slack) for rows in range(1, _ROWS_TRIED_MAX + 1) for slack in _SLACKS_TRIED}
    yield longest
    yield from sorted(width for width in even if longest < width <= TEXT_TOKENS_MAX)


def _rows(by_length: Sequence[int], lengths: Sequence[int], width: int) -> tuple[tuple[int, ...], ...]:
    """Put each text into the first row that has room for it."""
    rows: list[list[int]] = []
    room: list[int] = []
    for position in by_length:
        length = lengths[position]
        for row, left in enumerate(room):
            if left >= length:
                rows[row].append(position)
                room[row] -= length
                break
        else:
            rows.append([position])
            room.append(width - length)
    return tuple(tuple(row) for row in rows)
