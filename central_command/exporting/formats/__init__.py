"""A module for each format: a trajectory becomes its rows, or is left out with a reason. Pure: files are written, and
sessions chosen, in `exporting`.
"""
