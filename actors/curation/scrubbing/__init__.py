"""Personal data and secrets taken out of text: a file for each family of rules, the gate that decides which of them a
text needs, and the scrubber that runs them. Imports stay light, because clients scrub before they sign.
"""
