"""Figure 2 of the paper, one file per module, left to right.

::

    images (B, K, C, H, W), reference first
      | [detail.py         half size of compact networks; not in the paper]
      |  relation.py       equation (1)         only approximately inverse
      |  downscaling.py    equation (2)         Haar or pixel shuffle, invertible 1x1
      |  coupling.py       equations (3) - (6)  blocks of [1x1 mixing,] two affine couplings
      |  squeeze.py        equation (8)         average / copy
      |  quantization.py   section 3.1          8 bits
      v
    embedding (B, Ce, He, We)

``iicnet.py`` chains them; ``config.py`` is the one description that builds every variant;
``official.py`` reads the checkpoints of the authors' code.
"""

from typing import TYPE_CHECKING, Any

from iicnet_cli.network.config import IICNetConfig, RelationConfig

if TYPE_CHECKING:
    from iicnet_cli.network.iicnet import IICNet
    from iicnet_cli.network.quantization import Quantization

__all__ = ["IICNet", "IICNetConfig", "Quantization", "RelationConfig"]


def __getattr__(name: str) -> Any:
    # Configurations are read by commands that must not wait for torch; only the networks need it.
    if name == "IICNet":
        from iicnet_cli.network.iicnet import IICNet

        return IICNet
    if name == "Quantization":
        from iicnet_cli.network.quantization import Quantization

        return Quantization
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
