"""What is wrong with requests to the endpoints beside the contract's: each endpoint broken in each way that it has.

A kind of wrong that many endpoints have alike is written once (`broken_alike`); what only one has, its members,
arguments and ids, stands in the tables here. The corpus is the product: `all_requests`.
"""

import json
from collections.abc import Iterator
from itertools import chain

from tests.bad_input.broken_alike import KINDS, OURS, way_in_of
from tests.bad_input.endpoints_asked import (
    ADMIN,
    ANY,
    ASK_EXPORT,
    ASK_TOKEN,
    AUDIT,
    BAN,
    BANS,
    DIGITS_400,
    ENDPOINTS,
    ERASE,
    EVENT,
    EXPORT,
    EXPORTS,
    HISTORY,
    INTAKE,
    JOB,
    JOBS,
    LETTERS,
    LIST_JOBS,
    OBSERVER,
    OPEN,
    OPERATIONS,
    QUEUES,
    READ,
    RECEIPT,
    RECORD,
    RECORDS,
    REFUSED,
    SAY,
    SAY_FOR_USER,
    SEARCH,
    SESSIONS,
    SHOW,
    SIGN_IN,
    SUBMIT,
    TOKENS,
    TRAJECTORIES,
    Bad,
    Endpoint,
    Headers,
    json_of,
)
from tests.signing_client import CONTRIBUTOR

MEMBERS: tuple[tuple[Endpoint, str, tuple[object, ...], str], ...] = (
    (
        ASK_TOKEN,
        "scopes",
        (
            None,
            [],
            "admin",
            {"admin": True},
            ["all"],
            ["ADMIN"],
            [None],
            [["admin"]],
            ["admin", 1],
            1,
            True,
            ["admin\0"],
        ),
        "scopes",
    ),
    (ASK_TOKEN, "name", (1, None, "x" * 65, "a\nb", "a\0b", ["x"], "\ud83d", "\u202e", {}), "name"),
    (
        ASK_TOKEN,
        "expires",
        (90, "soon", "0d", "", "-1d", "1.5d", "90 d", "90d\n", "9999999d", "٣d", True, ["90d"], f"{DIGITS_400}d"),
        "expires",
    ),
    (ASK_TOKEN, "expire", ("90d",), "no member 'expire'"),
    (ASK_TOKEN, "x\nforged", (1,), r"no member 'x\\nforged'"),
    (ASK_TOKEN, "x" * 500, (1,), "no member 'xxx"),
    (
        BAN,
        "machine",
        ("", "a b", "x" * 129, 1, [], {}, True, "m\0", "m\n", "é", "\ud83d"),
        "machine",
    ),
    (BAN, "contributor", ("", "c0ffee", "g" * 32, 1, f"sha256:{'A' * 64}", "0" * 33), "only one|contributor"),
    (BAN, "reason", ("x" * 201, "a\nb", "\0", 1, None, ["x"], "half \ud83d", "\u202e"), "reason"),
    (BAN, "days", (0, -1, 36_501, 1.5, "7", True, [], int(DIGITS_400), 1e300), "days"),
    (BAN, "day", (7,), "no member 'day'"),
    (EVENT, "success", ("yes", 1, [], {}), "success"),
    (EVENT, "duration_ms", ("1", -1, 1e13, True, [], int(DIGITS_400)), "duration_ms"),
    (EVENT, "count", ("3", -0.5, {}, int(DIGITS_400)), "count"),
    (EVENT, "applied_at_turn", ("3", -2, [1]), "applied_at_turn"),
    *(
        (EVENT, name, (7, [], {}, True), name)
        for name in ("endpoint", "error", "timestamp", "source", "city", "staffer_id", "sig_hash")
    ),
    (EVENT, "rescue_attempted", ("no", 0), "rescue_attempted"),
    (EVENT, "unknown", ("x" * 9_000, [["x" * 4_000]] * 4), "not known here"),
    (ASK_EXPORT, "formats", (None, "messages", ["nothing"], [1], [["messages"]], {}, ["messages\0"], []), ANY),
    (
        ASK_EXPORT,
        "selection",
        (None, [], "x", {"unknown": 1}, {"limit": "x"}, {"limit": -1}, {"provider": "codex"}),
        ANY,
    ),
    (ASK_EXPORT, "options", (None, [], {"unknown": 1}, {"explain": "yes"}, {"limit": int(DIGITS_400)}), ANY),
    (ASK_EXPORT, "option", ({},), "option"),
    (SAY_FOR_USER, "user_id", (None, "", 7, "a b", "..", "x" * 129, [], "u\0", "u/1"), "user_id"),
    (SAY_FOR_USER, "state", (None, "", "Given", "yes", 1, True, ["given"]), "state"),
    (SAY_FOR_USER, "version", (None, "0.9", 1.0, 1, "", ["1.0"]), "version"),
    (SAY_FOR_USER, "purposes", (None, [], "all", [1], {}, ["model_training", "x"]), "purposes"),
    (SAY, "state", (None, "", "Given", "yes", 1, True, ["given"], {}), "state"),
    (SAY, "version", (None, "0.9", 1.0, 1, "", ["1.0"], "1.0\0"), "version"),
    (SAY, "after", (None, "", "x", 1, "0" * 63, "A" * 64, ["0" * 64]), "after"),
)
"""Members of bodies: one that cannot be so, or that there is not, and what is said."""


