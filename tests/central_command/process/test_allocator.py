"""Memory that the C library's allocator keeps."""

import ctypes
from typing import Any

import pytest

from central_command.process import allocator


class Library:
    """A C library that notes what is asked of its allocator."""

    def __init__(self, _name: Any) -> None:
        self.asked: list[int] = []

    def malloc_trim(self, kept: int) -> int:
        self.asked.append(kept)
        return 1


def test_memory_can_be_asked_back_at_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """And again: all of it, of the allocator that this process has."""
    allocator.return_free_memory()
    library = Library(None)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library if name is None else None)
    allocator._malloc_trim.cache_clear()
    try:
        allocator.return_free_memory()
        allocator.return_free_memory()
    finally:
        allocator._malloc_trim.cache_clear()
    assert library.asked == [0, 0]


def test_without_such_an_allocator_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """On systems whose C library is another one."""

    def library(_name: Any) -> object:
        return object()

    monkeypatch.setattr(ctypes, "CDLL", library)
    allocator._malloc_trim.cache_clear()
    try:
        allocator.return_free_memory()
        assert allocator._malloc_trim() is None
    finally:
        allocator._malloc_trim.cache_clear()
