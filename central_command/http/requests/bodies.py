"""Reading requests: bodies within their bounds, JSON, and arguments in query strings."""

import re
from collections.abc import Collection
from typing import Any, TypeVar, cast
from urllib.parse import parse_qs

import msgspec
from quart import request
from quart_trio.wrappers.request import TrioBody, TrioRequest
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge, RequestTimeout

from actors.envelopes.repeated_names import has_repeated_name
from central_command.http.requests.addresses import Front
from central_command.http.requests.direct import body_too_large, body_too_slow
from central_command.http.requests.exchange import EXCHANGE_KEY, Exchange
from central_command.http.requests.limits import AddressLimits, Charge
from central_command.http.requests.replies import HttpProblem, Replies
from central_command.http.settings import HttpSettings
from persistence.format import json_text

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

SHOWN_CHARS_MAX = 40
"""Characters of a name that is not known which its refusal repeats."""

VALUES_MAX = 64
VALUE_CHARS_MAX = 1_000
"""Values of a query string, and characters of one."""

_NUMBER = re.compile(r"[0-9]{1,9}")
_OBJECT = msgspec.json.Decoder(dict[str, Any])
_NO_JSON = HttpProblem(400, "invalid_json", "The body is not valid JSON.")
_TOO_DEEP = HttpProblem(400, "nesting_too_deep", "The body nests objects and arrays far too deeply.")


class BodiesFullError(HTTPException):
    """The bodies of all requests together take up all the memory that they may."""

    code = 503


class ProblemError(Exception):
    """Ends the handling of a request with an answer."""

    def __init__(self, problem: HttpProblem) -> None:
        super().__init__(problem.sentence)
        self.problem = problem


class AdmittedBody(TrioBody):
    """A body that takes each of its bytes from the exchange's budget."""

    def __init__(self, length: int | None, length_max: int | None, exchange: Exchange) -> None:
        super().__init__(length, length_max)
        self._exchange = exchange

    def append(self, data: bytes) -> None:
        """Take a piece in; what is wrong is raised where the body is read."""
        if self._must_raise is None and not self._exchange.hold(len(data)):
            self._must_raise = BodiesFullError()
            self.set_complete()
        super().append(data)
        if self._must_raise is not None:
            self._exchange.refuse_body()


