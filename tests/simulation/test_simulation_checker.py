"""The checker finds each kind of fault that is planted in what is stored, and nothing in what is right."""

import json
import re
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.simulation.checker import Checker
from tests.simulation.model import Belief, Model, Reply, Sent, SessionModel
from tests.simulation.randomness import stream
from tests.simulation.simulate import comparable
from tests.simulation.workload import SeededClient
from tests.simulation.world import World

SESSION = "sess_1"
CONTRIBUTOR = "c" * 32
AT = "2026-11-20T10:00:00.000000Z"
SERVER_KEY = "BN"


class Stored:
    """One closed session with two chunks as client, journals and databases hold it: all is well."""

    def __init__(self, root: Path) -> None:
        self.root = root
        world = World(1, root)
        world.accepts_gaps = False
        self.model = Model(world)
        client = SeededClient(SESSION, stream(1, "client"), contributor_id=CONTRIBUTOR, now_s=1_795_168_800.0)
        client.secret = b"k" * 32
        self.session = self.model.sessions[SESSION] = SessionModel(SESSION, CONTRIBUTOR)
        steps = [[client.step(kind) for kind in ("thought", "error", "resolution")] for _ in range(2)]
        bodies = [client.chunk_of(each) for each in steps]
        for number, body in enumerate([*bodies, client.close()]):
            sent = Sent(
                kind="CHUNK" if number < 2 else "SESSION_CLOSE",
                body=body,
                signature=json.loads(body)["attestation"]["session_hmac"],
                sequence=number,
                steps=steps[number] if number < 2 else [],
                chunk_sequence=number,
                metadata={"model_engine": "gpt-5.5", "task_complexity": "light"},
                belief=Belief.ACKNOWLEDGED,
                envelope_id=f"env_{number}",
            )
            self.session.sent.append(sent)
        refused = client.chunk_of([client.step("no such type")])
        self.refused = Sent(
            kind="CHUNK",
            body=refused,
            signature=json.loads(refused)["attestation"]["session_hmac"],
            sequence=3,
            is_acceptable=False,
            belief=Belief.REFUSED,
            code="schema",
        )
        self.session.sent.append(self.refused)
        all_steps = [step for each in steps for step in each]
        self.lines: dict[str, list[bytes]] = {
            "envelopes": [
                b'"envelope_id":"%s",%s' % (sent.envelope_id.encode(), sent.stored) for sent in self.session.sent[:3]
            ],
            "refused": [
                members(
                    envelope_id="env_r",
                    session_id=SESSION,
                    sequence=3,
                    session_hmac=self.refused.signature,
                    refused={"code": "schema"},
                    body=refused.decode(),
                )
            ],
            "trajectories": [
                members(
                    trajectory_id="traj_1",
                    session_id=SESSION,
                    trajectory_log=all_steps,
                    copied_from=[],
                    score={"totalPoints": 39},
                )
            ],
        }
        self.credits = [(CONTRIBUTOR, SESSION, 39.0)]
        self.status = "closed"
        self.refused_known: list[int] = []
        """The dead letters that sessions.db knows, where that is asked for."""
        self.dropped = b""

    def findings(self) -> list[str]:
        """Write it all and check it."""
        for journal, lines in self.lines.items():
            (self.root / journal).mkdir(exist_ok=True)
            text = b"".join(framed(number, line) for number, line in enumerate(lines, start=1))
            (self.root / journal / "2026-11-20.jsonl").write_bytes(text)
        (self.root / "refused" / "dropped.jsonl").write_bytes(self.dropped)
        with closing(sqlite3.connect(self.root / "ledger.db", isolation_level=None)) as ledger:
            ledger.execute("CREATE TABLE credits (contributor_id, session_id, points)")
            ledger.execute("CREATE TABLE balances (contributor_id, total_points)")
            ledger.executemany("INSERT INTO credits VALUES (?, ?, ?)", self.credits)
            ledger.execute("INSERT INTO balances SELECT contributor_id, sum(points) FROM credits GROUP BY 1")
        with closing(sqlite3.connect(self.root / "sessions.db", isolation_level=None)) as sessions:
            sessions.execute("CREATE TABLE sessions (session_id, status)")
            sessions.execute("INSERT INTO sessions VALUES (?, ?)", (SESSION, self.status))
            sessions.execute("CREATE TABLE refused_envelopes (n)")
            sessions.executemany("INSERT INTO refused_envelopes VALUES (?)", [(n,) for n in self.refused_known])
        checker = self.checker()
        checker.check(complete=True)
        return checker.found

    def checker(self) -> Checker:
        """A checker of what is written."""
        return Checker(self.model, self.root, {path: path.read_bytes() for path in self.root.glob("*/*.jsonl")})


