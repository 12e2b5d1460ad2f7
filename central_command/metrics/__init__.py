"""What `/metrics` says: the figures that each part keeps anyway, as metrics (nothing is counted twice). A part that is
added gets a module of its own, and a line in `PARTS` of `exposition.py`.
"""
