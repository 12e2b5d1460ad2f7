"""Personal data and secrets taken out of text: a file for each family of rules, the gate that decides which of them a
text needs, and the scrubber that runs them. Which texts of a record are scrubbed is decided in `actors.curation`;
imports stay light, because clients scrub before they sign.
"""
