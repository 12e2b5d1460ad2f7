"""Looks at sessions: as many at once as may, and a sentence for whoever comes then."""

from pathlib import Path

import pytest

from central_command.viewing.desk import UnableError, ViewerDesk
from central_command.viewing.settings import ViewerSettings


async def test_too_many_looks_are_refused_for_now(tmp_path: Path) -> None:
    desk = ViewerDesk(tmp_path, ViewerSettings(concurrency_max=1, waiting_max=0))
    with desk._threads.asked(), pytest.raises(UnableError, match="Too many look at sessions just now") as refused:
        await desk.look(lambda _: None)
    assert (refused.value.code, refused.value.is_for_now) == ("viewer_busy", True)
    assert await desk.look(lambda _: 7) == 7
