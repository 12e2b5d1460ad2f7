"""Searching a corpus: megabytes of it indexed a second, how large the index is, and how long a question takes.

The corpus has so many sessions of some 22 KB. Their texts are drawn from a pool, whose words are as rare as those of a
language: the word of rank r is 1 / r as frequent as the first. Embeddings are random. Every question is asked once,
from a new connection, as the server does; those of a kind differ.
"""

import argparse
import hashlib
import random
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from bench.exports import template
from bench.report import Measurement, Report, percentile, publish
from central_command.search.questions import Answer, Mode, Question
from central_command.search.searching import Searcher
from persistence.databases.opening import open_inline_database
from persistence.databases.search_rows import put_embeddings
from persistence.files.file_system import OsFileSystem
from persistence.format.layout import DataLayout
from persistence.format.quantised_vectors import SCALE, quantised
from persistence.format.records import JournalName, Mark
from persistence.journals.stored import StoredJournal
from persistence.journals.writing import JournalEnd
from persistence.search_index import open_search_index
from persistence.settings.search import SearchSettings
from persistence.settings.storage import StorageSettings

WORDS: Final = 60_000
POOL: Final = 30_000
TEXT_WORDS: Final = 80
STEPS: Final = 27
LINES_AT_ONCE: Final = 500
CONTRIBUTORS: Final = 300
DIMENSIONS: Final = 384
MODELS: Final = ("claude-opus-4-6", "gpt-5.5", "gemini-3-pro")
PROVIDERS: Final = ("claude-code", "codex", "gemini-cli")
TOOLS: Final = ("Bash", "Edit", "Read", "Grep", "WebFetch")
OPENING: Final = partial(open_inline_database, settings=StorageSettings(), applied_at="2026-11-20T10:00:00.000000Z")


class Texts:
    """Texts to draw from."""

    def __init__(self, source: random.Random) -> None:
        letters = "abcdefghijklmnoprstuvw"
        self.words = [
            "".join(source.choice(letters) for _ in range(2 + source.randrange(9))) + (str(n) if n > 20_000 else "")
            for n in range(WORDS)
        ]
        weights = [1 / rank for rank in range(1, WORDS + 1)]
        self.pool = [source.choices(self.words, weights, k=TEXT_WORDS) for _ in range(POOL)]
        self.texts = [" ".join(words) for words in self.pool]


def sessions(count: int, texts: Texts, source: random.Random) -> Iterator[bytes]:
    """Yield the members of so many records."""
    members: dict[str, Any] = msgspec.json.decode(b"{%b}" % bytes(template(0).members))
    for number in range(count):
        which = number % len(PROVIDERS)
        kinds = ("instruction", "thought", "action", "observation")
        log = []
        for place in range(STEPS):
            kind = kinds[1 + place % 3] if place else kinds[0]
            step: dict[str, Any] = {"step": place + 1, "type": kind, "content": texts.texts[source.randrange(POOL)]}
            if kind in {"action", "observation"}:
                step["tool"] = TOOLS[number % len(TOOLS) if number % 50 else -1]
            if kind == "action":
                step["arguments"] = {"command": texts.texts[source.randrange(POOL)][:200]}
            log.append(step)
        members |= {
            "record_id": f"rec_{number:012d}",
            "trajectory_id": f"traj_{number:012d}",
            "session_id": f"sess_{number:012d}",
            "contributor_id": hashlib.sha256(b"%d" % (number % CONTRIBUTORS)).hexdigest()[:32],
            "trajectory_log": log,
            "started_at": f"2026-{1 + number * 11 // count:02d}-{1 + number % 28:02d}T10:12:10.000000Z",
            "metadata": {"provider": PROVIDERS[which], "model_engine": MODELS[which]},
        }
        yield msgspec.json.encode(members)[1:-1]


def make_corpus(root: Path, count: int, texts: Texts) -> int:
    """Fill a data directory with the lines of so many sessions; answer their bytes."""
    directory = DataLayout(root).journal(JournalName.CORPUS)
    files = OsFileSystem()
    files.make_directory(directory)
    end = JournalEnd(JournalName.CORPUS, directory, Mark(), files=files, clock=time.time)
    size_bytes, source = 0, sessions(count, texts, random.Random(1))
    while lines := [*islice(source, LINES_AT_ONCE)]:
        positions = end.write([(line, b"") for line in lines])
        assert positions is not None, "the disk is full"
        size_bytes += sum(position.length for position in positions)
    end.close()
    return size_bytes


async def index(root: Path) -> tuple[float, float]:
    """Index a corpus; answer the seconds that it took, and those of the processor."""
    layout = DataLayout(root)
    lines = StoredJournal.of(layout, JournalName.CORPUS)
    began_at, began_cpu_at = time.perf_counter(), time.process_time()
    async with open_search_index(layout, lines, SearchSettings(), OPENING) as opened:
        while await opened.follow():
            pass
    return time.perf_counter() - began_at, time.process_time() - began_cpu_at


