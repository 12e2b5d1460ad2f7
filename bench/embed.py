"""What embedding costs: `python -m bench.embed [texts]` prints one JSON object.

- `ratio`: texts a second through the nursery, asked for by 16 requesters one text at a time, over those of a bare loop
  over `InferenceSession.run` with the same threads on the same texts, sorted by length, in batches of the same bounds.
  Both run in turns, several times, in one process; the middle turn of each counts.
- `load_s`: from an empty process to a model that has answered, through the nursery, with the cached graph; and what
  importing ONNX Runtime and creating a session from the same file takes by itself.
- `memory_mb`: the resident memory of those two processes, and the most that it was.
"""

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import trio

from actors.embedding.embedding import Embedded
from actors.embedding.engine import Engine, TokenIds
from actors.embedding.loading import load_engine
from actors.embedding.nursery import EmbeddingNursery, State, open_embeddings
from actors.embedding.settings import EmbeddingSettings, Precision

INPUTS = ("input_ids", "position_ids", "text_ids")
REQUESTERS = 16
TIMEOUT_S = 600.0
TURNS = 5
TEXTS_DEFAULT = 600
CHARS_MIN, CHARS_MAX = 5, 500
VOCABULARY = (
    "react typescript frontend server actor nursery journal ledger sequence envelope token batch vector cosine "
    "schema retry backoff commit index shard queue render session pytest kubernetes postgres migrate rename "
    "optimise the a of and for to with fix failing test explain write deploy rollback health check database "
    "stream parser memory thread "
)


def make_texts(count: int, seed: int) -> list[str]:
    """Unique texts of mixed length, the same for the same seed."""
    chance = random.Random(seed)
    texts: dict[str, None] = {}
    while len(texts) < count:
        length = chance.randint(CHARS_MIN, CHARS_MAX)
        texts[" ".join(chance.choices(VOCABULARY.split(), k=length))[:length]] = None
    return list(texts)


def sorted_batches(tokens: list[TokenIds], settings: EmbeddingSettings) -> list[list[TokenIds]]:
    """Cut all texts, longest first, into batches that are as full as the bounds allow."""
    batches: list[list[TokenIds]] = []
    for ids in sorted(tokens, key=len, reverse=True):
        batch = batches[-1] if batches else None
        if (
            batch is None
            or len(batch) == settings.batch_inputs_max
            or (len(batch) + 1) * len(batch[0]) > settings.batch_tokens_max
        ):
            batches.append([ids])
        else:
            batch.append(ids)
    return batches


def bare_loop(engine: Engine, texts: list[str], settings: EmbeddingSettings) -> float:
    """Texts a second of nothing but `InferenceSession.run`, with inputs made beforehand."""
    import numpy as np  # noqa: PLC0415 - the memory of the server must not hold what only this needs

    feeds = []
    for batch in sorted_batches([engine.tokenise(text) for text in texts], settings):
        feed = {name: np.zeros((len(batch), len(batch[0])), np.int32) for name in INPUTS}
        for row, tokens in enumerate(batch):
            feed["input_ids"][row, : len(tokens)] = tokens
            feed["position_ids"][row, : len(tokens)] = range(len(tokens))
            feed["text_ids"][row, : len(tokens)] = row + 1
        feeds.append(feed)
    session = engine._session  # type: ignore[attr-defined] # noqa: SLF001 - the very same session
    began_at = time.perf_counter()
    for feed in feeds:
        session.run(None, feed)
    return len(texts) / (time.perf_counter() - began_at)


