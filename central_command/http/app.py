"""The HTTP application: its endpoints, and what happens to every request before and after them."""

import logging
import re
from collections.abc import Callable
from http import HTTPStatus

import trio
from quart import Response, request
from quart.globals import request_ctx
from quart_trio import QuartTrio
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed, NotFound

from actors.envelopes.settings import SchemaSettings
from central_command.http.description.openapi import openapi_routes
from central_command.http.endpoints.batch import BatchEndpoint
from central_command.http.endpoints.consent import Desk, consent_routes
from central_command.http.endpoints.embeddings import EMBED_PATHS, Embedder, embedding_endpoints
from central_command.http.endpoints.erasures import erasure_routes
from central_command.http.endpoints.exports import Exports, export_routes
from central_command.http.endpoints.health import health_routes
from central_command.http.endpoints.ingest import EnvelopeIntake, EnvelopeReader, direct_routes, ingest_endpoint
from central_command.http.endpoints.intake import Intake, intake_routes
from central_command.http.endpoints.jobs import AdminJobs, job_routes
from central_command.http.endpoints.models import model_routes
from central_command.http.endpoints.sessions import session_routes
from central_command.http.endpoints.statistics import statistics_routes
from central_command.http.gateway import Gateway
from central_command.http.requests.bodies import AdmittedRequest, ProblemError, Reader
from central_command.http.requests.direct import DirectEndpoint
from central_command.http.requests.exchange import Edge
from central_command.http.requests.limits import AddressLimits
from central_command.http.requests.replies import (
    BATCH_PATH,
    INGEST_PATH,
    INTERNAL_ERROR,
    HttpProblem,
    Replies,
    is_openai_path,
    problem,
)
from central_command.http.requests.request_log import RequestLog, printable
from central_command.http.settings import HttpSettings
from persistence.format.consent_events import CURRENT_CONSENT_VERSION

CONTENT_TYPE = "Content-Type"
OPENAI_HEADER = re.compile(r"authorization|api-key|idempotency-key|user-agent|openai-[a-z-]+|x-stainless-[a-z-]+")
"""What OpenAI's clients send, Azure's kind of them included; `User-Agent` is a page's to set where its browser asks."""

logger = logging.getLogger("central_command.http")


class Application(QuartTrio):
    """Quart on trio, with groups of exceptions brought down to what its error handlers know."""

    request_class = AdmittedRequest
    edge: Edge
    envelopes: EnvelopeReader

    def reconfigure(self, settings: HttpSettings, schema: SchemaSettings) -> None:
        """Go on with other limits, trusted proxies and bounds of envelopes; raises as `create_app`."""
        self.edge.addresses.reconfigure(settings)
        self.edge.limits.reconfigure(settings)
        self.envelopes.reconfigure(schema)

    async def handle_user_exception(self, error: BaseException) -> object:  # type: ignore[override] # Quart's union
        """Handle a group of one as that one, and a group of several as a failure; cancellation goes on as it is."""
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        if isinstance(error, BaseExceptionGroup):
            cancelled, failed = error.split(trio.Cancelled)
            if cancelled is not None:
                if failed is not None:
                    logger.error("A request failed while it was being cancelled.", exc_info=failed)
                raise cancelled
            error = InternalServerError(original_exception=error)
        if not isinstance(error, Exception):
            raise error
        response = await super().handle_user_exception(error)
        # Its frames refer to the request, and that to an error of routing: the cycle would wait for the collector.
        error.__traceback__ = error.__context__ = None
        return response