def wrong_members() -> Iterator[Bad]:
    """A good body with one member that is not."""
    for endpoint, name, values, sentence in MEMBERS:
        for value in values:
            members = json.loads(endpoint.good or b"{}") | {name: value}
            what = f"{name[:20]!r} is {json_of(value)[:40].decode()}"
            yield Bad(endpoint, "member", what, (400,), sentence, body=json_of(members), way_in=way_in_of(endpoint))
    for body in ({}, {"machine": "m", "contributor": CONTRIBUTOR}, {"reason": "x"}, {"machine": None}):
        yield Bad(BAN, "member", f"{json_of(body).decode()}", (400,), "only one", body=json_of(body))
    for scopes in (["read"], ["admin", "export"], ["intake", "intake"]):
        yield Bad(ASK_TOKEN, "wrong scope", f"gives {scopes}", (403,), "can give it", body=json_of({"scopes": scopes}))


NUMBERS = (
    "0",
    "-1",
    "1.5",
    "1e2",
    "x",
    "",
    "%20",
    "1%00",
    "%ff",
    "0x10",
    "+1",
    "%EF%BC%91",
    "true",
    "1,2",
    DIGITS_400,
    "null",
)
"""What is no whole number from 1 on, as it stands in an address."""
CURSORS = ("0", "-1", "x", "", "1%00", "%ff", DIGITS_400, "01", "1.0", "%F0%9F%98%80", "MQ%3D%3D")
"""Cursors that somebody made up."""

