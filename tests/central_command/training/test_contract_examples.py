"""Examples as applications have them, by the sections of what they were written after, with this package's name."""

# ruff: noqa: PLC0415 (the examples import where they do)

import asyncio
import inspect
import json
import os
import queue
import stat
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from central_command import training
from tests.server_process import REPOSITORY

FIELDS = ["record_id", "user_id", "session_id", "timestamp", "domain", "content_type", "content", "metadata"]


def test_the_quick_start_does_what_it_says(home: Path) -> None:
    """Section 7."""
    from central_command.training import (
        CaptureSession,
        ConsentManager,
        DomainTagger,
        PIIScrubber,
        TrainingCorpus,
        get_or_create_user_id,
    )

    user_id = get_or_create_user_id()
    consent = ConsentManager()  # db at ~/.groove/consent.db
    corpus = TrainingCorpus()  # JSONL at ~/.groove/training_data/
    scrubber = PIIScrubber()
    tagger = DomainTagger()

    consent.record_consent(user_id, opted_in=True, consent_version="1.0")

    session_id = uuid.uuid4().hex
    capture = CaptureSession(user_id, session_id, consent, corpus, scrubber, tagger)
    capture.start()
    capture.record_prompt("Summarize the city council meeting notes", metadata={"model_name": "qwen3-moe-a3b"})
    capture.record_completion(
        "The city council voted 7-2 to approve...",
        metadata={"model_name": "qwen3-moe-a3b", "token_count": 142, "latency_ms": 820},
    )
    capture.record_conversation(
        [
            {"role": "user", "content": "Summarize the city council meeting notes"},
            {"role": "assistant", "content": "The city council voted 7-2 to approve..."},
        ],
        metadata={"turn_count": 2, "total_tokens": 168},
    )
    (path,) = (home / ".groove" / "training_data").glob("*.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    summary = capture.end()
    assert list(summary) == ["session_id", "records_captured", "bytes_captured", "domains", "duration_seconds"]
    assert summary["session_id"] == session_id
    assert summary["records_captured"] == 3
    assert summary["bytes_captured"] == sum(len(line["content"].encode()) for line in lines)
    assert summary["domains"] == {"journalism": 3}
    assert 0 <= summary["duration_seconds"] < 600

    from central_command.training.intake import TrainingDataIntake

    intake = TrainingDataIntake(consent, corpus, scrubber, tagger)
    assert intake.delete_user(user_id) == {"consent_revoked": True, "records_deleted": 3}
    assert list((home / ".groove" / "training_data").glob("*.jsonl")) == []


def test_the_alternative_with_an_intake_does_what_it_says() -> None:
    """Section 7, the end of it, and the variants of section 3.2."""
    consent, corpus = training.ConsentManager(), training.TrainingCorpus()
    intake = training.TrainingDataIntake(consent, corpus, training.PIIScrubber(), training.DomainTagger())
    user_id, session_id = training.get_or_create_user_id(), uuid.uuid4().hex
    assert intake.submit(user_id, session_id, "nobody asked", "prompt") is None
    consent.record_consent(user_id=user_id, opted_in=True, consent_version="1.0")
    messages = [{"role": "user", "content": "mail alice@example.com"}]
    ids = [
        intake.submit(user_id, session_id, "a prompt", "prompt", {"model_name": "qwen3-moe-a3b"}),
        intake.submit(user_id, session_id, "a completion", "completion", metadata={"finish_reason": "stop"}),
        intake.submit(user_id, session_id, json.dumps(messages), "conversation", metadata={"turn_count": 1}),
        intake.submit(user_id, session_id, "finished an article", "workflow", metadata={"workflow_type": "journalism"}),
    ]
    assert all(each is not None and uuid.UUID(hex=each).hex == each for each in ids)
    assert intake.submit_batch(
        [
            {"user_id": user_id, "session_id": session_id, "content": "one", "content_type": "prompt"},
            {"user_id": "else", "session_id": session_id, "content": "two", "content_type": "prompt"},
            {"user_id": user_id, "session_id": session_id, "content": "three"},
        ]
    ).keys() == {"accepted", "rejected", "record_ids"}
    assert intake.delete_user(user_id) == {"consent_revoked": True, "records_deleted": 5}


def test_a_record_stands_on_disk_as_section_4_says(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_796_000_000.25)
    consent, corpus = training.ConsentManager(), training.TrainingCorpus()
    intake = training.TrainingDataIntake(consent, corpus, training.PIIScrubber(), training.DomainTagger())
    consent.record_consent("f8e7d6c5b4a3", opted_in=True, consent_version="1.0")
    record_id = intake.submit(
        "f8e7d6c5b4a3",
        "sess_001",
        "Write a lead paragraph about the city council vote on bob@example.com proposed budget, café",
        "prompt",
        {"model_name": "qwen3-moe-a3b", "workflow_type": "journalism"},
    )
    line = (home / ".groove" / "training_data" / "training_2026-11-30.jsonl").read_bytes()
    assert (
        line
        == (
            b'{"record_id":"%s","user_id":"f8e7d6c5b4a3","session_id":"sess_001","timestamp":1796000000.25,'
            b'"domain":"journalism","content_type":"prompt",'
            b'"content":"Write a lead paragraph about the city council vote on [EMAIL] proposed '
            b'budget, caf\xc3\xa9","metadata":{"model_name":"qwen3-moe-a3b","workflow_type":"journalism"},'
            b'"consent_version":"1.0"}\n'
        )
        % str(record_id).encode()
    )
    assert list(json.loads(line)) == [*FIELDS, "consent_version"]


def test_consent_answers_as_section_2_3_says() -> None:
    consent = training.ConsentManager()
    assert consent.is_opted_in("u") is False
    assert consent.revoke_consent("u") is False
    assert consent.get_consent_history("u") == []
    consent.record_consent("u", True, "1.0", {"ui": "settings"})  # noqa: FBT003
    assert consent.is_opted_in("u") is True
    assert consent.get_opted_in_count() == 1
    assert consent.request_deletion("u") == {"user_id": "u", "consent_records": 1, "status": "pending"}
    assert consent.revoke_consent("u") is True
    assert consent.is_opted_in("u") is False
    assert consent.get_opted_in_count() == 0
    given, withdrawn = consent.get_consent_history("u")
    assert isinstance(given, training.ConsentRecord)
    assert (given.user_id, given.opted_in, given.consent_version) == ("u", True, "1.0")
    assert given.metadata == {"ui": "settings"}
    assert withdrawn.opted_in is False
    assert given.timestamp <= withdrawn.timestamp <= time.time()
    assert training.CURRENT_CONSENT_VERSION == "1.0"


def test_who_agreed_to_other_terms_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    consent = training.ConsentManager()
    consent.record_consent("u", opted_in=True, consent_version="0.9")
    assert consent.is_opted_in("u") is False
    consent.record_consent("u", opted_in=True, consent_version="1.0")
    assert consent.is_opted_in("u") is True
    monkeypatch.setattr("central_command.training.consent.CURRENT_CONSENT_VERSION", "1.1")
    assert consent.is_opted_in("u") is False
    assert consent.get_opted_in_count() == 0
    with pytest.raises(PermissionError, match="opted in"):
        capture_session(consent).start()
    consent.record_consent("u", opted_in=True, consent_version="1.1")
    assert consent.is_opted_in("u") is True


def capture_session(consent: training.ConsentManager) -> training.CaptureSession:
    """Of the user `u`."""
    corpus = training.TrainingCorpus()
    return training.CaptureSession("u", "s", consent, corpus, training.PIIScrubber(), training.DomainTagger())


def test_figures_are_as_section_2_4_says(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_796_000_000.25)
    corpus, consent = training.TrainingCorpus(), training.ConsentManager()
    stats = training.CorpusStats(corpus, consent)
    assert stats.summary() == {"total_records": 0, "storage_size_mb": 0.0, "opted_in_users": 0, "domains": {}}
    assert stats.domain_breakdown() == {}
    intake = training.TrainingDataIntake(consent, corpus, training.PIIScrubber(), training.DomainTagger())
    consent.record_consent("u", opted_in=True, consent_version="1.0")
    for text in ("a press release for the newsroom", "a journalist's headline", "fix the bug in the api code " * 2_000):
        assert intake.submit("u", "s", text, "prompt") is not None
    assert stats.summary() == {
        "total_records": 3,
        "storage_size_mb": 0.06,
        "opted_in_users": 1,
        "domains": {"journalism": 2, "code": 1},
    }
    growth = stats.daily_growth(days=7)
    assert len(growth) == 7
    assert growth[-1] == {"date": "2026-11-30", "records": 3}
    assert [each["records"] for each in growth[:-1]] == [0] * 6
    assert stats.domain_breakdown() == {
        "journalism": {"count": 2, "percentage": 66.7},
        "code": {"count": 1, "percentage": 33.3},
    }
    stats.print_report()
    printed = capsys.readouterr().out
    assert "records         3" in printed
    assert "journalism              2   66.7 %" in printed


def test_downloading_takes_every_filter_of_section_3_4(tmp_path: Path) -> None:
    corpus = training.TrainingCorpus()
    for n, (user_id, domain) in enumerate([("a", "code"), ("a", "journalism"), ("b", "code")]):
        corpus.add_record(training.TrainingRecord(f"r{n}", user_id, "s", 1_790_000_000.5 + n, domain, "prompt", "x"))
    output = tmp_path / "my_groove_data.jsonl"

    def exported(**chosen: Any) -> list[str]:
        count = corpus.export_jsonl(output_path=str(output), **chosen)
        ids = [json.loads(line)["record_id"] for line in output.read_text().splitlines()]
        assert count == len(ids)
        return ids

    assert exported(domain=None, after=None) == ["r0", "r1", "r2"]
    assert exported(domain="code") == ["r0", "r2"]
    assert exported(after=1_790_000_000.5) == ["r1", "r2"]
    assert exported(user_id="a") == ["r0", "r1"]
    assert exported(domain="code", user_id="b", after=1.0) == ["r2"]
    assert exported(domain="nothing") == []
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"home", "my_groove_data.jsonl"}


