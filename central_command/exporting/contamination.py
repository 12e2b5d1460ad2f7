"""Trajectories that hold a benchmark's text: 13 words in a row that stand in one of the given files, too.

A word is a run of letters and digits, in lower case. Of a file of JSON (lines, or one text) all texts are taken, of any
other file all of it. The same 13 words in a row are what others look for as well (GPT-3's filter, and those after it).
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from central_command.corpus.trajectory import Trajectory
from central_command.exporting.selection import ExportRefused, NamedFile

NGRAM_WORDS: Final = 13
WORD: Final = re.compile(r"[^\W_]+")
FILE_BYTES_MAX: Final = 500_000_000


class Benchmarks:
    """What of benchmarks is looked for; in memory are 13-grams as numbers, some 80 bytes each."""

    def __init__(self, ngrams_max: int) -> None:
        self.ngrams_max = ngrams_max
        self._found_in: dict[int, int] = {}
        self.files: list[NamedFile] = []
        self.paths: list[Path] = []

    def __repr__(self) -> str:
        return f"<Benchmarks {len(self._found_in)} in {len(self.files)} file(s)>"

    def add(self, path: Path) -> None:
        """Take in a file; texts of less than 13 words are passed over. Raises OSError, ExportRefused."""
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
        if len(data) > FILE_BYTES_MAX:
            raise ExportRefused(f"{path.name} has more than {FILE_BYTES_MAX:,} bytes, which no benchmark should have.")
        number = len(self.files)
        self.paths.append(path)
        self.files.append(NamedFile(path.name, hashlib.sha256(data).hexdigest()))
        for text in _texts(data):
            for ngram in _ngrams(text):
                self._found_in.setdefault(hash_of(ngram), number)
            if len(self._found_in) > self.ngrams_max:
                raise ExportRefused(
                    f"the benchmarks have more than {self.ngrams_max:,} different 13-grams "
                    "(export.benchmark_ngrams_max): name fewer files, or allow more."
                )

    def found_in(self, trajectory: Trajectory) -> str | None:
        """What of a trajectory stands in a benchmark: the file and the words; None where nothing does."""
        return self.found_in_texts(said_in(trajectory))

    def found_in_texts(self, texts: Iterable[str]) -> str | None:
        """What of texts stands in a benchmark."""
        if not self._found_in:
            return None
        for text in texts:
            for ngram in _ngrams(text):
                number = self._found_in.get(hash_of(ngram))
                if number is not None:
                    return f"{self.files[number].name}: {' '.join(ngram)}"
        return None


def hash_of(ngram: tuple[str, ...]) -> int:
    """A number for words in a row: the same in every process."""
    return int.from_bytes(hashlib.blake2b(" ".join(ngram).encode(), digest_size=8).digest(), "big")


def said_in(trajectory: Trajectory) -> Iterator[str]:
    """Yield every text of a trajectory: what steps say, and what calls are given."""
    for step in trajectory.steps:
        if step.content:
            yield step.content
        if step.arguments:
            yield from _leaves(step.arguments)


def _ngrams(text: str) -> Iterator[tuple[str, ...]]:
    words = WORD.findall(text.lower())
    for first in range(len(words) - NGRAM_WORDS + 1):
        yield tuple(words[first : first + NGRAM_WORDS])


def _texts(data: bytes) -> Iterator[str]:
    """Yield the texts of a file."""
    lines = data.splitlines()
    for candidates in ([data], lines):
        try:
            values = [msgspec.json.decode(each) for each in candidates if each.strip()]
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            continue
        for value in values:
            yield from _leaves(value)
        return
    yield data.decode(errors="replace")


def _leaves(value: Any) -> Iterator[str]:  # noqa: ANN401 (any JSON)
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)
