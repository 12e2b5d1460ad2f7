"""What makes a trajectory fit for the corpus: scrubbing, tagging, enrichment, finding duplicates; and what follows the
trajectories to do so. In which process that runs is decided above.
"""
