"""The PNG as a container for embeddings.

::

    +-----------+  signature, IHDR (8-bit RGB or grey), sRGB
    | start     |  acTL, fcTL              only with two or more frames (animated PNG)
    +-----------+
    | picture 1 |  IDAT ...                what any viewer shows; 96 of its least-significant
    |           |                          bits, or more, are the mark (`mark.py`)
    +-----------+
    | picture 2 |  fcTL, fdAT ...          one picture per group of frames
    | ...       |
    +-----------+
    | header    |  iTXt "iicnet"           JSON (`header.py`): task, model, sizes, names,
    |           |                          hash of the pixels
    | end       |  IEND
    +-----------+

The header says everything; the mark says enough to restore when a site has stripped the header.
Both carry the motion of clips and stereo pairs (`motion.py`), and the mark an enhancement layer
and where all pictures are alike (`common.py`).
`png.py` writes and reads the file as a whole. Callers put the mark into the pixels (`write_mark`)
before they give them to `EmbeddingWriter`, and open and close the file that it writes to.
"""

from iicnet_cli.container.common import CELL as COMMON_CELL
from iicnet_cli.container.common import Common
from iicnet_cli.container.header import FORMAT_VERSION, MAX_PIXELS, Header, Source, safe_name
from iicnet_cli.container.mark import (
    TASKS,
    Mark,
    carried,
    fps_code,
    fps_from_code,
    mark_room,
    model_id,
    read_mark,
    write_mark,
)
from iicnet_cli.container.motion import Motion
from iicnet_cli.container.places import MARK_BITS
from iicnet_cli.container.png import (
    MAX_HEADER_BYTES,
    EmbeddingReader,
    EmbeddingWriter,
    hash_frame,
    read_header,
)

__all__ = [
    "COMMON_CELL",
    "FORMAT_VERSION",
    "MARK_BITS",
    "MAX_HEADER_BYTES",
    "MAX_PIXELS",
    "TASKS",
    "Common",
    "EmbeddingReader",
    "EmbeddingWriter",
    "Header",
    "Mark",
    "Motion",
    "Source",
    "carried",
    "fps_code",
    "fps_from_code",
    "hash_frame",
    "mark_room",
    "model_id",
    "read_header",
    "read_mark",
    "safe_name",
    "write_mark",
]
