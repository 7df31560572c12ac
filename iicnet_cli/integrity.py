"""Whether a PNG is still what was written, and what of it is missing."""

from __future__ import annotations

from iicnet_cli.container.header import Header
from iicnet_cli.payload.embedding_reader import EmbeddingReader
from iicnet_cli.tasks import task_named


def check_integrity(
    reader: EmbeddingReader, header: Header, images_per_group: int | None, notes: list[str]
) -> bool | None:
    """Compare a PNG of pictures with what its header or its mark says.

    Args:
        reader: the open PNG.
        header: its header; made up from the mark when the chunk was lost.
        images_per_group: how many pictures its engine puts into one embedding; ``None`` if any
            number.
        notes: list that receives what is missing, in words.

    Returns:
        Whether it was altered; ``None`` if that is not known.
    """
    if reader.header is None:
        if reader.mark is None or not reader.mark.layer_is_lost:
            return None
        notes.append("its enhancement layer is damaged: the network's own pictures come back")
        return True
    expected = None
    if images_per_group is not None:
        expected = task_named(header.task).embeddings_in(header)
    if expected is not None and reader.n_frames < expected:
        notes.append(
            f"{expected - reader.n_frames} of {expected} pictures of the PNG are missing; programs "
            "that know no animated PNGs keep only the first"
        )
        return True
    return not reader.verify()
