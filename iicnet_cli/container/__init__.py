"""The PNG as a container: chunks, pictures and the JSON header; no signal processing.

::

    +-----------+  signature, IHDR (8-bit RGB or grey), sRGB
    | start     |  acTL, fcTL              only with two or more frames (animated PNG)
    +-----------+
    | picture 1 |  IDAT ...                what any viewer shows
    +-----------+
    | picture 2 |  fcTL, fdAT ...          one picture for each group of frames
    | ...       |
    +-----------+
    | header    |  iTXt "iicnet"           JSON (`header.py`)
    | end       |  IEND
    +-----------+

The header says everything that is needed to restore. What the pixels themselves carry is written
and read by the engines, with the tools of `payload`.
"""
