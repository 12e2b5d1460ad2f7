"""Copies and near copies: what is changed a little is found, what is another's is not, and always alike."""

import os
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.curation.duplicates import (
    BANDS,
    STEP_END_BYTES,
    VALUES,
    KnownSignature,
    Signature,
    cluster_of,
    signature_of,
    similarity,
)
from actors.curation.enrichment.settings import EnrichmentSettings
from tests.actors.curation.trajectory_lines import trajectory
from tests.server_process import REPOSITORY

SIMILARITY_MIN = EnrichmentSettings().duplicate_similarity_min
LETTERS = "eeeettaaooiinnsshhrrddlucmfwypvbgkjqxz"
PINNED = [
    {"type": "action", "tool": "Bash", "arguments": {"command": "ls", "b": 1}},
    {"type": "observation", "content": "caf\u00e9 \u4e2d\u6587\n" * 9},
]


def words(seed: str, count: int = 4_000) -> list[str]:
    rnd = random.Random(seed)
    return ["".join(rnd.choices(LETTERS, k=rnd.randint(1, 9))) for _ in range(count)]


def steps_of(said: Sequence[str], per_step: int = 100, separator: str = " ") -> list[dict[str, Any]]:
    return [
        {"type": ("thought", "observation")[n % 2], "content": separator.join(said[n : n + per_step])}
        for n in range(0, len(said), per_step)
    ]


def signature(steps: list[dict[str, Any]]) -> Signature:
    return signature_of(trajectory(*steps).trajectory_log)


def changed(said: Sequence[str], share: float, seed: int) -> list[str]:
    """The same words, but a share of them others."""
    rnd = random.Random(seed)
    others = words(f"others {seed}", len(said))
    return [other if rnd.random() < share else word for word, other in zip(said, others, strict=True)]


def are_near(first: Signature, second: Signature) -> bool:
    """Whether two are found to be near copies: a band in common, and then enough of all values."""
    if not set(first.bands) & set(second.bands):
        return False
    return cluster_of(second, [KnownSignature("clu_first", first.minima)], SIMILARITY_MIN).cluster == "clu_first"


@pytest.mark.parametrize("separator", [" ", "(", "\n"])
@pytest.mark.parametrize("seed", range(4))
def test_a_copy_with_a_twentieth_of_its_words_changed_is_near(seed: int, separator: str) -> None:
    """In prose as in code: where words stand next to each other, and where signs are between them."""
    said = words(f"said {seed}")
    first = signature(steps_of(said, separator=separator))
    second = signature(steps_of(changed(said, 0.05, seed), separator=separator))
    assert first.sha256 != second.sha256
    assert are_near(first, second)


