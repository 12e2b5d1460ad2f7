"""`upload` and `watch`: steps that are read from an agent's own session files, and feed the spool a part at a time. How
a file is read is `transcripts`' matter, how the spool is delivered `delivering`'s.
"""
