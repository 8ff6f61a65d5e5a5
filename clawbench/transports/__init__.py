"""Transports: how an upstream call reaches a provider.

`protocol.py` says what one is; `cassette.py` answers from recordings; `timeline.py` says when its bytes come.
"""
