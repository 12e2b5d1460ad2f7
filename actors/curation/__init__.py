"""What makes a trajectory fit for the corpus: scrubbing, tagging, enrichment, finding duplicates. Pure; when that
happens, and where the corpus lies, is decided above.
"""
