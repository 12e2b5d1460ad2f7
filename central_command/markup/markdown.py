"""Markdown as HTML that does nothing: tags in it are text, an image is a link, a link goes to http, https or mailto.

Two look at it, one after the other: markdown-it-py with HTML off writes tags of its own alone, and nh3 takes out what
is not on a list.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup

from central_command.markup.code import PREFIX, highlighted, is_known
from central_command.markup.visible import plain, visible

MARKDOWN_CHARS_MAX: Final = 32_768
"""Characters of one text that are read as Markdown; guards time. A longer one is shown as it is."""

OPENERS_MAX: Final = 500
"""Brackets, stars and the like of one text that is read as Markdown: many that close nothing take much time."""

NESTING_MAX: Final = 20
"""Levels of quotes and lists; a text that has more is shown as it is."""

ADDRESS: Final = re.compile(r"\A(?:https?://|mailto:)[^\s\x00-\x20]", re.IGNORECASE)

TAGS: Final = frozenset(
    {
        *(
            "a",
            "blockquote",
            "br",
            "code",
            "del",
            "em",
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "hr",
            "li",
            "ol",
            "p",
            "pre",
        ),
        *("s", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"),
    }
)
ATTRIBUTES: Final = {"a": {"href", "title"}, "span": {"class"}, "code": {"class"}, "ol": {"start"}}
REL: Final = "noopener noreferrer nofollow"
_CLASSES: Final = re.compile(rf"\A(?:{PREFIX}[a-z0-9]{{1,4}}|code)\Z")
_OPENERS: Final = re.compile(r"[\[\]*_~`<>!|&]")


def marked_down(text: str) -> Markup:
    """The text as HTML."""
    if len(text) > MARKDOWN_CHARS_MAX or sum(1 for _ in _OPENERS.finditer(text)) > OPENERS_MAX + len(text) // 8:
        return _as_it_is(text)
    tokens = _MARKDOWN.parse(visible(text))
    if any(token.level >= NESTING_MAX - 1 for token in tokens):  # what is deeper is left out
        return _as_it_is(text)
    html = nh3.clean(
        _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}),
        tags=set(TAGS),
        attributes={tag: set(names) for tag, names in ATTRIBUTES.items()},
        attribute_filter=_attribute,
        url_schemes={"http", "https", "mailto"},
        link_rel=REL,
        strip_comments=True,
    )
    return Markup(visible(html))  # noqa: S704 (it is sanitised; what entities have hidden is shown)


def _as_it_is(text: str) -> Markup:
    return Markup('<pre class="text">{}</pre>').format(plain(text))


def _attribute(tag: str, name: str, value: str) -> str | None:
    """An attribute as it stays; None where it goes. Text of people names no class of the page's."""
    if name == "class":
        return value if all(_CLASSES.match(each) for each in value.split()) else None
    if tag == "a" and name == "href":
        return value if ADDRESS.match(value) else None
    return value


def _fence(self: Any, tokens: Sequence[Any], at: int, options: Any, env: Any) -> str:  # noqa: ANN401, ARG001 (its own)
    token = tokens[at]
    language, _, more = token.info.strip().partition(" ")
    is_told = more or (language and not is_known(language))
    told = Markup("<p><code>{}</code></p>\n").format(token.info) if is_told else ""
    return f'{told}<pre><code class="code">{highlighted(token.content, language)}</code></pre>\n'


def _markdown() -> MarkdownIt:
    reader = MarkdownIt("commonmark", {"html": False, "linkify": False, "maxNesting": NESTING_MAX})
    reader.enable(["table", "strikethrough"])
    reader.disable(["image", "reference"])  # neither loads anything, and no text is left out
    reader.validateLink = lambda url: ADDRESS.match(url) is not None  # type: ignore[method-assign] # as documented
    reader.add_render_rule("fence", _fence)
    reader.add_render_rule("code_block", _fence)
    return reader


_MARKDOWN: Final = _markdown()
