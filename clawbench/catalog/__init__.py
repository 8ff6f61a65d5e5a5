"""Models and offers: what can be asked for, who serves it, at which price.

`catalog.py` holds the offers and finds a model by any of its names; `price_maps.py` reads published price lists;
`providers.py` knows companies by their hosts.
"""
