"""A closer look at what is stored: every signature checked again, every trajectory stitched and scored anew. It reads
what others wrote, and decides nothing; whether files and databases agree is `persistence.upkeep`'s matter.
"""
