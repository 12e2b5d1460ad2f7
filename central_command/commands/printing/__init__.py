"""What operators read in a terminal: a trajectory, the sessions, the statistics; contents stay contents."""
