"""`central-command`: the group, and where each of its commands lives.

The modules of the commands import what they need when a command runs: `--help` answers at once, and neither a client
loads the server nor a server the client.
"""

# ruff: noqa: ARG002 (the arguments are click's)
# ruff: noqa: PLC0415 (an import within a function: `--help` needs no settings)

import importlib
import os
from typing import NamedTuple

import click

from central_command.commands import (
    banning,
    configuring,
    consenting,
    curating,
    erasing,
    exporting,
    granting,
    history,
    inspecting,
    observing,
    overseeing,
    queueing,
    refusing,
    registering,
    reviewing,
    searching,
    serving,
    signing_in,
    upkeep,
)
from central_command.commands.endings import EXIT_REFUSED, explanations, leave
from central_command.process.steering import STEERING_IN_BLOCKS, escaped
from central_command.settings.variables import unknown_variables


class Elsewhere(NamedTuple):
    """A command of a module that is imported only when the command is used."""

    module: str
    name: str
    short_help: str

    def command(self) -> click.Command:
        """The command, imported now."""
        command = getattr(importlib.import_module(self.module), self.name)
        assert isinstance(command, click.Command)
        return command


COMMANDS: dict[str, click.Command | Elsewhere] = {
    "serve": serving.serve,
    "status": overseeing.status,
    "upload": Elsewhere(
        "central_command.client.uploading.upload", "upload_command", "Send agents' own session files to a server."
    ),
    "watch": Elsewhere(
        "central_command.client.uploading.watch", "watch_command", "Send sessions to a server while they grow."
    ),
    "mine": Elsewhere(
        "central_command.commands.contributing",
        "mine",
        "List what was delivered from here, what waits, what was credited.",
    ),
    "whoami": Elsewhere(
        "central_command.commands.contributing", "whoami", "Print who is credited for what is delivered from here."
    ),
    "contributor": Elsewhere("central_command.commands.representing", "contributor", "Look after your id and its key."),
    "consent": consenting.consent,
    "data": consenting.data,
    "sessions": inspecting.sessions,
    "show": inspecting.show,
    "stats": inspecting.stats,
    "curate": curating.curate,
    "corpus": curating.corpus,
    "search": searching.search,
    "history": history.history,
    "export": exporting.export,
    "token": granting.token,
    "sign-in": signing_in.sign_in,
    "ban": banning.ban,
    "unban": banning.unban,
    "bans": banning.bans,
    "jobs": queueing.jobs,
    "audit": reviewing.audit,
    "digests": reviewing.digests,
    "observer": observing.observer,
    "verify": upkeep.verify,
    "backup": upkeep.backup,
    "restore": upkeep.restore,
    "rebuild": upkeep.rebuild,
    "refused": refusing.refused,
    "erase": erasing.erase,
    "expire": erasing.expire,
    "config": configuring.config,
}
"""All commands, in the order in which one meets them."""


for _command in (registering.stats, registering.events, registering.record, registering.import_):
    consenting.consent.add_command(_command)

HELP_NAMES = ("-h", "--help")


class CommandGroup(click.Group):
    """The commands of the table; `--help` imports none."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; what it ends with names files and sessions, and must not steer the terminal.

        A variable that only looks like ours is refused by every command, also by those that read no settings.
        """
        if not set(HELP_NAMES).intersection(ctx.args) and unknown_variables(os.environ):
            _refuse_variables()
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            if not (known := list(explanations(error))):
                raise
            leave(known[0][1], known[0][0])
        except click.ClickException as error:
            error.message = escaped(error.message, STEERING_IN_BLOCKS)  # type: ignore[misc]  # Final for its type only
            raise

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One of them; None when there is none of that name."""
        found = COMMANDS.get(cmd_name)
        return found.command() if isinstance(found, Elsewhere) else found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list for `--help`."""
        rows = [
            (name, found.short_help if isinstance(found, Elsewhere) else found.get_short_help_str(100))
            for name, found in COMMANDS.items()
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _refuse_variables() -> None:
    from central_command.settings.configuration import SettingsError, check_names

    try:
        check_names(os.environ)
    except SettingsError as error:
        leave(str(error), EXIT_REFUSED)


@click.group(
    cls=CommandGroup,
    context_settings={"help_option_names": list(HELP_NAMES), "max_content_width": 100},
    epilog="Example: `central-command serve` in one shell, `central-command upload session.jsonl` in another.",
)
@click.version_option(package_name="central-command")
def main() -> None:
    """Take in the sessions of AI coding agents: verified, durable, scored and credited.

    `serve` runs the server; `upload` and `watch` send sessions to one, `mine`, `whoami` and `contributor` are about
    what of it is yours.
    `status` asks a running server how it is.
    `consent` and `data` are about what applications on this machine capture. The other commands work on the data
    directory of a server on this machine, and all but `restore`, `rebuild`, `curate`, `refused`, `erase` and `expire`
    may be used while it runs. `config` checks settings.
    """
