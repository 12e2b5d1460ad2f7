"""A module for each page, or few that belong together: it lets in, asks, and hands what it found to a template. What
pages have in common is in `web` itself.
"""
