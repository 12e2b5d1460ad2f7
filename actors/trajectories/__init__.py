"""What a session amounts to once it is closed: stitched, scored, its partners linked. Pure; when that happens is
decided in `actors.sessions`.
"""
