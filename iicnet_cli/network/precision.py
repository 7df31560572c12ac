"""The floating-point precision in which a network computes."""

from __future__ import annotations

from typing import Literal

import torch

from iicnet_cli.errors import UsageError
from iicnet_cli.network.iicnet import IICNet

Precision = Literal["fp32", "tf32", "bf16"]
"""``fp32`` is exact. ``tf32`` is used by all convolutions, on CUDA only. ``bf16`` is used by the
subnets of the couplings and of the relation module, see :meth:`IICNet.set_subnet_dtype`."""


def set_precision(net: IICNet, precision: Precision, device: torch.device) -> None:
    """Let a network compute in a lower precision from now on.

    ``tf32`` is set for the whole process.

    Raises:
        UsageError: the device does not support the precision.
    """
    if precision == "bf16":
        net.set_subnet_dtype(torch.bfloat16)
    elif precision == "tf32":
        if device.type != "cuda":
            raise UsageError("tf32 exists on CUDA only", hint="use --precision fp32 or bf16")
        # Not in a context: autograd reads the setting again in the backward pass.
        torch.backends.cudnn.allow_tf32 = True
