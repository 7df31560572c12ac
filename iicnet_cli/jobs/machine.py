"""How many jobs this machine can do at the same time."""

from __future__ import annotations

import os
from pathlib import Path

JOB_MEMORY = 2 << 30
"""Bytes of main memory that are counted for a job; docs/scaling.md has what was measured."""
MAX_JOBS_ON_GPU = 4
"""At most this many jobs share a GPU by default: each keeps the library and a network on it."""


def available_cores() -> int:
    """Number of cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def available_memory() -> int | None:
    """Bytes of main memory that can be used without swapping; ``None`` if the system does not say.

    A control group, such as that of a container, may leave less than the machine has.
    """
    limits = [_free_of_machine(), _free_of_control_group()]
    return min((limit for limit in limits if limit is not None), default=None)


def default_jobs(device: str) -> int:
    """How many jobs to do at the same time: one a core, as far as the memory allows.

    Args:
        device: as of :class:`iicnet_cli.Converter`.
    """
    memory = available_memory()
    jobs = available_cores()
    if memory is not None:
        jobs = min(jobs, memory // JOB_MEMORY)
    if device.startswith("cuda") or (device == "auto" and _has_nvidia_gpu()):
        jobs = min(jobs, MAX_JOBS_ON_GPU)
    return max(1, jobs)


def _free_of_machine() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            name, _, amount = line.partition(":")
            if name == "MemAvailable":
                return int(amount.split()[0]) << 10
    except (OSError, ValueError, IndexError):
        pass
    try:  # macOS: half of the memory may be in use
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return None


def _free_of_control_group(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    try:
        limit = int((folder / "memory.max").read_text(encoding="ascii"))
        used = int((folder / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):  # "max", or no version 2 of control groups
        return None
    return max(0, limit - used)


def _has_nvidia_gpu() -> bool:
    return any(Path("/proc/driver/nvidia/gpus").glob("*"))
