"""What a client or an operator touches: the HTTP endpoints, the settings, the commands, the client library."""