ARGUMENTS: tuple[tuple[Endpoint, str, tuple[str, ...], str], ...] = (
    (AUDIT, "limit", (*NUMBERS, "1001"), "limit must be a whole number"),
    (AUDIT, "after", (*NUMBERS, "1000000000"), "after must be a whole number"),
    (LIST_JOBS, "limit", (*NUMBERS, "99999"), "limit must be a whole number"),
    (LIST_JOBS, "cursor", CURSORS, "cursor must be what"),
    (LIST_JOBS, "queue", ("", "A", "a_b", "-a", "a%00", "%ff", "x" * 64, "../x", "work%0A"), "queue must be the name"),
    (LETTERS, "limit", (*NUMBERS, "201"), "limit must be a whole number"),
    (LETTERS, "cursor", CURSORS, "cursor must be what"),
    (LETTERS, "code", ("", "Schema", "a-b", "x" * 65, "schema%00", "%ff"), "code must be"),
    (LETTERS, "session", ("", "a%20b", "x" * 129, "%00", "a/b", "%ff"), "session must be"),
    (LETTERS, "contributor", ("", "c0ffee", "g" * 32, "0" * 33, "%00"), "contributor must be"),
    (
        LETTERS,
        "day",
        (
            "",
            "today",
            "2026-02-30",
            "2026-13-01",
            "0000-00-00",
            "2026-1-1",
            "20261120",
            "2026-W47-5",
            "2026-11-20T00",
            "%D9%A2026-11-20",
        ),
        "day must be a day",
    ),
    (OPERATIONS, "limit", (*NUMBERS, "501"), "limit must be a whole number"),
    (OPERATIONS, "before", (*NUMBERS, "1000000000"), "before must be a whole number"),
    (OPERATIONS, "success", ("", "True", "1", "yes", "true%00", "%ff"), "success must be true or false"),
    (SEARCH, "limit", (*NUMBERS, "101"), "limit must be a whole number"),
    (SEARCH, "mode", ("", "TEXT", "none", "text%00", "%ff", "1"), "it must be one of"),
    (SEARCH, "order", ("", "oldest", "relevance%20", "%ff"), "it must be one of"),
    (SEARCH, "cursor", CURSORS, ANY),
    (SEARCH, "after", ("yesterday", "2026-13-01", "%00", "%ff", "20.11.2026"), ANY),
    (SEARCH, "before", ("tomorrow", "2026-02-30", "x" * 40), ANY),
    (SEARCH, "tier", ("D", "a", "%00", "x" * 1_001), ANY),
    (SEARCH, "outcome", ("success", "x"), ANY),
    (TRAJECTORIES, "limit", (*NUMBERS, "99999"), "limit must be a whole number"),
    (RECORDS, "limit", (*NUMBERS, "99999"), "limit must be a whole number"),
    (TRAJECTORIES, "cursor", CURSORS, ANY),
    (RECORDS, "cursor", CURSORS, ANY),
    (TRAJECTORIES, "after", ("yesterday", "2026-13-01", "%00", "%ff"), ANY),
    (TRAJECTORIES, "tier", ("D", "a", "%00", "x" * 1_001), ANY),
    (TRAJECTORIES, "steps_min", ("x", "1.5", "-1", "%00", DIGITS_400), ANY),
    (RECORDS, "tier", ("A",), "no argument"),
    (HISTORY, "format", ("", "atif", "messages%00", "%ff", "x" * 400), "There is no format"),
)
"""Arguments in the address: what none of them can be, and what is said."""

ONCE: tuple[tuple[Endpoint, tuple[str, ...], str], ...] = (
    (AUDIT, ("after", "limit"), "1"),
    (LIST_JOBS, ("status", "queue", "cursor", "limit"), "1"),
    (LETTERS, ("code", "session", "contributor", "day", "cursor", "limit"), "1"),
    (OPERATIONS, ("limit", "before", "source", "endpoint", "success"), "1"),
    (SEARCH, ("q", "mode", "order", "after", "before", "cursor", "limit"), "1"),
    (TRAJECTORIES, ("after", "before", "cursor", "limit"), "1"),
    (RECORDS, ("after", "before", "cursor", "limit"), "1"),
    (HISTORY, ("format",), "messages"),
)

UNKNOWN = (
    "sttus=failed",
    "Limit=1",
    "limit[]=1",
    "x",
    "=",
    "%00=1",
    "%ff=1",
    f"{'x' * 300}=1",
    "__proto__=1",
    "%0Aforged=1",
)


def _with(endpoint: Endpoint, query: str) -> str:
    return f"{endpoint.path}{'&' if '?' in endpoint.path else '?'}{query}"


