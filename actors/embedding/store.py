"""The folder of built graphs: `<SHA-256>.onnx` by content, and `index.json`, which says what each was built from.

Nothing in it is worth keeping: whatever is missing or damaged is built again from the source. So it is not part of the
journals' file layer, and a file that does not have the hash of its own name is simply not found.

A file appears whole or not at all: it is written under another name, synced, and renamed.
"""

import hashlib
import os
import tempfile
from pathlib import Path

import msgspec

from actors.embedding.settings import Precision

GRAPH_VERSION = 2
"""Part of what a graph is found by: raise it with every change to graph.py that changes the graph."""

INDEX_NAME = "index.json"

_UNFINISHED_PREFIX = ".unfinished-"


class GraphKey(msgspec.Struct, frozen=True):
    """What a graph is built from."""

    weights_sha256: str
    precision: Precision

    def __str__(self) -> str:
        return f"{self.weights_sha256}-{self.precision}-{GRAPH_VERSION}"


class ModelStore:
    """Graphs and downloaded tokenisers in `folder`, which is created when something is saved. Everything blocks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find_graph(self, key: GraphKey) -> Path | None:
        """Return the path of a graph whose content is as it was saved."""
        sha256 = self._index().get(str(key))
        return None if sha256 is None else self._intact(f"{sha256}.onnx", sha256)

    def save_graph(self, key: GraphKey, content: bytes) -> Path:
        """Keep a graph, and forget those of other weights or versions; raises OSError."""
        sha256 = hashlib.sha256(content).hexdigest()
        path = self._save(f"{sha256}.onnx", content)
        kept = {str(GraphKey(key.weights_sha256, precision)) for precision in Precision}
        index = {known: found for known, found in self._index().items() if known in kept} | {str(key): sha256}
        self._save(INDEX_NAME, msgspec.json.format(msgspec.json.encode(index)))
        self._remove_others({f"{found}.onnx" for found in index.values()})
        return path

    def find_tokenizer(self, sha256: str) -> bytes | None:
        """Return a downloaded tokeniser whose content is as it was saved."""
        path = self._intact(f"{sha256}.tokenizer.json", sha256)
        return None if path is None else path.read_bytes()

    def save_tokenizer(self, sha256: str, content: bytes) -> None:
        """Keep a downloaded tokeniser; raises OSError."""
        self._save(f"{sha256}.tokenizer.json", content)

    def _index(self) -> dict[str, str]:
        try:
            return msgspec.json.decode((self._folder / INDEX_NAME).read_bytes(), type=dict[str, str])
        except (OSError, msgspec.DecodeError):
            return {}

    def _intact(self, name: str, sha256: str) -> Path | None:
        path = self._folder / name
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return None
        return path if found == sha256 else None

    def _save(self, name: str, content: bytes) -> Path:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, unfinished = tempfile.mkstemp(prefix=_UNFINISHED_PREFIX, dir=self._folder)  # 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            path = self._folder / name
            Path(unfinished).replace(path)
        except BaseException:
            Path(unfinished).unlink(missing_ok=True)
            raise
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return path

    def _remove_others(self, graphs: set[str]) -> None:
        """Remove graphs that nothing names any more, and what a crash left unfinished."""
        for path in self._folder.iterdir():
            if path.name.startswith(_UNFINISHED_PREFIX) or (path.suffix == ".onnx" and path.name not in graphs):
                path.unlink(missing_ok=True)
