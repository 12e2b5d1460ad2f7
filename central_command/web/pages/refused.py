"""`/refused`: dead letters listed by what they were refused for, shown with what they hold, and tried again."""

from collections.abc import Mapping
from typing import Final

from quart import Blueprint, Response, request

from central_command.access.tokens import Scope
from central_command.http.endpoints.refused import (
    FILTERS,
    LETTER_PATH,
    Refused,
    found_letter,
    page_of_letters,
    try_letter,
)
from central_command.http.requests.bodies import filled_in
from central_command.web.site import Site, part

PATH: Final = "/refused"
BODY_CHARS_SHOWN: Final = 65_536

TRIED: Final[Mapping[str, tuple[str, str]]] = {
    "taken": ("It is taken in.", "good"),
    "stays": ("It was tried, and stays refused: below is why.", "warn"),
}
"""What is said after a try, and in which tone."""


def refused_pages(site: Site) -> Blueprint:
    """The pages; without dead letters there are none, and the answer is 404."""
    routes = Blueprint("pages_refused", __name__)

    async def admitted() -> tuple[Refused, str]:
        by = await site.admit(Scope.ADMIN)
        return part(site.sources.offered.get("refused"), "This server shows no dead letters."), by

    @routes.get(PATH)
    async def letters() -> Response:
        known, _ = await admitted()
        page = await page_of_letters(known, filled_in())
        return site.page(
            "refused.html",
            title="Dead letters",
            letters=page.refused,
            cursor=page.next_cursor,
            is_first="cursor" not in request.args,
            chosen={name: request.args.get(name, "") for name in FILTERS},
        )

    @routes.get(f"{PATH}/<letter_id>")
    async def letter(letter_id: str) -> Response:
        known, _ = await admitted()
        found = found_letter(await known.desk.contents(letter_id))
        body = found.body
        return site.page(
            "letter.html",
            title=letter_id,
            letter=found.letter,
            body=None if body is None else body[:BODY_CHARS_SHOWN],
            body_chars=0 if body is None else len(body),
            is_cut=body is not None and len(body) > BODY_CHARS_SHOWN,
            all_of_it=LETTER_PATH.replace("<letter_id>", letter_id),
            tried=TRIED.get(request.args.get("tried", "")),
        )

    @routes.post(f"{PATH}/<letter_id>/retry")
    async def retry(letter_id: str) -> Response:
        known, by = await admitted()
        found = await try_letter(known, letter_id, by, site.replies)
        return site.sent_to(f"{PATH}/{letter_id}", tried="taken" if found["ok"] else "stays")

    return routes
