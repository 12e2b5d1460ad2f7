"""What happens to a session: verification, ordering, closing, stitching, scoring, and what is made of it then. Knows no
HTTP, and opens no file and no database.
"""
