"""The server's own jobs: what each does, and when."""
