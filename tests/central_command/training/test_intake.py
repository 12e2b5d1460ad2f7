"""What is taken in, of whom, and until when."""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from actors.curation.domains import DomainTagger
from actors.curation.scrubbing.scrubber import PIIScrubber
from central_command.training.capture import CaptureSession
from central_command.training.consent import ConsentManager
from central_command.training.corpus import CorpusWriter, TrainingCorpus
from central_command.training.intake import RECORDS_AT_ONCE_MAX, TrainingDataIntake
from central_command.training.queueing import CaptureQueue

SCRUBBED = {
    "user@example.com": "[EMAIL]",
    "(555) 123-4567": "[PHONE]",
    "192.168.1.1": "[IP]",
    "2001:db8::1": "[IP]",
    "123-45-6789": "[SSN]",
    "4111-1111-1111-1111": "[CREDIT_CARD]",
    "AKIAIOSFODNN7EXAMPLE": "[AWS_KEY]",
    "/Users/john/docs/report.txt": "[FILE_PATH]",
    "https://example.com/x?token=abc123def456ghi7": "[REDACTED_URL]",
    "5f" * 20: "[API_KEY]",
}


class World:
    """Everything that an application makes, below one folder; `u` has opted in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.consent = ConsentManager(folder / "consent.db")
        self.corpus = TrainingCorpus(folder / "data")
        self.scrubber = PIIScrubber()
        self.intake = TrainingDataIntake(self.consent, self.corpus, self.scrubber, DomainTagger())
        self.opt_in()

    def opt_in(self, user_id: str = "u") -> None:
        self.consent.record_consent(user_id, opted_in=True, consent_version="1.0")

    def session(self) -> CaptureSession:
        return CaptureSession("u", "s", self.consent, self.corpus, self.scrubber, DomainTagger())

    def lines(self) -> list[dict[str, Any]]:
        paths = sorted((self.folder / "data").glob("*.jsonl"))
        return [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]

    def contents(self) -> list[str]:
        return [line["content"] for line in self.lines()]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize("content_type", ["prompt", "completion", "workflow"])
def test_no_personal_data_reach_the_disk(world: World, content_type: str) -> None:
    world.intake.submit("u", "s", " then ".join(SCRUBBED), content_type, {"note": " then ".join(SCRUBBED)})
    (line,) = world.lines()
    assert line["content"] == " then ".join(SCRUBBED.values())
    assert line["metadata"]["note"] == " then ".join(SCRUBBED.values())
    for path in world.folder.rglob("*"):
        if path.is_file():
            assert [each for each in SCRUBBED if each.encode() in path.read_bytes()] == []


def test_a_scrubbed_conversation_is_still_json(world: World) -> None:
    messages = [{"role": "user", "content": f'say "{each}" é\n'} for each in SCRUBBED]
    session = world.session()
    session.start()
    session.record_conversation(messages)
    world.intake.submit("u", "s", json.dumps(messages), "conversation")
    recorded, submitted = (json.loads(each) for each in world.contents())
    assert recorded == submitted == [{"role": "user", "content": f'say "{each}" é\n'} for each in SCRUBBED.values()]


def test_what_cannot_be_scrubbed_is_not_written(world: World) -> None:
    world.intake = TrainingDataIntake(world.consent, world.corpus, PIIScrubber(chars_max=20), DomainTagger())
    assert world.intake.submit("u", "s", "write to a@b.com, " * 10, "prompt") is None
    assert world.intake.submit("u", "s", "[WITHHELD]", "prompt") is not None
    assert world.intake.withheld == 1
    assert world.contents() == ["[WITHHELD]"]


def test_opting_out_in_the_middle_of_a_session_ends_it_for_good(world: World) -> None:
    session = world.session()
    assert not session.is_active()
    session.record_prompt("before the start")
    session.start()
    assert session.is_active()
    session.record_prompt("one")
    assert world.consent.revoke_consent("u") is True
    session.record_completion("two")
    session.record_conversation([{"role": "user", "content": "two"}])
    assert not session.is_active()
    world.opt_in()
    session.record_prompt("three")
    assert not session.is_active()
    summary = session.end()
    assert world.contents() == ["one"]
    assert summary["records_captured"] == 1
    assert session.end() == summary
    world.consent.revoke_consent("u")
    with pytest.raises(PermissionError):
        world.session().start()


def test_a_session_notices_that_consent_was_withdrawn_and_given_between_two_texts(world: World) -> None:
    session = world.session()
    session.start()
    world.consent.revoke_consent("u")
    world.opt_in()
    session.record_prompt("of the time before")
    assert not session.is_active()
    assert world.contents() == []
    following = world.session()
    following.start()
    following.record_prompt("of the time after")
    assert world.contents() == ["of the time after"]


def test_nothing_is_recorded_after_the_end(world: World) -> None:
    session = world.session()
    session.start()
    session.end()
    session.record_prompt("late")
    assert not session.is_active()
    assert world.contents() == []


def test_a_withdrawal_that_comes_while_a_text_is_scrubbed_keeps_it_off_the_disk(world: World) -> None:
    scrub = world.scrubber.scrub

    def withdrawing(text: str) -> str:
        world.consent.revoke_consent("u")
        return scrub(text)

    world.scrubber.scrub = withdrawing  # type: ignore[method-assign]
    assert world.intake.submit("u", "s", "text", "prompt") is None
    assert world.contents() == []


def test_a_deletion_leaves_nothing_of_what_is_submitted_meanwhile(world: World) -> None:
    """Whatever the order in which threads come to the locks: what was accepted is deleted or was not written."""
    stop = threading.Event()

    def submit_until_stopped(n: int) -> int:
        accepted = 0
        while not stop.is_set():
            accepted += world.intake.submit("u", f"s{n}", "text", "prompt") is not None
        return accepted

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(submit_until_stopped, n) for n in range(4)]
        while not world.lines():
            pass
        deleted = world.intake.delete_user("u")
        assert world.contents() == []
        stop.set()
    assert deleted == {"consent_revoked": True, "records_deleted": sum(each.result() for each in asked)}
    assert world.contents() == []


def test_deleting_who_never_said_anything_says_so(world: World) -> None:
    assert world.intake.delete_user("nobody") == {"consent_revoked": False, "records_deleted": 0}
    world.consent.request_deletion("u")
    assert world.intake.delete_user("u") == {"consent_revoked": True, "records_deleted": 0}
    assert world.consent.pending_deletions() == []


def test_a_batch_takes_what_it_can_and_counts_the_rest(world: World) -> None:
    good = {"user_id": "u", "session_id": "s", "content": "text", "content_type": "prompt"}
    bad: list[Any] = [
        {**good, "user_id": "not opted in"},
        {**good, "content_type": "song"},
        {**good, "content": 7},
        {**good, "session_id": ""},
        {**good, "user_id": ["u"]},
        {**good, "metadata": {"o": object()}},
        {**good, "metadata": "text"},
        {"user_id": "u"},
        "no dict",
    ]
    many = [{**good, "content": str(n)} for n in range(RECORDS_AT_ONCE_MAX + 6)]
    done = world.intake.submit_batch([*bad, *many])
    assert (done["accepted"], done["rejected"]) == (len(many), len(bad))
    assert done["record_ids"] == [line["record_id"] for line in world.lines()]
    assert world.contents() == [each["content"] for each in many]
    assert world.intake.submit_batch([]) == {"accepted": 0, "rejected": 0, "record_ids": []}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"content_type": "song"}, "content_type must be one of prompt, completion, conversation, workflow"),
        ({"session_id": ""}, "session_id must be"),
        ({"session_id": "s" * 257}, "session_id must be"),
        ({"user_id": "\ud83d"}, "user_id must be"),
        ({"content": b"bytes"}, "content must be a text"),
        ({"metadata": {"o": object()}}, "metadata cannot be written as JSON"),
        ({"metadata": {"o": "x" * 70_000}}, "metadata take more than 65,536 bytes"),
        ({"metadata": ["no", "dict"]}, "metadata must be a dict"),
    ],
)
def test_what_can_be_no_record_is_refused_in_one_sentence(world: World, changed: dict[str, Any], expected: str) -> None:
    members = {"user_id": "u", "session_id": "s", "content": "text", "content_type": "prompt"}
    with pytest.raises(ValueError, match=expected):
        world.intake.submit(**{**members, **changed})
    assert world.lines() == []


def test_figures_that_json_has_no_word_for_are_null(world: World) -> None:
    world.intake.submit("u", "s", "text", "prompt", {"latency_ms": float("nan"), "tokens": (1, 2)})
    assert world.lines()[0]["metadata"] == {"latency_ms": None, "tokens": [1, 2]}


class Gate:
    """Holds up whatever is written to a corpus until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached = threading.Event()
        self._may_go_on = threading.Event()
        writing = TrainingCorpus.writing

        @contextmanager
        def held_up(corpus: TrainingCorpus) -> Iterator[CorpusWriter]:
            self.reached.set()
            assert self._may_go_on.wait(60)
            with writing(corpus) as writer:
                yield writer

        monkeypatch.setattr(TrainingCorpus, "writing", held_up)

    def open(self) -> None:
        self._may_go_on.set()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.open()