async def through_nursery(
    engine: Engine, texts: list[str], settings: EmbeddingSettings
) -> tuple[float, dict[str, float]]:
    """Texts a second of 16 requesters, each asking for its next text when it has the one before."""
    embeddings = EmbeddingNursery(lambda _: engine, settings)
    left = iter(texts)
    took_s: list[float] = []

    async def requester() -> None:
        for text in left:
            asked_at = time.perf_counter()
            outcome = await embeddings.embed([text], address="127.0.0.1", timeout_s=TIMEOUT_S)
            assert isinstance(outcome, Embedded), outcome
            assert outcome.embeddings[0].json
            took_s.append(time.perf_counter() - asked_at)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(embeddings.run)
        await embeddings.wait_loaded()
        began_at = time.perf_counter()
        async with trio.open_nursery() as requesters:
            for _ in range(REQUESTERS):
                requesters.start_soon(requester)
        lasted_s = time.perf_counter() - began_at
        nursery.cancel_scope.cancel()
    figures = embeddings.statistics()
    return len(texts) / lasted_s, {
        "texts_per_batch": figures.embedded / figures.batches,
        "padding_share": figures.padding_tokens / (figures.tokens + figures.padding_tokens),
        "p50_ms": statistics.median(took_s) * 1e3,
        "p99_ms": statistics.quantiles(took_s, n=100)[98] * 1e3,
    }


def measure_throughput(folder: Path, settings: EmbeddingSettings, count: int) -> dict[str, object]:
    """Both ways in turns."""
    engine = load_engine(settings, folder, lambda: False)
    texts = make_texts(count, seed=1)
    bare, nursery = [], []
    for _ in range(TURNS):
        bare.append(bare_loop(engine, texts, settings))
        nursery.append(trio.run(through_nursery, engine, texts, settings))
    ratios = [round(turn / alone, 3) for (turn, _), alone in zip(nursery, bare, strict=True)]
    nursery.sort(key=lambda turn: turn[0])
    middle, details = nursery[TURNS // 2]
    return {
        "bare_texts_per_s": [round(turn, 1) for turn in bare],
        "nursery_texts_per_s": [round(turn, 1) for turn, _ in nursery],
        "ratio": round(middle / statistics.median(bare), 3),
        "ratio_by_turn": ratios,
        **{name: round(value, 3) for name, value in details.items()},
    }


async def _load(folder: Path) -> None:
    async with open_embeddings(EmbeddingSettings(), folder) as embeddings:
        assert await embeddings.wait_loaded() is State.READY, embeddings.detail
        outcome = await embeddings.embed(["health check"], address="127.0.0.1", timeout_s=TIMEOUT_S)
        assert isinstance(outcome, Embedded)


def load_once(how: str, folder: Path) -> None:
    """In a process of its own: print how long loading takes, and the memory afterwards."""
    began_at = time.perf_counter()
    if how == "nursery":
        trio.run(_load, folder)
    else:
        from actors.embedding import onnx_runtime  # noqa: PLC0415 - its import is part of what is measured

        [graph] = folder.glob("*.onnx")
        options = onnx_runtime.SessionOptions()
        options.intra_op_num_threads = 1
        onnx_runtime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    lasted_s = time.perf_counter() - began_at
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    memory_mb = {name: int(status[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM")}
    print(json.dumps({"load_s": lasted_s, "memory_mb": memory_mb["VmRSS"], "memory_peak_mb": memory_mb["VmHWM"]}))


def measure_loading(folder: Path, how: str) -> dict[str, float]:
    """The middle of several processes, one after the other."""
    command = [sys.executable, __file__, "--load", how, str(folder)]
    runs = [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(TURNS)
    ]
    return {name: round(statistics.median(run[name] for run in runs), 3) for name in runs[0]}


def main() -> None:
    """Measure everything."""
    if sys.argv[1:2] == ["--load"]:
        load_once(sys.argv[2], Path(sys.argv[3]))
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else TEXTS_DEFAULT
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began_at = time.perf_counter()
        load_engine(EmbeddingSettings(), folder, lambda: False)
        first_start_s = time.perf_counter() - began_at
        loading = {how: measure_loading(folder, how) for how in ("session_alone", "nursery")}
        throughput = {
            str(precision): measure_throughput(folder, EmbeddingSettings(precision=precision), count)
            for precision in Precision
        }
    found = {"texts": count, "first_start_s": round(first_start_s, 2), "loading": loading, "throughput": throughput}
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
