"""The `Recorder`: steps that a program hands over while its agent works, signed into the spool. Steps that are read
from an agent's own files are `uploading`'s.
"""
