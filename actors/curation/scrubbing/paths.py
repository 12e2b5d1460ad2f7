"""Paths below a person's home folder, on macOS, Linux, Windows and what stands between them."""

import re
from collections.abc import Iterator

from actors.curation.scrubbing.spans import FILE_PATH, Span
from actors.curation.scrubbing.text import Text

_NAME = r"\w[\w.@+~-]{0,63}+"
_START = r"(?:(?<![A-Za-z0-9_.~/:\\-])|(?<=[\s\"',]-[A-Za-z])|(?<=--- a)|(?<=--git a)|(?<=\+\+\+ b)|(?<=\w b)|(?<=\\[nrt])|(?<=file://)|(?<=[A-Za-z]=)|(?<=:)(?<![a-z]:)|(?<=[a-z]:)(?!//))"
_POSIX = re.compile(
    r"(?=[/\\%])" + _START + r"(?:/(?:mnt|cygdrive)/[a-z]|/[a-zA-Z](?=/Users)|/(?:var|usr|export|System/Volumes/Data))?"
    rf"(?P<sep>\\{{0,4}}/|%2[Ff])(?:Users|home)(?P=sep)(?P<name>{_NAME})"
    r"(?P<spaced>(?:\\{1,4}[ ]|%20)[\w.-]{1,32}+)?"
)
# A URL whose path is one of a machine's files, up to that path.
_REMOTE = re.compile(r"(?:vscode-remote|sftp|ssh|scp|rsync|smb|nfs|file)://[^\s/\"'<>]{1,128}\Z")
_REMOTE_CHARS = 150
_POSIX_OF_REMOTE = re.compile(rf"(?P<sep>/)(?:Users|home)/(?P<name>{_NAME})")
_WINDOWS = re.compile(
    r"(?=[A-Za-z]:|\\)(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))"
    r"(?:[A-Za-z]:(?P<sep>\\{1,8}+|/{1,2}+)(?:Users|Documents and Settings)(?P=sep)"
    rf"|(?<=[\w.$])(?P<wsl>\\{{1,8}}+)home(?P=wsl))(?P<name>{_NAME})",
    re.IGNORECASE,
)
_WSL = re.compile(rf"(?<=[\w.$-])(?P<sep>\\{{1,8}}+)home(?P=sep)(?P<name>{_NAME})")
_DASHED = re.compile(
    r"(?:(?<=[\\/\"'\s])|(?<=^))(?:-(?:Users|home)-|[A-Za-z]--Users-)"
    r"(?P<name>[A-Za-z0-9_]{1,64}+)(?P<tail>[\w.-]{0,255}+)"
)
_TAIL = re.compile(
    r"(?:(?:\\{0,4}/|%2[Ff])(?:[\w.@+~,=%#$-]|\\{1,4}[ ]|[\[(][\w.-]{1,64}[\])](?=[/.\\]|$)){0,255}+){0,128}+"
)
_WINDOWS_TAIL = re.compile(r"(?:(?:\\{1,8}|/)[\w.@+~,=%#$(){}-]{0,255}+){0,128}+")
_QUOTED_NAME = re.compile(r"(?P<name>\w[^\\/\"'`\n:*?<>|\x00]{0,62}[^\\/\"'`\n:*?<>| \x00])(?=[\\/\"'`])")
_QUOTED_TAIL = re.compile(r"[\\/][^\"'`\n:*?<>|\x00]{0,1024}+(?=[\"'`])")
_LINE_NUMBER = re.compile(r"(?<!\()\(\d{1,6}(?:,\d{1,6}){0,3}\)\Z")  # as the compilers of .NET put it behind a path
_MARK = re.compile(r"[/\\%](?:(?<!%)|(?<=%)2[Ff])(?:Users|home|users|Documents and Settings)(?=[/\\%])")
_DASHED_BY = frozenset({"-users-", "-home-"})
_WITH_SLASH = ((_WINDOWS, _WINDOWS_TAIL), (_POSIX, _TAIL))
_WITH_BACKSLASH = ((_WINDOWS, _WINDOWS_TAIL), (_WSL, _WINDOWS_TAIL), (_POSIX, _TAIL))
# How far before a mark its path may begin, and how far behind it the name of the person may reach.
_PREFIX_CHARS = 24
_NAME_CHARS = 200
# Folders beside people's, and the accounts of machines that build.
_NOBODY = frozenset({"shared", "public", "default", "all"})
_MACHINES = frozenset({"runner", "node", "ubuntu", "vscode", "circleci", "jovyan", "user", "runneradmin", "linuxbrew"})
_FILE = re.compile(
    r"(?<=[\w-])\.(?:html?|php|aspx?|jsp|jsx?|tsx?|vue|css|s[ac]ss|md|json|py|rb|go|svelte|astro|png|jpe?g|svg|xml|txt)$"
)


