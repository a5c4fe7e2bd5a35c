"""Environment of every test, notebook kernels included; pytest reads this file first."""

import os
from pathlib import Path

# The kernels that nbval starts import ddref from this clone, whatever else is installed.
os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent)

# One BLAS thread a worker: two workers on two cores must not fight, and sums keep one order.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ[name] = "1"

# Files that only say where their names have moved: importing one is an error.
collect_ignore = ["ddref/conv.py", "ddref/distributed.py", "ddref/fourier.py"]
