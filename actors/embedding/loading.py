"""From settings to an engine: find the cached graph, or build it, and start ONNX Runtime on it.

It runs in a thread, and only here are the heavy libraries imported, so that the server's start waits for none of them.
`onnx` is needed only where a graph is built: at the first start, or after the cache was damaged.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from actors.embedding.engine import Engine, IsStopping, ModelError
from actors.embedding.safetensors import WeightsError, read_tensors
from actors.embedding.settings import EmbeddingSettings
from actors.embedding.source import (
    TOKENIZER_NAME,
    WEIGHTS_NAME,
    Download,
    HttpsSource,
    ModelSource,
    find_source,
    read_checked,
)
from actors.embedding.store import GraphKey, ModelStore

log = logging.getLogger("central_command.embedding")


def load_engine(
    settings: EmbeddingSettings, folder: Path, is_stopping: IsStopping, *, download: Download | None = None
) -> Engine:
    """Load the model, with `folder` as the cache of built graphs. Blocks; raises ModelError."""
    store = ModelStore(folder)
    # The hash of a cached graph takes as long as the imports, and both let the other go on.
    with ThreadPoolExecutor(1) as beside:
        finding = beside.submit(store.find_graph, GraphKey(settings.weights_sha256, settings.precision))
        try:
            from actors.embedding.onnx_engine import OnnxEngine  # noqa: PLC0415 - see above
        except ImportError as error:
            raise ModelError(f"The model cannot be run: {error}; install central-command[embed].") from error
        source = find_source(settings.source, is_stopping, download)
        tokenizer = _tokenizer(settings, source, store)
        graph: Path | bytes | None = finding.result()
    if graph is None:
        graph = _build(settings, source, store, is_stopping)
    _check(is_stopping)
    try:
        return OnnxEngine(graph, tokenizer, threads=settings.threads)
    except ModelError:
        raise
    except Exception as error:  # ONNX Runtime raises many types, all of its own
        log.exception("ONNX Runtime cannot load the model")
        raise ModelError("ONNX Runtime cannot load the model; the log holds the details.") from error


def _check(is_stopping: IsStopping) -> None:
    if is_stopping():
        raise ModelError("The loading was stopped.")


def _tokenizer(settings: EmbeddingSettings, source: ModelSource, store: ModelStore) -> bytes:
    """Return `tokenizer.json`; what had to be fetched is kept."""
    if not isinstance(source, HttpsSource):
        return read_checked(source, TOKENIZER_NAME, settings.tokenizer_sha256)
    content = store.find_tokenizer(settings.tokenizer_sha256)
    if content is None:
        content = read_checked(source, TOKENIZER_NAME, settings.tokenizer_sha256)
        try:
            store.save_tokenizer(settings.tokenizer_sha256, content)
        except OSError as error:
            log.warning("tokenizer.json cannot be kept and will be fetched at each start: %s", error.strerror or error)
    return content


def _build(
    settings: EmbeddingSettings, source: ModelSource, store: ModelStore, is_stopping: IsStopping
) -> Path | bytes:
    """Build the graph from the weights and keep it; where there is no room for it, return the graph itself."""
    weights = read_checked(source, WEIGHTS_NAME, settings.weights_sha256)
    _check(is_stopping)
    try:
        from actors.embedding.graph import build_graph  # noqa: PLC0415 - see above
    except ImportError as error:
        raise ModelError(f"The model cannot be built: {error}; install central-command[embed].") from error
    try:
        graph = build_graph(read_tensors(memoryview(weights)), settings.precision)
    except WeightsError as error:
        raise ModelError(str(error)) from error
    _check(is_stopping)
    try:
        return store.save_graph(GraphKey(settings.weights_sha256, settings.precision), graph)
    except OSError as error:
        log.warning("the model's graph cannot be kept and will be built at each start: %s", error.strerror or error)
        return graph
