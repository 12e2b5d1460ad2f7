"""`GET /openapi.json`: the endpoints described, from what they are made of."""
