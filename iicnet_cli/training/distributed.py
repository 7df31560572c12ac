"""Several processes that train one network together, started by ``torchrun``.

Each process takes its rows of every batch. Losses and gradients are averaged, so all processes take
the same step, which is that of a single process with the whole batch. The first process decides
what depends on time, files or signals, and sends it to the others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist

# This import must come before a process group exists. Its functions take the open group as a
# default argument and would keep it alive until Python ends, where its threads sometimes abort.
import torch.distributed.nn
from torch import Tensor, nn
from torch.nn import functional as F

from iicnet_cli.errors import UsageError
from iicnet_cli.training.recipe import Recipe

T = TypeVar("T")


@dataclass(frozen=True)
class Team:
    """The processes of a run, as one of them sees them. By default there is only this one.

    All processes must call the methods that communicate (:meth:`average`,
    :meth:`average_gradients`, :meth:`anyone`, :meth:`once`), in the same order.

    Attributes:
        rank: index of this process, from 0.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def check(self, recipe: Recipe) -> None:
        """Check that every batch of the recipe can be divided evenly among the processes.

        Raises:
            UsageError: one cannot.
        """
        for stage in recipe.stages:
            if stage.batch % self.size:
                raise UsageError(
                    f"a batch of {stage.batch} cannot be divided over {self.size} processes",
                    hint="start as many as divide every batch of the recipe, or change the recipe",
                )

    def rows(self, batch: int) -> range:
        """Return this process's rows of a batch of that size."""
        share = batch // self.size
        return range(self.rank * share, (self.rank + 1) * share)

    def on_whole_batch(self, function: Callable[[Tensor], Tensor], own: Tensor) -> Tensor:
        """Apply a function to this process's rows at their place in the whole batch.

        Random numbers in the function are drawn for the whole batch, so they are the same as in a
        single process. The rows of the other processes are zeros.

        Args:
            function: maps (B, ...) to (B, ...), each row on its own.
            own: this process's rows, (B / size, ...).

        Returns:
            This process's rows of the result.
        """
        count = len(own)
        start = self.rank * count
        padding = [0, 0] * (own.dim() - 1) + [start, (self.size - 1) * count - start]
        return function(F.pad(own, padding))[start : start + count]

    def average(self, values: Tensor) -> Tensor:
        """Return the mean over all processes, detached from the gradient."""
        mean = values.detach().clone()
        if self.size > 1:
            dist.all_reduce(mean)
            mean /= self.size
        return mean

    def average_gradients(self, net: nn.Module) -> None:
        """Replace the gradients of a network by their means over all processes, in one message."""
        if self.size == 1:
            return
        gradients = [p.grad for p in net.parameters() if p.grad is not None]
        means = self.average(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = means.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def anyone(self, flag: bool) -> bool:
        """Return whether ``flag`` is true in any process."""
        if self.size == 1:
            return flag
        count = torch.tensor(int(flag))
        dist.all_reduce(count)
        return bool(count)

    def once(self, function: Callable[[], T]) -> T:
        """Call a function in the first process only, and return its result in all.

        Args:
            function: returns something that can be pickled, with tensors on the CPU.
        """
        if self.size == 1:
            return function()
        result = [function() if self.first else None]
        dist.broadcast_object_list(result, src=0, device=torch.device("cpu"))
        return result[0]  # type: ignore[return-value]


def started_together() -> bool:
    """Return whether a launcher such as ``torchrun`` started this process as one of several."""
    variables = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return all(name in os.environ for name in variables) and int(os.environ["WORLD_SIZE"]) > 1


def own_device(device: torch.device) -> torch.device:
    """Choose the device of this process.

    Args:
        device: what was asked for. For ``cuda`` without an index, each process of a machine gets a
            GPU of its own; other devices are returned as they are.

    Raises:
        UsageError: there are more processes than GPUs.
    """
    if device.type != "cuda" or device.index is not None or not started_together():
        return device
    index = int(os.environ.get("LOCAL_RANK", "0"))
    if index >= torch.cuda.device_count():
        raise UsageError(
            f"more processes than GPUs: {torch.cuda.device_count()} here",
            hint="start one for each GPU, or use --device cpu",
        )
    return torch.device("cuda", index)


@contextmanager
def join_team(device: torch.device) -> Iterator[Team]:
    """Join the processes that the launcher started, for as long as the context is open.

    Args:
        device: the device of this process, from :func:`own_device`.
    """
    if not started_together():
        yield Team()
        return
    # Decisions and saved states are sent between the CPUs, so that they never wait for a GPU.
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield Team(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
