"""The PNG as a container: chunks, frames and the JSON header; no signal processing.

`png_writer.py` writes it. `embedding_file.py` reads it, and what services make of it, JPEG or WebP.

::

    +-----------+  signature, IHDR (8-bit RGB or grey), sRGB
    | start     |  acTL, fcTL              only with two or more frames (animated PNG)
    +-----------+
    | frame 1   |  IDAT ...                what any viewer shows
    +-----------+
    | frame 2   |  fcTL, fdAT ...          one frame for each group of pictures
    | ...       |
    +-----------+
    | header    |  iTXt "iicnet"           JSON (`header.py`)
    | end       |  IEND
    +-----------+

The header says everything that is needed to restore. What the pixels themselves carry is the matter
of `payload`.
"""
