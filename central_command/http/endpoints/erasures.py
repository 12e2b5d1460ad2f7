"""`DELETE /v1/contributors/{id}` and `GET /v1/erasures/{request}`: to be erased, and whether that is done.

Whoever knows a contributor's id may ask: it is a secret of the client that no answer shows. For a contributor who has
registered a key, the request must be signed with it, as for consent.
"""

import re

from quart import Blueprint, Response

from actors.consent.register import NotSigned
from actors.erasure.job import Report, TooManyErasures
from central_command.http.endpoints.consent import check_contributor_id, not_signed, proof_of
from central_command.http.gateway import Gateway
from central_command.http.requests.replies import Reply, error, json_reply
from persistence.journals.erasure_register import ErasureState

CONTRIBUTORS_PATH = "/v1/contributors"
ERASURES_PATH = "/v1/erasures"

_REQUEST = re.compile(r"\Aer_[0-9a-f]{16}\Z")


def erasure_routes(gateway: Gateway) -> Blueprint:
    """The endpoints."""
    routes = Blueprint("erasures", __name__)

    @routes.delete(f"{CONTRIBUTORS_PATH}/<contributor_id>")
    async def erase(contributor_id: str) -> Response:
        check_contributor_id(contributor_id)
        asked = await gateway.erase_contributor(contributor_id, proof_of(b""))
        if isinstance(asked, NotSigned):
            return not_signed(asked).response()
        return asked_reply(asked).response()

    @routes.get(f"{ERASURES_PATH}/<request>")
    async def report(request: str) -> Response:
        found = gateway.erasure(request) if _REQUEST.fullmatch(request) else None
        if found is None:
            return error(404, "There is no such request for erasure.").response()
        return json_reply(_members(found)).response()

    return routes


def asked_reply(asked: Report | TooManyErasures) -> Reply:
    """The answer to who has asked for somebody to be erased."""
    if isinstance(asked, TooManyErasures):
        sentence = "The server has noted as many requests for erasure as it may; its operator has to allow more."
        return error(507, sentence)
    return json_reply(_members(asked), 202)


def _members(report: Report) -> dict[str, object]:
    """What is said of a request; of what hinders it only that something does: the rest is the operator's."""
    erasure = report.erasure
    members: dict[str, object] = {
        "request": erasure.request,
        "state": erasure.state,
        "requested_at": erasure.requested_at,
    }
    if erasure.state is ErasureState.DONE:
        members |= {"done_at": erasure.done_at, "erased_lines": erasure.counts}
    elif report.hindered is not None:
        members["hindered"] = True
    return members
