"""A small run of `tests.erasure_proof`."""

from pathlib import Path

from tests.erasure_proof import Size, prove


def test_who_is_erased_under_load_and_kills_is_gone_and_all_others_are_as_they_were(tmp_path: Path) -> None:
    trial = prove(tmp_path, Size(sessions=60, theirs=10, clients=3, kills=1), timeout_s=180)
    assert trial.erased_lines["trajectories"] == 10
    assert trial.erased_lines["corpus"] >= 8
    assert len(trial.accepted) > 0
