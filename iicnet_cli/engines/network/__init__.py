"""The invertible network of the paper as an engine, with all that stands around it.

::

    embed    pictures -> prediction -> network -> static region -> [search] -> rounding + payload
             (motion/)   (inference/)  (static_region.py) (search.py)   (sliced_encoder.py)

    restore  pixels -> payload -> network -> + enhancement layer -> static region -> + prediction

`encoder.py` and `decoder.py` are the two directions; `network_engine.py` fits them to the contract.
"""
