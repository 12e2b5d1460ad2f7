"""`history`: the conversation of a session, to resume it with."""

# ruff: noqa: PLC0415 (imports within functions: `--help` needs none of them)

from pathlib import Path

import click

from central_command.commands.endings import EXIT_FAILED, leave, one_sentence_for_failures
from central_command.commands.options import data_options, settings_from


@click.command()
@data_options(must_exist=True)
@click.argument("session_id")
@click.option("--format", "form", type=click.Choice(["messages"]), default="messages", show_default=True)
def history(config: Path | None, data_dir: Path, session_id: str, form: str) -> None:
    """Print the conversation of a session of the corpus, to resume it with.

    SESSION_ID is an id, or any beginning of it that no other session of the corpus has. What is printed is one JSON
    array of {"role", "content", "createdAt"}, scrubbed as the corpus is, without the model's reasoning; a call is a
    line of the assistant's content, and what it gave a message of the role "tool".

    \b
    Example:
      central-command history sess_6f1c > conversation.json

    Exit status: 0 it was printed, 1 there is none, which is said.
    """
    from central_command.commands.printing import terminal
    from central_command.exporting.history import find_history, session_named
    from central_command.live_sessions.history import NoHistory, pieces_of

    assert form == "messages"
    settings = settings_from(config, {})
    with one_sentence_for_failures():
        named = session_named(data_dir, session_id)
        if isinstance(named, NoHistory):
            leave(named.sentence, EXIT_FAILED)
        found = find_history(data_dir, settings.live.history_bytes_max, named)
        if isinstance(found, NoHistory):
            leave(found.sentence, EXIT_FAILED)
        for piece in pieces_of(found()):
            click.echo(terminal.clean_json(piece.decode()), nl=False)
    click.echo()
