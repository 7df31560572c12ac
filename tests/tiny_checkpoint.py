"""A tiny checkpoint for tests."""

from __future__ import annotations

from pathlib import Path

import torch

from iicnet_cli.network.config import IICNetConfig
from iicnet_cli.network.iicnet import IICNet
from iicnet_cli.zoo.checkpoint import Checkpoint, write_checkpoint

TINY = IICNetConfig.compact(2, blocks=1, width=4)


def write_tiny(folder: Path, seed: int = 0, version: int = 1) -> Checkpoint:
    """Write an untrained checkpoint named ``tiny`` of two images."""
    torch.manual_seed(seed)
    return write_checkpoint(folder, IICNet(TINY), name="tiny", task="stego", version=version)
