"""``torch.compile`` for the passes of a network, or for its blocks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from iicnet_cli.errors import DeviceError
from iicnet_cli.network.coupling import CouplingBlock
from iicnet_cli.network.iicnet import IICNet


def compiled(
    function: Callable[[Tensor], Tensor], *, freezing: bool = False
) -> Callable[[Tensor], Tensor]:
    """A faster function, compiled at its first call and again for every other shape.

    Args:
        function: of one tensor.
        freezing: take the weights as constants; for inference only.

    Raises:
        DeviceError: (the returned function) there is no compiler.
    """
    from torch._dynamo.exc import TorchDynamoException  # slow to import

    options: dict[str, str | int | bool | Callable[..., object]] | None
    options = {"freezing": True} if freezing else None
    fast = torch.compile(function, dynamic=False, options=options)

    def run(x: Tensor) -> Tensor:
        try:
            return fast(x)
        except TorchDynamoException as error:
            raise DeviceError(
                "the network cannot be compiled here",
                hint="install a C++ compiler, or leave --compile out",
            ) from error

    return run


def compile_blocks(net: IICNet) -> None:
    """Let the coupling blocks compute compiled from now on, both ways.

    They are alike, so what is compiled for the first serves all; to compile the whole passes would
    take many times as long.

    Raises:
        DeviceError: (the passes of the network) there is no compiler.
    """
    for module in net.modules():
        if isinstance(module, CouplingBlock):
            for one_way in ("forward", "inverse"):
                setattr(module, one_way, compiled(getattr(module, one_way)))
