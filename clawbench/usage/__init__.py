"""Token counts as providers state them, read as they mean them: one normaliser per provider API.

Chosen by the upstream API, never by what the client spoke. Wires call these while decoding; billing reads the same
figures, with the provider's own object beside them.
"""