def test_a_queue_writes_what_is_put(world: World) -> None:
    queue = CaptureQueue(world.intake, "u")
    texts = [f"text {n}" for n in range(200)]
    assert all(queue.put("s", text, "prompt", {"n": 1}) for text in texts)
    assert queue.flush(60)
    assert world.contents() == texts
    assert queue.stop(60)
    statistics = queue.statistics()
    assert (statistics.written, statistics.waiting, statistics.dropped, statistics.failed) == (200, 0, 0, 0)


def test_a_full_queue_drops_counts_and_neither_waits_nor_raises(
    world: World, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    queue = CaptureQueue(world.intake, "u", items_max=5, chars_max=1_000)
    assert queue.put("s", "under way", "prompt")
    assert gate.reached.wait(60)
    assert [queue.put("s", "x", "prompt") for _ in range(7)] == [True] * 5 + [False] * 2
    assert queue.statistics().dropped == 2
    assert not queue.flush(0)
    gate.open()
    assert queue.flush(60)
    assert queue.statistics().written == 6
    assert not queue.put("s", "x" * 1_001, "prompt")
    assert caplog.text.count("what comes is dropped") == 2  # once for each time that it fell behind
    assert queue.stop(60)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (("s", float("nan"), "prompt"), "content must be a text"),
        (("s", ["x"], "prompt"), "content must be a text"),
        (("s", "x", "prompt", 5), "metadata must be a dict"),
    ],
)
def test_a_queue_says_what_is_wrong_of_a_text(
    world: World, caplog: pytest.LogCaptureFixture, wrong: tuple[Any, ...], says: str
) -> None:
    queue = CaptureQueue(world.intake, "u")
    assert not queue.put(*wrong)
    assert f"a text cannot be captured: {says}" in caplog.text
    assert queue.statistics().dropped == 1


