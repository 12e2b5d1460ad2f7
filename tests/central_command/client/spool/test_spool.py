"""The spool: what is in it survives, in order, and its sequence never breaks."""

import json
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.envelopes.attestation import generate_key_pair
from central_command.client.contract.signing import ATTESTATION_BYTES_MAX, Draft, draft_envelope
from central_command.client.spool.records import (
    Backlog,
    Opening,
    SessionDoneError,
    SessionState,
    SpoolError,
    SpoolFullError,
    SpoolSettings,
    Unsigned,
    spool_path,
)
from central_command.client.spool.spool import Spool
from tests.server_process import REPOSITORY

URL = "http://server.test"
OPENING = Opening(
    provider="codex", model="gpt-5.5", machine_fingerprint="a" * 64, app_version_hash="b" * 64, client_version="0.1.0"
)
SERVER_KEY = generate_key_pair().public_key_base64


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "spool.db"


def draft(text: str = "x", session_id: str = "sess_1") -> Draft:
    return draft_envelope({"envelope_id": "env_1", "session_id": session_id}, {"text": text})


def add(spool: Spool, session_id: str = "sess_1", **options: Any) -> None:
    spool.add_session(session_id, url=URL, opening=OPENING, **options)


def deliver(spool: Spool, session_id: str = "sess_1") -> list[dict[str, Any]]:
    """Everything that waits, as it would be sent."""
    bodies = []
    while envelope := spool.next_waiting(session_id):
        bodies.append(json.loads(envelope.body))
        spool.accepted(session_id, envelope.position)
    return bodies


def test_it_is_private(path: Path) -> None:
    """0600 in a directory of 0700, and no lock is left behind."""
    with Spool(path) as spool:
        add(spool)
        files = list(path.parent.iterdir())
        assert len(files) == 3  # with the rollback journal, and the lock of this process
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert "secret" not in repr(spool)
        assert "key" not in repr(spool.session("sess_1")).replace("public_key", "")
    assert not list(path.parent.glob("*owner*"))


def test_where_it_is() -> None:
    """In the state directory; a relative one is none (XDG Base Directory Specification)."""
    assert spool_path({"XDG_STATE_HOME": "/x"}) == Path("/x/central-command/spool.db")
    assert spool_path({"XDG_STATE_HOME": "x"}) == Path.home() / ".local/state/central-command/spool.db"


def test_drafts_are_signed_once_and_in_order(path: Path) -> None:
    """Before and after the opening alike; feedback leaves the sequence; the same bytes also after a restart."""
    with Spool(path) as spool:
        add(spool)
        spool.put("sess_1", "CHUNK", draft("0"), steps=1)
        spool.put("sess_1", "USER_FEEDBACK", draft("1"))
        with pytest.raises(ValueError, match="not open"):
            spool.next_waiting("sess_1")
        spool.opened("sess_1", SERVER_KEY)
        spool.put("sess_1", "CHUNK", draft("2"), steps=1)
        first = spool.next_waiting("sess_1")
        assert first == spool.next_waiting("sess_1")
    with Spool(path) as spool:
        assert spool.claim("sess_1")
        spool.opened("sess_1", generate_key_pair().public_key_base64)  # a second answer changes nothing
        assert first == spool.next_waiting("sess_1")
        spool.put("sess_1", "SESSION_CLOSE", draft("3"), ends=True)
        bodies = deliver(spool)
        assert [(body["text"], body["attestation"]["sequence"]) for body in bodies] == [
            *(("0", 0), ("1", 1), ("2", 1), ("3", 2))
        ]
        assert spool.session("sess_1").state is SessionState.ENDED
        assert spool.session("sess_1").envelopes_accepted == 4


def test_an_answer_counts_once(path: Path) -> None:
    """Also when two processes hear of it."""
    with Spool(path) as spool:
        add(spool)
        position = spool.put("sess_1", "CHUNK", draft(), steps=3)
        for _ in range(2):
            spool.accepted("sess_1", position)
            spool.refused("sess_1", position, "no")
        session = spool.session("sess_1")
        assert (session.envelopes_accepted, session.envelopes_refused, session.steps_accepted) == (1, 0, 3)


def test_kept_steps_become_one_chunk(path: Path) -> None:
    """All of them, once, in order."""
    with Spool(path) as spool:
        add(spool)
        spool.keep_steps("sess_1", [b"1", b"2"], source_state=b"two")
        spool.keep_steps("sess_1", [b"3"])
        logs = []

        def make(_session: Any, log: bytes) -> Draft:
            logs.append(log)
            return draft()

        assert spool.put_kept_steps("sess_1", make) == 3
        assert spool.put_kept_steps("sess_1", make) == 0
        assert logs == [b"[1,2,3]"]
        session = spool.session("sess_1")
        assert (session.chunks, session.steps, session.source_state) == (1, 3, b"two")


