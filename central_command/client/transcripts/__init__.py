"""Reads coding agents' own session files into steps: a module with a `READER` for each agent, and what they read by.
Where such files lie is looked for in `uploading`, and nothing is sent, signed or remembered here.
"""
