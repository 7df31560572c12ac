"""The tests. Each parallel process of pytest-xdist computes with one thread."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # Read when torch and NumPy are loaded, here and in the processes that the tests start.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
