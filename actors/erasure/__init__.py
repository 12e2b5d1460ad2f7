"""Erasure as a durable job: who is erased, what is theirs, in which order it goes, and that nothing is left. How lines
and rows are taken out of files and databases is `persistence`'s matter.
"""
