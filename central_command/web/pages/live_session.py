"""`/sessions/<id>/live`: what comes to an open session while somebody reads it, as server-sent events."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from functools import partial

import msgspec
from quart import Blueprint, Response, request

from central_command.access.tokens import Scope
from central_command.http.requests.bodies import ProblemError
from central_command.viewing.desk import UnableError
from central_command.viewing.open_sessions import OpenSession, OpenSessions
from central_command.viewing.records import Missing, MissingError
from central_command.web.looking import Subject, problem_of
from central_command.web.pages.viewer import DIGITS_MAX, Asked, number_asked, view_of
from central_command.web.session_steps import session_path
from central_command.web.site import Site, part


def live_session_pages(site: Site) -> Blueprint:
    """What follows an open session, for who administers: it is raw."""
    routes = Blueprint("pages_live_session", __name__)

    @routes.get("/sessions/<session_id>/live")
    async def live(session_id: str) -> Response:
        await site.admit(Scope.ADMIN)
        sessions = part(site.sources.offered.get("open_sessions"))
        behind = number_asked("from") - 1
        last = request.headers.get("Last-Event-ID", "")
        if last.isascii() and last.isdigit() and len(last) <= DIGITS_MAX:
            behind = int(last)
        _, authorization = site.access()
        events = Events(site, sessions, session_id, max(behind, 0), authorization.asked_again(Scope.ADMIN))
        await events.begin()
        return Response(events.written(), content_type="text/event-stream", headers={"Cache-Control": "no-store"})

    return routes


class Events:
    """What comes to an open session, as server-sent events: steps as HTML, and that it was closed."""

    def __init__(
        self,
        site: Site,
        sessions: OpenSessions,
        session_id: str,
        behind: int,
        may_still: Callable[[], Awaitable[bool]],
    ) -> None:
        """`may_still` says whether who follows may see more of it: a token is revoked meanwhile, a session ends."""
        self._site = site
        self._sessions = sessions
        self._session_id = session_id
        self._behind = behind
        self._may_still = may_still

    def __repr__(self) -> str:
        return f"<Events behind step {self._behind}>"

    async def begin(self) -> None:
        """Raise ProblemError where nobody more may follow, or there is no such open session."""
        try:
            found = await self._sessions.found(self._session_id)
            self._sessions.check_room()
        except UnableError as error:
            raise ProblemError(problem_of(error)) from None
        if found is None:
            raise ProblemError(problem_of(MissingError(Missing.NOT_THERE)))

    async def written(self) -> AsyncIterator[bytes]:
        """Yield events until the session is closed, the server stops, or who follows has gone, or may no more."""
        yield b"retry: 3000\n\n"
        try:
            async with aclosing(self._sessions.follow(self._session_id, self._behind)) as grown:
                async for session in grown:
                    if not await self._may_still():
                        return
                    if session is None:
                        yield b"event: closed\ndata: {}\n\n"
                        return
                    while self._behind < session.total:
                        yield await self._steps(session)
        except UnableError:
            return

    async def _steps(self, session: OpenSession) -> bytes:
        """One window of what is new."""
        asked = Asked(first=self._behind + 1)
        subject = Subject(session, self._sessions.settings)
        view = await self._sessions.look(partial(view_of, subject, asked=asked, is_whole=False))
        self._behind = view.window.last
        html = self._site.html(
            "session_steps.html",
            view=view,
            asked=asked,
            path_of=session_path,
            session_id=self._session_id,
            is_beside=False,
            is_appended=True,
        )
        data = msgspec.json.encode({"total": view.window.last, "turns": view.head.turns, "html": html})
        return b"event: steps\nid: %d\ndata: %s\n\n" % (self._behind, data)
