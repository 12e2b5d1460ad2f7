"""Addresses of people and machines: email, IPv6, IPv4."""

import ipaddress
import pkgutil
import re
from collections.abc import Iterator
from functools import cache

from actors.curation.scrubbing import gate
from actors.curation.scrubbing.spans import EMAIL, IP, Span
from actors.curation.scrubbing.text import Text

# With a character of a name before it and one of a host behind it: nearly every other `@` has neither.
_AT = re.compile(r"@(?<=[\w.+-]@)(?=[^\W_])")
_ENCODED_AT = re.compile(r"@(?<=[\w.+-]@)(?=[^\W_])|%(?<=[\w.+-]%)40(?=[^\W_])|\\(?<=[\w.+-]\\)\\{0,3}u0040(?=[^\W_])")
_LOCAL_CHARS_MAX = 64
_LOCAL_REVERSED = re.compile(r"(?:[\w.+-]|B2%(?=[\w.+-]))*+")
_DOMAIN = re.compile(r"[^\W_](?:[\w-]{0,62}+)(?:\.[^\W_][\w-]{0,62}+){1,16}+")
_VERSION = re.compile(r"\Av?\d+(?:\.\d+)*(?:$|[.x-](?![a-z]{3}))")
# Letters of scripts that put no space between words: kana, Han, Hangul with its particles, Thai.
_UNSPACED = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_LABELS = frozenset({"this", "super", "return", "break", "continue", "self"})
_HOSTS_OF_CODE = frozenset(
    [
        "github.com",
        "gitlab.com",
        "bitbucket.org",
        "codeberg.org",
        "gitea.com",
        "git.sr.ht",
        "ssh.dev.azure.com",
        "vs-ssh.visualstudio.com",
        "ssh.github.com",
        "altssh.gitlab.com",
        "altssh.bitbucket.org",
        "gitee.com",
        "hf.co",
        "huggingface.co",
        "git.kernel.org",
    ]
)
_ALWAYS_MAIL = frozenset({"com", "org", "net", "edu", "gov", "io", "de", "uk", "fr"})

_IPV6 = re.compile(
    r"[0-9A-Fa-f:](?=[0-9A-Fa-f]{0,3}+:)(?:(?<![A-Za-z0-9_:.][0-9A-Fa-f:])|(?<=\\[nrt][0-9A-Fa-f:])|(?<=@[0-9A-Fa-f:]))"
    r"(?:(?<!:)[0-9A-Fa-f]{0,3}+:|(?<=:):)[0-9A-Fa-f:]{1,40}+"
    r"(?:(?<=:)\d{1,3}(?:\.\d{1,3}){3}|(?:\.\d{1,3}){3})?+(?![A-Za-z0-9_:])"
)
_GROUPS = re.compile(r"[0-9A-Fa-f]+")
_IPV6_SHORT = re.compile(r"(?i)(?:fe[89ab][0-9a-f]|f[cd][0-9a-f]{2}|2[0-9a-f]{3}|ff0[0-9a-f])::[0-9a-f]{1,4}$")
_IPV4 = re.compile(
    r"(?a)([0-9](?:(?<![\w.][0-9])|(?<=\\[nrt][0-9])|(?<=\x1b\[\dm[0-9])|(?<=\x1b\[\d\dm[0-9]))\d{0,2})"
    r"\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})"
    r"(?!\w|\.\w|[-+~](?!\d+\.\d+\.)\w)"
)
# As tcpdump and the netstat of BSD write an address with its port.
_IPV4_AND_PORT = re.compile(
    r"(?a)([0-9](?<![\w.][0-9])\d{0,2})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})"
    r"(?=\.(?:\d{1,5}|[a-z][a-z-]{1,15})(?![\w.]))"
)
_OF_PACKETS = re.compile(r"(?a)IP \Z|> \Z|\b(?:tcp|udp)4\d?\s[^\n]{0,80}\Z")
_OIDS = ("2.5.4.", "2.5.29.", "1.3.6.", "1.2.84", "1.0.1", "2.16.")
_VERSION_BEFORE = re.compile(
    r"""(?i)(?:version|versions|\bver\.?|\brev(?:ision)?|release[sd]?|section|chapter|\boid|build|firmware|driver|
        culture|update[sd]?(?:[ ]to)?|upgrad\w+(?:[ ](?:to|from))?|pip|nuget|
        assembly\w*)["']?[ \t]*[:=(]?[ \t]*["'(v]?$
      |\b(?:sections?|chapters?|versions?)[ ](?:\d[\d.]*+(?:,[ ](?:and[ ])?|[ ](?:and|or|to|through)[ ]))+$
      |[=><~!]=[ ]?$|[~^][ ]?$|\b[A-Z][\w.]*/$|(?-i:\b[A-Z]\w+(?:\.[A-Z]\w+)+[ ,:=]+)$
      |\.jar(?:!/)?:$|[A-Za-z]-$|(?:^|[^\d.])\d{1,3}-$""",
    re.VERBOSE,
)
_VERSION_AFTER = re.compile(r"(?i),[ ]?culture|[ ](?:released|release|is out)\b|[ ]?\((?:release|build)")
_ADDRESS_BEFORE = re.compile(
    r"(?i)(?:ip|addr|address|host|server|from|client)\w*[ ]?==[ ]?$|\bIP/$|(?:TCP|UDP|HTTP|SSH)/$"
)
_PORT_AFTER = re.compile(r":\d{2,5}(?!\w)")  # as Java writes an address behind its name: broker/10.0.12.7:9092
_BEFORE_CHARS = 40