def members(**values: Any) -> bytes:
    """Members of a line, without braces."""
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False).encode()[1:-1]


def framed(number: int, line: bytes) -> bytes:
    """A whole line with its number and checksum."""
    text = b'{%s,"received":{"n":%d,"at":"%s","batch":%d}' % (line, number, AT.encode(), number)
    return text + b',"crc32":"%08x"}\n' % zlib.crc32(text)


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    async def make() -> Stored:
        return Stored(tmp_path)

    return trio.run(make)


def test_it_finds_nothing_where_all_is_well(stored: Stored) -> None:
    assert stored.findings() == []


def close_twice(stored: Stored) -> None:
    close = members(envelope_id="env_x", session_id=SESSION, type="SERVER_CLOSE", closed_by="http_close")
    stored.session.http_close_asked = True
    stored.lines["envelopes"].append(close)


def close_unasked(stored: Stored) -> None:
    close = members(envelope_id="env_x", session_id=SESSION, type="SERVER_CLOSE", closed_by="http_close")
    stored.lines["envelopes"][2] = close
    stored.session.sent.pop(2)
    stored.session.sent[2].sequence = 2


def abandon_early(stored: Stored) -> None:
    close = members(envelope_id="env_x", session_id=SESSION, type="SERVER_CLOSE", closed_by="abandoned")
    stored.lines["envelopes"][2] = close


def tell_other_points(stored: Stored) -> None:
    stored.session.close_replies.append(Reply(200, {"closed": True, "points": 40}, 1))


def change_a_byte(stored: Stored) -> None:
    stored.lines["envelopes"][0] = stored.lines["envelopes"][0].replace(b"frontend-3", b"frontend-4")


def swap_ids(stored: Stored) -> None:
    stored.lines["envelopes"][0] = stored.lines["envelopes"][0].replace(b"env_0", b"env_9", 1)


def refuse_what_is_stored(stored: Stored) -> None:
    stored.session.sent[0].belief = Belief.REFUSED


def lose_a_step(stored: Stored) -> None:
    line = json.loads(b"{%s}" % stored.lines["trajectories"][0])
    line["trajectory_log"].pop()
    stored.lines["trajectories"][0] = members(**line)


def drop_the_letters_day(stored: Stored) -> None:
    stored.dropped = framed(1, members(dropped={"n": 1, "day": "2026-11-20", "files": 1, "size_bytes": 1}))


def change_a_letter(stored: Stored) -> None:
    stored.lines["refused"][0] = stored.lines["refused"][0].replace(b"no such type", b"no such TYPE")


def forget_a_dead_letter(stored: Stored) -> None:
    stored.lines["refused"].clear()


