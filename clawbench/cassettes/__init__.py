"""Cassettes: recorded provider calls, read from many layouts, indexed, matched to requests, and written.

A file goes through `formats` into interactions, through `understanding` (the wires) into entries, through `index`
beside the file, and comes out of `store`, bound to the offers of a plan. `writer` makes new files, `check` says what
is in old ones; `scrub` takes secrets out of interactions, `importing` and `cleaning` out of files. Sockets and clocks
are the transports' business.
"""
