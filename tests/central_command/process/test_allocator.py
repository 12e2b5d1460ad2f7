"""Memory that the C library's allocator keeps."""

import ctypes
from typing import Any

import pytest

from central_command.process import allocator


def test_memory_can_be_asked_back_at_any_time() -> None:
    """And again; it needs nothing and answers nothing."""
    allocator.return_free_memory()
    allocator.return_free_memory()


def test_without_such_an_allocator_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """On systems whose C library is another one."""

    def library(_name: Any) -> object:
        return object()

    monkeypatch.setattr(ctypes, "CDLL", library)
    allocator._malloc_trim.cache_clear()
    try:
        allocator.return_free_memory()
    finally:
        allocator._malloc_trim.cache_clear()
