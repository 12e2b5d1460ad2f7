"""Whether HTML does nothing: its tags, attributes and addresses are those of a short list, and no others."""

import re
from html.parser import HTMLParser
from typing import Final

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
        *("s", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul", "details", "summary", "div"),
    }
)
ATTRIBUTES: Final = {"a": {"href", "rel", "title"}, "details": {"class", "open"}, "ol": {"start"}}
CLASS: Final = re.compile(
    r"(h-[a-z0-9]{1,4}|code|text|diff|path|d-(added|removed|same|place)|j|j-(row|cut|atom|string|text|name)"
    r"|t-(bold|dim|italic|underline|strike|reverse)|t-[fb]g-\d{1,2})"
)
ADDRESS: Final = re.compile(r"(?i)(https?://|mailto:)\S")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.wrong: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS:
            self.wrong.append(f"<{tag}>")
        for name, value in attrs:
            if name not in ATTRIBUTES.get(tag, {"class"}):
                self.wrong.append(f"<{tag} {name}={value!r}>")
            elif name == "class" and not all(CLASS.fullmatch(each) for each in (value or "").split()):
                self.wrong.append(f"class {value!r}")
            elif name == "href" and (not ADDRESS.match(value or "") or "noopener" not in dict(attrs).get("rel", "")):
                self.wrong.append(f"href {value!r}")
            elif name == "title":
                self.text += f" {value} "

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.wrong.append(f"<!--{data}")

    def handle_decl(self, decl: str) -> None:
        self.wrong.append(f"<!{decl}")

    def unknown_decl(self, data: str) -> None:
        self.wrong.append(f"<![{data}")

    def handle_pi(self, data: str) -> None:
        self.wrong.append(f"<?{data}")


def read_html(html: str) -> tuple[list[str], str]:
    """What of HTML could do something, and the text that is there to be read."""
    reader = _Reader()
    reader.feed(str(html))
    reader.close()
    return reader.wrong, reader.text
