"""Which device to compute on, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iicnet_cli.errors import UsageError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class DeviceChoice:
    """A device and the reason for it, in words."""

    device: torch.device
    reason: str


def choose_device(wanted: str = "auto") -> DeviceChoice:
    """Resolve ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    On CUDA, TF32 is turned off, so that a PNG is restored there as on the CPU: 8-bit values
    differ by 1 at most.

    Raises:
        UsageError: no such device here.
    """
    import torch

    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
        reason = "CUDA is available" if wanted == "cuda" else "no CUDA device"
    else:
        reason = "asked for"
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise UsageError(f"no device '{wanted}'", hint="use auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda":
        if not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count():
            raise UsageError(
                f"no device '{wanted}' here", hint="use --device cpu, or install a CUDA build"
            )
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    elif device.type != "cpu":
        raise UsageError(f"no device '{wanted}'", hint="use auto, cpu, cuda or cuda:N")
    return DeviceChoice(device, reason)
