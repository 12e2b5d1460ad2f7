"""What a client has to say and how: steps, chunks, outcome, signatures, endpoints, who it is. Nothing here sends, and
nothing knows where steps come from.
"""
