"""Figures of sessions as they are now, open ones too: counted behind ingestion, from the lines that are on disk. Their
steps are shown in `viewing`, figures of many sessions together are `tallies`.
"""
