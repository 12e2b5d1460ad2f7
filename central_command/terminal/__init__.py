"""What a command prints of many things alike: a table for people, tab-separated lines for programs. What the things
are, it does not know: that is `commands.printing`.
"""
