"""What many endpoints have alike that can be wrong: scope, token, site, method, body."""

from collections.abc import Callable, Iterator

from tests.bad_input.endpoints_asked import ANY, DIGITS_400, ENDPOINTS, EVERY_SCOPE, QUEUES, Bad, Endpoint, Headers

OURS: Headers = (("Sec-Fetch-Site", "same-origin"),)

NO_TOKENS: tuple[tuple[str, Headers], ...] = (
    ("no token", ()),
    ("an empty header", (("Authorization", ""),)),
    ("a scheme alone", (("Authorization", "Bearer"),)),
    ("an unknown token", (("Authorization", f"Bearer cc_{'a' * 43}"),)),
    ("a token of 400 digits", (("Authorization", f"Bearer {DIGITS_400}"),)),
    ("another scheme", (("Authorization", f"Basic cc_{'a' * 43}"),)),
    ("two tokens in one header", (("Authorization", f"Bearer cc_{'a' * 43}, Bearer cc_{'b' * 43}"),)),
    ("a token in quotes", (("Authorization", f'Bearer "cc_{"a" * 43}"'),)),
    ("a made-up cookie", (("Cookie", f"central_command={'a' * 43}"), *OURS)),
    ("an empty cookie", (("Cookie", "central_command="), *OURS)),
    ("two cookies", (("Cookie", f"central_command={'a' * 43}; central_command={'b' * 43}"), *OURS)),
    ("the code of a link for a cookie", (("Cookie", f"central_command=cl_{'a' * 40}"), *OURS)),
)

OTHER_SITES: tuple[tuple[str, Headers], ...] = (
    ("a page of another site", (("Sec-Fetch-Site", "cross-site"),)),
    ("a page of a neighbouring host", (("Sec-Fetch-Site", "same-site"),)),
    ("a site that is no word", (("Sec-Fetch-Site", "\x7f"),)),
    ("an origin elsewhere", (("Origin", "http://elsewhere.example"),)),
    ("no origin to tell of", (("Origin", "null"),)),
    ("an origin with another scheme", (("Origin", "https://localhost"),)),
    ("an origin with another port", (("Origin", "http://localhost:1"),)),
    ("nothing that says whose page", ()),
)

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "BREW", "get", "post")

NO_OBJECTS: tuple[tuple[str, bytes, int, str], ...] = (
    ("nothing", b"", 400, "not valid JSON"),
    ("half an object", b'{"a":', 400, "not valid JSON"),
    ("a name without quotes", b"{a:1}", 400, "not valid JSON"),
    ("a comma too many", b'{"a":1,}', 400, "not valid JSON"),
    ("two objects", b"{}{}", 400, "not valid JSON"),
    ("NUL", b"\0", 400, "not valid JSON"),
    ("NUL in a text", b'{"a":"\0"}', 400, "not valid JSON"),
    ("a byte order mark", b"\xef\xbb\xbf{}", 400, "not valid JSON"),
    ("UTF-16", '{"a":1}'.encode("utf-16"), 400, "not valid JSON"),
    ("a byte that is no UTF-8", b'{"a":"\xff"}', 400, "not valid JSON"),
    ("half of a surrogate pair in UTF-8", b'{"a":"\xed\xa0\xbd"}', 400, "not valid JSON"),
    ("NaN", b'{"a":NaN}', 400, "not valid JSON"),
    ("a form", b"scopes=admin", 400, "not valid JSON"),
    ("an array", b"[]", 400, "must be a JSON object"),
    ("null", b"null", 400, "must be a JSON object"),
    ("a text", b'"admin"', 400, "must be a JSON object"),
    ("a number of 400 digits", DIGITS_400.encode(), 400, ANY),
    ("a number past all numbers", b'{"a":1e999}', 400, "too large"),
    ("a member twice", b'{"a":1,"a":2}', 400, "twice"),
    ("a member twice, once by its escape", b'{"a":1,"\\u0061":2}', 400, "twice"),
    ("a member twice, deep within", b'{"a":[{"b":{"c":1,"c":1}}]}', 400, "twice"),
    ("far too many levels", b'{"a":' + b"[" * 100_000, 400, "nests|not valid JSON"),
    ("far too many levels, all closed", b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}", 400, "nests|larger"),
)
"""Bodies that no endpoint takes which wants an object, with its status and what is said."""


