"""What pages tell their readers to type: commands, options, targets of make and settings are there."""

import re
import shlex
from collections.abc import Iterator

import click
import msgspec

from central_command.commands.cli import main
from central_command.settings.configuration import Settings
from tests.server_process import REPOSITORY

PAGES = sorted(path for folder in (REPOSITORY, REPOSITORY / "docs") for path in folder.glob("*.md"))
PAST = {"CHANGELOG.md"}
"""What was, is not what there is."""
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELLS = {"", "sh", "bash", "shell", "console"}
INLINE = re.compile(r"`(central-command [^`]+|make [a-z-]+[^`]*)`")
SECTIONS = msgspec.structs.asdict(Settings())
SETTING = re.compile(rf"`({'|'.join(SECTIONS)})\.([a-z]\w*)(?: = [^`]*)?`")

NO_SETTINGS = {
    *("db", "py", "json", "jsonl"),
    *("intake.withheld", "jobs.status", "sessions.owner"),
    *("metrics.tokens", "metrics.modelSwitches", "metrics.messageCount", "metrics.lastActivityAt"),
}
"""Endings of files that are named like a section, and members, columns and figures that are."""
NO_COMMANDS = ("COMMAND", "receipts", "key id", "opening v1", "request v1")
"""What stands for any command, and what keys and signatures are made for (docs/format.md, docs/protocol.md)."""


def typed(program: str) -> Iterator[tuple[str, list[str]]]:
    """Each call of a program on the pages, and in what `config.toml` says: where, and its arguments."""
    for page in [*(page for page in PAGES if page.name not in PAST), REPOSITORY / "config.toml"]:
        text = page.read_text()
        blocks = [block.replace("\\\n", " ") for language, block in FENCED.findall(text) if language in SHELLS]
        inline = [" ".join(code.replace("\n# ", " ").split()) for code in INLINE.findall(FENCED.sub("", text))]
        for line in [*(line for block in blocks for line in block.splitlines()), *inline]:
            code = re.split(r"\s#|&&|[|>;]", line.removeprefix("$ ").removeprefix("(umask 077; "))[0]
            words = shlex.split(code) if code.count("'") % 2 == 0 and code.count('"') % 2 == 0 else code.split()
            called = [word for word in words if not re.match(r"[A-Z_]+=", word)]
            called = called[3:] if called[:2] == ["sudo", "-u"] else called
            if called and called[0].rsplit("/", 1)[-1] == program and not " ".join(called[1:]).startswith(NO_COMMANDS):
                yield f"{page.name}: {line.strip()}", called[1:]


def refusal(arguments: list[str]) -> str | None:
    """Why a command is none, as far as its name and its options go."""
    command: click.Command = main
    while True:
        context = click.Context(command)
        try:
            _, rest, _ = command.make_parser(context).parse_args(
                [word for word in arguments if word not in {"…", "..."}]
            )
        except click.UsageError as error:
            return error.format_message()
        if not isinstance(command, click.Group) or not rest or not re.fullmatch(r"[a-z-]+", rest[0]):
            return None
        found = command.get_command(context, rest[0])
        if found is None:
            return None if command.invoke_without_command else f"there is no command {rest[0]}"
        command, arguments = found, rest[1:]


def test_every_command_that_is_told_is_there_with_its_options() -> None:
    told = list(typed("central-command"))
    assert len(told) > 100, "the commands were not found"
    wrong = [(place, why) for place, arguments in told if (why := refusal(arguments))]
    assert wrong == [], "\n".join(map(str, wrong))


def test_every_target_of_make_that_is_told_is_there() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = {*re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)} | {"$(VENV)/.runtime", "$(VENV)/.dev"}
    told = list(typed("make"))
    assert len(told) > 20, "the targets were not found"
    names = [(place, word.replace(".venv", "$(VENV)")) for place, words in told for word in words]
    assert [(place, name) for place, name in names if name not in targets] == []


def test_every_setting_that_is_named_is_there() -> None:
    pages = [page for page in PAGES if page.name not in PAST]
    named = [(page.name, section, key) for page in pages for section, key in SETTING.findall(page.read_text())]
    assert len(named) > 200, "the settings were not found"
    unknown = [each for each in named if not hasattr(SECTIONS[each[1]], each[2])]
    assert [each for each in unknown if not {each[2], f"{each[1]}.{each[2]}"} & NO_SETTINGS] == []


def test_no_documented_command_leaves_a_key_where_it_may_be_committed() -> None:
    """Run in a clone, what it writes lies elsewhere, or git ignores it."""
    ignored = set((REPOSITORY / ".gitignore").read_text().splitlines())
    written = {
        words[2] for _, words in typed("central-command") if words[:2] == ["contributor", "export"] and words[2:]
    }
    assert written
    own = {name for name in written if not name.startswith(("~/", "../", "/"))}
    assert {name for name in own if f"/{name}" not in ignored and "/contributor*.json" not in ignored} == set()
    assert "/id.json" in ignored, "as README named it once"