def wrong_arguments() -> Iterator[Bad]:
    """One argument that cannot be so, one twice, one that there is not."""
    for endpoint, name, values, sentence in ARGUMENTS:
        for value in values:
            target = _with(endpoint, f"{name}={value}")
            what = f"{name} is {value[:40] or 'empty'}"
            yield Bad(endpoint, "argument", what, (400,), sentence, target=target)
    for endpoint, names, value in ONCE:
        for name in names:
            target = _with(endpoint, f"{name}={value}&{name}={value}")
            yield Bad(
                endpoint, "repeated", f"{name} twice", (400,), f"{name} (may be given once|must be)", target=target
            )
        for query in UNKNOWN:
            yield Bad(endpoint, "unknown argument", query[:20], (400,), "no argument", target=_with(endpoint, query))
    for path, name in (("/sign-in", "next"), ("/sign-in/link", "code")):
        endpoint = Endpoint("sign-in", "GET", path, OPEN)
        for query, sentence in ((f"{name}=a&{name}=b", "once"), ("nxt=/", "no argument"), ("%00=", "no argument")):
            yield Bad(endpoint, "argument", query, (400,), sentence, target=f"{path}?{query}", way_in="nothing")
    yield Bad(SEARCH, "argument", "no words", (400,), "is missing", target="/api/search")
    unknown = f"{JOBS}?status=unknown&limit=0"
    yield Bad(LIST_JOBS, "argument", "an unknown status, and a limit", (400,), "limit must be", target=unknown)
    yield Bad(SEARCH, "argument", "a long query", (400,), "longer", target=f"/api/search?q={'x' * 1_100}")
    for query in ("", "%20", "%22", "-torn", "OR", "*", "%00", "%ff", "%22%22"):
        yield Bad(SEARCH, "argument", f"q is {query}", (400, 503), ANY, target=f"/api/search?q={query}")
    many = "&".join(["tool=x"] * 65)
    yield Bad(SEARCH, "argument", "65 values", (400,), "more than 64", target=_with(SEARCH, many))


NOBODY = ("x", "%00", "%ff", "..%2f..%2fetc", "a%20b", "x" * 400, DIGITS_400, "%F0%9F%98%80", "'%3B--", "%25s", "-")

IDS: tuple[tuple[str, str, str, tuple[str, ...], tuple[str, ...], int], ...] = (
    (
        "access",
        "DELETE",
        f"{TOKENS}/{{}}",
        ADMIN,
        (*NOBODY, "tok_", "TOK_0123456789abcdef", "ses_0123456789abcdef"),
        404,
    ),
    ("access", "DELETE", f"{SESSIONS}/{{}}", ADMIN, (*NOBODY, "ses_", "tok_0123456789abcdef"), 404),
    ("bans", "DELETE", f"{BANS}/{{}}", ADMIN, (*NOBODY, "ban_", "ban_0123456789ABCDEF"), 404),
    (
        "jobs",
        "GET",
        f"{JOBS}/{{}}",
        ADMIN,
        (*NOBODY, "work__0", "work__9", "other__1", "work__1%20", f"work__{DIGITS_400}"),
        404,
    ),
    *(
        ("jobs", "POST", f"{JOBS}/{{}}/{verb}", ADMIN, (*NOBODY[:6], "work__0", "work__9", "other__1"), 404)
        for verb in ("retry", "cancel", "promote")
    ),
    ("jobs", "DELETE", f"{JOBS}/{{}}", ADMIN, (*NOBODY[:6], "work__9", "other__1"), 404),
    *(
        ("jobs", "POST", f"{QUEUES}/{{}}/{verb}", ADMIN, (*NOBODY, "WORK", "work%20"), 404)
        for verb in ("pause", "resume")
    ),
    ("refused", "GET", f"{REFUSED}/{{}}", ADMIN, (*NOBODY, "env_", "env_01a22280-faad-7e5e-8438-197f515962ae"), 404),
    ("refused", "POST", f"{REFUSED}/{{}}/retry", ADMIN, (*NOBODY, "env_"), 404),
    ("exports", "GET", f"{EXPORTS}/{{}}", EXPORT, (*NOBODY, "exp_", ".."), 404),
    ("exports", "DELETE", f"{EXPORTS}/{{}}", EXPORT, (*NOBODY, "exp_"), 404),
    (
        "exports",
        "GET",
        f"{EXPORTS}/exp_0123456789abcdef/files/{{}}",
        EXPORT,
        (*NOBODY, "..", "a/../../b", "/etc/passwd"),
        404,
    ),
    (
        "intake",
        "DELETE",
        "/v1/intake/users/{}",
        INTAKE,
        ("%00", "%ff", "a%20b", "x" * 129, "%2e%2e", "-x", "%F0%9F%98%80"),
        400,
    ),
    ("consent", "DELETE", "/v1/contributors/{}", OPEN, (*NOBODY, "0" * 31, "0" * 33, "g" * 32), 400),
    ("consent", "GET", "/v1/contributors/{}/consent", OPEN, (*NOBODY, "0" * 31, "0" * 33, "g" * 32), 400),
    ("consent", "GET", "/v1/contributors/{}/consent/receipt", OPEN, (*NOBODY, "0" * 33), 400),
    ("consent", "GET", "/v1/erasures/{}", OPEN, (*NOBODY, "er_", "er_0123456789ABCDEF", "er_0123456789abcdef0"), 404),
    ("observer", "GET", f"{OBSERVER}/{{}}", READ, NOBODY, 404),
    ("metrics", "GET", "/metrics/{}", READ, NOBODY[:6], 404),
    ("search", "GET", "/api/search/{}", READ, NOBODY[:6], 404),
    ("audit", "GET", "/api/admin/audit/{}", ADMIN, NOBODY[:6], 404),
    ("corpus", "GET", "/api/corpus/{}", EXPORT, NOBODY[:6], 404),
    ("sessions", "GET", "/api/sessions/{}", READ, NOBODY, 404),
    ("sessions", "GET", "/api/sessions/{}/history", READ, NOBODY, 404),
)
"""Paths with ids that nobody has, or that are none: room, method, path, scopes, ids and status."""