@pytest.mark.parametrize("settings", [SpoolSettings(envelopes_max=2), SpoolSettings(bytes_max=130)])
def test_at_a_bound_nothing_is_put_and_no_sequence_used(path: Path, settings: SpoolSettings) -> None:
    """What ends a session is always taken; with room again, chunks are, too."""
    with Spool(path, settings=settings) as spool:
        add(spool)
        spool.opened("sess_1", SERVER_KEY)
        spool.put("sess_1", "CHUNK", draft(), steps=1)
        if settings.envelopes_max == 2:
            spool.put("sess_1", "CHUNK", draft(), steps=1)
        with pytest.raises(SpoolFullError, match="is full"):
            spool.put("sess_1", "CHUNK", draft("dropped"), steps=1)
        with pytest.raises(SpoolFullError):
            spool.keep_steps("sess_1", [b"1"])
        spool.put("sess_1", "USER_FEEDBACK", draft())
        bodies = deliver(spool)
        spool.put("sess_1", "CHUNK", draft("late"), steps=1)
        bodies += deliver(spool)
        assert [body["text"] for body in bodies][-1] == "late"
        chunks = [body["attestation"]["sequence"] for body in bodies if body["text"] != "x" or body is bodies[0]]
        assert chunks[-1] == spool.session("sess_1").next_sequence - 1
        spool.count_dropped(envelopes=1, steps=200)
        assert (spool.statistics().envelopes_dropped, spool.statistics().steps_dropped) == (1, 200)
        assert (spool.statistics().envelopes, spool.statistics().bytes) == (0, 0)


def test_a_session_that_is_moved_starts_anew_with_what_waits(path: Path) -> None:
    """A new key and a sequence from 0, signed or not; what comes later follows."""
    with Spool(path) as spool:
        add(spool, source="file", source_state=b"half")
        spool.opened("sess_1", SERVER_KEY)
        spool.put("sess_1", "CHUNK", draft("0"), steps=1)
        spool.put("sess_1", "CHUNK", draft("1 }"), steps=1)
        assert len([spool.next_waiting("sess_1")]) == 1
        spool.accepted("sess_1", 0)
        old_key = spool.session("sess_1").public_key
        moved = spool.move("sess_1", "sess_2", "it was closed")
        assert moved is not None
        assert (moved.session_id, moved.opened, moved.next_sequence, moved.source_state) == (
            "sess_2",
            False,
            1,
            b"half",
        )
        assert moved.public_key != old_key
        spool.put("sess_1", "SESSION_CLOSE", draft("2"), ends=True)
        spool.opened("sess_2", SERVER_KEY)
        bodies = deliver(spool, "sess_2")
        assert [(body["text"], body["session_id"], body["attestation"]["sequence"]) for body in bodies] == [
            *(("1 }", "sess_2", 0), ("2", "sess_2", 1))
        ]
        old = spool.session("sess_1")
        assert (old.state, old.moved_to, old.problem) == (SessionState.FAILED, "sess_2", "it was closed")
        assert spool.current("sess_1").session_id == "sess_2"
        assert spool.move("sess_2", "sess_3", "nothing waits") is None


def test_moves_without_an_acceptance_end(path: Path) -> None:
    """So that a fault that no new session mends does not go on for ever."""
    with Spool(path) as spool:
        add(spool)
        spool.put("sess_1", "CHUNK", draft(), steps=1)
        for number in (1, 2, 3):
            assert spool.move(f"sess_{number}", f"sess_{number + 1}", "no") is not None
        assert spool.move("sess_4", "sess_5", "no") is None


def test_done_sessions_take_only_late_feedback(path: Path) -> None:
    """A closed one goes on with it; a failed one takes nothing and has forgotten its keys."""
    with Spool(path) as spool:
        for session_id in ("sess_1", "sess_2"):
            add(spool, session_id)
            spool.opened(session_id, SERVER_KEY)
            spool.put(session_id, "SESSION_CLOSE", draft(session_id=session_id), ends=True)
        deliver(spool)
        spool.closed("sess_1", points=1.5, steps=3)
        assert (spool.session("sess_1").points, spool.session("sess_1").credited_steps) == (1.5, 3)
        with pytest.raises(SessionDoneError):
            spool.put("sess_1", "CHUNK", draft(), steps=1)
        spool.put("sess_1", "USER_FEEDBACK", draft())
        assert spool.session("sess_1").state is SessionState.ENDED
        assert len(deliver(spool)) == 1
        spool.fail("sess_2", "no")
        with pytest.raises(SessionDoneError):
            spool.put("sess_2", "USER_FEEDBACK", draft())
        assert spool.session("sess_2").public_key == ""


