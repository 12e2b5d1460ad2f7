"""What operators read in a terminal: a trajectory, the sessions, the statistics; contents stay contents. What is
printed is found elsewhere, and how tables and lines look is `central_command.terminal`.
"""
