"""The gateway: a client's request in, an answer out, everything recorded.

`pipeline.py` is the main path and reads top to bottom; `admission.py` looks at the request, `attempt.py` makes one
upstream call, `stream.py` is an answer on its way, `recorder.py` and `records.py` keep the facts.
"""