@pytest.mark.parametrize("seed", range(4))
def test_a_copy_with_a_twentieth_of_its_steps_changed_moved_or_left_out_is_near(seed: int) -> None:
    rnd = random.Random(seed)
    steps = steps_of(words(f"said {seed}"))
    others = steps_of(words("others"))
    copy = [others[n] if rnd.random() < 0.05 else step for n, step in enumerate(steps) if rnd.random() >= 0.05]
    copy = copy[len(copy) // 2 :] + copy[: len(copy) // 2]
    assert are_near(signature(steps), signature(copy))


def test_a_copy_in_another_script_is_near() -> None:
    rnd = random.Random(1)
    said = [chr(rnd.randint(0x4E00, 0x9FFF)) for _ in range(4_000)]
    copy = [chr(rnd.randint(0x4E00, 0x9FFF)) if rnd.random() < 0.02 else each for each in said]
    assert are_near(signature(steps_of(said)), signature(steps_of(copy)))


def test_sessions_that_have_nothing_in_common_are_not_near() -> None:
    signatures = [signature(steps_of(words(f"session {seed}", 1_000))) for seed in range(24)]
    pairs = [(a, b) for n, a in enumerate(signatures) for b in signatures[n + 1 :]]
    assert not any(are_near(a, b) for a, b in pairs)
    assert max(similarity(a.minima, b.minima) for a, b in pairs) < 0.1


def test_sessions_that_begin_alike_are_not_near() -> None:
    """A third in common, as with the same instructions and the same files read."""
    common = words("common", 1_500)
    first, second = (signature(steps_of(common + words(f"own {n}", 3_000))) for n in range(2))
    assert not are_near(first, second)


def test_times_ids_and_white_space_make_no_difference() -> None:
    steps = [{"type": "action", "tool": "Bash", "arguments": {"command": "ls  -l", "call_id": "a"}, "call_id": "a"}]
    other = [{"type": "action", "tool": "Bash", "arguments": {"call_id": "b", "command": "ls -l\n"}, "timestamp": 9}]
    assert signature(steps) == signature(other)
    assert signature(steps) != signature([{**steps[0], "tool": "bash"}])


def test_what_lies_in_the_middle_of_a_long_step_counts_only_for_the_exact_one() -> None:
    start, end = " ".join(words("start")), " ".join(words("end"))
    assert min(len(start), len(end)) > STEP_END_BYTES
    first, second = (signature([{"type": "thought", "content": f"{start} {middle} {end}"}]) for middle in ("x", "y"))
    assert first.sha256 != second.sha256
    assert first.minima == second.minima


def test_where_steps_end_counts_for_the_exact_one() -> None:
    joined, apart = [{"type": "thought", "content": "ab"}], [{"type": "thought", "content": "a"}] * 2
    assert signature(joined).sha256 != signature(apart).sha256


def test_an_empty_trajectory_is_like_itself() -> None:
    nothing = signature([])
    assert similarity(nothing.minima, nothing.minima) == 1.0
    assert len(nothing.minima) == 4 * VALUES
    assert len(set(nothing.bands)) == BANDS


def test_the_signature_is_the_same_in_every_process_and_version() -> None:
    """Pinned: who changes this raises SIGNATURE_VERSION. Other processes have other seeds of Python's own hashes."""
    made = signature(PINNED)
    code = (
        "from tests.actors.curation.test_duplicates import PINNED, signature;"
        "made = signature(PINNED); print(made.sha256, made.minima.hex(), *made.bands)"
    )
    for seed in ("1", "2"):
        told = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            check=True,
            text=True,
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout.split()
        assert told == [made.sha256, made.minima.hex(), *map(str, made.bands)]
    assert (made.sha256[:16], made.minima[:8].hex(), made.bands[0]) == (
        "9b42d4411b245456",
        "6ea18eefb0f516cd",
        7413889066388597152,
    )


def test_a_trajectory_joins_the_most_similar_cluster_whatever_the_order() -> None:
    said = words("said", 1_000)
    new = signature(steps_of(said))
    near, nearer = (signature(steps_of(changed(said, share, 1))) for share in (0.05, 0.01))
    known = [KnownSignature("clu_b", near.minima), KnownSignature("clu_a", nearer.minima)]
    found = cluster_of(new, known, SIMILARITY_MIN)
    assert found == cluster_of(new, reversed(known), SIMILARITY_MIN)
    assert found.cluster == "clu_a"
    assert found.similarity == similarity(new.minima, nearer.minima)
    same = [KnownSignature("clu_b", nearer.minima), KnownSignature("clu_a", nearer.minima)]
    assert cluster_of(new, same, SIMILARITY_MIN).cluster == "clu_a"


def test_a_new_cluster_is_named_by_what_is_in_it() -> None:
    new = signature(PINNED)
    assert cluster_of(new, [], SIMILARITY_MIN).cluster == f"clu_{new.sha256[:32]}"
    assert cluster_of(new, [KnownSignature("clu_a", bytes(4 * VALUES))], SIMILARITY_MIN).similarity == 0


def test_a_table_of_bands_finds_the_near_copies_among_many() -> None:
    """As the worker keeps it: a band leads to the trajectories that have it."""
    table: dict[int, list[KnownSignature]] = defaultdict(list)
    clusters = {}
    said = [words(f"session {n}", 600) for n in range(12)]
    for name, spoken in [(n, s) for n, s in enumerate(said)] + [(n, changed(s, 0.05, n)) for n, s in enumerate(said)]:
        made = signature(steps_of(spoken))
        sharing = [known for band in made.bands for known in table.get(band, [])]
        cluster = cluster_of(made, sharing, SIMILARITY_MIN).cluster
        assert clusters.setdefault(name, cluster) == cluster
        for band in made.bands:
            table[band].append(KnownSignature(cluster, made.minima))
    assert len(set(clusters.values())) == len(said)


STEPS = st.lists(
    st.fixed_dictionaries({"type": st.sampled_from(["thought", "action"]), "content": st.text(max_size=40)}), max_size=8
)


@settings(max_examples=50)
@given(STEPS, STEPS)
def test_likeness_is_symmetric_and_whole_for_the_same(
    first: list[dict[str, Any]], second: list[dict[str, Any]]
) -> None:
    a, b = signature(first), signature(second)
    assert similarity(a.minima, a.minima) == 1.0
    assert similarity(a.minima, b.minima) == similarity(b.minima, a.minima)
    assert (a.sha256 == b.sha256) <= (a.minima == b.minima)
    assert all(-(2**63) <= band < 2**63 for band in a.bands)


@settings(max_examples=50)
@given(STEPS, st.randoms())
def test_the_order_of_steps_counts_only_for_the_exact_one(steps: list[dict[str, Any]], rnd: random.Random) -> None:
    shuffled = list(steps)
    rnd.shuffle(shuffled)
    assert signature(steps).minima == signature(shuffled).minima
