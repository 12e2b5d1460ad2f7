"""`refused`: dead letters listed, shown and tried again, on a stopped server's data or through a running one."""

# ruff: noqa: PLC0415 (imports within functions: `--help` needs none of them)

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import click

from central_command.client.contract.server_options import may_ask_options
from central_command.commands.endings import EXIT_FAILED, EXIT_REFUSED, leave, run_to_end
from central_command.commands.options import data_options, settings_from, wide_option
from central_command.commands.presented_token import token_in
from central_command.process.paths import PathTo
from central_command.process.steering import escaped
from central_command.terminal.unread import going_on_unread

if TYPE_CHECKING:
    import httpx

    from actors.sessions.letter_desk import LetterDesk
    from central_command.client.contract.connection import Trust
    from central_command.settings.configuration import Settings

F = TypeVar("F", bound=Callable[..., Any])
Members = dict[str, Any]
"""What `/api/admin/refused` answers, however it was asked."""

PAGE_LETTERS: Final = 200


class Letters(Protocol):
    """The dead letters, wherever they are."""

    async def page(self, chosen: dict[str, str], limit: int, cursor: str | None) -> Members:
        """A page of those that are chosen."""
        ...

    async def contents(self, letter_id: str) -> Members | None:
        """One of them, with its body."""
        ...

    async def retry(self, letter_id: str) -> Members | None:
        """Try one again."""
        ...


