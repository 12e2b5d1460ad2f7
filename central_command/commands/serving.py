"""`serve`."""

# ruff: noqa: PLC0415 (imports within functions: `--help` needs no server)

from functools import partial
from pathlib import Path

import click

from central_command.commands.endings import one_sentence_for_failures
from central_command.commands.options import data_options, settings_from, settings_reader


@click.command()
@data_options(must_exist=False, begins=True)
@click.option("--host", help="Address to listen on, instead of the setting http.host.")
@click.option("--port", type=int, help="Port to listen on, instead of the setting http.port.")
def serve(config: Path | None, data_dir: Path, host: str | None, port: int | None) -> None:
    """Run the server until SIGTERM or SIGINT (Ctrl-C). At SIGHUP it reads its settings and TLS files again.

    Settings come from the file, then from environment variables named CENTRAL_COMMAND__SECTION__KEY (the port also from
    CENTRAL_COMMAND_PORT or GROOVE_CENTRAL_PORT), then from these options; what comes later wins. The data
    directory is created when it does not exist, and is used by one server at a time.

    \b
    Example:
      central-command serve --data-dir /var/lib/central-command --port 8443
      CENTRAL_COMMAND__LOG__LEVEL=debug central-command serve

    Exit status: 0 stopped in order, 2 wrong settings or data directory in use, 3 stored data is damaged, 4 did not stop
    in time (a restart recovers), 5 the disk failed, 1 anything else.
    """
    overrides: dict[str, object] = {"http.host": host, "http.port": port}
    settings = settings_from(config, overrides)
    import trio

    from central_command.process.logs import logging_to

    with one_sentence_for_failures(), logging_to(settings.log):
        from central_command.running import run_service

        trio.run(partial(run_service, settings, data_dir, reread=settings_reader(config, overrides)))
