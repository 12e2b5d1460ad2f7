"""What pages are to the application, which knows none of them: their routes, their frame, and errors as pages."""

from collections.abc import Sequence
from typing import Protocol

from quart import Blueprint, Response

from central_command.http.requests.bodies import Reader
from central_command.http.requests.replies import HttpProblem, Replies
from central_command.http.settings import HttpSettings


class Pages(Protocol):
    """Pages for browsers, beside the API; who asks for one is let in as there."""

    def routes(self, http: HttpSettings, reader: Reader, replies: Replies) -> Sequence[Blueprint]:
        """All pages, and what they load; `/` is the first of them."""
        ...

    def framed(self, title: str, content: str) -> str:
        """A page around `content`, HTML, for what is no page of theirs; it leads to others who has signed in."""
        ...

    def refusal(self, found: HttpProblem) -> str:
        """What is wrong with a request of which nothing more is known, as a page."""
        ...

    def problem(self, found: HttpProblem) -> Response | None:
        """What is wrong with the current request as a page; None where no browser asks for one."""
        ...
