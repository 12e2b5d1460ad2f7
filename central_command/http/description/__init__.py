"""`GET /openapi.json`: the endpoints described, from what they are made of. Nothing is decided here, and no bound has a
second place.
"""
