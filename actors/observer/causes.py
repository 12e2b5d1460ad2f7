"""Known causes of failures of services, and what to do about each: the first that a message fits. Pure.

The words are those that HTTP libraries, databases, language models' services, tools and operating systems use.
"""

import re
from typing import Final

import msgspec


class Cause(msgspec.Struct, frozen=True):
    """Why operations fail that say something like `signs`, and what to do."""

    name: str
    signs: re.Pattern[str]
    recommendation: str


def _cause(name: str, signs: str, recommendation: str) -> Cause:
    return Cause(name, re.compile(signs, re.IGNORECASE), recommendation)


CAUSES: Final = (
    _cause(
        "rate limit",
        r"\b429\b|rate.?limit|too many requests|throttl|quota exceeded|tokens per min|requests per min",
        "Send less at once: honour Retry-After, back off with jitter, spread the calls, or ask for a higher limit.",
    ),
    _cause(
        "out of credit",
        r"insufficient.{0,10}(?:quota|credit|funds)|billing|payment required|\b402\b|spend.{0,6}limit",
        "The provider's account has no credit left: top it up or raise its spending limit, then send again.",
    ),
    _cause(
        "context too long",
        r"context.{0,10}(?:length|window|limit)|maximum.{0,12}tokens|too many tokens|prompt is too long|max_tokens",
        "The prompt is longer than the model takes: shorten or summarise it, or use a model with a longer context.",
    ),
    _cause(
        "content refused",
        r"content.?(?:filter|policy)|safety (?:system|filter)|moderation|refused to (?:answer|comply)",
        "The model's provider refused the content: look at the example's input, and rephrase or leave it out.",
    ),
    _cause(
        "unknown model",
        r"(?:model|deployment).{0,40}(?:not found|does not exist|deprecated|decommissioned|unknown)|no such model",
        "The model's name is wrong or the model is gone: compare it with the provider's list, and set another.",
    ),
    _cause(
        "model overloaded",
        r"overloaded|\b529\b|capacity.{0,12}(?:exceeded|reached)|server is busy|currently unavailable",
        "The service has too much to do: retry with backoff, and have a second model or region to go to.",
    ),
    _cause(
        "answer is not as asked",
        r"(?:invalid|malformed|unexpected|failed to parse|could not parse).{0,30}(?:json|tool call|function call)"
        r"|json.{0,12}(?:decode|parse)|unexpected token|unterminated string|expecting value",
        "What came back is not the JSON that was expected: ask for structured output, check it, and retry once.",
    ),
    _cause(
        "expired credentials",
        r"(?:token|key|credential|session|certificate|jwt).{0,20}(?:expired|has been revoked)|expired (?:token|key)",
        "The credentials are no longer valid: renew them, and renew them before they expire next time.",
    ),
    _cause(
        "not authenticated",
        r"\b401\b|unauthori[sz]ed|unauthenticated|invalid.{0,12}(?:api.?key|token|credential|password|signature)"
        r"|authentication (?:failed|required)|login required",
        "The credentials are missing or wrong: check which key or token the caller sends, and that it is this one.",
    ),
    _cause(
        "not allowed",
        r"\b403\b|forbidden|permission denied|access denied|not permitted|insufficient.{0,8}(?:scope|privilege)|eacces",
        "The caller is known but may not do this: give it the scope, role or file permission that it needs.",
    ),
    _cause(
        "certificate",
        r"certificate|\btls\b|\bssl\b|handshake|self.signed|unable to get local issuer",
        "TLS does not work between the two: check the certificate's name, chain and dates, and the caller's clock.",
    ),
    _cause(
        "name not resolved",
        r"name.{0,20}(?:resolution|not known|resolve)|getaddrinfo|enotfound|no such host|\bdns\b|nxdomain",
        "The host's name is not found: check its spelling, the resolver, and whether the service has moved.",
    ),
    _cause(
        "connection refused",
        r"(?:connection|connect\w{0,3}).{0,50}refused|refused.{0,20}connection|econnrefused|actively refused"
        r"|(?:no|nothing).{0,12}listening",
        "Nothing listens there: see whether the service runs, on that port and address, and what ended it.",
    ),
    _cause(
        "connection lost",
        r"connection.{0,24}(?:reset|closed|aborted|lost|dropped)|econnreset|broken pipe|epipe|premature|unexpected eof"
        r"|server disconnected|incomplete read|socket hang up",
        "The other side ended the connection: look at its log at that time; retry what may be sent twice.",
    ),
    _cause(
        "unreachable",
        r"(?:host|network).{0,12}unreachable|no route to host|ehostunreach|enetunreach",
        "There is no way to the host: check network, firewall and address.",
    ),
    _cause(
        "database locked",
        r"database.{0,12}(?:locked|busy)|sqlite_busy|lock wait timeout|could not obtain lock",
        "Somebody holds the database's lock: shorten transactions, let one writer write, and set a busy time-out.",
    ),
    _cause(
        "deadlock",
        r"deadlock|serialization failure|could not serialize|write conflict",
        "Two transactions stood in each other's way: repeat the one that lost, and take locks in the same order.",
    ),
    _cause(
        "too many connections",
        r"too many (?:connections|clients)|connection pool|pool.{0,16}(?:exhausted|timeout|full)|remaining connection",
        "All connections of the pool or server are in use: look for ones that are not given back, or allow more.",
    ),
    _cause(
        "time-out",
        r"time[d-]?.?out|deadline exceeded|etimedout|\b504\b|\b408\b|took too long|no (?:response|answer) within",
        "The answer took longer than the caller waits: see what it waited for, then wait longer or ask for less.",
    ),
    _cause(
        "schema does not fit",
        r"no such (?:table|column)|(?:relation|column|table).{0,60}does not exist|unknown column|undefined column"
        r"|migration",
        "The database has another schema than the program expects: run the migrations that are missing.",
    ),
    _cause(
        "already there",
        r"unique constraint|duplicate (?:key|entry)|already exists|\b409\b|conflict",
        "What is made is there already: treat it as done where it is the same, or choose another key.",
    ),
    _cause(
        "reference is missing",
        r"foreign key|violates.{0,40}constraint|not.?null constraint|check constraint",
        "A row does not fit the database's rules: make what it refers to first, and check the input before.",
    ),
    _cause(
        "disk full",
        r"no space left|enospc|disk.{0,12}full|\b507\b|quota.{0,12}(?:reached|exceeded on)|edquot|out of disk",
        "The disk is full: free room or add some, and alert on free space before it is gone.",
    ),
    _cause(
        "disk failing",
        r"input/output error|\beio\b|read-only file system|erofs|i/o error|bad sector",
        "The disk or its file system fails: look at the kernel's log, take a backup, and replace it.",
    ),
    _cause(
        "out of memory",
        r"out of memory|\boom\b|oomkilled|memoryerror|cannot allocate memory|enomem|heap (?:out|limit)|cuda out",
        "There was not enough memory: lower batch or concurrency, look for what grows, or give it more.",
    ),
    _cause(
        "too many open files",
        r"too many open files|emfile|enfile|file descriptor",
        "The process has no descriptors left: look for files and sockets that stay open, or raise `ulimit -n`.",
    ),
    _cause(
        "file is missing",
        r"no such file|enoent|file not found|cannot find the (?:file|path)|filenotfounderror",
        "A file or folder is not where it is looked for: check path, working directory and deployment.",
    ),
    _cause(
        "program is missing",
        r"command not found|no module named|modulenotfounderror|cannot find module|executable file not found",
        "A program or package is not installed where this runs: install it, and pin it in the image.",
    ),
    _cause(
        "tool failed",
        r"exit (?:code|status) ?:? ?[1-9]|exited with|returned non-zero|non-zero exit|segmentation fault|sigkill",
        "A program that was run ended with an error: run the example's input by hand, and read what it prints.",
    ),
    _cause(
        "unknown tool",
        r"(?:tool|function|method).{0,40}(?:not found|unknown|not registered|does not exist)|unknown (?:tool|method)",
        "A tool was called that is not offered: compare the names that the model is given with those that exist.",
    ),
    _cause(
        "too large",
        r"\b413\b|(?:payload|body|entity|request|file).{0,12}too large|exceeds the (?:maximum|limit)",
        "What was sent is larger than is taken: send it in pieces, or raise the limit on purpose.",
    ),
    _cause(
        "gateway failed",
        r"\b502\b|\b503\b|bad gateway|service unavailable|upstream",
        "A service behind the one that answered is down or starting: look at that one's health and log.",
    ),
    _cause(
        "not found",
        r"\b404\b|\b410\b|not found|no longer exists",
        "What was asked for is not there: check the address or id, and whether it was removed or renamed.",
    ),
    _cause(
        "invalid input",
        r"\b400\b|\b422\b|validation|invalid (?:argument|value|input|request)|bad request|missing (?:field|required)"
        r"|required (?:field|member|parameter)|must be",
        "The request is not as the service wants it: compare the example's input with the service's description.",
    ),
    _cause(
        "failed inside",
        r"\b500\b|internal.{0,8}error|traceback|unhandled|null pointer|nonetype|typeerror|keyerror|undefined is not",
        "The service itself failed: its log at that time has the traceback; that is a fault to be mended there.",
    ),
)

UNKNOWN_RECOMMENDATION: Final = (
    "No known cause fits: look at the example, and at what changed before the first of these failures."
)


def known_cause(message: str) -> Cause | None:
    """The first known cause that a message fits."""
    return next((cause for cause in CAUSES if cause.signs.search(message)), None)