def create_app(
    gateway: Gateway,
    settings: HttpSettings,
    *,
    schema: SchemaSettings,
    clock: Callable[[], float],
    embedder: Embedder | None = None,
    desk: Desk | None = None,
    intake: Intake | None = None,
    exports: Exports | None = None,
    jobs: AdminJobs | None = None,
) -> Application:
    """The application; `clock` gives seconds since the epoch, for the log, and trio's own clock all durations.

    Raises HttpSettingsError when `trusted_proxies` holds something that is no network.
    """
    app = Application("central_command.http", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.body_bytes_max
    app.config["BODY_TIMEOUT"] = settings.body_timeout_s
    app.config["RESPONSE_TIMEOUT"] = None  # the server's write time-out guards every piece of an answer
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.url_map.merge_slashes = False  # a redirect would not be JSON, and no client follows it
    replies = Replies(settings)
    reader = Reader(settings, replies)
    limits = AddressLimits(settings, embed_paths=EMBED_PATHS)
    app.envelopes = EnvelopeReader(schema, clock)
    read = EnvelopeIntake(gateway, app.envelopes, inline_bytes_max=settings.body_bytes_max)
    direct: dict[str, DirectEndpoint] = {
        INGEST_PATH: ingest_endpoint(gateway, replies, read),
        **embedding_endpoints(embedder, reader, replies, settings),
    }
    streaming = {BATCH_PATH: BatchEndpoint(gateway, replies, settings, read)}
    for routes in (
        session_routes(gateway, reader, replies, schema, desk),
        consent_routes(desk, reader, replies),
        intake_routes(intake, gateway, settings, reader, replies),
        export_routes(exports, settings, reader, replies),
        job_routes(jobs, settings, replies),
        direct_routes([*direct, *streaming]),
        statistics_routes(gateway, settings),
        erasure_routes(gateway),
        health_routes(gateway, replies),
        model_routes(is_offered=embedder is not None, created_at=clock()),
        openapi_routes(
            settings,
            schema,
            CURRENT_CONSENT_VERSION if desk is None else desk.settings.current_version,
            None if intake is None else intake.settings,
        ),
    ):
        app.register_blueprint(routes)
    _answer_preflights(app, settings)
    _match_exactly(app)
    _answer_errors(app)
    app.edge = Edge(app.asgi_app, gateway, settings, RequestLog(clock), direct, limits, streaming)
    app.asgi_app = app.edge  # type: ignore[method-assign] # as Quart documents
    return app


def _answer_preflights(app: QuartTrio, settings: HttpSettings) -> None:
    """OPTIONS on any path is a CORS preflight (contract, "CORS"), answered before anything is counted."""
    headers = {
        "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
        "Access-Control-Allow-Headers": CONTENT_TYPE,
        "Access-Control-Max-Age": str(settings.preflight_max_age_s),
    }

    @app.before_request
    async def preflight() -> Response | None:
        if request.method != "OPTIONS":
            return None
        response = Response(b"", HTTPStatus.NO_CONTENT, headers)
        if request.path in EMBED_PATHS or is_openai_path(request.path):
            response.headers["Access-Control-Allow-Headers"] = _headers_of_openai(request.headers)
        del response.headers["Content-Type"]
        response.headers.pop("Content-Length", None)  # RFC 9110, section 8.6: not with a 204
        return response


def _headers_of_openai(asked: Headers) -> str:
    """Of the headers that a page asks for, those that OpenAI's clients send, so that they work from a page, too.

    None of them is looked at; what stands in `Authorization` least of all.
    """
    names = asked.get("Access-Control-Request-Headers", "").lower().split(",")
    return ", ".join([CONTENT_TYPE, *(name for each in names if OPENAI_HEADER.fullmatch(name := each.strip()))])


def _match_exactly(app: QuartTrio) -> None:
    """Refuse what werkzeug finds a route for all the same: more than one slash before a path, and `get` for `GET`.

    Methods are case-sensitive (RFC 9110, section 9.1).
    """

    @app.before_request
    async def match() -> None:
        if request.path.startswith("//"):
            raise NotFound
        routes = request_ctx.url_adapter
        if request.routing_exception is None and routes is not None and not request.method.isupper():
            raise MethodNotAllowed(valid_methods=routes.allowed_methods())


def _answer_errors(app: QuartTrio) -> None:
    """Every error is JSON; what went wrong inside is told to the operator, not to the client."""

    @app.errorhandler(ProblemError)
    async def found(error: ProblemError) -> Response:
        return problem(request.path, error.problem).response()

    @app.errorhandler(HTTPException)
    async def refused(error: HTTPException) -> Response:
        if error.code is None or error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return failed(getattr(error, "original_exception", None) or error)
        return problem(request.path, _http_problem(error, error.code)).response()

    @app.errorhandler(Exception)
    async def crashed(error: Exception) -> Response:
        return failed(error)

    def failed(error: BaseException) -> Response:
        logger.error("%s %s failed.", request.method, printable(request.path), exc_info=error)
        return problem(request.path, HttpProblem(500, "internal_error", INTERNAL_ERROR)).response()


def _http_problem(error: HTTPException, status: int) -> HttpProblem:
    """What the framework itself refuses: paths, methods and malformed requests."""
    match status:
        case HTTPStatus.NOT_FOUND:
            return HttpProblem(status, "not_found", "There is no such endpoint.")
        case HTTPStatus.METHOD_NOT_ALLOWED:
            methods = ", ".join(sorted(error.valid_methods or ())) if isinstance(error, MethodNotAllowed) else ""
            sentence = f"This endpoint only takes {methods}."
            return HttpProblem(status, "method_not_allowed", sentence, (("Allow", methods),))
        case _:
            return HttpProblem(status, "bad_request", "The request is malformed.")
