"""What is refused before a route is looked for, said as a page to who asks for one: a browser, never a client.

The contract's endpoints and the API answer with JSON whoever asks. Elsewhere `Accept` tells: HTML and no JSON is a
browser's. The page is made of one that was rendered when the server began, so it costs what the JSON does.
"""

import re
from collections.abc import Callable, Iterable
from typing import Final

from central_command.http.requests.replies import HTML_TYPE, TEXT_TYPE, HttpProblem, Reply

NO_PAGES: Final = ("/api/", "/v1/", "/assets/")
"""Below these there are no pages."""

_TARGET: Final = re.compile(rb"\A[A-Za-z]{1,32} ([!-~]{1,2048})")
_ACCEPT: Final = re.compile(rb"\naccept:([^\r\n]{0,2048})", re.IGNORECASE)


def is_page_path(path: str) -> bool:
    """Whether a page may be what is asked for by a path."""
    return not path.startswith(NO_PAGES) and path not in {"/metrics", "/openapi.json"}


def accepts_page(accept: str) -> bool:
    """Whether `Accept` is that of who wants a page, and would not rather have JSON."""
    return "text/html" in accept and "application/json" not in accept


class RefusalPages:
    """Says what is wrong with a request to whoever shows pages; `page` makes one of it, without the framework."""

    def __init__(self, page: Callable[[HttpProblem], str]) -> None:
        self._page = page

    def __repr__(self) -> str:
        return "<RefusalPages>"

    def reply(self, path: str, headers: Iterable[tuple[bytes, bytes]], found: HttpProblem) -> Reply | None:
        """A page, or a sentence for htmx; None where neither is asked for. The headers' names are in lower case."""
        if not is_page_path(path):
            return None
        accept = list[str]()
        for name, value in headers:
            if name == b"hx-request":
                return Reply(found.status, found.sentence.encode(), found.all_headers, None, found.code, TEXT_TYPE)
            if name == b"accept":
                accept.append(value.decode("latin-1"))
        if not accepts_page(",".join(accept)):
            return None
        return Reply(found.status, self._page(found).encode(), found.all_headers, None, found.code, HTML_TYPE)

    def reply_to_head(self, head: bytes, found: HttpProblem) -> Reply | None:
        """The same to a head that cannot be read as one, as far as it tells who sent it."""
        target = _TARGET.match(head)
        return self.reply(
            "" if target is None else target[1].decode("ascii"),
            [(b"accept", each.strip()) for each in _ACCEPT.findall(head)],
            found,
        )
