"""What a client, an operator or a trainer touches: endpoints, pages, commands, settings, the client library, exports.
What happens to a session is decided in `actors`; how it lies on disk is known in `persistence`.
"""
