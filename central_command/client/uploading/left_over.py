"""Sessions that were begun of files that can be read no more: what was signed of them stands in the spool alone.

An agent clears away its old sessions, a file is written over, a folder is renamed. Whoever uploads or watches next
delivers what is left of those, wherever the files lay, and closes their sessions, as the next recorder does with what
was recorded.
"""

from collections.abc import Callable, Container

from central_command.client.delivering.deliverer import Waiting
from central_command.client.spool.records import SpoolError, StoredSession
from central_command.client.uploading.authoring import Work
from central_command.client.uploading.feeding import Feeder, NotSentError
from central_command.client.uploading.history import (
    WITHDRAWN,
    History,
    family_of,
    is_gone,
    is_unfinished,
    state_of,
    steps_waiting,
)
from central_command.client.uploading.names import path_of
from central_command.client.uploading.report import FileReport, describe_kept
from central_command.client.uploading.standing import ConsentStanding


def left_over(history: History, *, fed: Container[str] = (), read: Container[str] = ()) -> list[StoredSession]:
    """Of each source with a session that is not done, the first one, if its file is gone.

    `fed` are sources whose files were found, wherever they lie now, `read` the kept paths where those of other sources
    were: what lay there before is gone, too.
    """
    found: dict[str, StoredSession] = {}
    for session in history.unfinished():
        source = session.source or ""
        if source not in fed and source not in found and (state_of(session).path in read or is_gone(session)):
            found[source] = session
    return [*found.values()]


async def deliver(
    session: StoredSession, feeder: Feeder, consent: ConsentStanding, on_wait: Callable[[Waiting], None]
) -> bool:
    """Deliver what was signed of the source of `session`, and close it; False when another program is at it.

    The caller is within `Feeder.delivering`. Raises NotSentError.
    """
    work = _work_of(session)
    with feeder.history.claimed(family_of(work.source)) as is_claimed:
        try:
            now = await feeder.threads.keep(lambda: feeder.history.sessions(work.source)) if is_claimed else []
        except SpoolError as error:
            raise NotSentError(str(error)) from error
        left = [each for each in now if is_unfinished(each)]
        if not left:
            return False
        if any(each.problem == WITHDRAWN and not each.opened for each in left) and not await consent.is_given_again():
            raise NotSentError(WITHDRAWN)
        await feeder.feed(work, None, close=True, on_wait=on_wait)
    return True


async def reported(
    session: StoredSession, feeder: Feeder, consent: ConsentStanding, *, given_up: NotSentError | None = None
) -> FileReport | None:
    """Deliver as `deliver` does, and report on it; None when another program is at it.

    `given_up` says why it is not even tried.
    """
    history, failure = feeder.history, given_up
    try:
        if failure is None and not await deliver(session, feeder, consent, lambda _waiting: None):
            return None
    except NotSentError as error:
        failure = error
    try:
        now = tuple(await feeder.threads.keep(lambda: history.sessions(session.source or "")))
    except SpoolError as error:
        now, failure = (), NotSentError(str(error))
    steps = steps_waiting(now)
    return FileReport(
        path=path_of(state_of(session).path),
        notes=("its file is gone: what was signed of it is sent from the spool",),
        sessions=now,
        problem=None if failure is None else str(failure),
        kept=describe_kept(steps, history.url) if failure is not None and steps else None,
        unreachable=failure is not None and failure.unreachable,
        status=None if failure is None else failure.status,
    )


def _work_of(session: StoredSession) -> Work:
    state = state_of(session)
    return Work(
        source=session.source or "",
        path=state.path,
        provider=session.opening.provider,
        model=session.opening.model,
        agent_role=state.metadata.get("agent_role") or "agent",
        agent_id=state.metadata.get("agent_id") or "",
    )
