"""Routing: which offer serves a request.

`reference.py` reads "model@tags"; `estimates.py` remembers how offers behave; `strategies/` score them;
`router.py` filters, scores and picks.
"""
