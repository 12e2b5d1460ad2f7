"""What the observer is told and by whom: this server's own operations, and those of programs that call others. What it
makes of them is `actors.observer`.
"""
