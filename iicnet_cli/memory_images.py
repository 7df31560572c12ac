"""Pictures and embeddings in memory instead of in files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from iicnet_cli.container.chunks import HEADER_KEYWORD
from iicnet_cli.container.embedding_file import read_header
from iicnet_cli.errors import MediaError, UsageError
from iicnet_cli.pictures.arrays import Pixels

if TYPE_CHECKING:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo


def write_pictures(images: Sequence[Pixels | Image.Image], folder: Path) -> list[Path]:
    """Write pictures losslessly into a folder, in order.

    Args:
        images: arrays (H, W), (H, W, 3) or (H, W, 4) uint8, or Pillow images.
        folder: where ``picture-0001.png`` and so on are written.

    Returns:
        The files.

    Raises:
        MediaError: one of them is no such picture.
    """
    paths = []
    for number, picture in enumerate(images, 1):
        path = folder / f"picture-{number:04}.png"
        try:
            _to_image(picture).save(path)
        except (OSError, TypeError, ValueError) as error:
            raise MediaError(
                f"picture {number} cannot be written as a PNG ({error})",
                hint="convert it to 8-bit RGB first",
            ) from error
        paths.append(path)
    return paths


def _to_image(picture: Pixels | Image.Image) -> Image.Image:
    from PIL import Image

    if isinstance(picture, Image.Image):
        return picture
    if not isinstance(picture, np.ndarray):
        raise TypeError("neither an array nor a Pillow image")
    is_picture = picture.ndim in (2, 3) and picture.shape[2:] in ((), (3,), (4,)) and picture.size
    if picture.dtype != np.uint8 or not is_picture:
        raise TypeError(f"an array {picture.shape} of {picture.dtype}")
    return Image.fromarray(picture)


def open_embedding(png: bytes) -> Image.Image:
    """A PNG that iicnet wrote, as a Pillow image that has its header in ``info``."""
    from PIL import Image

    image = Image.open(io.BytesIO(png))
    image.load()
    header = read_header(io.BytesIO(png))
    if header is not None:
        image.info[HEADER_KEYWORD.decode()] = header.to_json()
    return image


def embedding_info(image: Image.Image) -> PngInfo:
    """The header of an embedding for ``image.save(..., pnginfo=embedding_info(image))``.

    Args:
        image: as :meth:`Converter.embed_images` returns it.
    """
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    text = image.info.get(HEADER_KEYWORD.decode())
    if text is not None:
        info.add_itxt(HEADER_KEYWORD.decode(), str(text))
    return info


def encode_embedding(image: Image.Image) -> bytes:
    """An embedding as a PNG, with its header if the image has it.

    Raises:
        UsageError: it is not a Pillow image.
        MediaError: PNG has no such kind of picture.
    """
    from PIL import Image

    if not isinstance(image, Image.Image):
        raise UsageError(
            f"cannot restore from {type(image).__name__}",
            hint="give a path, the bytes of a PNG, or a Pillow image",
        )
    file = io.BytesIO()
    try:
        image.save(file, "PNG", save_all=True, pnginfo=embedding_info(image))
    except OSError as error:
        raise MediaError(f"the picture cannot be written as a PNG ({error})") from error
    return file.getvalue()
