"""Whether a PNG is still what was written, and what of it is missing."""

from __future__ import annotations

from dataclasses import dataclass

from iicnet_cli.payload.embedding_reader import EmbeddingReader
from iicnet_cli.payload.mark_pixels import read_mark
from iicnet_cli.tasks import TASKS

_WHO_DROPS_PICTURES = "programs that know no animated PNGs keep only the first"


@dataclass(frozen=True)
class Integrity:
    """What became of a PNG.

    Attributes:
        altered: whether it is not what was written; ``None`` if that is not known.
        missing: pictures of it are missing; it is altered then.
        notes: what is missing, in words.
    """

    altered: bool | None
    missing: bool = False
    notes: tuple[str, ...] = ()


def check_integrity(reader: EmbeddingReader) -> Integrity:
    """Compare a PNG with what its header or else its marks say.

    Missing pictures are counted for networks and known tasks only: other engines may put any
    number of images into an embedding.
    """
    header = reader.header
    if header is None:
        return Integrity(None) if reader.mark is None else _check_marks(reader)
    expected = None
    if header.engine is None and header.task in TASKS:
        expected = TASKS[header.task].embeddings_in(header)
    if expected is not None and reader.n_frames < expected:
        note = _missing_pictures(expected - reader.n_frames, expected)
        return Integrity(True, missing=True, notes=(note,))
    return Integrity(not reader.verify())


def _check_marks(reader: EmbeddingReader) -> Integrity:
    """What the marks of all embeddings say."""
    places = set()
    without_mark = without_layer = 0
    for embedding in reader:
        mark = read_mark(embedding)
        if mark is None:
            without_mark += 1
        else:
            without_layer += mark.layer_is_lost
            places.add(mark.place)
    words = []
    numbers = {place.number for place in places if place is not None}
    if numbers and without_mark == 0:
        total = max(numbers) + 1
        if not any(place is not None and place.is_last for place in places):
            words.append(
                f"pictures of the PNG are missing after number {total}; {_WHO_DROPS_PICTURES}"
            )
        if len(numbers) < total:
            words.append(_missing_pictures(total - len(numbers), total))
    missing = bool(words)
    if without_mark:
        words.append(f"{without_mark} of {reader.n_frames} pictures have lost their marks")
    if without_layer:
        words.append(
            "its enhancement layer is damaged: only the network's own pictures can be restored"
            if reader.n_frames == 1
            else f"the enhancement layer of {without_layer} of {reader.n_frames} pictures is "
            "damaged: only the network's own pictures can be restored"
        )
    return Integrity(bool(words) or None, missing, tuple(words))


def _missing_pictures(missing: int, total: int) -> str:
    return f"{missing} of {total} pictures of the PNG are missing; {_WHO_DROPS_PICTURES}"
