"""Run one command, and write down how much time and memory it took.

A program of its own, which imports little: a process starts out with the peak memory of the one
that started it, so a large parent would hide what a small command needs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any


def run(command: list[str], **popen: Any) -> dict[str, float]:
    """Run a command; standard output and errors are those of this process unless ``popen`` differs.

    Args:
        command: program and arguments.
        popen: options of :class:`subprocess.Popen`.

    Returns:
        ``returncode``; ``cpu_seconds``, user and system, of the process and of its children that
        it waited for; ``wall_seconds``; and ``peak_bytes``, the most memory that any one of these
        processes used.
    """
    began = time.monotonic()
    process = subprocess.Popen(command, **popen)
    _, status, usage = os.wait4(process.pid, 0)
    return {
        "returncode": os.waitstatus_to_exitcode(status),
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "wall_seconds": time.monotonic() - began,
        "peak_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    }


if __name__ == "__main__":
    target, *arguments = sys.argv[1:]
    measured = run(arguments)
    with open(target, "w", encoding="utf-8") as file:
        json.dump(measured, file)
