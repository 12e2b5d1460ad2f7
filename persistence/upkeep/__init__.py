"""What is done with a data directory from outside its server: looking into it, backup and restore, verification,
rebuilding. A server that runs needs none of it.
"""
