"""The batching policy, as a pure function."""

from hypothesis import given
from hypothesis import strategies as st

from actors.embedding.batching import HORIZON_INPUTS, Batch, BatchBounds, next_batch
from actors.embedding.settings import TEXT_TOKENS_MAX

LENGTHS = st.lists(st.integers(2, TEXT_TOKENS_MAX) | st.integers(2, 120), min_size=1, max_size=150)
BOUNDS = st.builds(BatchBounds, st.integers(TEXT_TOKENS_MAX, 4_096), st.integers(1, 64))


def all_batches(lengths: list[int], bounds: BatchBounds) -> list[list[int]]:
    """Take batches until nothing waits; positions are those in `lengths`."""
    waiting = list(range(len(lengths)))
    batches = []
    while waiting:
        chosen = next_batch([lengths[position] for position in waiting], bounds).positions
        batches.append([waiting[position] for position in chosen])
        taken = set(chosen)
        waiting = [found for position, found in enumerate(waiting) if position not in taken]
    return batches


@given(LENGTHS, BOUNDS)
def test_every_text_is_in_exactly_one_batch(lengths: list[int], bounds: BatchBounds) -> None:
    """Nothing is lost, nothing computed twice."""
    assert sorted(position for batch in all_batches(lengths, bounds) for position in batch) == list(range(len(lengths)))


@given(LENGTHS, BOUNDS)
def test_no_bound_is_passed(lengths: list[int], bounds: BatchBounds) -> None:
    """Of texts, of tokens with padding, and of a row's width, which the model's longest text bounds."""
    batch = next_batch(lengths, bounds)
    assert len(batch.positions) <= bounds.inputs_max
    assert len(batch.rows) * batch.width == batch.padded_tokens <= bounds.tokens_max
    assert batch.width <= TEXT_TOKENS_MAX
    for row in batch.rows:
        assert 0 < sum(lengths[position] for position in row) <= batch.width


@given(LENGTHS, BOUNDS)
def test_each_batch_holds_the_oldest_text(lengths: list[int], bounds: BatchBounds) -> None:
    """So a text with n before it waits for at most n batches, whatever comes after it."""
    assert 0 in next_batch(lengths, bounds).positions


@given(LENGTHS, BOUNDS)
def test_a_batch_costs_no_more_than_one_text_a_row(lengths: list[int], bounds: BatchBounds) -> None:
    """That rectangle is among those compared, and a wide row has to be worth it."""
    batch = next_batch(lengths, bounds)
    longest = max(lengths[position] for position in batch.positions)
    assert batch.padded_tokens <= longest * len(batch.positions)


def test_mixed_lengths_make_little_padding() -> None:
    """Typical texts of 16 requesters: less than a twelfth of the batch is padding."""
    lengths = [61, 7, 95, 33, 80, 12, 104, 46]
    batch = next_batch(lengths, BatchBounds(512, 32))
    assert sorted(batch.positions) == list(range(8))
    assert batch.padded_tokens - sum(lengths) < batch.padded_tokens / 12


def test_equal_lengths_make_none() -> None:
    """Neither alone nor in rows."""
    assert next_batch([9], BatchBounds(512, 32)) == Batch(((0,),), 9)
    batch = next_batch([64] * 8, BatchBounds(512, 32))
    assert batch.padded_tokens == 512


def test_the_nearest_in_length_go_first_when_not_all_fit() -> None:
    """Short texts are better off among themselves; of equally near ones the older goes first."""
    assert sorted(next_batch([20, 300, 25, 310, 22], BatchBounds(512, 3)).positions) == [0, 2, 4]
    assert sorted(next_batch([20, 20, 20, 20], BatchBounds(512, 2)).positions) == [0, 1]


def test_the_batch_stops_at_the_bound_of_texts_and_of_tokens() -> None:
    """Equal lengths would all go together otherwise."""
    assert [len(batch) for batch in all_batches([10] * 70, BatchBounds(512, 32))] == [32, 32, 6]
    assert [len(batch) for batch in all_batches([128] * 9, BatchBounds(512, 32))] == [4, 4, 1]


def test_only_the_oldest_texts_are_looked_at() -> None:
    """A decision's time is bounded, however many wait."""
    assert max(next_batch([20] * (HORIZON_INPUTS + 50), BatchBounds(4_096, 4_096)).positions) < HORIZON_INPUTS
