"""The invertible network IICNet (ICCV 2021): Figure 2 of the paper, one module a file.

::

    images (B, K, C, H, W)                    restored images (B, K, C, H, W)
      |                                              ^
      |  [detail.py]      halves compact networks    |   not in the paper
      |  [relation.py]    equation (1)               |   only approximately inverse
      |  [downscaling.py] equation (2)               |   Haar or pixel shuffle
      |  [invertible.py]  invertible 1x1             |
      |  coupling.py      equations (3) to (7)       |   blocks of two affine couplings
      |  squeeze.py       equation (8)               |   average; copies on the way back
      v                                              |
    embedding (B, C_e, H_e, W_e) -- quantization.py, section 3.1: 8 bits

Modules in brackets are optional. ``IICNet.forward`` goes down on the left, ``IICNet.inverse`` up on
the right, equation (9). Around the figure:

- ``config.py``: the one description that builds every variant
- ``iicnet.py``: chains the modules
- ``expansion.py``: a larger network that computes the same
- ``noise_shaping.py``: the filter that shapes rounding errors so that a network ignores them
- ``official.py``: settings and weights of the authors' code
- ``pixels.py``: 8-bit pictures to tensors and back
- ``precision.py``, ``compiling.py``: faster arithmetic
"""

from typing import TYPE_CHECKING, Any

from iicnet_cli.network.config import IICNetConfig, RelationConfig

if TYPE_CHECKING:
    from iicnet_cli.network.iicnet import IICNet
    from iicnet_cli.network.quantization import Quantization

__all__ = ["IICNet", "IICNetConfig", "Quantization", "RelationConfig"]


def __getattr__(name: str) -> Any:
    # Commands that only read configurations must not wait for torch to be imported.
    if name == "IICNet":
        from iicnet_cli.network.iicnet import IICNet

        return IICNet
    if name == "Quantization":
        from iicnet_cli.network.quantization import Quantization

        return Quantization
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
