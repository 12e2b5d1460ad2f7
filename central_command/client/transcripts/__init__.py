"""Reads coding agents' own session files into steps."""
