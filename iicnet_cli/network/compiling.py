"""``torch.compile`` for the passes of a network, or for its blocks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from iicnet_cli.errors import DeviceError
from iicnet_cli.network.coupling import CouplingBlock
from iicnet_cli.network.iicnet import IICNet


def compile_pass(
    function: Callable[[Tensor], Tensor], *, freezing: bool = False
) -> Callable[[Tensor], Tensor]:
    """Compile a function of one tensor, at its first call and once for each other shape.

    Args:
        function: for example the forward pass of a network.
        freezing: treat the weights as constants, which is possible for inference only.

    Returns:
        The compiled function. It raises :class:`DeviceError` if there is no compiler.
    """
    from torch._dynamo.exc import TorchDynamoException  # slow to import

    options: dict[str, str | int | bool | Callable[..., object]] | None
    options = {"freezing": True} if freezing else None
    compiled = torch.compile(function, dynamic=False, options=options)

    def run(x: Tensor) -> Tensor:
        try:
            return compiled(x)
        except TorchDynamoException as error:
            raise DeviceError(
                "the network cannot be compiled here",
                hint="install a C++ compiler, or leave --compile out",
            ) from error

    return run


def compile_blocks(net: IICNet) -> None:
    """Compile both passes of all coupling blocks of a network.

    The blocks are alike, so that the code compiled for the first serves all. To compile whole
    passes takes many times as long.

    The passes of the network then raise :class:`DeviceError` if there is no compiler.
    """
    for module in net.modules():
        if isinstance(module, CouplingBlock):
            for direction in ("forward", "inverse"):
                setattr(module, direction, compile_pass(getattr(module, direction)))
