"""Tokens and browser sessions: what lets a request do what the contract's open endpoints do not."""
