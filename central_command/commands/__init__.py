"""The commands of `central-command`: they parse, call and print; what they do is done below. A command that asks
something new of a data directory has it from the room whose matter it is.
"""
