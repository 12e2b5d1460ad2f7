"""The actor of each open session and the directory that finds it: opening, taking envelopes in, closing. What an
envelope says is judged in `actors.envelopes`.
"""
