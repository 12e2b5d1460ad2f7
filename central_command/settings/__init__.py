"""The settings as a whole: `config.toml`, the environment, options. Each section's type is defined by the room that it
is for.
"""
