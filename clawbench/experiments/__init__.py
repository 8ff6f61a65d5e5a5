"""Experiments: plans are run here, cell by cell, through the very app that serves clients.

`prepare.py` opens what a plan names, `cell.py` runs one cell, `runner.py` runs them all and keeps the run folder,
`run_folder.py` knows that folder's layout, `client.py` is the client in the same process, `garbage.py` sets the
garbage collector for it.
"""
