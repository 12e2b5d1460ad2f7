"""Large bodies written anew for their HMAC, by a process beside the server: reading and writing megabytes of JSON holds
the interpreter's lock, and whoever knows a session's id can ask for it. What is written is `actors.envelopes`' matter.
"""
