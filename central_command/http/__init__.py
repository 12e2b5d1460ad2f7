"""HTTP: bytes in and out, what holds for every request, the endpoints and their description. Decides nothing."""
