"""What is on disk: journals, the databases projected from them, and keys. Knows no session logic."""
