"""Append-only JSON lines, the truth: framing, group commit, reading back, recovery. Nothing outside opens a journal's
file or knows its name: lines are read by the interface in `reading`.
"""
