"""Reading the file of an embedding together with the mark of the network in its pixels."""

from __future__ import annotations

from iicnet_cli.container.embedding_file import EmbeddingFile, PathOrFile, has_equal_channels
from iicnet_cli.payload.mark import Mark
from iicnet_cli.payload.mark_pixels import read_mark


class EmbeddingReader(EmbeddingFile):
    """An :class:`EmbeddingFile` that also reads the mark.

    Another tool may have saved a grey embedding as RGB. The mark shows that, and frames are then
    given as grey again.

    Raises:
        UnsupportedVersionError: the pixels carry the mark of a newer program; else what
            :class:`EmbeddingFile` raises.
    """

    mark: Mark | None
    """The mark in the pixels of the first frame; ``None`` if there is none."""

    def __init__(self, source: PathOrFile) -> None:
        super().__init__(source)
        try:
            self._read_mark()
        except BaseException:
            self.close()
            raise

    def _read_mark(self) -> None:
        first = self.read_frame(0)
        if first.ndim == 3 and has_equal_channels(first):
            # The mark of an RGB embedding makes its channels differ.
            self.mark = read_mark(first[:, :, 0])
            self.grey = self.mark is not None
        else:
            self.mark = read_mark(first)
