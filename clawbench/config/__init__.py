"""Configuration: TOML files become frozen, checked values here and nowhere else.

`read.py` turns any table into a declared value; `plan.py` declares what a plan may say.
"""
