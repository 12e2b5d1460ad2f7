"""The one way from the spool to a server: posting, batches, patience. What is posted was signed before and stands in
the spool; nothing is made or changed here.
"""
