"""Real lengths in tokens, and what happens to a trajectory that is too long: dropped, cut at a turn, or split there.

What is counted are the texts of the steps: what was said, names of tools, and arguments as JSON; a chat template adds
its own marks. Turns begin with what the user says; where one turn alone is too long, it is cut behind the last result
that fits and that no call waits for behind it.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from central_command.corpus.trajectory import Step, Trajectory
from central_command.exporting.selection import ExportRefused, NamedFile, Overlong

USER: Final = frozenset({"instruction", "clarification", "approval", "correction"})
RESULTS: Final = frozenset({"observation", "error"})
CALLS: Final = frozenset({"action"})
TOKENIZER_BYTES_MAX: Final = 200_000_000


class TokenCounter:
    """Counts tokens with a `tokenizer.json`, which lies at `path`. Needs `tokenizers` (extra `embed`)."""

    def __init__(self, text: bytes, name: str, path: Path | None = None) -> None:
        from tokenizers import Tokenizer  # noqa: PLC0415 (needed where it was asked for alone)

        self.path = path
        self.file = NamedFile(name, hashlib.sha256(text).hexdigest())
        try:
            self._tokenizer = Tokenizer.from_buffer(text)
        except Exception:  # noqa: BLE001 (it raises plain Exception)
            raise ExportRefused(f"{name} is no tokenizer.json that can be read.") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def __repr__(self) -> str:
        return f"<TokenCounter {self.file.name}>"

    def of_steps(self, steps: Sequence[Step]) -> list[int]:
        """How many tokens each step has."""
        texts = [text_of(step) for step in steps]
        return [len(each.ids) for each in self._tokenizer.encode_batch(texts, add_special_tokens=False)]


def load_counter(path: Path) -> TokenCounter:
    """A counter with the `tokenizer.json` at a path. Raises OSError, ExportRefused."""
    with path.open("rb") as file:
        text = file.read(TOKENIZER_BYTES_MAX)
    return TokenCounter(text, path.name, path)


def text_of(step: Step) -> str:
    """All that is written in a step."""
    parts = [step.text] if step.type not in CALLS else []
    if step.tool and step.type in CALLS:
        parts.append(step.tool)
    if step.arguments:
        parts.append(msgspec.json.encode(step.arguments).decode())
    return "\n".join(parts)


class Piece(msgspec.Struct, frozen=True):
    """A trajectory or a part of one: `first` is the place (from 0) that its first step has in the whole."""

    trajectory: Trajectory
    first: int = 0


class Fitted(msgspec.Struct, frozen=True):
    """What of a trajectory fits: none, one or several pieces, and how many steps were cut off."""

    pieces: tuple[Piece, ...]
    cut_steps: int = 0


def fit(trajectory: Trajectory, tokens: Sequence[int], tokens_max: int | None, overlong: Overlong) -> Fitted:
    """Make a trajectory fit `tokens_max` tokens; `tokens` are those of its steps. Each piece says how many it has."""
    total = sum(tokens)
    if tokens_max is None or total <= tokens_max:
        return Fitted((Piece(msgspec.structs.replace(trajectory, tokens=total)),))
    if overlong == "drop":
        return Fitted((), len(trajectory.steps))
    runs = list(_runs(trajectory.steps, tokens, tokens_max))
    if overlong == "cut":
        runs = runs[:1] if runs and runs[0][0] == 0 else []
    pieces = tuple(
        Piece(
            msgspec.structs.replace(
                trajectory,
                steps=trajectory.steps[first:end],
                tokens=sum(tokens[first:end]),
                part=number,
                parts=len(runs),
            ),
            first,
        )
        for number, (first, end) in enumerate(runs, start=1)
    )
    return Fitted(pieces, len(trajectory.steps) - sum(end - first for first, end in runs))


def _runs(steps: Sequence[Step], tokens: Sequence[int], tokens_max: int) -> Iterator[tuple[int, int]]:
    """Yield runs of steps of at most so many tokens: of whole turns, or of the beginning of one."""
    begins = [place for place, step in enumerate(steps) if step.type in USER and _is_new_turn(steps, place)]
    turns = list(
        zip([0, *(each for each in begins if each)], [*(each for each in begins if each), len(steps)], strict=True)
    )
    first = end = held = 0
    for begin, behind in turns:
        size = sum(tokens[begin:behind])
        if held + size <= tokens_max:
            end, held = behind, held + size
            continue
        if end > first:
            yield first, end
        if size <= tokens_max:
            first, end, held = begin, behind, size
            continue
        fitting = _last_whole_round(steps, tokens, begin, behind, tokens_max)
        if fitting > begin:
            yield begin, fitting
        first = end = behind
        held = 0
    if end > first:
        yield first, end


def _is_new_turn(steps: Sequence[Step], place: int) -> bool:
    """Whether the user begins to speak there: a few messages of theirs in a row are one turn."""
    return place == 0 or steps[place - 1].type not in USER


def _last_whole_round(steps: Sequence[Step], tokens: Sequence[int], begin: int, behind: int, tokens_max: int) -> int:
    """Where a turn is cut: behind the last result within the bound after which no call waits for one."""
    held, found, waiting = 0, begin, 0
    for place in range(begin, behind):
        held += tokens[place]
        if held > tokens_max:
            break
        if steps[place].type in CALLS:
            waiting += 1
        elif steps[place].type in RESULTS:
            waiting = max(0, waiting - 1)
            follows = steps[place + 1].type if place + 1 < behind else ""
            if not waiting and follows not in RESULTS:
                found = place + 1
    return found
