"""The HTTP application: its endpoints, and what happens to every request before and after them."""

import logging
import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import TypedDict, Unpack

import msgspec
import trio
from quart import Response, request
from quart.globals import request_ctx
from quart_trio import QuartTrio
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed, NotFound

from actors.envelopes.settings import SchemaSettings
from actors.observer.settings import ObserverSettings
from central_command.access.audit import NotNotedError
from central_command.http.description.openapi import PageBounds, openapi_routes
from central_command.http.endpoints.access import Access, access_routes
from central_command.http.endpoints.audit import audit_routes
from central_command.http.endpoints.bans import ban_routes
from central_command.http.endpoints.batch import BatchEndpoint
from central_command.http.endpoints.consent import Desk, consent_routes
from central_command.http.endpoints.corpus import corpus_routes
from central_command.http.endpoints.embeddings import EMBED_PATHS, Embedder, embedding_endpoints
from central_command.http.endpoints.erasures import erasure_routes
from central_command.http.endpoints.exports import Exports, export_routes
from central_command.http.endpoints.health import health_routes
from central_command.http.endpoints.ingest import EnvelopeIntake, EnvelopeReader, direct_routes, ingest_endpoint
from central_command.http.endpoints.intake import Intake, intake_routes
from central_command.http.endpoints.job_questions import AdminJobs
from central_command.http.endpoints.jobs import job_routes
from central_command.http.endpoints.live_sessions import LiveSessions, live_session_routes
from central_command.http.endpoints.metrics import Monitoring, metrics_routes
from central_command.http.endpoints.models import model_routes
from central_command.http.endpoints.observer import (
    ObserverDesk,
    Observing,
    observer_port_routes,
    observer_routes,
)
from central_command.http.endpoints.pages import Pages
from central_command.http.endpoints.refused import Refused, refused_routes
from central_command.http.endpoints.search import Search, search_routes
from central_command.http.endpoints.sessions import OpeningReader, close_endpoint, session_routes
from central_command.http.endpoints.sign_in import sign_in_routes
from central_command.http.endpoints.statistics import statistics_routes
from central_command.http.gateway import Gateway
from central_command.http.requests.bodies import AdmittedRequest, ProblemError, Reader, current_exchange
from central_command.http.requests.direct import DirectEndpoint, StreamEndpoint
from central_command.http.requests.exchange import Edge
from central_command.http.requests.limits import AddressLimits
from central_command.http.requests.refusal_pages import RefusalPages
from central_command.http.requests.replies import (
    BATCH_PATH,
    CLOSE_PATH,
    INGEST_PATH,
    INTERNAL_ERROR,
    CodedResponse,
    HttpProblem,
    Replies,
    guard_headers,
    is_openai_path,
    problem,
)
from central_command.http.requests.request_figures import NO_ROUTE, HttpFigures, RequestFigures
from central_command.http.requests.request_ids import RequestIds
from central_command.http.requests.request_log import RequestLog, printable
from central_command.http.settings import HttpSettings, Side
from central_command.tallies.tallies import Tallies
from central_command.viewing.desk import ViewerDesk
from central_command.viewing.open_sessions import OpenSessions
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
    openings: OpeningReader

    def reconfigure(self, settings: HttpSettings, schema: SchemaSettings) -> None:
        """Go on with other limits, trusted proxies, agents and bounds of envelopes; raises as `create_app`."""
        self.edge.addresses.reconfigure(settings)
        self.edge.limits.reconfigure(settings)
        self.envelopes.reconfigure(schema)
        self.openings.reconfigure(schema)

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


class Offered(TypedDict, total=False):
    """What endpoints beside those of sessions need; without one of them, its endpoints say that they are not there."""

    embedder: Embedder | None
    desk: Desk | None
    intake: Intake | None
    exports: Exports | None
    access: Access | None
    monitoring: Monitoring | None
    search: Search | None
    live: LiveSessions | None
    jobs: AdminJobs | None
    refused: Refused | None
    observing: Observing | None
    viewer: ViewerDesk | None
    tallies: Tallies | None
    open_sessions: OpenSessions | None
    pages: Pages | None


