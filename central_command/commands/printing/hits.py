"""What a search has found: on a terminal the piece of each hit's text below its name, elsewhere a line for each."""

import sys
from collections.abc import Sequence

from rich.text import Text

from central_command.commands.printing.terminal import clean, console
from central_command.search.questions import Answer, Hit
from central_command.terminal.listing import Column, Listing

_INDENT = "    "
_DAY_CHARS = 10


def print_hits(answer: Answer) -> None:
    """Print a page of hits on standard output, as it suits what that is."""
    if not sys.stdout.isatty():
        sys.stdout.writelines(f"{line}\n" for line in _listing(answer.hits).lines())
        return
    shown = console()
    for hit in answer.hits:
        shown.print(_heading(hit))
        shown.print(_snippet(hit))


def _heading(hit: Hit) -> Text:
    place = "" if hit.step is None else f" step {hit.step}"
    said = " ".join(filter(None, (hit.type, hit.tool)))
    about = "  ".join(filter(None, (said, hit.provider, hit.model, (hit.started_at or "")[:_DAY_CHARS])))
    return Text.assemble((clean(f"{hit.session_id}{place}"), "bold"), clean(f"  {about}"))


def _snippet(hit: Hit) -> Text:
    text = Text(_INDENT)
    for part in hit.snippet:
        text.append(clean(part.text), "bold reverse" if part.hit else "")
    return text


def _listing(hits: Sequence[Hit]) -> Listing:
    names = ("session", "step", "type", "tool", "provider", "model", "domain", "tier", "outcome", "contributor")
    listing = Listing(*map(Column, (*names, "started at", "score", "field", "snippet")))
    for hit in hits:
        listing.add(
            hit.session_id,
            hit.step,
            hit.type,
            hit.tool,
            hit.provider,
            hit.model,
            hit.domain,
            hit.tier,
            hit.outcome,
            hit.contributor,
            hit.started_at,
            hit.score,
            hit.field,
            "".join(part.text for part in hit.snippet),
        )
    return listing
