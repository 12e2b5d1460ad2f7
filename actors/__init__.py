"""What happens to a session: verification, ordering, closing, stitching, scoring. Knows no HTTP and opens no file."""