def create_app(
    gateway: Gateway,
    settings: HttpSettings,
    *,
    schema: SchemaSettings,
    clock: Callable[[], float],
    random_bytes: Callable[[int], bytes] = os.urandom,
    side: Side = Side.ALL,
    beside: Application | None = None,
    **offered: Unpack[Offered],
) -> Application:
    """The application of an address; `beside` is that of the public one, where this is the other's.

    `clock` gives seconds since the epoch, for the log, and trio's own clock all durations.

    Ids of requests are made of what `random_bytes` gives.

    Raises HttpSettingsError when `trusted_proxies` holds something that is no network.
    """
    app = _framework(settings)
    embedder, desk = offered.get("embedder"), offered.get("desk")
    intake, access = offered.get("intake"), offered.get("access")
    pages = None if side is Side.PUBLIC else offered.get("pages")
    jobs, search = offered.get("jobs"), offered.get("search")
    replies = Replies(settings)
    reader = Reader(settings, replies)
    limits = AddressLimits(settings, embed_paths=EMBED_PATHS)
    app.envelopes, app.openings = EnvelopeReader(schema, clock), OpeningReader(schema)
    read = EnvelopeIntake(gateway, app.envelopes, inline_bytes_max=settings.body_bytes_max)
    direct: dict[str, DirectEndpoint] = {
        INGEST_PATH: ingest_endpoint(gateway, replies, read),
        CLOSE_PATH: close_endpoint(gateway, reader, replies),
        **embedding_endpoints(embedder, reader, replies, settings),
    }
    figures = _figures(offered.get("monitoring")) if beside is None else beside.edge.figures
    streaming = {BATCH_PATH: BatchEndpoint(gateway, replies, settings, read, figures)}
    public = (
        session_routes(gateway, reader, replies, app.openings, desk, None if access is None else access.bans),
        consent_routes(desk, reader, replies),
        intake_routes(intake, gateway, settings, reader, replies),
        direct_routes([*direct, *streaming]),
        statistics_routes(gateway, settings),
        erasure_routes(gateway),
        model_routes(is_offered=embedder is not None, created_at=clock()),
    )
    administration = (
        export_routes(offered.get("exports"), settings, reader, replies),
        corpus_routes(offered.get("exports"), settings, replies),
        access_routes(access, settings, reader, replies),
        ban_routes(access, settings, reader, replies),
        audit_routes(access, settings, replies),
        sign_in_routes(access, settings, reader, replies, pages),
        search_routes(search, settings, replies),
        live_session_routes(offered.get("live"), settings, replies),
        job_routes(jobs, settings, replies),
        refused_routes(offered.get("refused"), settings, replies),
        observer_routes(offered.get("observing"), settings, reader, replies),
        metrics_routes(offered.get("monitoring"), partial(_http_figures, beside or app), settings, replies),
        *(() if pages is None else pages.routes(settings, reader, replies)),
    )
    if side is Side.ADMINISTRATION:
        direct, streaming = {}, {}
    for routes in (
        *(public if side is not Side.ADMINISTRATION else ()),
        *(administration if side is not Side.PUBLIC else ()),
        health_routes(gateway, replies),
        openapi_routes(
            settings,
            schema,
            CURRENT_CONSENT_VERSION if desk is None else desk.settings.current_version,
            None if intake is None else intake.settings,
            _page_bounds(jobs, search, offered.get("exports")),
        ),
    ):
        app.register_blueprint(routes)
    _note_routes(app)
    _answer_preflights(app, settings)
    _match_exactly(app)
    _answer_errors(app, pages)
    _count_refusals(app)
    _guard_pages(app)
    ids = RequestIds(random_bytes)
    _behind_edge(app, gateway, settings, RequestLog(clock), direct, limits, streaming, figures, ids)
    if pages is not None:
        app.edge.refusal_pages = RefusalPages(pages.refusal)
    return app


def _behind_edge(
    app: Application,
    gateway: Gateway,
    settings: HttpSettings,
    log: RequestLog,
    direct: Mapping[str, DirectEndpoint],
    limits: AddressLimits,
    streaming: Mapping[str, StreamEndpoint],
    figures: RequestFigures,
    ids: RequestIds,
) -> Application:
    """The application with all of its routes, behind what every exchange goes through."""
    fixed = {rule.rule for rule in app.url_map.iter_rules() if not rule.arguments}
    app.edge = Edge(app.asgi_app, gateway, settings, log, direct, limits, streaming, figures, ids, fixed)
    app.asgi_app = app.edge  # type: ignore[method-assign] # as Quart documents
    return app


