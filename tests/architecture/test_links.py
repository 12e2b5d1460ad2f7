"""What pages link to, and what code and settings name of the pages, is there."""

import re
from pathlib import Path

from tests.server_process import REPOSITORY

PACKAGES = ("central_command", "actors", "persistence")
PAGES = sorted(path for folder in (REPOSITORY, REPOSITORY / "docs") for path in folder.glob("*.md"))
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^()\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"")
TITLE = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
NAMED_PAGE = re.compile(r"(?<![\w./-])(?:docs/)?([a-z][a-z_-]*\.md(?:#[\w-]+)?)")
NAMED_TITLE = re.compile(r"\b([a-z-]+)(?:\.md)?, \"([A-Z`][^\"]+|[a-z]+/)\"")
PROMPTS = {"judge_prompt.md", "summary_prompt.md", "advice_prompt.md"}


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's titles, as GitHub makes them: a title that comes again gets a number."""
    found: set[str] = set()
    for title in TITLE.findall(FENCED.sub("", page.read_text())):
        plain = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", title).lower().strip()
        anchor = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = 1
        while (each := anchor if number == 1 else f"{anchor}-{number - 1}") in found:
            number += 1
        found.add(each)
    return found


def is_there(folder: Path, target: str) -> bool:
    """Whether a relative address, with an anchor or without, leads somewhere."""
    name, _, anchor = target.partition("#")
    path = (folder / name) if name else folder
    return path.exists() and (not anchor or anchor in anchors_of(path))


def test_every_link_leads_somewhere() -> None:
    """To a file of this repository, and to a title of it where an anchor says so."""
    found, wrong = 0, []
    for page in PAGES:
        for target in (first or second for first, second in LINK.findall(FENCED.sub("", page.read_text()))):
            if re.match(r"[a-z]+:", target):
                continue
            found += 1
            if not is_there(page if target.startswith("#") else page.parent, target):
                wrong.append(f"{page.name}: {target}")
    assert found > 200, "the links were not found"
    assert wrong == [], "\n".join(wrong)


def test_pages_that_code_and_settings_name_are_there() -> None:
    """With the title, or the beginning of a paragraph, that is named beside them."""
    sources = [path for tree in PACKAGES for path in (REPOSITORY / tree).rglob("*.py")]
    sources += [REPOSITORY / name for name in ("config.toml", "Makefile", "pyproject.toml")]
    pages = {page.stem: page.read_text() for page in (REPOSITORY / "docs").glob("*.md")}
    del pages["contract"]  # by parts of its titles: test_contract_page.py
    named, wrong = 0, []
    for path in sources:
        text = " ".join(line.strip().lstrip("#").strip() for line in path.read_text().splitlines())
        targets = {*NAMED_PAGE.findall(text)} - PROMPTS
        titles = [(page, title) for page, title in NAMED_TITLE.findall(text) if page in pages]
        named += len(targets) + len(titles)
        wrong += [f"{path.name}: {target}" for target in targets if not is_there(REPOSITORY / "docs", target)]
        for page, title in titles:
            begins = rf"^(?:#+ |\*\*){re.escape(title.replace('`', ''))}"
            if not re.search(begins, pages[page].replace("`", ""), re.MULTILINE):
                wrong.append(f"{path.name}: {page}.md has no {title!r}")
    assert named > 50, "the names were not found"
    assert wrong == [], "\n".join(wrong)
