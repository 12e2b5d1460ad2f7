"""What operators are told in numbers of the corpus, its tools and its contributors, read beside those who write them.
What is counted is kept by those; the figures of one session are `live_sessions`'.
"""