def wrong_ids() -> Iterator[Bad]:
    """Ids that somebody made up."""
    for room, method, path, scopes, ids, status in IDS:
        endpoint = Endpoint(room, method, path, scopes)
        for each in ids:
            statuses = (status, 404) if "/" in each or "%2f" in each or each == ".." else (status,)
            yield Bad(endpoint, "id", each[:40], statuses, target=path.format(each), way_in=way_in_of(endpoint))
    retry = Endpoint("jobs", "POST", f"{JOBS}/{JOB}/retry", ADMIN)
    yield Bad(retry, "id", "a job that has not failed", (404,), "delayed, so it cannot be retried")


SIGNATURES: tuple[tuple[str, Headers], ...] = (
    ("a time alone", (("Signature-Time", "1"),)),
    ("a signature alone", (("Contributor-Signature", "AAAA"),)),
    ("a time that is none", (("Signature-Time", "now"), ("Contributor-Signature", "AAAA"))),
    ("a time of 400 digits", (("Signature-Time", DIGITS_400), ("Contributor-Signature", "AAAA"))),
    ("a negative time", (("Signature-Time", "-1"), ("Contributor-Signature", "AAAA"))),
    ("a signature that is no base64", (("Signature-Time", "1"), ("Contributor-Signature", "!"))),
    ("a signature that is too long", (("Signature-Time", "1"), ("Contributor-Signature", "A" * 101))),
    ("two times", (("Signature-Time", "1"), ("Signature-Time", "2"), ("Contributor-Signature", "AAAA"))),
)

BODIES_OF_RECORDS: tuple[tuple[str, bytes, int], ...] = (
    ("nothing", b"", 400),
    ("too many lines", b"{}\n" * 5_000, 400),
)

FORMS: tuple[tuple[str, bytes, int], ...] = (
    ("no field", b"", 401),
    ("an unknown key", f"key=cc_{'a' * 43}".encode(), 401),
    ("a link that is none", f"key=cl_{'a' * 43}".encode(), 401),
    ("an empty key", b"key=", 401),
    ("JSON", b'{"key":"x"}', 400),
    ("a field without a value", b"key", 400),
    ("bytes that are no ASCII", b"key=\xff", 400),
    ("too many fields", b"a=1&" * 20, 400),
    ("NUL", b"key=%00", 401),
    ("400 digits", b"key=" + DIGITS_400.encode(), 401),
    ("a form that is too large", b"key=" + b"x" * 5_000, 413),
)


