"""Faults: what goes wrong at which offers from when to when, as values.

`kinds.py` declares them, `plan.py` says which one is in force. Pure functions of run time: nothing here waits, sends or
draws; `transports/faulty.py` does.
"""
