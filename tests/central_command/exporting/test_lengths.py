"""Real lengths in tokens: what is too long is dropped, cut at a turn, or split there, and nothing is lost unsaid."""

from pathlib import Path

import pytest
import trio
from tokenizers import Tokenizer, models, pre_tokenizers

from central_command.corpus.trajectory import Step, Trajectory
from central_command.exporting.selection import ExportRefused, Overlong
from central_command.exporting.tokens import TokenCounter, fit
from tests.central_command.exporting.conftest import make
from tests.corpus_maker import put_sessions, session, steps_of


def words(limit: int = 10_000) -> bytes:
    """A tokeniser for which every word is a token; one that would cut texts, if it were let."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    tokenizer.enable_truncation(limit)
    text: str = tokenizer.to_str()
    return text.encode()


def trajectory(*types: str) -> Trajectory:
    """A trajectory of steps of these types."""
    steps = tuple(Step(step=n, type=kind) for n, kind in enumerate(types, 1))  # type: ignore[arg-type]
    return Trajectory(record_id="r", trajectory_id="t", session_id="s", steps=steps, provider="codex", model="m")


U, A, R, T = "instruction", "action", "observation", "thought"


@pytest.mark.parametrize(
    ("types", "tokens_max", "overlong", "expected", "cut"),
    [
        ((U, A, R, T), 4, "drop", [(0, 4)], 0),
        ((U, A, R, T), 3, "drop", [], 4),
        ((U, T, U, T, U, T), 4, "cut", [(0, 4)], 2),
        ((U, T, U, T, U, T), 4, "split", [(0, 4), (4, 6)], 0),
        ((U, A, R, A, R, A, R), 5, "cut", [(0, 5)], 2),
        ((U, A, A, R, R, T), 4, "cut", [], 6),
        ((U, A, R, A, R, U, T), 3, "split", [(0, 3), (5, 7)], 2),
        ((U, U, T, T, T), 2, "split", [], 5),
        ((T, U, T), 2, "split", [(0, 1), (1, 3)], 0),
    ],
)
def test_what_is_too_long_is_cut_at_turns_and_behind_whole_rounds(
    types: tuple[str, ...], tokens_max: int, overlong: Overlong, expected: list[tuple[int, int]], cut: int
) -> None:
    """Each step is a token here; pieces are given by the places of their steps."""
    whole = trajectory(*types)
    fitted = fit(whole, [1] * len(types), tokens_max, overlong)
    assert [(piece.first, piece.first + len(piece.trajectory.steps)) for piece in fitted.pieces] == expected
    assert fitted.cut_steps == cut
    assert sum(len(piece.trajectory.steps) for piece in fitted.pieces) + cut == len(types)
    for number, piece in enumerate(fitted.pieces, 1):
        assert piece.trajectory.tokens == len(piece.trajectory.steps) <= tokens_max
        assert (piece.trajectory.part, piece.trajectory.parts) == (number, len(fitted.pieces))
        assert piece.trajectory.steps == whole.steps[piece.first : piece.first + len(piece.trajectory.steps)]


def test_tokens_are_those_of_the_whole_text_and_of_arguments() -> None:
    counter = TokenCounter(words(3), "tokenizer.json")
    steps = [
        Step(step=1, type="instruction", content="one two three four five"),
        Step(step=2, type="action", content="Using Bash", tool="Bash", arguments={"command": "a b c"}),
        Step(step=3, type="thought"),
    ]
    assert counter.of_steps(steps) == [5, 4, 0]
    with pytest.raises(ExportRefused, match=r"x is no tokenizer\.json"):
        TokenCounter(b"{}", "x")


def test_lengths_are_in_the_rows_the_manifest_and_the_card(tmp_path: Path) -> None:
    root = tmp_path / "data"
    trio.run(put_sessions, root, [session(n, steps_of(f"alpha{n}", 2 + 5 * (n == 3))) for n in range(4)])
    counter = TokenCounter(words(), "words.json")
    manifest = make(root, tmp_path / "out", "texts", counter=counter, tokenizer=counter.file, max_tokens=150).manifest
    assert (manifest.kept, manifest.left_out) == (3, {"overlong": 1})
    lengths = manifest.facts.tokens
    assert lengths is not None
    assert 0 < lengths.p50 <= lengths.p95 <= lengths.most <= 150
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"`words.json` (SHA-256 `{counter.file.sha256}`)" in card
    assert "| tokens |" in card
    split = make(
        root, tmp_path / "cut", "jsonl", counter=counter, tokenizer=counter.file, max_tokens=150, overlong="cut"
    ).manifest
    assert (split.kept, split.facts.cut_steps > 0) == (4, True)