def user_paths(text: Text) -> Iterator[Span]:
    """By the contract's letter the whole path; by the profile for trajectories all up to the person's folder."""
    spans: list[Span] = []
    end = 0
    for mark in _MARK.finditer(text.text):
        if mark.start() < end:
            continue
        patterns = _WITH_SLASH if mark.group()[0] in "/fF" else _WITH_BACKSLASH
        for pattern, tail in patterns:
            found = _found_by(pattern, text.text, mark, end)
            if found is not None and (span := _path(text, found, tail)) is not None:
                spans.append(span)
                end = span.end
                break
    for each in () if _DASHED_BY.isdisjoint(text.found) else _DASHED.finditer(text.text):
        end = each.end("name") if not text.literal else each.end()
        if each["name"].lower() not in _NOBODY and (text.literal or each["name"] not in _MACHINES):
            spans.append(Span(each.start(), end, FILE_PATH))
    yield from sorted(spans, key=lambda span: (span.start, -span.end))


def _found_by(pattern: re.Pattern[str], text: str, mark: re.Match[str], start: int) -> re.Match[str] | None:
    """The path of a mark by one of the patterns; `start` is where the last path ended."""
    place, end = max(start, mark.start() - _PREFIX_CHARS), mark.end() + _NAME_CHARS
    found = None
    # Of a drive, a colon stands before its path; most paths are looked for in vain by the first of the patterns.
    if pattern is not _WINDOWS or text.find("\\", place, end) >= 0 or text.find(":/", place, end) >= 0:
        found = pattern.search(text, place, end)
    if found is None:
        place = max(start, mark.start() - _REMOTE_CHARS)
        if text.find("://", place, mark.start()) >= 0 and _REMOTE.search(text, place, mark.start()) is not None:
            return _POSIX_OF_REMOTE.match(text, mark.start())
    return found


def _path(text: Text, found: re.Match[str], tail: re.Pattern[str]) -> Span | None:
    name, end = found["name"], found.end()
    if name.lower() in _NOBODY or (name in _MACHINES and not text.literal):
        return None
    windows = tail is _WINDOWS_TAIL
    quote = text.text[found.start() - 1 : found.start()]
    quoted = quote in ('"', "'", "`") and quote != ""
    follows = text.text[end : end + 1]
    if follows == " " and (quoted or windows):
        spaced = _QUOTED_NAME.match(text.text, found.start("name"))
        if spaced is not None and (quoted or spaced.group().count(" ") <= 2):
            end = spaced.end("name")
            follows = text.text[end : end + 1]
    if not windows and _FILE.search(name) and follows not in ("/", "\\"):
        return None  # a page of a site below /home
    if not windows:
        name_end = found.start("name") + len(name.rstrip("."))
        if end == found.end("name") and follows not in ("/", "\\", "%"):
            end = name_end
    if text.literal:
        rest = _QUOTED_TAIL.match(text.text, end) if quoted else None
        if rest is not None and quote in rest.group():
            rest = None
        rest = (
            rest if rest is not None and text.text[rest.end() : rest.end() + 1] == quote else tail.match(text.text, end)
        )
        if rest is not None and rest.group():
            kept = rest.group().rstrip(".,;:!?")
            end = rest.start() + len(_LINE_NUMBER.sub("", kept) if windows else kept)
            end = end - 1 if text.text[end - 1] == "\\" and not windows else end
    return Span(found.start(), end, FILE_PATH)