def only_here() -> Iterator[Bad]:
    """What a single endpoint has: signatures of contributors, records of the intake, forms."""
    for endpoint in (SAY, SHOW, RECEIPT, ERASE):
        for what, headers in SIGNATURES:
            yield Bad(
                endpoint,
                "signature",
                what,
                (400,),
                "once each",
                headers=headers,
                body=endpoint.good or b"",
                way_in="nothing",
            )
    yield Bad(
        RECEIPT,
        "id",
        "who has said nothing",
        (404,),
        "no consent",
        way_in="nothing",
        target="/v1/contributors/" + "0" * 32 + "/consent/receipt",
    )
    for what, body, status in BODIES_OF_RECORDS:
        yield Bad(SUBMIT, "body", what, (status,), body=body)
    for what, body, status in FORMS:
        yield Bad(SIGN_IN, "form", what, (status, 400), headers=OURS, body=body, way_in="nothing")
    yield Bad(
        SIGN_IN, "content coding", "gzip", (415,), headers=(*OURS, ("Content-Encoding", "gzip")), way_in="nothing"
    )
    yield Bad(
        SIGN_IN, "slow", "a form that stops halfway", (408,), headers=OURS, body=b"key=", ends=False, way_in="nothing"
    )
    yield Bad(SUBMIT, "slow", "records that stop halfway", (408,), body=b"{", ends=False)
    yield Bad(SUBMIT, "content coding", "gzip", (415,), headers=(("Content-Encoding", "gzip"),), body=b"{}")


REFUSED_RECORDS: tuple[tuple[str, bytes, str], ...] = (
    ("no JSON", b"{", "invalid_json"),
    ("NUL", b"\0", "invalid_json"),
    ("an array", b"[]", "not_an_object"),
    ("null", b"null", "not_an_object"),
    ("no member", b"{}", "missing_member"),
    ("no content", json_of({name: value for name, value in RECORD.items() if name != "content"}), "missing_member"),
    ("a member that there is not", json_of({**RECORD, "x": 1}), "unknown_member"),
    ("a number for a text", json_of({**RECORD, "content": 7}), "invalid_member"),
    ("another type", json_of({**RECORD, "content_type": "video"}), "invalid_member"),
    ("a user that cannot be", json_of({**RECORD, "user_id": "a b"}), "invalid_member"),
    ("an empty session", json_of({**RECORD, "session_id": ""}), "invalid_member"),
    ("metadata that are none", json_of({**RECORD, "metadata": [1]}), "invalid_member"),
    ("metadata that are too large", json_of({**RECORD, "metadata": {"a": "x" * 70_000}}), "invalid_member"),
    ("a record that is too large", json_of({**RECORD, "content": "x" * 1_100_000}), "record_too_large"),
    ("a member twice", json_of(RECORD).replace(b"{", b'{"content":"y",', 1), "duplicate_member"),
    (
        "a member twice within the metadata",
        json_of({**RECORD, "metadata": {"a": 0}}).replace(b'"a"', b'"a":1,"a"'),
        "duplicate_member",
    ),
    ("a user who has said nothing", json_of(RECORD), "no_consent"),
    ("bytes that are no UTF-8", json_of(RECORD).replace(b'"x"', b'"\xff"'), "invalid_member"),
    ("levels without end", b'{"metadata":' + b"[" * 100_000, "invalid_json"),
)
"""Records of the intake that are refused each by itself: the request is 200, and says so of the line."""


def all_requests() -> list[Bad]:
    """The corpus."""
    products = (kind(endpoint) for endpoint in ENDPOINTS for kind in KINDS)
    return [*chain.from_iterable(products), *wrong_members(), *wrong_arguments(), *wrong_ids(), *only_here()]
