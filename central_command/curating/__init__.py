"""The process that makes the corpus beside the server: what it does, and how the server starts, watches and ends it. By
which rules a record is made is decided in `actors.curation`.
"""
