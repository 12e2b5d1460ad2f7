"""What `verify --deep` finds: lines that were changed together with their checksums, and the databases after them."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.audit.examination import Examination
from actors.trajectories.settings import ScoringSettings
from persistence.settings.storage import StorageSettings
from persistence.upkeep.rebuilding import rebuild
from persistence.upkeep.verification import verify
from tests.dead_letters import with_body_changed
from tests.persistence.upkeep.harms import change, execute, line_with, lines_of
from tests.running_service import running
from tests.signing_client import CONTRIBUTOR
from tests.stored_state import findings

APPLIED_AT = "2026-11-20T10:00:00.000000Z"

Harm = Callable[[Path], None]

TOLD, ODD = b'"session_id":"sess_told"', b'"session_id":"sess_odd"'


async def examined(root: Path, scoring: ScoringSettings | None = None) -> tuple[list[str], list[str]]:
    """The findings and the notes of a closer look."""
    examination = Examination(scoring or ScoringSettings())
    found = await verify(root, StorageSettings(), applied_at=APPLIED_AT, closer_look=examination)
    return found, examination.notes()


def alter(journal: str, having: bytes, old: bytes, new: bytes) -> Harm:
    return lambda root: change(root, journal, having, old, new)


def swap_steps(root: Path) -> None:
    line = line_with(root, "trajectories", TOLD)
    first, second = re.findall(rb'\{"step":[12],.*?\}', line)[:2]
    change(root, "trajectories", TOLD, first + b"," + second, second + b"," + first)


def give_a_chunk_to_another_session(root: Path) -> None:
    left = b'"session_id":"sess_left_1"'
    change(root, "envelopes", left, b'"sequence":0', b'"sequence":1')
    change(root, "envelopes", left, left, b'"session_id":"sess_open"')


def leave_feedback_out(root: Path) -> None:
    line = line_with(root, "trajectories", TOLD)
    (feedback,) = re.findall(rb'"feedback":\[\{.*?\}\]', line)
    change(root, "trajectories", TOLD, feedback, b'"feedback":[]')


def give_a_refusal_another_body(root: Path) -> None:
    line = line_with(root, "refused", TOLD)
    change(root, "refused", TOLD, line, with_body_changed(line, b'"step":6', b'"step":7'))


def give(**parts: float) -> Harm:
    """Change parts of a score; those that the others add up to are as they were."""

    def do(root: Path) -> None:
        line = line_with(root, "trajectories", TOLD)
        (text,) = re.findall(rb'"score":(\{.*?\})', line)
        new = json.dumps(json.loads(text) | parts, separators=(",", ":")).encode()
        change(root, "trajectories", TOLD, text, new)

    return do


def run(sql: str) -> Harm:
    return lambda root: execute(root, "sessions.db", sql)


NOT_SIGNED = "its signature is not that of its text"
OTHER = b"e" * 32

HARMS: dict[str, tuple[Harm, str]] = {
    "another contributor in a chunk": (alter("envelopes", TOLD, CONTRIBUTOR.encode(), OTHER), NOT_SIGNED),
    "another content of a step": (alter("envelopes", TOLD, b'"content":"step 1 ', b'"content":"step 9 '), NOT_SIGNED),
    "another sequence in a chunk": (alter("envelopes", b'"sequence":5', b'"sequence":5', b'"sequence":4'), NOT_SIGNED),
    "another signature": (alter("envelopes", TOLD, b'"session_hmac":"', b'"session_hmac":"0'), NOT_SIGNED),
    "another signal in feedback": (alter("envelopes", b'"modified"', b'"modified"', b'"accepted"'), NOT_SIGNED),
    "another outcome in a close": (alter("envelopes", b'"SUCCESS"', b'"SUCCESS"', b'"CRASH"'), NOT_SIGNED),
    "another own id of the client": (
        alter("envelopes", TOLD, b'"client_envelope_id":"env_client', b'"client_envelope_id":"env_Client'),
        NOT_SIGNED,
    ),
    "another session in a chunk": (give_a_chunk_to_another_session, NOT_SIGNED),
    "another body of a refusal": (give_a_refusal_another_body, NOT_SIGNED),
    "a refusal that is not of its body": (
        alter("refused", TOLD, b'"type":"CHUNK"', b'"type":"CHONK"'),
        "it says something else of its body than stands there",
    ),
    "another contributor in a trajectory": (
        alter("trajectories", TOLD, CONTRIBUTOR.encode(), OTHER),
        f'its contributor_id is "{OTHER.decode()}", and its session\'s envelopes give "{CONTRIBUTOR}"',
    ),
    "another content in a trajectory": (
        alter("trajectories", TOLD, b'"content":"step 1 ', b'"content":"step 9 '),
        "its trajectory_log is not what",
    ),
    "another order of steps": (swap_steps, "its trajectory_log is not what"),
    "another model": (alter("trajectories", TOLD, b'"gpt-5.5"', b'"o3-----"'), "its metadata is not what"),
    "another outcome in a trajectory": (
        alter("trajectories", TOLD, b'"outcome":{"status":"SUCCESS"', b'"outcome":{"status":"CRASH"'),
        "its outcome is not what",
    ),
    "another sum of tokens": (
        alter("trajectories", TOLD, b'"total_tokens":49,"unique', b'"total_tokens":949,"unique'),
        "its total_tokens is 949, and its session's envelopes give 49",
    ),
    "a tool more": (
        alter("trajectories", TOLD, b'"unique_tools_used":[]', b'"unique_tools_used":["a"]'),
        'its unique_tools_used is ["a"], and its session\'s envelopes give []',
    ),
    "types of steps that it has not": (
        alter("trajectories", TOLD, b'{"thought":7}', b'{"thought":6,"resolution":1}'),
        "its step_type_distribution is",
    ),
    "a chunk more": (
        alter("trajectories", TOLD, b'"total_chunks":2', b'"total_chunks":3'),
        "its total_chunks is 3, and its session's envelopes give 2",
    ),
    "no gap": (alter("trajectories", TOLD, b'{"before":5,"missing":3}', b""), "its sequence_gaps is [], and"),
    "another link": (
        alter("trajectories", ODD, b'"direction":"sent"', b'"direction":"received"'),
        "its coordination_links is not what",
    ),
    "feedback that is left out": (leave_feedback_out, "it holds 0 feedback, and its session has 1 before its end"),
    "another end": (
        alter("trajectories", TOLD, b'"closed_by":"session_close"', b'"closed_by":"http_close"'),
        'its closed_by is "http_close", and its session\'s envelopes give "session_close"',
    ),
    "another enrichment": (
        alter("trajectories", TOLD, b'"model_verified":"pending"', b'"model_verified":"yes"'),
        "its enrichment is not what",
    ),
    "copies of what no line before it holds": (
        alter(
            "trajectories",
            TOLD,
            b'"copied_steps":0,"copied_from":[]',
            b'"copied_steps":3,"copied_from":'
            b'[{"from_step":2,"to_step":4,"session_id":"sess_http","trajectory_id":"traj_1"}]',
        ),
        "its steps 2 to 4 are said to stand in session 'sess_http', and no line before it of that session holds them",
    ),
    "copies that it does not name": (
        alter("trajectories", TOLD, b'"copied_steps":0', b'"copied_steps":3'),
        "its copied_steps is 3, and its session's envelopes give 0",
    ),
    "another time": (
        alter("trajectories", TOLD, b'"time_shift_s":null', b'"time_shift_s":9'),
        "its time_shift_s is 9, and its session's envelopes give null",
    ),
    "9,999 points": (give(totalPoints=9_999), "its totalPoints are 9999.0, and its parts add up to 35.0"),
    "9,999 points by a multiplier that no setting gives": (
        give(modelMultiplier=9_999 / 7, totalPoints=9_999),
        "its modelMultiplier is 1428.428",
    ),
    "more base points than steps": (give(basePoints=100, totalPoints=500), "its basePoints is 100, where its steps"),
    "points for corrections that are none": (give(correctionBonus=10, totalPoints=45), "its correctionBonus is 10"),
    "points for recovery without an error": (give(errorRecoveryBonus=3, totalPoints=38), "its errorRecoveryBonus is 3"),
    "points for a heavy task that is none": (give(complexityBonus=7, totalPoints=42), "its complexityBonus is 7"),
    "quality without a resolution": (give(qualityBonus=3, totalPoints=38), "its qualityBonus is 3, where its steps"),
    "a sealed secret of another session": (
        run("UPDATE sessions SET shared_secret = (SELECT shared_secret FROM sessions WHERE session_id = 'sess_open')"),
        "shared_secret of session sess_told is damaged or belongs to another row",
    ),
    "another public key of the server": (
        run("UPDATE sessions SET server_public_key = client_public_key WHERE session_id = 'sess_open'"),
        "the keys of session 'sess_open' do not belong together",
    ),
    "another public key of the client": (
        run("UPDATE sessions SET client_public_key = server_public_key WHERE session_id = 'sess_open'"),
        "the keys of session 'sess_open' do not belong together",
    ),
}


@pytest.fixture(autouse=True)
def _nothing_settles(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server runs here whose sums could become right."""
    monkeypatch.setattr("persistence.upkeep.verification.SETTLING_S", 0.0)


