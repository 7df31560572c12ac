"""Rate-distortion refinement of vectors."""

from __future__ import annotations

import torch

from iicnet_cli.motion.planes import downscale_to_grey
from iicnet_cli.motion.vector_refinement import (
    mean_squared_error,
    prediction_error,
    refine_vectors,
)
from tests.conftest import natural


def shifted_pair(noise: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictor and frame (1, 1, 96, 128): the frame shows the predictor 2 rows further down."""
    scene = downscale_to_grey(natural(110, 128, 2)[None], 0)
    frame = scene[:, :, 9:105]
    generator = torch.Generator().manual_seed(0)
    return scene[:, :, 7:103], frame + noise * torch.randn(frame.shape, generator=generator)


def test_right_vectors_are_found_a_step_away_and_in_units() -> None:
    predictor, frame = shifted_pair()
    vectors = torch.zeros(1, 2, 6, 8)
    vectors[:, 0] = 0.9
    refined = refine_vectors(predictor, frame, vectors, 2)
    assert torch.equal(refined, (2 * refined).round() / 2)
    assert torch.equal(refined[0, :, 2, 3], torch.tensor([2.0, 0.0]))
    before, after = (prediction_error(predictor, frame, v).square() for v in (vectors, refined))
    assert after.mean() < 0.1 * before.mean()


def test_vectors_that_differ_without_use_become_alike() -> None:
    predictor, frame = shifted_pair(noise=6)
    generator = torch.Generator().manual_seed(1)
    vectors = torch.tensor([2.0, 0.0])[:, None, None] + torch.randn(1, 2, 6, 8, generator=generator)
    refined = refine_vectors(predictor, frame, vectors, 2)
    assert torch.count_nonzero(torch.diff(refined, dim=3)) < 10


def test_errors_are_averaged_over_cells_and_those_around_them() -> None:
    errors = torch.zeros(1, 1, 12, 12)
    errors[..., :4, :4] = 3
    costs = mean_squared_error(errors, (3, 3))[0, 0]
    assert costs[0, 0] == 9 / 4 and costs[1, 1] == 1 and costs[2, 2] == 0
