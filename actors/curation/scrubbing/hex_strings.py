"""Hexadecimal strings of 40 digits and more: keys, unless their surroundings say that they name a version of code."""

import re
from collections.abc import Iterator

from actors.curation.scrubbing.spans import API_KEY, Span, word_edge_behind
from actors.curation.scrubbing.text import Text

_HEX = re.compile(
    r"[0-9A-Fa-f]"
    + word_edge_behind("[0-9A-Fa-f]")
    + r"(?<!_[0-9A-Fa-f])(?:[0-9A-Fa-f]{39,}+|(?<=0)x[0-9A-Fa-f]{40,}+)"
    r"(?![0-9A-Za-z_])"
)
_DIGESTS = frozenset({40, 64, 96, 128})  # SHA-1, SHA-256, SHA-384, SHA-512
_KEPT_DIGITS = 12
_BEFORE_CHARS, _AFTER_CHARS = 120, 120
_BEFORE = re.compile(
    r"""(?:(?<![^\W_])(?:commit|tree|parents?|blob|object|tag|merge|from|head|rev|revision|ref|checksum|digest|base|onto|
        fixes|bad|good|before|after|checked\ out|sha-?(?:1|256|384|512)?(?:sums?)?|oid|
        (?:now|detached|moving|switching)\ (?:at|to|from)|moving\ from\ \S{1,60}\ to|tip|commits|
        commit_?(?:sha|id|hash)|(?:head|base|merge|git)_?(?:sha|commit|rev)|
        (?:file|content|source|asset|object|tree|index)_?hash|integrity|resolved|narHash)
        \b["'\]]?\s{0,4}[:=\-(]{0,2}\s{0,4}(?:10c0/)?[\["'(`]{0,2}
      |(?:[a-z]Oid|[a-z]Sha|[a-z]Commit|[a-z]Head|[Cc]hecksum|Sum)["']?\s{0,4}[:=]\s{0,4}["']?
      |\bsha-?(?:1|256|384|512)(?:\s?\([^)\n]{1,80}\)\s?=\s?|\s[^\n]{1,60}:\s?"|\svalue=")
      |\bzh:|\bpack-|\bgit\+[a-z]{2,5}://\S{1,80}[\#@]|\bstrip_prefix\s?=\s?"[\w.-]{1,40}-
      |\b[01]\d{5}\s|refs/\S{1,64}\n\^|(?:^|\n)(?:pick|reword|edit|squash|fixup|drop|[prefsd])\s
      |\b(?:containerd|docker|cri-o)://|/(?:overlay2|containers)/|\b(?:docker|cri-containerd)-
      |\bgit\s[^\n]{0,100}\s["'^]?
      |/(?:commits?|blobs?|trees?|raw|blame|archive|compare|statuses|tar\.gz|zip|pull/\d{1,9}/commits
        |objects(?:/[0-9a-f]{2}){0,2}|blobs/sha256)/
      |(?:githubusercontent\.com|jsdelivr\.net)/\S{1,80}/|\.(?:tgz|git|gz|zip)[#@]|[\w-]/[\w.-]+@|\.\.\.?|^\^?|\n\^?
      |[0-9a-f]{12}(?:\s|\sand\s|,\s)|0{40}\s|\bindex\s)$""",
    re.IGNORECASE | re.VERBOSE,
)
_AFTER = re.compile(
    r"""(?:\s{1,4}(?:refs/|HEAD\b|\(|\d{1,6}\)|\d{1,6}\s\d{1,6}(?:\s\d{1,6})?\n|\d{1,12}\s{1,4}[\w./-]*/
        |[ *]?[\w./-]*\.\w{1,5}(?:\n|$)|(?<=[ ][ *])[\w./-]*\.\w{1,5}["'\s]|(?:commit|tree|blob|tag)\b
        |[\w./@-]{1,100}[ ]\((?:v?\d|heads/|remotes/)
        |is\ the\ first\ bad\ commit|not-for-merge|branch\s')
      |\]\(https?://[\w./-]{1,100}/commit/|:refs/|\.\.|\^)""",
    re.VERBOSE,
)


def hex_strings(text: Text) -> Iterator[Span]:
    """Hexadecimal strings of 40 digits and more; by the profile for trajectories, hashes in a clear context are cut."""
    for each in _HEX.finditer(text.text):
        if text.literal or not _is_hash(text.text, each):
            yield Span(each.start(), each.end(), API_KEY)
        elif each.group().strip("0"):
            yield Span(each.start() + _KEPT_DIGITS, each.end(), "")


def _is_hash(text: str, found: re.Match[str]) -> bool:
    if len(found.group()) not in _DIGESTS:
        return False
    if not found.group().strip("0"):
        return True
    after = _AFTER.match(text[found.end() : found.end() + _AFTER_CHARS])
    before = text[max(0, found.start() - _BEFORE_CHARS) : found.start()]
    preceding = _BEFORE.search(before)
    if preceding is None:
        return after is not None
    return bool(preceding.group().strip("^\n")) or after is not None
