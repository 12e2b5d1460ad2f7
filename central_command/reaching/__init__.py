"""Why a server cannot be had, in words, for whoever asks one over HTTP: clients, commands, readers of a corpus. Asking
itself, and when to ask again, is theirs.
"""
