"""How layers look on top of each other."""

from __future__ import annotations

import numpy as np
import pytest

from iicnet_cli.errors import MediaError
from iicnet_cli.media.layered_image import (
    MAX_LAYERS,
    Layer,
    check_layer_count,
    composite,
    flatten,
    place_on_canvas,
)
from tests.media_samples import noise_layer, window_layer


def test_the_upper_layer_hides_the_lower_one() -> None:
    back, front = window_layer("", 1), window_layer("", 2, alpha=0)
    assert np.array_equal(composite([back, front])[5:15, 8:20], back.pixels[5:15, 8:20, :3])
    assert np.array_equal(composite([back, front])[:5], front.pixels[:5, :, :3])
    assert (composite([front], (1, 2, 3))[5:15, 8:20] == [1, 2, 3]).all()
    assert np.array_equal(flatten([front])[..., 3], front.pixels[..., 3])


def test_compositing_is_source_over() -> None:
    below, above = noise_layer(alpha=255), noise_layer(alpha=100)
    share = 100 / 255
    expected = share * above.pixels[..., :3] + (1 - share) * below.pixels[..., :3].astype(float)
    assert np.abs(composite([below, above]) - expected).max() <= 1
    empty = Layer("", np.zeros((6, 8, 4), np.uint8))
    assert (composite([empty], (1, 2, 3)) == [1, 2, 3]).all()
    assert (composite([empty]) == 255).all()


def test_results_are_arrays_of_their_own() -> None:
    """torch warns of arrays that cannot be written to."""
    one = noise_layer(alpha=7)
    for pixels in (composite([one]), flatten([one])):
        assert pixels.flags.writeable and pixels.flags.c_contiguous


def test_a_layer_is_cut_at_the_edge_of_its_canvas() -> None:
    pixels = np.full((2, 3, 4), 200, np.uint8)
    placed = place_on_canvas(pixels, (4, 3), (2, -1), 0.5)
    assert placed.shape == (3, 4, 4)
    assert placed[0, 2:].tolist() == [[200, 200, 200, 100]] * 2
    assert placed[0, :2].max() == 0 and placed[1:].max() == 0


@pytest.mark.parametrize(
    ("size", "count"), [((30_000, 20_000), 1), ((1000, 1000), 501), ((0, 4), 1), ((4, -4), 1)]
)
def test_too_many_pixels_and_empty_pictures_are_refused(size: tuple[int, int], count: int) -> None:
    with pytest.raises(MediaError, match="is too much"):
        check_layer_count("x.ora", size, count)


def test_too_many_layers_are_refused() -> None:
    check_layer_count("x.ora", (4, 4), MAX_LAYERS)
    with pytest.raises(MediaError, match=f"more than {MAX_LAYERS} layers"):
        check_layer_count("x.ora", (4, 4), MAX_LAYERS + 1)
