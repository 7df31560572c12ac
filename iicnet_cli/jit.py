"""Loops over pixels that Numba compiles for this machine.

Machine code is cached on disk: beside the source or, where that folder is read-only, in the user's
cache folder. Only modules with compiled loops import this one, so that commands which need none of
them start fast.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba
from numba.core import event
from numba.core.caching import FunctionCache

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function when it is first called with arguments of new types.

    Give it C-contiguous arrays of always the same types, for each combination of types takes
    seconds to compile. Results are those of IEEE 754 in the order of the source. Compiled functions
    run without the interpreter lock; a division by zero gives infinity, as in NumPy.

    Functions and constants that it uses have to be in modules of the same folder: only a change to
    one of these makes it compile again.
    """
    return _compiled(function, fastmath=False)


def compiled_fast(function: Callable[P, R]) -> Callable[P, R]:
    """As :func:`compiled`, but sums may be computed in another order, in vectors.

    The order is settled when it is compiled, so one machine always gives the same results; another
    may differ in the last bits.
    """
    return _compiled(function, fastmath=True)


def _compiled(function: Callable[P, R], *, fastmath: bool) -> Callable[P, R]:
    dispatcher: Any = numba.njit(function, nogil=True, error_model="numpy", fastmath=fastmath)
    with suppress(RuntimeError):  # no folder for the cache can be written
        dispatcher._cache = _Cache(function)
    return cast(Callable[P, R], dispatcher)


def available_threads() -> int:
    """How many threads compiled functions may use: one a core, or as NUMBA_NUM_THREADS says."""
    return int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]


class _Cache(FunctionCache):
    """The cache of ``numba.njit(cache=True)``, with two differences.

    Machine code, which contains what it uses of other modules, is stale when a module of the folder
    has changed, not only its own. And neither a damaged file nor a full disk stops the work.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        folder = Path(function.__code__.co_filename).parent
        self._cache_file._source_stamp = _stamp_of_sources(folder)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except Exception:  # of many kinds: files that were cut short are read as pickles
            with suppress(OSError):
                self.flush()  # type: ignore[no-untyped-call]
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(Exception):
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]


@cache
def _stamp_of_sources(folder: Path) -> list[tuple[str, int, int]]:
    """Name, time and size of each module in a folder, and of this one."""
    sources = [Path(__file__), *sorted(folder.glob("*.py"))]
    states = [(source.name, source.stat()) for source in sources]
    return [(name, state.st_mtime_ns, state.st_size) for name, state in states]


class _FirstCompilation(event.Listener):
    """Logs one message when something has to be compiled."""

    def __init__(self) -> None:
        self._logged = False

    def on_start(self, event: Any) -> None:
        if not self._logged:
            self._logged = True
            logging.getLogger("iicnet_cli").info(
                "compiling for this machine, which takes some seconds, once ..."
            )

    def on_end(self, event: Any) -> None:
        pass


event.register("numba:compile", _FirstCompilation())  # type: ignore[no-untyped-call]
