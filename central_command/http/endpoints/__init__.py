"""The endpoints, a file for each group: they read, ask the service and answer. What holds for every request is in
`requests`; pages for browsers are `central_command.web`'s.
"""