async def test_nothing_is_found_where_all_is_well(odd: Path) -> None:
    """Whatever clients write, in whatever order chunks come, however a session ends; twice, as nothing is changed."""
    for _ in range(2):
        assert await findings(odd) == []
        found, notes = await examined(odd)
        assert found == []
        assert notes == ["signatures that verify: 17; trajectories stitched and scored anew: 6"]


@pytest.mark.parametrize("harm", HARMS)
async def test_harm_is_named(odd: Path, harm: str) -> None:
    """Also when the databases were made anew from the changed lines, so that they agree with them."""
    do, sentence = HARMS[harm]
    do(odd)
    await rebuild(odd, StorageSettings(), applied_at=APPLIED_AT)
    found, _ = await examined(odd)
    assert any(sentence in finding for finding in found), found


async def test_points_that_other_settings_explain_are_no_fault(odd: Path) -> None:
    """They are noted, together for a model, with what would be otherwise."""
    found, notes = await examined(odd, ScoringSettings(model_tiers={"gpt-5.5": 4}, correction_multiplier=11))
    assert found == []
    assert any("5 trajectories of model 'gpt-5.5' would be scored otherwise" in note for note in notes), notes
    assert any("(modelMultiplier; the first is line 1)" in note for note in notes), notes


async def test_what_cannot_be_checked_without_keys_is_said(odd: Path) -> None:
    """Without a master key no signature is; after a loss of the openings it is the same, with another reason."""
    (odd / "keys" / "master.key").rename(odd / "master.key")
    found, notes = await examined(odd)
    assert found == []
    assert notes[1:] == ["17 signatures were not checked: there is no master key here that fits"]
    (odd / "sessions.db").unlink()
    (odd / "master.key").rename(odd / "keys" / "master.key")
    async with running(odd):
        pass
    found, notes = await examined(odd)
    assert found == []
    assert notes[1:] == [
        "17 signatures were not checked: their sessions' keys are lost (those of 7 sessions are) or do not open"
    ]


async def test_with_another_master_key_that_alone_is_said_of_keys(odd: Path) -> None:
    path = odd / "keys" / "master.key"
    path.write_text("A" * 43 + "=")
    found, notes = await examined(odd)
    assert len(found) == 1
    assert "is not the one that sealed this data directory's sessions" in found[0]
    assert "17 signatures were not checked: there is no master key here that fits" in notes


async def test_it_looks_at_what_is_served(tmp_path: Path) -> None:
    """Lines that the databases have not seen yet are looked at as well."""
    async with running(tmp_path / "data") as service:
        client = await service.open("sess_1")
        await service.send(client.chunk(2))
        await service.send(client.close())
        found, notes = await examined(tmp_path / "data")
        assert (found, notes[0]) == ([], "signatures that verify: 2; trajectories stitched and scored anew: 1")
        assert len(lines_of(tmp_path / "data", "envelopes")) == 2