def way_in_of(endpoint: Endpoint) -> str:
    return "token" if endpoint.scopes else "nothing"


def wrong_scopes(endpoint: Endpoint) -> Iterator[Bad]:
    """A right token, and another scope."""
    for scope in EVERY_SCOPE:
        if endpoint.scopes and scope not in endpoint.scopes:
            yield Bad(
                endpoint,
                "wrong scope",
                f"scope {scope}",
                (403,),
                "has not the scope",
                way_in=scope,
                body=endpoint.good or b"",
            )


def wrong_tokens(endpoint: Endpoint) -> Iterator[Bad]:
    """No token, or none that lets anybody in."""
    for what, headers in NO_TOKENS if endpoint.scopes else ():
        body = endpoint.good or b""
        yield Bad(endpoint, "wrong token", what, (401,), "valid token", way_in="nothing", headers=headers, body=body)


def other_sites(endpoint: Endpoint) -> Iterator[Bad]:
    """A browser that is signed in, and a page of somebody else's."""
    if endpoint.changes and (endpoint.scopes or endpoint.room == "sign-in"):
        way_in = "cookie" if endpoint.scopes else "nothing"
        for what, headers in OTHER_SITES:
            body = endpoint.good or b""
            yield Bad(
                endpoint, "cross-site", what, (403,), "page of this server", way_in=way_in, headers=headers, body=body
            )


def wrong_methods(endpoint: Endpoint) -> Iterator[Bad]:
    """A method that no endpoint of the path has."""
    path = endpoint.path.partition("?")[0]
    known = {each.method for each in ENDPOINTS if each.path.partition("?")[0] == path}
    if endpoint.method != min(known):
        return
    for method in METHODS:
        if method not in known and (path, method) != (QUEUES, "DELETE"):  # of a job that is called so
            yield Bad(
                endpoint,
                "wrong method",
                f"method {method}",
                (405,),
                "only takes",
                method=method,
                way_in=way_in_of(endpoint),
            )


def wrong_bodies(endpoint: Endpoint) -> Iterator[Bad]:
    """A body that is no object as it should be, or none that is read."""
    if endpoint.good is None:
        return
    headers = (("Content-Type", "application/json"),)
    for what, body, status, sentence in NO_OBJECTS:
        statuses = (status, 413) if 0 < endpoint.bytes_max < len(body) else (status,)
        said = ANY if len(statuses) > 1 else sentence
        yield Bad(endpoint, "body", what, statuses, said, headers=headers, body=body, way_in=way_in_of(endpoint))
    for kind in ("text/xml", "application/x-www-form-urlencoded", "multipart/form-data", "no type at all", ""):
        wrong = (("Content-Type", kind),)
        yield Bad(
            endpoint,
            "content type",
            f"{kind or 'no'} type",
            (400,),
            headers=wrong,
            body=b"<a/>",
            way_in=way_in_of(endpoint),
        )
    for coding in ("gzip", "br", "deflate", "zstd", "gzip, identity"):
        wrong = (("Content-Encoding", coding),)
        yield Bad(
            endpoint, "content coding", coding, (415,), headers=wrong, body=endpoint.good, way_in=way_in_of(endpoint)
        )
    large = b'{"a":"' + b"x" * (endpoint.bytes_max or 5_242_880) + b'"}'
    yield Bad(endpoint, "oversized", "a body that is too large", (413,), body=large, way_in=way_in_of(endpoint))
    declared = (("Content-Length", "9999999999"),)
    yield Bad(
        endpoint,
        "oversized",
        "a length that is too large",
        (413,),
        headers=declared,
        body=b"{",
        way_in=way_in_of(endpoint),
        ends=False,
    )
    yield Bad(endpoint, "slow", "a body that stops halfway", (408,), body=b"{", way_in=way_in_of(endpoint), ends=False)


KINDS: tuple[Callable[[Endpoint], Iterator[Bad]], ...] = (
    wrong_scopes,
    wrong_tokens,
    other_sites,
    wrong_methods,
    wrong_bodies,
)
