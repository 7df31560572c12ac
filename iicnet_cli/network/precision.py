"""In which arithmetic a network computes."""

from __future__ import annotations

from typing import Literal

import torch

from iicnet_cli.errors import UsageError
from iicnet_cli.network.iicnet import IICNet

Precision = Literal["fp32", "tf32", "bf16"]
"""``tf32``: in all convolutions, on CUDA; ``bf16``: in the subnets of couplings and
relation module, see :meth:`IICNet.subnets_in`."""


def set_precision(net: IICNet, precision: Precision, device: torch.device) -> None:
    """Let a network compute faster and less exactly.

    Raises:
        UsageError: the precision is not to be had on the device.
    """
    if precision == "bf16":
        net.subnets_in(torch.bfloat16)
    elif precision == "tf32":
        if device.type != "cuda":
            raise UsageError("tf32 exists on CUDA only", hint="use --precision fp32 or bf16")
        # For the whole process: autograd looks at it again in the backward pass.
        torch.backends.cudnn.allow_tf32 = True