def test_done_sessions_without_a_source_are_forgotten(path: Path) -> None:
    """All but so many; those with a source never, because it would be sent again."""
    with Spool(path, settings=SpoolSettings(done_sessions_max=2)) as spool:
        for number in range(6):
            add(spool, f"sess_{number}", source="file" if number == 0 else None)
            spool.closed(f"sess_{number}")
        add(spool, "sess_last")
        with pytest.raises(KeyError):
            spool.session("sess_1")
        assert spool.session("sess_5").state is SessionState.CLOSED
        assert [session.session_id for session in spool.sessions_of("file")] == ["sess_0"]


def test_only_what_nobody_alive_owns_is_claimed(path: Path) -> None:
    """By a second spool; sessions with a source only on demand, and of another server never."""
    with Spool(path) as second:
        with Spool(path) as first:
            add(first)
            add(first, "sess_source", source="file")
            first.add_session("sess_other", url="http://other.test", opening=OPENING)
            assert second.claim_orphans(URL) == []
            assert not second.claim("sess_1")
            assert first.claim_orphans(URL) == []
            first.release("sess_source")
            assert second.claim("sess_source")
            second.release("sess_source")
        assert [session.session_id for session in second.claim_orphans(URL)] == ["sess_1"]
        assert [session.session_id for session in second.claim_orphans(URL, with_source=True)] == ["sess_source"]
        assert not second.claim("sess_forgotten")