PLANTED: dict[str, tuple[Callable[[Stored], object], str]] = {
    "an acknowledged envelope is lost": (lambda s: s.lines["envelopes"].pop(1), "acknowledged and is lost"),
    "an envelope is there twice": (
        lambda s: s.lines["envelopes"].append(s.lines["envelopes"][0]),
        "in the journal twice",
    ),
    "a byte is changed": (change_a_byte, "not in the journal as it was sent"),
    "an envelope was never sent": (lambda s: s.session.sent.pop(0), "never sent"),
    "an envelope has another id": (swap_ids, "under another id"),
    "a refused envelope is stored": (refuse_what_is_stored, "was refused .* and is in the journal"),
    "a session is closed twice": (close_twice, "closed 2 times"),
    "a session is closed without being asked": (close_unasked, "nobody asked for"),
    "a session is abandoned too early": (abandon_early, "abandoned too early"),
    "a dead letter is lost": (forget_a_dead_letter, "refused for its schema and is lost"),
    "a dead letter is of something else": (change_a_letter, "was never sent"),
    "a dropped letter is not known": (drop_the_letters_day, "know 0 of 1 dropped letters"),
    "a dead letter is there twice": (lambda s: s.lines["refused"].append(s.lines["refused"][0]), "is there twice"),
    "a dead letter is of nothing refusable": (
        lambda s: setattr(s.refused, "is_acceptable", True),
        "not refusable",
    ),
    "a sequence number is missing": (lambda s: s.lines["envelopes"].pop(1), "has used the sequence numbers"),
    "a step is lost": (lose_a_step, "exactly its accepted steps"),
    "the score is wrong": (
        lambda s: s.lines["trajectories"].__setitem__(0, s.lines["trajectories"][0].replace(b"39", b"40")),
        "has 40 points",
    ),
    "a session has two trajectories": (
        lambda s: s.lines["trajectories"].append(s.lines["trajectories"][0]),
        "two trajectories",
    ),
    "a credit is there twice": (lambda s: s.credits.append(s.credits[0]), "the credits are"),
    "a credit is missing": (lambda s: s.credits.clear(), "the credits are"),
    "a credit is somebody else's": (lambda s: s.credits.__setitem__(0, ("d" * 32, SESSION, 39.0)), "the balances are"),
    "a session was told other points": (tell_other_points, "told 40 points, not 39"),
    "a session is left active": (lambda s: setattr(s, "status", "active"), "left active"),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_it_finds_what_is_planted(stored: Stored, planted: str) -> None:
    plant, expected = PLANTED[planted]
    plant(stored)
    found = stored.findings()
    assert any(re.search(expected, each) for each in found), found


def test_it_finds_a_damaged_line(stored: Stored) -> None:
    stored.findings()
    path = stored.root / "envelopes" / "2026-11-20.jsonl"
    path.write_bytes(path.read_bytes().replace(b"frontend-3", b"frontend-4", 1))
    assert "line 1 of envelopes fails its checksum" in stored.checker().found


def test_it_finds_a_torn_end(stored: Stored) -> None:
    stored.findings()
    path = stored.root / "envelopes" / "2026-11-20.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    assert "a file of envelopes does not end with a whole line" in stored.checker().found


# The judgement of answers


class Answers:
    """A session with one envelope under way, and what was durable when."""

    def __init__(self, root: Path) -> None:
        self.world = World(1, root)
        self.model = Model(self.world)
        self.session = SessionModel(SESSION, CONTRIBUTOR)
        self.sent = Sent(kind="CHUNK", body=b"", signature="s" * 64, sequence=0)
        self.session.sent.append(self.sent)

    def answer(self, status: int = 200, *, sent_at: int = 10, in_order: bool = True, **body: Any) -> bool:
        return self.model.answered(self.session, self.sent, Reply(status, body, sent_at), in_order=in_order)


@pytest.fixture
async def answers(tmp_path: Path) -> Answers:
    return Answers(tmp_path)


async def test_an_acknowledgement_after_the_sync_is_right(answers: Answers) -> None:
    answers.world.durable.lines[answers.sent.signature] = 9
    assert answers.answer(accepted=True, envelope_id="env_1")
    assert answers.answer(accepted=True, envelope_id="env_1", duplicate=True)
    assert answers.world.violations == []


@pytest.mark.parametrize("durable_at", [None, 11])
async def test_an_acknowledgement_before_the_sync_is_found(answers: Answers, durable_at: int | None) -> None:
    if durable_at is not None:
        answers.world.durable.lines[answers.sent.signature] = durable_at
    answers.answer(accepted=True, envelope_id="env_1")
    assert "acknowledged before it was durable" in answers.world.violations[0]


async def test_two_ids_for_one_envelope_are_found(answers: Answers) -> None:
    answers.world.durable.lines[answers.sent.signature] = 1
    answers.answer(accepted=True, envelope_id="env_1")
    answers.answer(accepted=True, envelope_id="env_2")
    assert "acknowledged as env_1 and as env_2" in answers.world.violations[0]


async def test_an_acceptance_against_the_schema_is_found(answers: Answers) -> None:
    answers.sent.is_acceptable = False
    answers.answer(accepted=True, envelope_id="env_1")
    assert "does not follow the schema" in answers.world.violations[0]


@pytest.mark.parametrize("code", ["sequence_mismatch", "unknown_session", "session_closed", "invalid_hmac", "schema"])
async def test_a_refusal_without_a_reason_is_found(answers: Answers, code: str) -> None:
    answers.answer(accepted=False, code=code)
    assert "was refused" in answers.world.violations[0]


async def test_a_refusal_with_a_reason_is_right(answers: Answers) -> None:
    """An envelope that overtook another is refused and will be sent again; one after the close is refused for good."""
    assert not answers.answer(accepted=False, code="sequence_mismatch", in_order=False)
    assert answers.sent.belief is Belief.UNKNOWN
    answers.session.closing = True
    assert answers.answer(accepted=False, code="session_closed")
    assert answers.world.violations == []


async def test_a_dead_letter_that_is_not_durable_is_found(answers: Answers) -> None:
    answers.sent.is_acceptable = False
    answers.answer(accepted=False, code="schema")
    assert "before its dead letter was durable" in answers.world.violations[0]


async def test_a_passing_trouble_says_nothing(answers: Answers) -> None:
    assert not answers.answer(503, accepted=False, code="storage_failed")
    assert answers.sent.belief is Belief.UNKNOWN
    assert answers.world.violations == []


async def test_other_statuses_are_found(answers: Answers) -> None:
    answers.answer(404)
    assert "was answered 404" in answers.world.violations[0]


async def test_a_key_must_be_durable_and_the_same_each_time(answers: Answers) -> None:
    model, session, durable = answers.model, answers.session, answers.world.durable
    durable.keys[SESSION] = (SERVER_KEY, 5)
    assert model.opened(session, Reply(200, {"server_public_key": SERVER_KEY}, 6))
    assert answers.world.violations == []
    model.opened(session, Reply(200, {"server_public_key": "BX"}, 6))
    assert "was given two server keys" in answers.world.violations[1]
    model.opened(session, Reply(200, {"server_public_key": SERVER_KEY}, 4))
    assert "answered before it was durable" in answers.world.violations[2]


def test_a_day_may_be_dropped_at_another_time_when_a_state_is_recovered_again_but_not_another_day() -> None:
    """Seed 1050 once called the time a difference: each recovery dropped the day by itself."""
    path = Path("/data/refused/dropped.jsonl")
    line = (
        b'{"dropped":{"n":1,"day":"2026-11-19"},"received":{"n":1,"at":"2026-11-20T00:00:02Z","batch":1},"crc32":"1"}\n'
    )
    later = line.replace(b":02Z", b":03Z").replace(b'"crc32":"1"', b'"crc32":"2"')
    assert comparable(path, later) == comparable(path, line)
    assert comparable(path, line.replace(b"-19", b"-18")) != comparable(path, line)
    assert comparable(path.with_name("2026-11-20.jsonl"), later) != comparable(path.with_name("2026-11-20.jsonl"), line)
