"""What stands on disk, in words: the places of files, times, JSON text, fingerprints of steps, events of consent, and
what the index knows of a line. Pure; nothing here reads or writes.
"""