def test_what_was_put_survives_kill_9(path: Path) -> None:
    """And the sessions of the killed process can be claimed at once."""
    script = f"""
import os, signal
from pathlib import Path
from central_command.client.contract.signing import Draft
from central_command.client.spool.spool import Spool
from central_command.client.spool.records import Opening
spool = Spool(Path({str(path)!r}))
opening = Opening(provider="codex", model="m", machine_fingerprint="a", app_version_hash="b", client_version="0")
spool.add_session("sess_1", url={URL!r}, opening=opening)
for number in range(5):
    spool.put("sess_1", "CHUNK", Draft(b'{{"session_id":"sess_1"', b',"n":%d}}' % number), steps=1)
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL
    with Spool(path) as spool:
        assert [session.session_id for session in spool.claim_orphans(URL)] == ["sess_1"]
        spool.opened("sess_1", SERVER_KEY)
        assert [body["n"] for body in deliver(spool)] == list(range(5))
        assert len(list(path.parent.glob("*owner*"))) == 1


def test_threads_share_it(path: Path) -> None:
    """Each envelope has a sequence number of its own, whoever puts it."""
    with Spool(path) as spool, Spool(path) as other:
        add(spool)
        threads = [
            threading.Thread(
                target=lambda each=each: [each.put("sess_1", "CHUNK", draft(), steps=1) for _ in range(10)]
            )
            for each in (spool, spool, other)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        spool.opened("sess_1", SERVER_KEY)
        assert [body["attestation"]["sequence"] for body in deliver(spool)] == list(range(30))


def test_a_file_that_is_no_spool_is_one_sentence(path: Path) -> None:
    """It names the file, and the file stays as it is."""
    path.parent.mkdir()
    path.write_bytes(b"something else" * 100)
    with pytest.raises(SpoolError, match=r"spool\.db cannot be opened"):
        Spool(path)
    assert path.read_bytes().startswith(b"something else")
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(SpoolError, match="Cannot keep a spool"):
        Spool(path / "spool.db")


def test_space_is_given_back(path: Path) -> None:
    """The file of a spool that was emptied is small again."""
    with Spool(path) as spool:
        add(spool)
        for _ in range(20):
            spool.put("sess_1", "CHUNK", draft("x" * 100_000), steps=1)
        full = path.stat().st_size
        spool.fail("sess_1", "no")
        assert path.stat().st_size < full / 4


def test_several_are_put_at_once_or_not_at_all(path: Path) -> None:
    """Positions and sequence numbers follow each other; the state is that of all of them."""
    chunks = [Unsigned(kind="CHUNK", draft=draft(str(number)), steps=2) for number in range(3)]
    with Spool(path, settings=SpoolSettings(envelopes_max=3)) as spool:
        add(spool, source="file")
        spool.opened("sess_1", SERVER_KEY)
        assert spool.put_many("sess_1", chunks, source_state=b"three") == 0
        with pytest.raises(SpoolFullError):
            spool.put_many("sess_1", chunks, source_state=b"six")
        session = spool.session("sess_1")
        assert (session.chunks, session.steps, session.next_sequence, session.source_state) == (3, 6, 3, b"three")
        assert spool.put_many("sess_1", [Unsigned(kind="SESSION_CLOSE", draft=draft("end"))], ends=True) == 3
        with pytest.raises(SessionDoneError, match="has ended"):
            spool.put_many("sess_1", chunks[:1])
        backlog = spool.backlog("sess_1")
        bodies = deliver(spool)
        assert [body["attestation"]["sequence"] for body in bodies] == [0, 1, 2, 3]
        assert (backlog.envelopes, backlog.first) == (4, 0)
        assert spool.backlog("sess_1") == Backlog(envelopes=0, bytes=0, first=None)


def test_what_waits_behind_a_refusal_can_be_taken_back(path: Path) -> None:
    """The session has ended; its state is made of what the server has; a second call changes nothing."""
    told = []

    def restate(state: bytes, chunks: Any) -> bytes:
        told.append((state, list(chunks)))
        return b"one"

    with Spool(path) as spool:
        add(spool, source="file", source_state=b"")
        spool.opened("sess_1", SERVER_KEY)
        chunks = [Unsigned(kind="CHUNK", draft=draft(str(number)), steps=number) for number in (1, 2, 3)]
        spool.put_many("sess_1", chunks, source_state=b"three")
        spool.accepted("sess_1", 0)
        for position in (1, 1, 2):
            spool.take_back("sess_1", position, "no", restate)
        assert told == [(b"three", [(1, True), (2, False), (3, False)])]
        session = spool.session("sess_1")
        assert (session.state, session.source_state, session.problem) == (SessionState.ENDED, b"one", "no")
        assert (session.envelopes_accepted, session.envelopes_refused, session.steps_accepted) == (1, 1, 1)
        assert spool.next_waiting("sess_1") is None


@pytest.mark.parametrize("encode", [msgspec.msgpack.encode, msgspec.json.encode], ids=["of a file", "recorded"])
def test_a_spool_of_before_there_were_keys_says_for_whom_its_sessions_are(
    path: Path, encode: Callable[[object], bytes]
) -> None:
    """As far as the program that put them has noted it; what waits in it is sent as before."""
    with Spool(path) as spool:
        add(spool, source="codex:1", source_state=encode({"contributor_id": "c" * 32, "more": 1}))
        add(spool, "sess_2")
        spool.put("sess_1", "CHUNK", draft(), steps=1)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("ALTER TABLE sessions DROP COLUMN contributor_id")
        connection.execute("PRAGMA user_version = 2")
    with Spool(path) as spool:
        assert spool.session("sess_1").opening.contributor_id == "c" * 32
        assert spool.session("sess_2").opening.contributor_id is None
        assert spool.claim("sess_1")
        spool.opened("sess_1", SERVER_KEY)
        assert len(deliver(spool)) == 1


def test_what_was_never_answered_can_be_forgotten(path: Path) -> None:
    """Sessions that were given up for that reason, of that source, and nothing else."""
    with Spool(path) as spool:
        for name, source in (("sess_1", "codex:1"), ("sess_2", "codex:1"), ("sess_3", "codex:2")):
            add(spool, name, source=source)
            spool.opened(name, SERVER_KEY)
            spool.put(name, "CHUNK", draft(session_id=name), steps=1)
        spool.accepted("sess_2", 0)
        for name in ("sess_1", "sess_2", "sess_3"):
            spool.fail(name, "anew")
        spool.forget_unsent("codex:1", ["another reason", "ane_"])
        assert len(spool.sessions_of("codex:1")) == 2
        spool.forget_unsent("codex:1", ["an"])
        assert [each.session_id for each in spool.sessions_of("codex:1")] == ["sess_2"]
        assert len(spool.sessions_of("codex:2")) == 1


def test_what_waits_to_be_signed_is_counted_as_large_as_it_will_be(path: Path) -> None:
    """At least, and by no more than an attestation: so a bound holds when the session is opened, too."""
    with Spool(path) as spool:
        add(spool)
        for number in range(3):
            spool.put("sess_1", "CHUNK", draft(str(number)), steps=1)
        before = spool.backlog("sess_1")
        assert spool.statistics().bytes == before.bytes
        spool.opened("sess_1", SERVER_KEY)
        spool.waiting("sess_1", envelopes_max=9, bytes_max=10_000)
        signed = spool.backlog("sess_1")
        assert signed.bytes <= before.bytes < signed.bytes + 3 * ATTESTATION_BYTES_MAX
        assert spool.statistics().bytes == signed.bytes