def test_the_recommended_worker_and_executor_of_section_3_3_work() -> None:
    consent, corpus = training.ConsentManager(), training.TrainingCorpus()
    intake = training.TrainingDataIntake(consent, corpus, training.PIIScrubber(), training.DomainTagger())
    user_id = training.get_or_create_user_id()
    consent.record_consent(user_id, opted_in=True, consent_version="1.0")
    capture_queue: queue.Queue[dict[str, Any] | None] = queue.Queue(maxsize=10_000)

    def capture_worker() -> None:
        while (item := capture_queue.get()) is not None:
            intake.submit(
                user_id=user_id,
                session_id=item["session_id"],
                content=item["content"],
                content_type=item["content_type"],
                metadata=item.get("metadata"),
            )

    worker = threading.Thread(target=capture_worker, daemon=True)
    worker.start()
    capture_queue.put_nowait({"session_id": "s", "content": "one", "content_type": "prompt"})
    capture_queue.put_nowait(None)
    worker.join(60)

    async def capture_submit() -> object:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, intake.submit, user_id, "s", "two", "prompt", {})

    assert asyncio.run(capture_submit()) is not None
    assert training.CorpusStats(corpus, consent).summary()["total_records"] == 2


def test_capture_is_enabled_by_opting_in_and_by_nothing_else(home: Path) -> None:
    """Section 3.3."""
    assert training.is_capture_enabled() is False
    assert not (home / ".groove").exists()
    user_id = training.get_or_create_user_id()
    assert (home / ".groove" / "user_id").read_text().strip() == user_id
    assert uuid.UUID(hex=user_id)
    assert training.get_or_create_user_id() == user_id
    assert training.is_capture_enabled() is False
    consent = training.ConsentManager()
    consent.record_consent(user_id, opted_in=True, consent_version="1.0")
    assert training.is_capture_enabled() is True
    consent.revoke_consent(user_id)
    assert training.is_capture_enabled() is False
    consent.record_consent(user_id, opted_in=True, consent_version="1.0")
    assert training.is_capture_enabled() is True
    consent.record_consent(user_id, opted_in=False, consent_version="1.0")
    assert training.is_capture_enabled() is False
    (home / ".groove" / "consent.db.withdrawn").unlink()  # only a shorter way
    assert training.is_capture_enabled() is False