def _page_bounds(jobs: AdminJobs | None, search: Search | None, exports: Exports | None) -> PageBounds:
    known = PageBounds()
    return PageBounds(
        jobs=known.jobs if jobs is None else jobs.page_max,
        hits=known.hits if search is None else search.desk.settings.hits_max,
        records=known.records if exports is None else exports.corpus.bounds.records,
    )


def _figures(monitoring: Monitoring | None) -> RequestFigures:
    return RequestFigures() if monitoring is None else RequestFigures(monitoring.settings.refused_kinds_max)


def _http_figures(app: Application) -> HttpFigures:
    return HttpFigures(app.edge.figures.statistics(), app.edge.admission.statistics())


def _note_routes(app: QuartTrio) -> None:
    """Tell the exchange which route was found: requests are counted by it."""

    @app.before_request
    async def note() -> None:
        current_exchange().route = NO_ROUTE if request.url_rule is None else request.url_rule.rule


def create_observer_app(
    gateway: Gateway,
    desk: ObserverDesk,
    observer: ObserverSettings,
    settings: HttpSettings,
    *,
    clock: Callable[[], float],
) -> Application:
    """What answers on the observer's own port; `settings` are those of that port (`observer_http`)."""
    app = _framework(settings)
    replies = Replies(settings)
    app.register_blueprint(observer_port_routes(desk, observer, Reader(settings, replies), replies))
    _match_exactly(app)
    _answer_errors(app, None)
    limits = AddressLimits(settings, embed_paths=frozenset())
    ids = RequestIds(os.urandom)
    return _behind_edge(app, gateway, settings, RequestLog(clock), {}, limits, {}, RequestFigures(), ids)


def observer_http(settings: HttpSettings, observer: ObserverSettings) -> HttpSettings:
    """The settings of the observer's own port: on loopback, plain, and with bounds of its own."""
    return msgspec.structs.replace(
        settings,
        host="127.0.0.1",
        port=observer.port,
        tls_certificate=None,
        tls_key=None,
        trusted_proxies=(),
        body_bytes_max=observer.body_bytes_max,
        body_bytes_hard_max=observer.body_bytes_max,
        requests_per_minute=observer.requests_per_minute,
        requests_per_hour=observer.requests_per_hour,
        share_per_address=1.0,
    )


def _framework(settings: HttpSettings) -> Application:
    """The framework without endpoints, with the bounds of bodies."""
    app = Application("central_command.http", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.body_bytes_max
    app.config["BODY_TIMEOUT"] = settings.body_timeout_s
    app.config["RESPONSE_TIMEOUT"] = None  # the server's write time-out guards every piece of an answer
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.url_map.merge_slashes = False  # a redirect would not be JSON, and no client follows it
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


def _answer_errors(app: QuartTrio, pages: Pages | None) -> None:
    """Every error is JSON, or a page; what went wrong inside is told to the operator, not to the client."""

    @app.errorhandler(ProblemError)
    async def found(error: ProblemError) -> Response:
        return refusal(error.problem)

    @app.errorhandler(NotNotedError)
    async def not_noted(error: NotNotedError) -> Response:
        return refusal(HttpProblem(507, "not_noted", str(error)))

    @app.errorhandler(HTTPException)
    async def refused(error: HTTPException) -> Response:
        if error.code is None or error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return failed(getattr(error, "original_exception", None) or error)
        return refusal(_http_problem(error, error.code))

    @app.errorhandler(Exception)
    async def crashed(error: Exception) -> Response:
        return failed(error)

    def failed(error: BaseException) -> Response:
        logger.error("%s %s failed.", request.method, printable(request.path), exc_info=error)
        return refusal(HttpProblem(500, "internal_error", INTERNAL_ERROR))

    def refusal(found: HttpProblem) -> Response:
        current_exchange().refusal_code = found.code
        page = None if pages is None else pages.problem(found)
        return problem(request.path, found).response() if page is None else page


def _count_refusals(app: QuartTrio) -> None:
    """What an endpoint refuses is counted by the code of its answer."""

    @app.after_request
    async def count(response: Response) -> Response:
        if isinstance(response, CodedResponse) and response.refusal_code:
            current_exchange().refusal_code = response.refusal_code
        return response


def _guard_pages(app: QuartTrio) -> None:
    """What browsers may do with an answer of ours, and that nobody keeps it, unless the endpoint itself says so."""

    @app.after_request
    async def guard(response: Response) -> Response:
        for name, value in guard_headers(request.path):
            response.headers.setdefault(name, value)
        return response


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