class AdmittedRequest(TrioRequest):
    """Quart's request with an `AdmittedBody`, and with method and path as they came."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        scope = kwargs["scope"]
        # werkzeug puts the one in capitals and takes slashes off the other.
        self.method, self.path = scope["method"], scope["path"]
        exchange: Exchange = scope[EXCHANGE_KEY]
        self.body = AdmittedBody(self.content_length, kwargs["max_content_length"], exchange)


class Reader:
    """Reads the current request; raises ProblemError for what is wrong with it as HTTP or as JSON."""

    def __init__(self, settings: HttpSettings, replies: Replies) -> None:
        self._settings = settings
        self._replies = replies

    async def body(self) -> bytes:
        """The whole body, at most `body_bytes_max`; the content type is ignored, because clients differ in it."""
        exchange: Exchange = cast("Any", request.scope)[EXCHANGE_KEY]
        refused = await exchange.want_body()
        if refused is not None:
            raise ProblemError(refused)
        try:
            return await request.get_data(cache=True, as_text=False, parse_form_data=False)
        except RequestEntityTooLarge:
            found = body_too_large(self._settings)
        except RequestTimeout:
            found = body_too_slow(self._settings)
        except BodiesFullError:
            found = self._replies.bodies_full()
        exchange.refuse_body()
        raise ProblemError(found)

    async def form(self, *, bytes_max: int, fields_max: int) -> dict[str, list[str]]:
        """The fields of a form, those that are empty left out."""
        body = await self.body()
        if len(body) > bytes_max:
            sentence = f"The body is larger than {bytes_max:,} bytes, which no form here is."
            raise ProblemError(HttpProblem(413, "body_too_large", sentence))
        try:
            return parse_qs(body.decode("ascii"), max_num_fields=fields_max, strict_parsing=bool(body))
        except ValueError:
            sentence = "The body must be a form (application/x-www-form-urlencoded)."
            raise ProblemError(HttpProblem(400, "no_form", sentence)) from None

    @staticmethod
    def charge() -> Charge:
        """What the current request costs its address."""
        return current_exchange().charge

    @staticmethod
    def address() -> str:
        """What the current request's client is counted by."""
        return current_exchange().address

    @staticmethod
    def limits() -> AddressLimits:
        """What all addresses have left."""
        return current_exchange().limits

    @staticmethod
    def front() -> Front:
        """How the current request's client names this server."""
        return current_exchange().front

    async def json(self, decoder: msgspec.json.Decoder[T]) -> T:
        """The body as a JSON object of the decoder's type, which takes any value for any member."""
        return self.decoded(decoder, await self.body())

    @staticmethod
    def decoded(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
        """A body as a JSON object of the decoder's type."""
        try:
            return json_text.decode(decoder, body)
        except msgspec.ValidationError as error:
            if "out of range" in str(error):  # msgspec's words, also for a whole number of too many digits
                sentence = "The body holds a number that is too large."
                raise ProblemError(HttpProblem(400, "number_too_large", sentence)) from None
            raise ProblemError(HttpProblem(400, "not_an_object", "The body must be a JSON object.")) from None
        except json_text.NestingError:
            raise ProblemError(_TOO_DEEP) from None
        except msgspec.DecodeError:
            raise ProblemError(_NO_JSON) from None

    @staticmethod
    def members(body: bytes) -> dict[str, Any]:
        """A body as a JSON object in which nothing has a member twice: of two values nobody knows which is meant."""
        found = Reader.decoded(_OBJECT, body)
        try:
            is_repeated = has_repeated_name([body])
        except RecursionError:  # a level or two sooner than where it is decoded
            raise ProblemError(_TOO_DEEP) from None
        except ValueError:
            raise ProblemError(_NO_JSON) from None
        if is_repeated:
            raise ProblemError(HttpProblem(400, "duplicate_member", "An object in the body has a member twice."))
        return found

    @staticmethod
    def asked(kind: type[S], body: bytes) -> S:
        """The same as the members of `kind`, which may have any value, and no others."""
        found = Reader.members(body)
        known = kind.__struct_fields__
        for name in found:
            if name not in known:
                sentence = f"There is no member {name[:SHOWN_CHARS_MAX]!a} here; there are {', '.join(known)}."
                raise ProblemError(HttpProblem(400, "unknown_member", sentence))
        return kind(**found)


def current_exchange() -> Exchange:
    """The exchange of the current request."""
    exchange = cast("dict[str, Any]", request.scope)[EXCHANGE_KEY]
    assert isinstance(exchange, Exchange)
    return exchange


def check_arguments(*once: str, repeated: Collection[str] = ()) -> None:
    """Raise ProblemError for an argument in the query string that is none of these, or is one of `once`, and repeated.

    Of two values that count alone nobody knows which is meant, and a filter that is misspelt would let everything in.
    """
    for name, values in request.args.lists():
        if name not in once and name not in repeated:
            known = ", ".join((*once, *repeated))
            raise bad_query(f"There is no argument {name[:SHOWN_CHARS_MAX]!a}; there are {known}.")
        if len(values) > 1 and name in once:
            raise bad_query(f"{name} may be given once.")


def check_lengths(given: MultiDict[str, str]) -> None:
    """Raise ProblemError for a query string of known names with too many values, or with one that is too long."""
    if sum(1 for _ in given.items(multi=True)) > VALUES_MAX:
        raise bad_query(f"The query string has more than {VALUES_MAX} values.")
    for name, values in given.lists():
        if any(len(value) > VALUE_CHARS_MAX for value in values):
            raise bad_query(f"A value of {name} is longer than {VALUE_CHARS_MAX:,} characters.")


def filled_in() -> MultiDict[str, str]:
    """The query string of a form, without the fields that were not filled in: sent, too, they ask for nothing."""
    return MultiDict((name, value) for name, value in request.args.items(multi=True) if value.strip())


def text_argument(
    name: str, allowed: re.Pattern[str], words: str, given: MultiDict[str, str] | None = None
) -> str | None:
    """A text from the query string, or from what a form gave; None without it.

    Raises ProblemError for one that is not allowed.
    """
    values = (request.args if given is None else given).getlist(name)
    if not values:
        return None
    if len(values) > 1 or allowed.fullmatch(values[0]) is None:
        raise bad_query(f"{name} must be {words}.")
    return values[0]


def bad_query(sentence: str) -> ProblemError:
    """What is raised for an argument that may not be."""
    return ProblemError(HttpProblem(400, "bad_query", sentence))


def number_argument(name: str, *, default: int, maximum: int, given: MultiDict[str, str] | None = None) -> int:
    """A whole number from the query string, or from what a form gave, 1 to `maximum`.

    Raises ProblemError for anything else.
    """
    values = (request.args if given is None else given).getlist(name)
    if not values:
        return default
    if len(values) == 1 and _NUMBER.fullmatch(values[0]) and 1 <= int(values[0]) <= maximum:
        return int(values[0])
    raise bad_query(f"{name} must be a whole number from 1 to {maximum}.")
