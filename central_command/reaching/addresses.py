"""What says where a server is, where nobody says it otherwise."""

URL_VARIABLES = ("GROOVE_CENTRAL_URL", "CENTRAL_COMMAND_URL")
"""Environment variables that say where the server is: the contract's own name first, which wins."""
