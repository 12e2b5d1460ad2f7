"""What is done with a whole data directory: backup and restore, verification, rebuilding. A server that runs needs
none of it.
"""
