"""A worker process: it does one job after the other with one converter, until its stdin ends."""

from __future__ import annotations

import _thread
import os
import pickle
import signal
import sys
import threading
from queue import SimpleQueue
from typing import IO, Any

from iicnet_cli.foreign_messages import silence_libraries
from iicnet_cli.jobs.job import Job, Performer


def serve() -> None:
    """Run a worker process: answer requests on stdin until it is closed."""
    # Ctrl-C is handled by the process that asks, which then closes stdin.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    silence_libraries()
    requests, answers = _take_streams()
    settings, share = pickle.load(requests)
    inbox: SimpleQueue[Job[Any] | None] = SimpleQueue()
    threading.Thread(target=_receive, args=(requests, inbox), daemon=True).start()
    performer = Performer(settings, share=share)
    try:
        while (job := inbox.get()) is not None:
            pickle.dump(performer.perform_portably(job), answers)
            answers.flush()
    except (SystemExit, BrokenPipeError):
        pass
    # Nothing is left to be saved, and leaving in the usual way takes torch a while.
    os._exit(0)


def _take_streams() -> tuple[IO[bytes], IO[bytes]]:
    """Requests and answers; whatever else uses stdin and stdout cannot disturb them."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def _receive(requests: IO[bytes], inbox: SimpleQueue[Job[Any] | None]) -> None:
    """Pass on requests; when they end, let the main thread end, whatever it is doing.

    They also end with one that cannot be read, whose sender would wait for ever otherwise.
    """
    try:
        while True:
            inbox.put(pickle.load(requests))
    except (EOFError, OSError):
        pass
    finally:
        inbox.put(None)
        if hasattr(signal, "pthread_kill"):
            # A real signal also wakes a main thread that waits for others.
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        else:
            _thread.interrupt_main(signal.SIGTERM)
