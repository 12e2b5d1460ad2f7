"""What trainers read: trajectories chosen, shaped, and written as files that load everywhere, twice the same."""
