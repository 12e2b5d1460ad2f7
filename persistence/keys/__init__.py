"""The master key, what is sealed with it, and the key of receipts, which follows from it; nothing here is stored.
Tokens are `central_command.access`'s, a contributor's key is the client's.
"""