def email_addresses(text: Text) -> Iterator[Span]:
    """Addresses whose domain ends in a TLD of IANA's list; no versions, labels of languages, matrix products."""
    end = 0
    for at in (_ENCODED_AT if gate.ENCODED_AT in text.found else _AT).finditer(text.text):
        if at.start() < end:
            continue
        start = _start_of_local(text.text, at.start())
        domain = _DOMAIN.match(text.text, at.end())
        if start == at.start() or domain is None:
            continue
        host = _host(domain.group())
        end_of_host = at.end() + len(host)
        if host and _is_mailbox(text, text.text[start : at.start()], host, text.text[end_of_host : end_of_host + 1]):
            end = end_of_host
            yield Span(start, end, EMAIL)


def _start_of_local(text: str, at: int) -> int:
    before = text[max(0, at - _LOCAL_CHARS_MAX - 1) : at]
    found = _LOCAL_REVERSED.match(before[::-1])
    start = at - (found.end() if found else 0)
    if at - start > _LOCAL_CHARS_MAX:
        return at
    if start < at and text[start - 1 : start] == "\\" and text[start] in "nrtbf":
        start += 1
    elif start and text[start - 1] == "\\" and re.match(r"u00[0-9a-f]{2}", text[start : start + 5]):
        start += 5
    elif start and text[start - 1] == "%" and re.match(r"[0-9A-F]{2}", text[start : start + 2]):
        start += 2
    if text[at - 1].isascii() and (of_sentence := _UNSPACED.search(text[start:at][::-1])) is not None:
        start = at - of_sentence.start()
    while start < at and text[start] in ".-+":
        start += 1
    return start if text[start - 1 : start] != "$" or not start else at


def _host(domain: str) -> str:
    """As much of it as ends in a TLD: a sentence may go on behind a dot without a space."""
    labels = domain.split(".")
    while len(labels) >= 2:
        if not labels[-1].isascii() and _is_tld(of_host := _UNSPACED.split(labels[-1], maxsplit=1)[0]):
            return ".".join([*labels[:-1], of_host])
        if _is_tld(labels[-1].rstrip("-_")):
            return ".".join(labels).rstrip("-_")
        if not labels[-1][:1].isupper():
            return ""
        labels.pop()
    return ""


def _is_tld(label: str) -> bool:
    return (label.isascii() and label.lower() in _tlds()) or (
        not label.isascii() and label.isalpha() and len(label) > 1
    )


@cache
def _tlds() -> frozenset[str]:
    lines = (pkgutil.get_data(__name__, "tlds.txt") or b"").decode("ascii").lower().split("\n")
    return frozenset(each for each in lines if each and not each.startswith("#"))


def _is_mailbox(text: Text, local: str, host: str, after: str) -> bool:
    lower = host.lower()
    if local in _LABELS or _VERSION.match(lower) or local.endswith("."):
        return False
    if after == "(" and lower.rpartition(".")[2] not in _ALWAYS_MAIL:
        return False
    if after == "/" and lower.count(".") == 0:
        return False
    return text.literal or local != "git" or lower not in _HOSTS_OF_CODE


def ipv6_addresses(text: Text) -> Iterator[Span]:
    """What parses as an address, with a digit and three groups at least; a short one of a known range, and `::1`."""
    for each in _IPV6.finditer(text.text):
        address = each.group()
        if address.endswith(":") and not address.endswith("::"):
            address = address[:-1]
        if _is_ipv6(address) and not _is_slice(text.text, each.start(), address):
            if address == "::1" and not text.literal:
                continue
            yield Span(each.start(), each.start() + len(address), IP)


def _is_ipv6(address: str) -> bool:
    groups = _GROUPS.findall(address)
    if not any(each.isdigit() for each in address) or (len(groups) == 8 and all(len(each) == 2 for each in groups)):
        return False
    if len(groups) < 3 and address != "::1" and not _IPV6_SHORT.match(address):
        return False
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        return False
    return True


def _is_slice(text: str, start: int, address: str) -> bool:
    """`x[::1]`, unlike `http://[::1]`."""
    return address == "::1" and re.search(r"[\w)\]]\[$", text[max(0, start - 2) : start]) is not None


def ipv4_addresses(text: Text) -> Iterator[Span]:
    """Four octets that are no version, section or object identifier."""
    spans = [*_quads(text), *_quads_with_port(text.text)]
    yield from sorted(spans)


def _quads_with_port(text: str) -> Iterator[Span]:
    for each in _IPV4_AND_PORT.finditer(text):
        before = text[max(0, each.start() - _BEFORE_CHARS * 2) : each.start()]
        if _are_octets(each.groups()) and _OF_PACKETS.search(before) is not None:
            yield Span(each.start(), each.end(), IP)


def _are_octets(parts: tuple[str, ...]) -> bool:
    return all(int(each) <= 255 and (each[0] != "0" or each == "0") for each in parts)


def _quads(text: Text) -> Iterator[Span]:
    for each in _IPV4.finditer(text.text):
        octets = each.groups()
        if not _are_octets(octets):
            continue
        address = each.group()
        if not text.literal and (address.startswith(("127.", "255.")) or address == "0.0.0.0"):  # noqa: S104 - data
            continue
        if not _is_version(text.text, each):
            yield Span(each.start(), each.end(), IP)


def _is_version(text: str, found: re.Match[str]) -> bool:
    if found.group().startswith(_OIDS):
        return True
    line = text[max(0, found.start() - _BEFORE_CHARS) : found.start()].rpartition("\n")[2]
    if _ADDRESS_BEFORE.search(line) or (line.endswith("/") and _PORT_AFTER.match(text, found.end())):
        return False
    if _VERSION_BEFORE.search(line):
        return not (line.endswith("-") and line[:-1].strip() == "")
    return _VERSION_AFTER.match(text, found.end()) is not None
