"""URLs that carry a secret: a password before the host, a parameter that is one, or a path that is one."""

import re
from collections.abc import Iterator

from actors.curation.scrubbing.randomness import is_reference, looks_random
from actors.curation.scrubbing.spans import REDACTED_URL, Span
from actors.curation.scrubbing.text import Text

_SCHEME_CHARS_MAX = 24
_SCHEME = re.compile(r"[A-Za-z0-9+.-]{1,24}+")
_REST = re.compile(r"[^\s\"'<>\\`|^\x00-\x1f]++")
_AUTHORITY = re.compile(r"[^/?#]{0,1024}+")
_PARAMETER = re.compile(r"(?:[?&#;]|%3[Ff]|%26)(?:amp;)?([\w.\[\]%~-]{1,64}+)=([^&#;]{0,4096}+)")
_SECRET_NAMES = frozenset(
    [
        "token",
        "accesstoken",
        "apikey",
        "secret",
        "password",
        "passwd",
        "pwd",
        "pass",
        "signature",
        "sig",
        "authtoken",
        "clientsecret",
        "privatekey",
        "refreshtoken",
        "idtoken",
        "xamzsignature",
        "xamzcredential",
        "xamzsecuritytoken",
        "xgoogsignature",
        "xgoogcredential",
        "accesskey",
        "secretkey",
        "sessiontoken",
        "jwt",
        "bearer",
        "apitoken",
        "authkey",
        "subscriptionkey",
        "appkey",
        "credential",
        "credentials",
        "sas",
        "authorization",
        "passphrase",
        "otp",
        "codeverifier",
        "clientassertion",
        "samlresponse",
    ]
)
_SECRET_ENDINGS = ("token", "secret", "password", "apikey", "signature", "accesskey", "secretkey")
# Names of parameters that are secrets only when their value looks like one.
_SECRET_IF_RANDOM = frozenset(["key", "auth", "code", "session", "sessionid", "sid", "hmac", "ticket"])
_SECRET_PATH = re.compile(
    r"""hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/\S
      |discord(?:app)?\.com/api/(?:v\d{1,2}/)?webhooks/\d+/[\w-]{20}
      |api\.telegram\.org/(?:file/)?bot\d+:[\w-]{20}
      |\.webhook\.office\.com/webhookb2/|outlook\.office\.com/webhook/|hooks\.zapier\.com/hooks/catch/\d
      |maker\.ifttt\.com/trigger/\w+/with/key/|oapi\.dingtalk\.com/robot/send|events\.pagerduty\.com/integration/\w
      |open\.(?:feishu\.cn|larksuite\.com)/open-apis/bot/v2/hook/""",
    re.VERBOSE | re.IGNORECASE,
)
_CLOSERS = {")": "(", "]": "[", "}": "{"}


def secret_urls(text: Text) -> Iterator[Span]:
    """Whole URLs in which a secret stands."""
    place = text.text.find("://")
    while place >= 0:
        rest = _REST.match(text.text, place + 3)
        end = place + 3
        if rest is not None:
            body = _trimmed(rest.group())
            start = _start_of_scheme(text.text, place)
            end = place + 3 + len(body)  # a URL within a URL is looked at with it
            if start < place and _holds_secret(body):
                yield Span(start, end, REDACTED_URL)
        place = text.text.find("://", end)


def _start_of_scheme(text: str, place: int) -> int:
    before = text[max(0, place - _SCHEME_CHARS_MAX) : place]
    scheme = _SCHEME.match(before[::-1])
    if scheme is None:
        return place
    start = place - scheme.end()
    if before[: -scheme.end()].endswith("jdbc:"):
        start -= len("jdbc:")
    while start < place and not text[start].isalpha():
        start += 1
    if text[start - 1 : start] == "\\" and text[start : start + 1] in "nrt":
        start += 1
    return start


def _trimmed(body: str) -> str:
    """A URL without the sentence's punctuation behind it and without a bracket that was opened before it."""
    if any(each in body for each in _CLOSERS):
        body = body[: _first_unopened(body)]
    return body.rstrip(".,;:!?*")


def _first_unopened(body: str) -> int:
    depth = dict.fromkeys(_CLOSERS.values(), 0)
    for place, each in enumerate(body):
        if each in depth:
            depth[each] += 1
        elif each in _CLOSERS:
            depth[_CLOSERS[each]] -= 1
            if depth[_CLOSERS[each]] < 0:
                return place
    return len(body)


def _holds_secret(body: str) -> bool:
    if "@" in body and any(_password_in(each) for each in body.split("://")):
        return True
    if "=" in body and any(_is_secret(each[1], each[2]) for each in _PARAMETER.finditer(body)):
        return True
    return _SECRET_PATH.search(body[:512]) is not None


def _password_in(body: str) -> bool:
    authority = _AUTHORITY.match(body)
    userinfo, _, _ = (authority.group() if authority else "").rpartition("@")
    name, colon, password = userinfo.partition(":")
    if not colon:
        return len(name) >= 20 and looks_random(name)
    return password != "" and not _refers(password)


def _is_secret(name: str, value: str) -> bool:
    plain = re.sub(r"[^a-z0-9]", "", re.sub(r"%[0-9A-Fa-f]{2}", "", name).lower())
    if not value or _refers(value):
        return False
    if plain in _SECRET_IF_RANDOM:
        return looks_random(value) and len(value) >= 12
    return plain in _SECRET_NAMES or plain.endswith(_SECRET_ENDINGS)


def _refers(value: str) -> bool:
    return (
        is_reference(value) or value.strip("*x.") == "" or value.startswith(("[", "%s", "%(", ":")) or "\x00" in value
    )
