"""HTTP: bytes in and out, what holds for every request, the endpoints and their description. Decides nothing: what is
asked of the service is asked through `gateway`.
"""
