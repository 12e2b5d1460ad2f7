"""What is on disk: journals, the databases projected from them, and keys. Knows no session logic: what a line is to
say, and when it is written, is decided above.
"""