@pytest.mark.parametrize("wrong", [None, 5, "text"])
def test_what_is_no_list_is_refused(world: World, wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"^records must be a list, not "):
        world.intake.submit_batch(wrong)
    session = world.session()
    session.start()
    with pytest.raises(ValueError, match=r"^messages must be a list, not "):
        session.record_conversation(wrong)
    assert world.lines() == []


def test_a_queue_raises_for_nothing(world: World) -> None:
    queue = CaptureQueue(world.intake, "u")
    wrong: Any = None
    assert queue.put(wrong, wrong, wrong, wrong) is False
    assert queue.put("s", "text", "song") is True
    assert queue.put("s", "text", "prompt", wrong) is True
    assert queue.flush(60)
    assert (queue.statistics().written, queue.statistics().refused, queue.statistics().dropped) == (1, 1, 1)
    assert queue.stop(60)


@pytest.mark.parametrize("given_again", [False, True])
def test_what_waits_when_consent_is_withdrawn_is_never_written(world: World, gate: Gate, *, given_again: bool) -> None:
    queue = CaptureQueue(world.intake, "u")
    queue.put("s", "under way", "prompt")
    assert gate.reached.wait(60)
    for n in range(100):
        queue.put("s", str(n), "prompt")
    world.consent.revoke_consent("u")
    if given_again:
        world.opt_in()
    gate.open()
    assert queue.flush(60)
    assert world.contents() == []
    assert queue.statistics().refused == 101
    assert queue.put("s", "after", "prompt")
    assert queue.flush(60)
    assert world.contents() == (["after"] if given_again else [])
    assert queue.stop(60)


def test_stopping_drops_what_waits(world: World, gate: Gate) -> None:
    queue = CaptureQueue(world.intake, "u")
    queue.put("s", "under way", "prompt")
    assert gate.reached.wait(60)
    for n in range(10):
        queue.put("s", str(n), "prompt")
    assert not queue.stop(0)
    assert not queue.put("s", "late", "prompt")
    gate.open()
    assert queue.stop(60)
    assert world.contents() == ["under way"]
    assert queue.statistics().dropped == 11
    assert CaptureQueue(world.intake, "u").stop(0)


@contextmanager
def locked_database(world: World) -> Iterator[None]:
    """Somebody else holds the database of consent."""
    connection = sqlite3.connect(world.folder / "consent.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    yield
    connection.close()


@contextmanager
def no_folder(world: World) -> Iterator[None]:
    """Something else stands in the place of the folder."""
    (world.folder / "data").write_text("")
    yield
    (world.folder / "data").unlink()


@pytest.mark.parametrize("trouble", [locked_database, no_folder])
def test_failures_in_a_row_are_one_warning_and_a_count(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, trouble: Callable[[World], Any]
) -> None:
    world = World(tmp_path)
    consent = ConsentManager(tmp_path / "consent.db", busy_timeout_s=0)
    queue = CaptureQueue(TrainingDataIntake(consent, world.corpus, PIIScrubber(), DomainTagger()), "u")
    with trouble(world):
        for _ in range(3):
            assert queue.put("s", "lost", "prompt")
            assert queue.flush(60)
    assert queue.statistics().failed == 3
    assert [each.levelname for each in caplog.records] == ["WARNING"]
    assert queue.put("s", "kept", "prompt")
    assert queue.flush(60)
    assert world.contents() == ["kept"]
    assert queue.stop(60)


def test_a_queue_of_a_forked_process_begins_anew(world: World) -> None:
    queue = CaptureQueue(world.intake, "u")
    assert queue.put("s", "of the parent", "prompt")
    assert queue.flush(60)
    queue._process = -1  # as after a fork, which has no thread
    assert queue.put("s", "of the child", "prompt")
    assert queue.flush(60)
    assert world.contents() == ["of the parent", "of the child"]
    assert queue.statistics().written == 1
    assert queue.stop(60)
