"""What is asked of the corpus's index: words read as a query, pages of hits, snippets, and sessions near a text. The
index is written in `curating`, and its rows are `persistence`'s.
"""
