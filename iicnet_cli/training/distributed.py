"""Several processes that train one network together, as ``torchrun`` starts them.

Each takes its rows of every batch; losses and gradients are averaged, so all take the same step,
the one that a single process would take with the whole batch. What depends on time, files or
signals is decided by the first process and handed to the others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist

# Imported later, as by the first optimizer, its functions would take the open group as a default
# and keep it alive to the end of Python, where its threads abort the process now and then.
import torch.distributed.nn
from torch import Tensor, nn
from torch.nn import functional as F

from iicnet_cli.errors import UsageError
from iicnet_cli.training.recipe import Recipe

T = TypeVar("T")


@dataclass(frozen=True)
class Team:
    """The processes of a run, seen from one of them; by default there is no other.

    Its methods that talk to the others must be called by all of them, in the same order.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and reports."""
        return self.rank == 0

    def check(self, recipe: Recipe) -> None:
        """Raises UsageError unless every batch of the recipe can be divided evenly."""
        for stage in recipe.stages:
            if stage.batch % self.size:
                raise UsageError(
                    f"a batch of {stage.batch} cannot be divided over {self.size} processes",
                    hint="start as many as divide every batch of the recipe, or change the recipe",
                )

    def rows(self, batch: int) -> range:
        """This process's rows of a batch."""
        share = batch // self.size
        return range(self.rank * share, (self.rank + 1) * share)

    def on_whole_batch(self, function: Callable[[Tensor], Tensor], own: Tensor) -> Tensor:
        """``function`` of this process's rows, where they stand in the batch.

        What it draws at random is thus drawn for the whole batch, and is the same as in one
        process. The rows of the others are zeros.

        Args:
            function: from (B, ...) to (B, ...), row by row.
            own: (B / size, ...).
        """
        count = len(own)
        start = self.rank * count
        around = [0, 0] * (own.dim() - 1) + [start, (self.size - 1) * count - start]
        return function(F.pad(own, around))[start : start + count]

    def average(self, values: Tensor) -> Tensor:
        """The mean over all processes; no gradient flows through it."""
        mean = values.detach().clone()
        if self.size > 1:
            dist.all_reduce(mean)
            mean /= self.size
        return mean

    def average_gradients(self, net: nn.Module) -> None:
        """Replace the gradients by their means over all processes, in one message."""
        if self.size == 1:
            return
        gradients = [p.grad for p in net.parameters() if p.grad is not None]
        means = self.average(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = means.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def anyone(self, flag: bool) -> bool:
        """Whether ``flag`` is true in any process."""
        if self.size == 1:
            return flag
        count = torch.tensor(int(flag))
        dist.all_reduce(count)
        return bool(count)

    def once(self, function: Callable[[], T]) -> T:
        """Call it in the first process only, and return its result in all.

        Args:
            function: returns something that can be pickled, tensors on the CPU.
        """
        if self.size == 1:
            return function()
        result = [function() if self.first else None]
        dist.broadcast_object_list(result, src=0, device=torch.device("cpu"))
        return result[0]  # type: ignore[return-value]


def started_together() -> bool:
    """Whether a launcher such as ``torchrun`` started this process beside others."""
    needed = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return all(name in os.environ for name in needed) and int(os.environ["WORLD_SIZE"]) > 1


def own_device(device: torch.device) -> torch.device:
    """The device for this process: of several on a machine, each takes another GPU for ``cuda``.

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
def team(device: torch.device) -> Iterator[Team]:
    """Join the processes that the launcher started, for as long as the context is open.

    Args:
        device: of this process, from :func:`own_device`.
    """
    if not started_together():
        yield Team()
        return
    # Decisions and states travel between the CPUs, so that they never wait for a GPU.
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield Team(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
