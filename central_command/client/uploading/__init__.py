"""`upload` and `watch`: steps that are read from an agent's own session files, and what was sent of them before."""
