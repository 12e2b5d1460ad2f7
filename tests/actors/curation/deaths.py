"""Curation that ends at a chosen boundary of what it writes, as `kill -9` would end it there.

What is on disk stays as it is: every write of these tests goes straight to the files of a folder that is opened again.
Between two writes nothing changes there: so there is a boundary behind each of them, and no other.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from persistence.corpus import Corpus

Reached = Callable[[], Awaitable[None]]


class Killed(BaseException):
    """The process ended here."""


class Boundaries:
    """Counts lines and transactions of a corpus that are written, and dies behind one of them, counted from 1."""

    def __init__(self, fatal: int) -> None:
        self._fatal = fatal
        self._passed = 0

    def pass_one(self) -> None:
        """Come to a boundary."""
        self._passed += 1
        if self._passed == self._fatal:
            raise Killed


@contextmanager
def dying_behind(fatal: int) -> Iterator[None]:
    """Die behind the so many-th line or transaction of the corpus."""
    boundaries = Boundaries(fatal)
    init = Corpus.__init__

    def opened(self: Corpus, *args: Any, **options: Any) -> None:
        init(self, *args, **options)
        write, commit = self._end.write, self._database.write

        def writing(*args: Any) -> Any:
            positions = write(*args)
            boundaries.pass_one()
            return positions

        async def committing(*args: Any, **options: Any) -> Any:
            counts = await commit(*args, **options)
            boundaries.pass_one()
            return counts

        self._end.write = writing  # type: ignore[method-assign]
        self._database.write = committing  # type: ignore[method-assign]

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Corpus, "__init__", opened)
        yield


@contextmanager
def reached_before(method: str, of: type, number: int, do: Reached) -> Iterator[None]:
    """Do something just before the so many-th call of a method."""
    calls = 0
    function = getattr(of, method)

    async def calling(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            await do()
        return await function(*args, **options)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(of, method, calling)
        yield
