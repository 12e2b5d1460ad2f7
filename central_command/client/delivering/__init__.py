"""The one way from the spool to a server: posting, batches, patience."""
