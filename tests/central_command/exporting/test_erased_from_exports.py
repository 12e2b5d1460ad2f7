"""Who is erased is told which exports hold something of them, and the next look at such an export takes it out."""

from functools import partial
from pathlib import Path

import pytest
import trio

from actors.erasure.job import Report
from persistence.journals.erasure_register import ErasureSubject
from tests.actors.erasure.test_job import done, erased
from tests.central_command.exporting.conftest import contents, make
from tests.curated import curate, leave_sessions
from tests.running_service import running
from tests.signing_client import CONTRIBUTOR
from tests.submitted_texts import OTHER, USER, leave_texts


async def test_an_erasure_names_the_exports_that_hold_something_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By the server itself, beside which exports were made; afterwards nothing of it is in them."""
    root, target = tmp_path / "data", tmp_path / "out"
    await leave_sessions(root, "sess_a", "sess_b")
    await curate(root)
    export = partial(make, root, target, "jsonl", dedup="none")
    assert (await trio.to_thread.run_sync(export)).manifest.kept == 2
    assert any(b"sess_a: done" in text for text in contents(target).values())
    async with running(root) as run:
        with caplog.at_level("INFO", "central_command.storage"):
            report = await erased(run, ErasureSubject.CONTRIBUTOR, CONTRIBUTOR)
        assert report.erasure.exports == [str(target)]
        assert f"exports that hold something of it, which it cannot reach: {target}" in caplog.text
    again = await trio.to_thread.run_sync(partial(export, is_incremental=True))
    assert (again.manifest.seen, again.manifest.kept, again.manifest.left_out) == (0, 0, {})
    assert again.taken_out == {"erased": 2}
    assert (again.rewritten, again.removed) == ((), ("jsonl/train-00000.jsonl",))
    assert not any(b"sess_a" in text for text in contents(target).values())


async def test_an_erasure_of_a_user_names_the_exports_that_hold_a_record_of_theirs(tmp_path: Path) -> None:
    """Also one that lies in the data directory, because it was asked for over HTTP: that is named, and not searched."""
    root, target = tmp_path / "data", tmp_path / "data" / "exports" / "exp_1"
    await leave_texts(root, "what the one said")
    await leave_texts(root, "what the other said", user_id=OTHER)
    await curate(root)
    export = partial(make, root, target, "records")
    target.parent.mkdir()
    assert (await trio.to_thread.run_sync(export)).manifest.kept == 2
    async with running(root) as run:
        asked = await run.service.erase_user(USER)
        assert isinstance(asked, Report)
        report = await done(run, asked.erasure.request)
        assert report.erasure.exports == [str(target)]
    assert (await trio.to_thread.run_sync(partial(export, is_incremental=True))).taken_out == {"erased": 1}
    texts = contents(target).values()
    assert not any(b"the one" in text for text in texts)
    assert any(b"the other" in text for text in texts)