def test_everything_lies_where_it_should_and_for_nobody_else(home: Path) -> None:
    before = os.umask(0)
    try:
        consent, corpus = training.ConsentManager(), training.TrainingCorpus()
        user_id = training.get_or_create_user_id()
        consent.record_consent(user_id, opted_in=True, consent_version="1.0")
        intake = training.TrainingDataIntake(consent, corpus, training.PIIScrubber(), training.DomainTagger())
        intake.submit(user_id, "s", "one", "prompt")
        consent.revoke_consent(user_id)
    finally:
        os.umask(before)
    groove = home / ".groove"
    assert {path.name for path in groove.iterdir()} == {
        "user_id",
        "consent.db",
        "consent.db.withdrawn",
        "training_data",
    }
    for path in (groove, *groove.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def signature(function: Any) -> str:
    """Without annotations of types, and without what this project adds behind a star."""
    named = [each for each in inspect.signature(function).parameters.values() if each.kind is not each.KEYWORD_ONLY]
    return ", ".join(str(each.replace(annotation=inspect.Parameter.empty)) for each in named)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (training.TrainingDataIntake, "consent_manager, corpus, scrubber, tagger"),
        (training.TrainingDataIntake.submit, "self, user_id, session_id, content, content_type, metadata=None"),
        (training.TrainingDataIntake.submit_batch, "self, records"),
        (training.TrainingDataIntake.delete_user, "self, user_id"),
        (training.CaptureSession, "user_id, session_id, consent_manager, corpus, scrubber, tagger"),
        (training.CaptureSession.start, "self"),
        (training.CaptureSession.record_prompt, "self, text, metadata=None"),
        (training.CaptureSession.record_completion, "self, text, metadata=None"),
        (training.CaptureSession.record_conversation, "self, messages, metadata=None"),
        (training.CaptureSession.end, "self"),
        (training.CaptureSession.is_active, "self"),
        (training.ConsentManager, "db_path='~/.groove/consent.db'"),
        (training.ConsentManager.record_consent, "self, user_id, opted_in, consent_version, metadata=None"),
        (training.ConsentManager.is_opted_in, "self, user_id"),
        (training.ConsentManager.revoke_consent, "self, user_id"),
        (training.ConsentManager.request_deletion, "self, user_id"),
        (training.ConsentManager.get_opted_in_count, "self"),
        (training.ConsentManager.get_consent_history, "self, user_id"),
        (training.CorpusStats, "corpus, consent_manager"),
        (training.CorpusStats.summary, "self"),
        (training.CorpusStats.daily_growth, "self, days=7"),
        (training.CorpusStats.domain_breakdown, "self"),
        (training.CorpusStats.print_report, "self"),
        (training.TrainingCorpus.export_jsonl, "self, output_path, domain=None, after=None, user_id=None"),
        (training.PIIScrubber.scrub, "self, text"),
        (training.DomainTagger.tag, "self, text"),
        (training.DomainTagger, ""),
        (training.PIIScrubber, ""),
    ],
)
def test_signatures_are_those_of_section_2(function: Any, expected: str) -> None:
    assert signature(function) == expected


def test_every_exported_name_is_there_and_no_other() -> None:
    for name in training.__all__:
        assert getattr(training, name) is not None
    with pytest.raises(AttributeError, match="nothing_of_this"):
        training.nothing_of_this  # noqa: B018


def test_the_first_use_on_the_page_works(home: Path) -> None:
    """docs/training.md."""
    page = (REPOSITORY / "docs" / "training.md").read_text()
    exec(page.partition("```python\n")[2].partition("```")[0], {})
    (path,) = (home / ".groove" / "training_data").glob("*.jsonl")
    assert json.loads(path.read_text())["content"] == "Summarize the meeting notes for [EMAIL]"
