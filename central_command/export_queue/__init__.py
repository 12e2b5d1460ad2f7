"""Exports that are asked for over HTTP: kept on disk, and made one after the other in a process each. How an export is
made is `exporting`'s matter.
"""
