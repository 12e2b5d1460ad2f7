"""The buffer is complete or empty, and all buffers together stay within their budget."""

from hypothesis import given
from hypothesis import strategies as st

from actors.sessions.buffer import BufferBudget, SessionBuffer, StoredText
from persistence.format.records import EnvelopeKind


def text(size_bytes: int) -> StoredText:
    return StoredText(EnvelopeKind.CHUNK, b"x" * size_bytes)


def test_it_keeps_lines_in_order_up_to_its_bound_exactly() -> None:
    budget = BufferBudget(1_000)
    buffer = SessionBuffer(budget, bytes_max=10, is_complete=True)
    buffer.add(text(4))
    buffer.add(text(6))
    assert buffer.is_complete
    assert [len(stored.text) for stored in buffer.texts] == [4, 6]
    assert budget.bytes_taken == 10


def test_past_its_bound_it_lets_go_of_everything_and_takes_nothing_more() -> None:
    budget = BufferBudget(1_000)
    buffer = SessionBuffer(budget, bytes_max=10, is_complete=True)
    for size_bytes in (4, 7, 1):
        buffer.add(text(size_bytes))
    assert not buffer.is_complete
    assert buffer.texts == ()
    assert budget.bytes_taken == 0


def test_past_the_budget_of_all_only_the_one_that_asks_lets_go() -> None:
    budget = BufferBudget(10)
    one, other = (SessionBuffer(budget, bytes_max=100, is_complete=True) for _ in range(2))
    one.add(text(6))
    other.add(text(3))
    other.add(text(2))
    assert one.is_complete
    assert not other.is_complete
    assert budget.bytes_taken == 6


def test_the_budget_of_all_may_be_used_up_exactly() -> None:
    buffer = SessionBuffer(BufferBudget(10), bytes_max=100, is_complete=True)
    buffer.add(text(10))
    assert buffer.is_complete


def test_one_that_did_not_see_the_beginning_keeps_nothing() -> None:
    budget = BufferBudget(10)
    buffer = SessionBuffer(budget, bytes_max=10, is_complete=False)
    buffer.add(text(1))
    assert buffer.texts == ()
    assert budget.bytes_taken == 0


def test_releasing_twice_gives_back_once() -> None:
    budget = BufferBudget(10)
    buffer = SessionBuffer(budget, bytes_max=10, is_complete=True)
    buffer.add(text(5))
    buffer.release()
    buffer.release()
    assert budget.bytes_taken == 0
    assert not buffer.is_complete


@given(
    st.integers(0, 60),
    st.integers(0, 40),
    st.lists(st.tuples(st.integers(0, 3), st.none() | st.integers(0, 30)), max_size=40),
)
def test_the_budget_is_the_sum_of_what_is_held_whatever_happens(
    total: int, each: int, operations: list[tuple[int, int | None]]
) -> None:
    """An operation adds so many bytes to one of four buffers, or releases it."""
    budget = BufferBudget(total)
    buffers = [SessionBuffer(budget, bytes_max=each, is_complete=True) for _ in range(4)]
    for index, size_bytes in operations:
        if size_bytes is None:
            buffers[index].release()
        else:
            buffers[index].add(text(size_bytes))
        held = [sum(len(stored.text) for stored in buffer.texts) for buffer in buffers]
        assert budget.bytes_taken == sum(held) <= total
        assert max(held) <= each
        assert all(buffer.is_complete or not buffer.texts for buffer in buffers)
