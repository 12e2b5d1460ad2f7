"""What was signed and not yet delivered, on the contributor's disk. Who fills it (`recording`, `uploading`) and who
delivers from it (`delivering`) it does not know.
"""