def _where_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add --url, --ca, --insecure and --token-file, for asking a server that runs."""
    url = may_ask_options("reading --data-dir")
    token = click.option(
        "--token-file", type=PathTo("file", must_exist=True), help="File with a token of the scope admin, for --url."
    )
    return url(token(command))


def _choice_options(command: F) -> F:
    """Add the filters of the API."""
    code = click.option("--code", help="Only those refused for this reason, such as schema.")
    session = click.option("--session", metavar="ID", help="Only those of one session.")
    contributor = click.option("--contributor", metavar="ID", help="Only those of one contributor's sessions.")
    day = click.option("--day", metavar="DAY", help="Only those of one day, such as 2026-11-20.")
    return code(session(contributor(day(command))))


@click.group()
def refused() -> None:
    """Look after dead letters: envelopes that were authentic, and refused.

    The server must be stopped, or is asked by --url with a token of the scope admin.

    \b
    Example:
      central-command refused list --code schema
      central-command refused retry --session sess_6f1c0f6e
    """


@refused.command("list")
@data_options(must_exist=False)
@_where_options
@_choice_options
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100_000), help="At most so many.")
@wide_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line instead, one for each letter.")
def list_refused(
    config: Path | None,
    data_dir: Path,
    url: str | None,
    trust: "Trust",
    token_file: Path | None,
    limit: int,
    *,
    wide: bool,
    as_json: bool,
    **chosen: str | None,
) -> None:
    """List dead letters, newest first: why each was refused, and whether it can be tried again.

    \b
    Example:
      central-command refused list --day 2026-11-20 --json

    Exit status: 0 listed, 1 the server said no, 2 refused (a wrong option, or a server has the directory).
    """
    from central_command.terminal.listing import Column, Listing, print_listing

    where = _opened(config, data_dir, url, trust, token_file)
    found = run_to_end(_listed, where, _filter(chosen), limit)
    if as_json:
        _echo_json(found)
        return
    columns = [
        Column(name.replace("_", " "), wide_only=name in _WIDE_ONLY, may_be_cut=name == "reason") for name in _COLUMNS
    ]
    listing = Listing(*columns, empty="There are no dead letters.")
    for each in found:
        listing.add(*(_cell(each, name) for name in _COLUMNS))
    print_listing(listing, wide=wide)


@refused.command()
@data_options(must_exist=False)
@_where_options
@click.argument("letter_id")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def show(
    config: Path | None,
    data_dir: Path,
    url: str | None,
    trust: "Trust",
    token_file: Path | None,
    letter_id: str,
    *,
    as_json: bool,
) -> None:
    """Print a dead letter and the envelope that it holds: as it came, but that contributors go by their pseudonyms.

    \b
    Example:
      central-command refused show env_01a22280-faad-7e5e-8438-197f515962ae

    Exit status: 0 printed, 1 there is no such letter, 2 refused (as for `refused list`).
    """
    from central_command.commands.printing import terminal
    from central_command.terminal.facts import print_facts

    found = run_to_end(_shown, _opened(config, data_dir, url, trust, token_file), letter_id)
    if found is None:
        leave(f"there is no dead letter {letter_id}", EXIT_FAILED)
    if as_json:
        _echo_json([found])
        return
    body = found.pop("body")
    print_facts([(name.replace("_", " "), _cell(found, name)) for name in found])
    click.echo()
    click.echo("It holds no envelope that can be read." if body is None else terminal.clean(body))


@refused.command()
@data_options(must_exist=False)
@_where_options
@_choice_options
@click.argument("letter_ids", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Try all that can be tried.")
@going_on_unread()
def retry(
    config: Path | None,
    data_dir: Path,
    url: str | None,
    trust: "Trust",
    token_file: Path | None,
    letter_ids: tuple[str, ...],
    *,
    every: bool,
    **chosen: str | None,
) -> None:
    """Take dead letters in that are acceptable now, by other settings or this version.

    Name them, or choose them by options. Each passes the checks of an envelope that comes by itself, keeps its number,
    and is taken in once, however often it is tried. A session that has a trajectory keeps that as it is; one that has
    none gets it, from all of its letters.

    \b
    Example:
      central-command refused retry env_01a22280-faad-7e5e-8438-197f515962ae
      central-command refused retry --code schema --day 2026-11-20

    Exit status: 0 all are taken in, 1 some are not (it says why), 2 nothing was started.
    """
    filters = _filter(chosen)
    if bool(letter_ids) + bool(filters or every) != 1:
        leave("name letters, or choose them by --code, --session, --contributor, --day or --all", EXIT_REFUSED)
    results = run_to_end(_retried, _opened(config, data_dir, url, trust, token_file), letter_ids, filters)
    for letter_id, result in results.items():
        click.echo(escaped(f"{letter_id}: {result['message']}"), err=not result["taken_in"])
    if not results:
        click.echo("There is nothing that could be tried.", err=True)
    if any(not result["taken_in"] for result in results.values()):
        raise SystemExit(EXIT_FAILED)


_COLUMNS: Final = ("id", "session_id", "type", "sequence", "code", "refused_at", "can_retry", "hindered_by", "reason")


_WIDE_ONLY: Final = ("session_id", "sequence", "refused_at", "hindered_by")


def _cell(letter: Members, name: str) -> str:
    value = letter[name]
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def _echo_json(found: list[Members]) -> None:
    import msgspec

    from central_command.commands.printing import terminal

    for each in found:
        click.echo(terminal.clean_json(msgspec.json.encode(each).decode()))


def _filter(chosen: dict[str, str | None]) -> dict[str, str]:
    """What is chosen by; ends the command for what cannot be."""
    from central_command.http.endpoints.refused import chosen_letters

    given = {name: value for name, value in chosen.items() if value is not None}
    try:
        chosen_letters(given)
    except ValueError as error:
        leave(f"--{error}".removesuffix("."), EXIT_REFUSED)
    return given


async def _listed(where: "Callable[[], Any]", chosen: dict[str, str], limit: int) -> list[Members]:
    found: list[Members] = []
    async with where() as letters:
        cursor = None
        while len(found) < limit:
            page = await letters.page(chosen, min(PAGE_LETTERS, limit - len(found)), cursor)
            found += page["refused"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
    return found


async def _shown(where: "Callable[[], Any]", letter_id: str) -> Members | None:
    async with where() as letters:
        shown: Members | None = await letters.contents(letter_id)
    return shown


async def _retried(
    where: "Callable[[], Any]", letter_ids: tuple[str, ...], chosen: dict[str, str]
) -> dict[str, Members]:
    """Try letters, the earliest first; what became of each, also of those that came along."""
    async with where() as letters:
        wanted = list(letter_ids)
        cursor, pages = None, not letter_ids
        while pages:
            page = await letters.page(chosen, PAGE_LETTERS, cursor)
            wanted += [each["id"] for each in page["refused"] if each["can_retry"]]
            cursor = page["next_cursor"]
            pages = cursor is not None
        results: dict[str, Members] = {}
        for letter_id in wanted if letter_ids else reversed(wanted):
            if letter_id in results:
                continue
            answer = await letters.retry(letter_id)
            if answer is None:
                results[letter_id] = {"taken_in": False, "message": "There is no such dead letter."}
                continue
            results |= {each["id"]: each for each in answer["results"]}
    return results


def _opened(
    config: Path | None, data_dir: Path, url: str | None, trust: "Trust", token_file: Path | None
) -> "Callable[[], Any]":
    """What opens the letters that the options name."""
    if (url is None) != (token_file is None):
        leave("--url and --token-file go together", EXIT_REFUSED)
    if url is None or token_file is None:
        if not data_dir.is_dir():
            leave(f"{data_dir} is no folder: name the server's data with --data-dir", EXIT_REFUSED)
        settings = settings_from(config, {})
        return lambda: _stopped(settings, data_dir)
    token = token_in(token_file)
    return lambda: _running(url, trust, token)


@asynccontextmanager
async def _stopped(settings: "Settings", data_dir: Path) -> "AsyncIterator[Letters]":
    from central_command.commands.stopped_server import opened_service

    async with opened_service(settings, data_dir) as service:
        yield _OpenedLetters(service.letters)


@asynccontextmanager
async def _running(url: str, trust: "Trust", token: str) -> "AsyncIterator[Letters]":
    from central_command.client.contract.connection import new_client

    async with new_client(url, trust) as client:
        client.headers["Authorization"] = f"Bearer {token}"
        yield _AskedLetters(client)


class _OpenedLetters:
    """The letters of a server that is stopped."""

    def __init__(self, desk: "LetterDesk") -> None:
        self._desk = desk

    async def page(self, chosen: dict[str, str], limit: int, cursor: str | None) -> Members:
        """A page of those that are chosen."""
        import msgspec

        from central_command.http.endpoints.refused import chosen_letters

        before = {} if cursor is None else {"before_n": int(cursor)}
        page: Members = msgspec.to_builtins(await self._desk.page(chosen_letters(chosen), limit, **before))
        return page

    async def contents(self, letter_id: str) -> Members | None:
        """One of them, with its body."""
        from central_command.http.endpoints.refused import shown

        return shown(await self._desk.contents(letter_id))

    async def retry(self, letter_id: str) -> Members | None:
        """Try one again."""
        from actors.sessions.outcomes import ActorFailed, Busy, StorageFull
        from central_command.http.endpoints.refused import retried

        outcome = await self._desk.retry(letter_id)
        if isinstance(outcome, Busy | StorageFull | ActorFailed):
            message = f"It cannot be taken in now: {outcome!r}."
            return {"results": [{"id": letter_id, "taken_in": False, "message": message}]}
        return retried(letter_id, outcome)


class _AskedLetters:
    """The letters of a server that runs."""

    def __init__(self, client: "httpx.AsyncClient") -> None:
        self._client = client

    async def page(self, chosen: dict[str, str], limit: int, cursor: str | None) -> Members:
        """A page of those that are chosen."""
        at = {} if cursor is None else {"cursor": cursor}
        found = await self._ask("GET", "", {**chosen, **at, "limit": str(limit)})
        if found is None:
            leave("the server has no such endpoint", EXIT_FAILED)
        return found

    async def contents(self, letter_id: str) -> Members | None:
        """One of them, with its body."""
        return await self._ask("GET", f"/{_quoted(letter_id)}")

    async def retry(self, letter_id: str) -> Members | None:
        """Try one again."""
        return await self._ask("POST", f"/{_quoted(letter_id)}/retry")

    async def _ask(self, method: str, path: str, query: dict[str, str] | None = None) -> Members | None:
        """What the server answers; None for 404, and one sentence for anything else."""
        import httpx
        import msgspec

        from central_command.reaching.unreachable import stranger, undelivered

        try:
            answer = await self._client.request(method, f"/api/admin/refused{path}", params=query)
        except httpx.RequestError as error:
            why = undelivered(error, self._client.base_url)
            leave(f"the server cannot be asked: {why.reason}; {why.advice}", EXIT_FAILED)
        try:
            members: Members = msgspec.json.decode(answer.content, type=dict[str, Any])
        except msgspec.DecodeError:
            members = {}
        if not members or (answer.status_code != httpx.codes.OK and not isinstance(members.get("error"), str)):
            why = stranger(answer.status_code, answer.headers.get("Location"), self._client.base_url)
            leave(f"{why.reason}; {why.advice}", EXIT_FAILED)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if answer.status_code != httpx.codes.OK:
            leave(str(members.get("error", f"the server answers with {answer.status_code}")), EXIT_FAILED)
        return members


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")