async def embed(root: Path, count: int) -> None:
    """Give each session an embedding."""
    source = random.Random(2)
    some = [quantised([source.gauss() for _ in range(DIMENSIONS)]) for _ in range(64)]
    layout = DataLayout(root)
    async with open_search_index(
        layout, StoredJournal.of(layout, JournalName.CORPUS), SearchSettings(), OPENING
    ) as opened:
        for start in range(1, count + 1, 10_000):
            vectors = []
            for n in range(start, min(start + 10_000, count + 1)):
                vector = array("b", some[n % len(some)][SCALE.size :])
                vector[n % DIMENSIONS] = source.randrange(-127, 128)
                vectors.append((n, some[0][: SCALE.size] + vector.tobytes()))
            await opened._database.write([put_embeddings(vectors)], durable=False)  # noqa: SLF001


def questions(texts: Texts, count: int) -> dict[str, list[dict[str, Any]]]:
    """So many different questions of each kind."""
    source = random.Random(3)

    def word(low: int, high: int) -> str:
        return texts.words[source.randrange(low, high)]

    def phrase(words: int) -> str:
        found = source.choice(texts.pool)
        start = source.randrange(len(found) - words)
        return f'"{" ".join(found[start : start + words])}"'

    def drawn() -> str:
        return source.choice(source.choice(texts.pool))

    def of(make: Callable[[], dict[str, Any]]) -> list[dict[str, Any]]:
        return [make() for _ in range(count)]

    return {
        "word, of the 100 commonest": of(lambda: {"q": word(0, 100)}),
        "word, as they occur": of(lambda: {"q": drawn()}),
        "word, rare": of(lambda: {"q": word(5_000, WORDS)}),
        "two words, as they occur": of(lambda: {"q": f"{drawn()} {drawn()}"}),
        "three words, newest": of(lambda: {"q": f"{drawn()} {drawn()} {drawn()}", "order": "newest"}),
        "phrase of 2": of(lambda: {"q": phrase(2)}),
        "phrase of 4": of(lambda: {"q": phrase(4)}),
        "word and provider": of(lambda: {"q": drawn(), "providers": ["codex"]}),
        "word, provider and tool": of(lambda: {"q": drawn(), "providers": ["codex"], "tools": ["WebFetch"]}),
        "word and a month": of(lambda: {"q": drawn(), "after": "2026-03", "before": "2026-04"}),
        "word and nobody's model": of(lambda: {"q": drawn(), "models": ["none"]}),
        "word -word": of(lambda: {"q": f"{drawn()} -{word(0, 1_000)}"}),
        "beginning of a word": of(lambda: {"q": f"{word(20_000, WORDS)[:4]}*"}),
        "semantic": of(lambda: {"q": "x", "mode": Mode.SEMANTIC}),
        "semantic and provider": of(lambda: {"q": "x", "mode": Mode.SEMANTIC, "providers": ["codex"]}),
        "hybrid": of(lambda: {"q": drawn(), "mode": Mode.HYBRID}),
    }


def asked(searcher: Searcher, members: dict[str, Any], vector: list[float]) -> tuple[float, int]:
    """Ask; answer the seconds that it took, and how many hits there were."""
    question = msgspec.convert(members, Question)
    began_at = time.perf_counter()
    answer = searcher.answer(question, limit=20, vector=vector)
    seconds = time.perf_counter() - began_at
    assert isinstance(answer, Answer), (members, answer)
    return seconds, len(answer.hits)


def measured(root: Path, texts: Texts, count: int) -> Iterator[Measurement]:
    """How long each kind of question takes; the first question of all, which reads the embeddings, is not counted."""
    searcher, source = Searcher(root, SearchSettings(timeout_s=60.0)), random.Random(4)
    vector = [source.gauss() for _ in range(DIMENSIONS)]
    asked(searcher, {"q": "x", "mode": Mode.SEMANTIC}, vector)
    for kind, all_of in questions(texts, count).items():
        found = [asked(searcher, each, vector) for each in all_of]
        seconds = [each for each, _ in found]
        yield Measurement(
            kind,
            {
                "p50_ms": percentile(seconds, 0.5) * 1_000,
                "p95_ms": percentile(seconds, 0.95) * 1_000,
                "max_ms": max(seconds) * 1_000,
                "hits_mean": sum(hits for _, hits in found) / len(found),
            },
        )


def main() -> int:
    """Make a corpus, index it, ask, and say how that went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=5_000, help="95000 make 2.2 GB")
    parser.add_argument("--questions", type=int, default=100, help="of each kind")
    parser.add_argument("--folder", type=Path, help="where the corpus is made; a temporary folder without it")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    texts = Texts(random.Random(0))
    with tempfile.TemporaryDirectory(prefix="central-command-bench-", dir=options.folder) as name:
        root = Path(name) / "data"
        root.mkdir(mode=0o700)
        size_mb = make_corpus(root, options.sessions, texts) / 1e6
        seconds, cpu_s = trio.run(index, root)
        database = DataLayout(root).search_database
        built = {
            "corpus_mb": size_mb,
            "mb_per_s": size_mb / seconds,
            "mb_per_cpu_s": size_mb / cpu_s,
            "index_mb": database.stat().st_size / 1e6,
        }
        trio.run(embed, root, options.sessions)
        measurements = [Measurement("indexed", built), *measured(root, texts, options.questions)]
    publish(Report("search", measurements), options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
