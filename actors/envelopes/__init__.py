"""One envelope: read, verified, checked against the schema, written as a journal line. Pure; whether a session wants it
is decided in `actors.sessions`.
"""
