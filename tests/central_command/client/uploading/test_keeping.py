"""Steps that were read are kept as they are, out of memory, in a file that nobody else finds."""

import errno
import os
import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central_command.client.contract.steps import LeftOut, Step
from central_command.client.uploading import keeping
from central_command.client.uploading.frames import BLOCK_BYTES, Frames, frame_of
from central_command.client.uploading.keeping import KeptSteps
from central_command.client.uploading.survey import survey
from central_command.process.piped import write_all

TEXTS = st.text(st.characters(codec=None), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
STEPS = st.builds(
    Step,
    step=st.integers(1, 2**31),
    type=st.just("action"),
    timestamp=st.floats(0, 4e9),
    tool=st.none() | TEXTS,
    arguments=st.none() | st.dictionaries(TEXTS, VALUES, max_size=3),
    content=TEXTS,
    token_count=st.integers(0, 2**31),
    left_out=st.none() | st.builds(LeftOut, st.integers(0, 9), TEXTS, TEXTS, st.integers(0, 9)),
)


def step(number: int, chars: int = 10) -> Step:
    return Step(step=number, type="thought", timestamp=float(number), content="x" * chars, token_count=1)


@given(st.lists(STEPS, max_size=5))
def test_whatever_json_can_say_comes_back_as_it_was(steps: list[Step]) -> None:
    """Lone surrogates and integers of any size, too, which MessagePack cannot say."""
    content = b"".join(map(frame_of, steps))
    frames = Frames(lambda at, size: content[at : at + size], Step)
    assert [frames.next() for _ in steps] == steps
    assert frames.at == len(content)
    with pytest.raises(EOFError):
        frames.next()


def test_a_frame_that_is_not_whole_is_none() -> None:
    content = frame_of(step(1))
    for length in range(len(content)):
        with pytest.raises(EOFError):
            Frames(lambda at, size, length=length: content[:length][at : at + size], Step).next()  # type: ignore[misc]


@pytest.mark.parametrize("chars", [10, 1_000])
def test_they_are_read_as_often_as_is_wanted(tmp_path: Path, chars: int) -> None:
    """Few from memory, many from a file without a name that is nobody else's."""
    steps = [step(number, chars) for number in range(1, 1_001)]
    with closing(KeptSteps(tmp_path)) as kept:
        for each in steps:
            kept.add(each)
        kept.finish()
        assert list(kept.steps()) == steps
        assert list(kept.steps()) == steps
        assert not list(tmp_path.iterdir())
        is_on_disk = chars * len(steps) > BLOCK_BYTES
        assert (kept.bytes_on_disk > 0) == is_on_disk
        if is_on_disk:
            assert stat.S_IMODE(os.fstat(kept.descriptor).st_mode) == 0o600
            assert os.fstat(kept.descriptor).st_nlink == 0
            assert kept.start_of(len(steps)) == kept.bytes_on_disk
    assert not kept.is_whole


def test_of_too_many_none_is_kept(tmp_path: Path) -> None:
    with closing(KeptSteps(tmp_path, bytes_max=BLOCK_BYTES)) as kept:
        for number in range(1, 1_001):
            kept.add(step(number, 1_000))
        kept.finish()
        assert not kept.is_whole


def test_a_disk_that_is_full_takes_no_upload_with_it(
    transcripts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is read again, then."""

    def full(_descriptor: int, _content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = transcripts / "long.jsonl"
    whole = list(survey(path, None).steps())
    with closing(KeptSteps(tmp_path)) as kept:
        found = survey(path, None, kept=kept)
        assert found.kept is kept
        assert list(found.steps()) == whole
    monkeypatch.setattr(keeping, "write_all", full)
    with closing(KeptSteps(tmp_path)) as kept:
        found = survey(path, None, kept=kept)
        assert found.kept is None
        assert list(found.steps()) == whole


def test_what_is_kept_is_what_is_sent(transcripts: Path, tmp_path: Path) -> None:
    """The file may grow, or go, behind it."""
    path = tmp_path / "session.jsonl"
    path.write_bytes((transcripts / "long.jsonl").read_bytes())
    with closing(KeptSteps(tmp_path)) as kept:
        found = survey(path, None, kept=kept)
        path.unlink()
        assert len(list(found.steps())) == len(found.times)


def test_all_is_forgotten_while_a_thread_still_adds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload that is interrupted leaves its thread to itself: that adds nothing more, and neither of them fails."""
    writing, go_on = threading.Event(), threading.Event()
    failed: list[BaseException] = []

    def slow(descriptor: int, content: bytes | bytearray) -> None:
        with memoryview(content):
            writing.set()
            go_on.wait()
            write_all(descriptor, content)

    def add() -> None:
        try:
            for number in range(1, 1_001):
                kept.add(step(number, 1_000))
            kept.finish()
        except BaseException as error:  # noqa: BLE001 -- whatever it is
            failed.append(error)

    monkeypatch.setattr(keeping, "write_all", slow)
    kept = KeptSteps(tmp_path)
    adding = threading.Thread(target=add)
    adding.start()
    writing.wait()
    closing_it = threading.Thread(target=kept.close)
    closing_it.start()
    go_on.set()
    closing_it.join()
    adding.join()
    assert not failed
    assert not kept.is_whole
