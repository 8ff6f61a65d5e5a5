"""For applications: recording their own calls, and an endpoint that answers from recordings, in their tests.

`block.py` records through vcrpy, `arrivals.py` gives it the times that vcrpy does not keep, `endpoint.py` serves.
"""
