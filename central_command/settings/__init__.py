"""The settings as a whole: `config.toml`, the environment, options, and rules between sections. Each section's type is
defined by the room that it is for.
"""
