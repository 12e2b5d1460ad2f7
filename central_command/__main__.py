"""`python -m central_command` is `central-command`."""

from central_command.commands.cli import main

if __name__ == "__main__":
    main()
