"""`search`: the corpus of a data directory by words, by meaning or by both."""

# ruff: noqa: PLC0415 (imports within functions: `--help` needs none of them)

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from central_command.commands.endings import EXIT_FAILED, EXIT_REFUSED, leave, one_sentence_for_failures
from central_command.commands.options import data_options, settings_from

if TYPE_CHECKING:
    from central_command.search.questions import Question
    from central_command.settings.configuration import Settings

_FILTERS: Final[tuple[tuple[str, str, str], ...]] = (
    ("--provider", "providers", "Of this agent. Options such as this may be repeated: any of them."),
    ("--model", "models", "Of this model."),
    ("--domain", "domains", "About this field of work, or none."),
    ("--tier", "tiers", "Of this tier: A, B or C."),
    ("--outcome", "outcomes", "That the client says ended so: SUCCESS, CRASH, KILLED, SHUTDOWN, or none."),
    ("--contributor", "contributors", "Of this contributor, by pseudonym."),
    ("--tool", "tools", "In which a step names this tool."),
)


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    for option, name, text in reversed(_FILTERS):
        command = click.option(option, name, multiple=True, help=text)(command)
    return command


class _SearchCommand(click.Command):
    """The command, which says how a word is given that looks like an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if error.option_name.startswith("--"):
                raise
            hint = "a word that must not be there stands behind --, as in: search -- torn -journal"
            raise click.UsageError(f"{error.message.rstrip('.')}: {hint}.", ctx) from None


@click.command(cls=_SearchCommand)
@data_options(must_exist=True)
@click.argument("words", nargs=-1, required=True)
@click.option("--mode", type=click.Choice(["text", "semantic", "hybrid"]), default="text", show_default=True)
@click.option("--order", type=click.Choice(["relevance", "newest"]), default="relevance", show_default=True)
@click.option("--after", help="Sessions that began at this time or later (2026-11-20, UTC), and")
@click.option("--before", help="before this one.")
@_filters
@click.option("--limit", type=click.IntRange(1, 1_000), default=10, show_default=True, help="Hits that are printed.")
@click.option("--cursor", help="Go on behind the page that ended with this.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead, as /api/search answers.")
def search(
    config: Path | None,
    data_dir: Path,
    words: tuple[str, ...],
    limit: int,
    cursor: str | None,
    *,
    as_json: bool,
    **asked: Any,
) -> None:
    """Search the corpus: what may be shown of the sessions.

    WORDS must all stand in the same step: words, "phrases" in quotes of their own, beginnings such as fsyn*, -word for
    what must not be there (behind --, or within quotes of the shell), OR between two words. It may be used while the
    server runs. With --mode semantic sessions are found by what they are about, with hybrid by both; that needs
    search.semantic and the model.

    \b
    Example:
      central-command search torn journal --provider codex
      central-command search '"no space left" -quota'
      central-command search -- torn -journal
      central-command search --mode semantic how the disk was full

    Exit status: 0 something was found, 1 nothing was, 2 the search cannot be read, or there is no index.
    """
    import msgspec

    from central_command.commands.printing import terminal
    from central_command.commands.printing.hits import print_hits
    from central_command.search.questions import Refusal, question_of
    from central_command.search.searching import Searcher

    settings = settings_from(config, {})
    try:
        question = question_of({"q": " ".join(words), **asked})
    except ValueError as error:
        leave(str(error), EXIT_REFUSED)
    with one_sentence_for_failures():
        vector = _vector(question, settings, data_dir)
        searcher = Searcher(data_dir, settings.search)
        answer = searcher.answer(question, limit=limit, cursor=cursor, vector=vector)
    if isinstance(answer, Refusal):
        leave(answer.sentence, EXIT_REFUSED)
    if as_json:
        click.echo(terminal.clean_json(msgspec.json.encode(answer).decode()))
        return
    print_hits(answer)
    if not answer.complete:
        click.echo("The time ended before everything was looked through.", err=True)
    if answer.cursor is not None:
        click.echo(f"There is more: --cursor {answer.cursor}", err=True)
    if not answer.hits:
        leave("Nothing was found.", EXIT_FAILED)


def _vector(question: "Question", settings: "Settings", data_directory: Path) -> Sequence[float] | None:
    """The embedding of what is looked for, by a model that is loaded for it; None where none is needed."""
    from central_command.search.questions import NO_NUMPY, NOT_SEMANTIC, Mode

    if question.mode is Mode.TEXT:
        return None
    if not settings.search.semantic:
        leave(NOT_SEMANTIC.sentence, EXIT_REFUSED)
    from actors.curation.session_embedding import embedding_of
    from actors.embedding.engine import ModelError
    from actors.embedding.loading import load_engine
    from persistence.format.layout import DataLayout

    try:
        engine = load_engine(settings.embedding, DataLayout(data_directory).models, lambda: False)
        return embedding_of(question.q, engine)
    except ImportError:
        leave(NO_NUMPY.sentence, EXIT_REFUSED)
    except ModelError as error:
        leave(str(error), EXIT_REFUSED)
