"""`contributor`: the id and the key that this machine delivers with, and what is said to a server in that name."""

# ruff: noqa: PLC0415 (imports within functions: `--help` needs no key)

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from central_command.client.contract.identity import config_directory
from central_command.client.uploading.options import own_identity
from central_command.commands.asking import ask, yes_option
from central_command.commands.endings import one_sentence_for_failures
from central_command.process.paths import PathTo

contributor_id_option = click.option(
    "--contributor-id", metavar="HEX", help="This contributor (32 hexadecimal digits) instead of your own id."
)


@contextmanager
def _one_sentence() -> Iterator[None]:
    from central_command.client.contract.contributor_files import ContributorFileError
    from central_command.client.contract.contributor_keys import ContributorKeyError
    from central_command.client.contract.identity import IdentityError

    with one_sentence_for_failures():
        try:
            yield
        except (ContributorFileError, ContributorKeyError, IdentityError) as error:
            raise click.ClickException(str(error)) from error


@click.group()
def contributor() -> None:
    """Look after the contributor that you deliver as: the id that is credited, and its key.

    An id that was made on this machine has a key, which every session is opened with: from the first one on, a server
    credits nobody in your name who has not got it.

    \b
    Example:
      central-command contributor export contributor.json
    """


@contributor.command()
@click.argument("file", type=PathTo("file", must_exist=False))
@contributor_id_option
def export(*, file: Path, contributor_id: str | None) -> None:
    """Write your id and its key to FILE, for another machine of yours.

    Whoever has the file can deliver, and give and withdraw consent, in your name: take it over a safe way, import it
    there, and delete it.

    \b
    Example:
      central-command contributor export contributor.json

    Exit status: 0 it was written, 1 FILE is there already, or cannot be written.
    """
    from central_command.client.contract.contributor_files import export_contributor

    with _one_sentence():
        identity = own_identity(contributor_id)
        key = export_contributor(config_directory(os.environ), identity.contributor_id, file)
    click.echo(f"{file} holds your id {'and its key' if key else 'alone, which has no key'}: keep it secret.")


@contributor.command(name="import")
@click.argument("file", type=PathTo("file", must_exist=True))
@yes_option
def import_(*, file: Path, yes: bool) -> None:
    """Deliver from here as the contributor in FILE, which `export` wrote on another machine.

    Sessions that wait for the key on this machine go with the next upload, watch or recorder. An id that was used here
    until now is kept beside the new one.

    \b
    Example:
      central-command contributor import contributor.json

    Exit status: 0 done, 1 FILE is none, or you did not agree, 2 nobody could be asked.
    """
    from central_command.client.contract.contributor_files import read_contributor, take_contributor
    from central_command.client.contract.identity import kept_contributor_id

    directory = config_directory(os.environ)
    with _one_sentence():
        found = read_contributor(file)
        if kept_contributor_id(directory) not in {None, found.contributor_id}:
            ask("Another contributor is credited for what is delivered from here. Take this one instead?", yes=yes)
        former = take_contributor(directory, found)
    says = "with its key" if found.private_key is not None else "which has no key"
    click.echo(f"This machine delivers as contributor {found.contributor_id} from now on, {says}.")
    if former is not None:
        click.echo(f"The former id is kept in {former}.")
    click.echo(f"Delete {file}: whoever has it can speak in your name.")


@contributor.command(name="register-key")
@contributor_id_option
@yes_option
def register_key(*, contributor_id: str | None, yes: bool) -> None:
    """Make a key for an id that has none; the next session that is opened from here registers it.

    From then on the server credits a session to this id only if it was opened with the key, for good: every machine
    that delivers as this contributor needs it (`export`, `import`), and programs that do not know keys cannot use the
    id any more. What other machines have recorded meanwhile waits there until they have the key. Ids that were made on
    this machine have one from the beginning.

    \b
    Example:
      central-command contributor register-key

    Exit status: 0 there is a key, 1 you did not agree, 2 nobody could be asked.
    """
    from central_command.client.contract.contributor_keys import key_path, make_key

    directory = config_directory(os.environ)
    with _one_sentence():
        identity = own_identity(contributor_id)
        if identity.key_of(identity.contributor_id) is None:
            ask("Every machine that uses this id will need the key. Make one?", yes=yes)
            make_key(directory, identity.contributor_id)
    click.echo(f"The key is in {key_path(directory, identity.contributor_id)}: keep a copy of it.")
