"""The sessions' embeddings in memory, and which are nearest to a text's. Needs numpy (the extra `embed`).

All are compared: a hundred thousand take some 40 MB and some ten milliseconds, which no index of neighbours would save
enough of. They are held as bytes and made floats a block at a time, because there is no fast product of bytes.
"""

import threading
from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from persistence.databases.search_reading import SearchReader
from persistence.format.quantised_vectors import SCALE

BLOCK_ROWS: Final = 1_024
"""More are shared out among threads by OpenBLAS, which wait for each other for longer than the product takes."""
READ_ROWS: Final = 4_096
STALE_SHARE: Final = 0.1
"""Of what is held, what may be gone from the index before all is read anew."""


class SessionVectors:
    """Embeddings as they were read last: at most `vectors_max`, the first ones."""

    def __init__(self, vectors_max: int) -> None:
        self._vectors_max = vectors_max
        self._lock = threading.Lock()
        self._forget()

    def __repr__(self) -> str:
        return f"<SessionVectors {len(self._numbers)}>"

    def nearest(
        self, reader: SearchReader, vector: Sequence[float], among: Collection[int] | None, limit: int
    ) -> list[tuple[float, int]]:
        """The nearest sessions with their cosines, the nearest first: the numbers of their lines, at most `limit`.

        `among` are those that count; None for all.
        """
        with self._lock:
            self._read_on(reader)
            numbers, rows, scales = self._numbers, self._rows, self._scales
        if not len(numbers):
            return []
        wanted = np.asarray(vector, dtype=np.float32)
        cosines = np.empty(len(numbers), dtype=np.float32)
        for start in range(0, len(numbers), BLOCK_ROWS):
            block = rows[start : start + BLOCK_ROWS].astype(np.float32)
            cosines[start : start + BLOCK_ROWS] = block @ wanted
        cosines *= scales
        if among is not None:
            cosines[~np.isin(numbers, np.fromiter(among, dtype=np.int64))] = -np.inf
        count = min(limit, len(numbers))
        best = np.argpartition(-cosines, count - 1)[:count]
        best = best[np.lexsort((-numbers[best], -cosines[best]))]
        return [(float(cosines[at]), int(numbers[at])) for at in best if np.isfinite(cosines[at])]

    def _forget(self) -> None:
        self._numbers: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._scales: npt.NDArray[np.float32] = np.empty(0, dtype=np.float32)
        self._rows: npt.NDArray[np.int8] = np.empty((0, 0), dtype=np.int8)
        self._read_up_to = 0
        self._read_rows = 0

    def _read_on(self, reader: SearchReader) -> None:
        """Read what has come since, and all anew where much of what is held has gone."""
        if self._read_rows - reader.embedded() > STALE_SHARE * self._read_rows:
            self._forget()
        numbers, scales, rows = list[int](), list[float](), list[bytes]()
        while self._read_rows < self._vectors_max and (
            found := reader.embeddings(self._read_up_to, min(READ_ROWS, self._vectors_max - self._read_rows))
        ):
            for _, n, vector in found:
                if len(vector) > SCALE.size:
                    numbers.append(n)
                    scales.append(SCALE.unpack_from(vector)[0])
                    rows.append(vector[SCALE.size :])
            self._read_up_to = found[-1][0]
            self._read_rows += len(found)
        if not numbers:
            return
        came = np.frombuffer(b"".join(rows), dtype=np.int8).reshape(len(rows), -1)
        self._rows = came if not len(self._numbers) else np.concatenate([self._rows, came])
        self._numbers = np.concatenate([self._numbers, np.asarray(numbers, dtype=np.int64)])
        self._scales = np.concatenate([self._scales, np.asarray(scales, dtype=np.float32)])
