"""What trainers read: trajectories chosen, shaped, and written as files that load everywhere, twice the same. Who asks
for an export, and when it is made, is `export_queue`'s and the command's matter.
"""
