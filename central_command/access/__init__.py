"""Tokens, browser sessions and bans: what lets a request do what the contract's open endpoints do not, or keeps
somebody out. How a request without a token is answered is a matter of `http/requests`; where tokens are kept, of
`persistence`.
"""
