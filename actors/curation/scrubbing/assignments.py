"""Secrets that are assigned to a name that says so, in code, settings, JSON and on command lines."""

import re
from collections.abc import Iterator

from actors.curation.scrubbing import keywords
from actors.curation.scrubbing.randomness import is_reference, looks_like_password, looks_random
from actors.curation.scrubbing.spans import API_KEY, Span
from actors.curation.scrubbing.text import Text

# From a keyword to the value that is assigned: the rest of the name, quotes, brackets, the sign.
_SIGN = re.compile(
    r"""[\w-]{0,32}+[\\"'`\]]{0,6}+
        (?:[ \t]{0,8}+(?::[ ]?(?:str|&str|&'static[ ]str|Optional\[str\]|string)\??[ ]?=|=>|:=|===?|!==?|[=:])
          |(?<=["']),?\s{0,40}\\{0,4}["']?value\\{0,4}["']?[ ]?[=:]
          |(?<=\w)\r?\n[ ]{1,40}value:
          |(?<=["'])[ ]?\{[^{}\x00]{0,240}?\bdefault[ ]{0,8}=)[ \t]{0,8}+
        (?:[rbfu](?=["']))?""",
    re.VERBOSE | re.IGNORECASE,
)
# The name as the first argument of a call whose second is the value; as the name of an element of XML.
_CALL = re.compile(r"\([ ]?\\{0,4}[\"'][\w.-]{0,40}\Z")
_ARGUMENT = re.compile(r"[\w-]{0,32}+\\{0,4}[\"'],[ ]?(?=\\{0,4}[\"'])")
_ELEMENT = re.compile(r"<(?:\w{1,16}:)?(?:[\w.-]{0,40}|\w{1,32} [\w.-]{1,32}=[\"'][\w.-]{0,60})\Z")
_CONTENT = re.compile(r"[\w.-]{0,32}+[\"']?>(?:\s{0,40}<value>)?([^<>\s\"'\x00]{8,1024}+)</")
_BEFORE_CHARS = 128
_OPTION = re.compile(r"[\w-]{0,32}+[ =][ \t]{0,2}")
_QUOTE = re.compile(r"""\\{0,8}+["'`]""")
_BARE = re.compile(r"""[^\s"'`,;<>\\&|(){}\[\]\x00=]{1,1024}+={0,2}""")
_QUOTED = {quote: re.compile(rf"[^\s\\\x00{quote}]{{1,1024}}+") for quote in "\"'`"}
_NOT_THESE = re.compile(
    r"(?i)token(?:iz|s\b|_count|count|_type|type|_url|_uri|_endpoint|_len|_limit|_name)|"
    r"secret(?:keyref|name|_name|ref)|pass(?:word)?_?(?:hash_?algo|policy|field|reset)"
)
_WORD = r"\\{0,2}[\"']?([^\s\"'\\\x00]{6,256}+)"
_COMMANDS = (
    re.compile(r"sshpass[ ]-p[ ]?\\{0,2}[\"']?([^\s\"'\\\x00]{4,256}+)"),
    re.compile(
        r"(?:curl|wget)\b[^\n|;]{0,400}?[ ](?:-u|--user|--proxy-user)[ =]?\\{0,2}[\"']?[^\s:\"'\\\x00$]{1,64}:"
        r"([^\s\"'\\\x00]{4,256}+)"
    ),
    re.compile(r"(?:mysql|mysqldump|mysqladmin|mariadb)\b[^\n|;]{0,200}?[ ]-p" + _WORD),
    re.compile(r"redis-cli\b[^\n|;]{0,200}?[ ](?:-a|--pass)[ =]" + _WORD),
    re.compile(r"(?:mongosh|ldapsearch|docker login)\b[^\n|;]{0,200}?[ ](?:-p|-w|--password)[ =]" + _WORD),
    re.compile(r"(?i)\bidentified[ ](?:with[ ]\S{1,40}[ ])?by[ ](?:password[ ])?'([^\s'\\\x00]{6,256}+)'"),
    re.compile(r"(?i)\bpassword[ ]'([^\s'\\\x00]{6,256}+)'"),
    re.compile(r"\blogin\s{1,8}\S{1,128}\s{1,8}password\s{1,8}" + _WORD),
    re.compile(r"htpasswd\b[^\n|;]{0,200}?[ ]-\w{0,4}b\w{0,4}[ ]\S{1,128}[ ]\S{1,64}[ ]" + _WORD),
)  # fmt: skip


def assigned_secrets(text: Text) -> Iterator[Span]:
    """Values that look random behind the name of a secret."""
    spans: set[Span] = set()
    for keyword in text.found & keywords.ASSIGNED:
        spans.update(_assigned_to(text, keyword))
    if not keywords.COMMANDS.isdisjoint(text.found):
        for pattern in _COMMANDS:
            for each in pattern.finditer(text.text):
                if not is_reference(each[1]) and looks_like_password(each[1]):
                    spans.add(Span(each.start(1), each.end(1), API_KEY))
    yield from sorted(spans)


def _assigned_to(text: Text, keyword: str) -> Iterator[Span]:
    place = text.lower.find(keyword)
    while place >= 0:
        end = place + len(keyword)
        if text.lower.startswith("publickeytoken", place - len("publickey")):
            place = text.lower.find(keyword, end)  # of an assembly of .NET: names a key that is public
            continue
        name = "" if keyword.endswith(("=", ":", '"')) else text.text[place : place + 48]
        if not _NOT_THESE.match(name):
            start = end - 1 if keyword.endswith(("=", ":", '"')) else end
            sign = _SIGN.match(text.text, start)
            if sign is None and text.text[max(0, place - 24) : place].rpartition(" ")[2].startswith("--"):
                sign = _OPTION.match(text.text, start)
            before = text.text[max(0, place - _BEFORE_CHARS) : place]
            if sign is None and _CALL.search(before) is not None:
                sign = _ARGUMENT.match(text.text, start)
            if sign is not None:
                yield from _value(text.text, sign.end())
                end = max(end, sign.start() + 1)
            elif (content := _CONTENT.match(text.text, start)) is not None and _ELEMENT.search(before) is not None:
                yield from _value(text.text, content.start(1))
        place = text.lower.find(keyword, end)


def _value(text: str, place: int) -> Iterator[Span]:
    quote = _QUOTE.match(text, place)
    value = _BARE.match(text, place) if quote is None else _QUOTED[quote.group()[-1]].match(text, quote.end())
    if value is None or is_reference(value.group()):
        return
    after = text[value.end() : value.end() + 1]
    if quote is None and after in ("(", "[", "{"):
        return
    if quote is not None and after not in ("\\", quote.group()[-1], ""):
        return
    secret = value.group()
    if looks_like_password(secret) if quote is not None else looks_random(secret) or _made_up(secret):
        yield Span(value.start(), value.start() + len(secret.rstrip(".")), API_KEY)


def _made_up(secret: str) -> bool:
    """Without quotes a value may as well be an expression: none of its characters may be an operator of one."""
    return looks_like_password(secret) and not any(each in secret for each in "=()+*/?:")
