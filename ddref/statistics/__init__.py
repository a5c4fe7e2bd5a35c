"""Statistics: the sums over samples from which ridge regression is trained, and nothing
else of the data.

``G = Phi^T Phi`` (p, p), ``B = Phi^T Y`` (p, k), ``||Y||^2`` and the number of samples
`n`. They can be streamed, merged across machines, saved, added to and taken from;
models for every `lam`, validation losses, generalised cross-validation and (with a
second look at the rows) leave-one-out errors follow from them.

Sums are kept in float64 whatever the dtype of the batches, in place, in three p x p
matrices: memory does not depend on the number of samples, and an update that fails
changes nothing. NumPy and PyTorch arrays alike. CPU tensors are handed to NumPy without
a copy: its product of a matrix with its own transpose does half the work. On other
devices the product is formed by blocks, five eighths of the work. Gradients do not flow
through statistics.

Large data, in pieces that a killed run keeps, by one process or many; nothing of it
needs PyTorch where there is one process:

    torchrun --nproc-per-node=4 -m ddref.statistics X.npy y.npy --classes 10 \\
        --lam 1e3 --shards run --out model.npz
"""

from .processes import Processes
from .store import accumulate_shards, row_shards
from .stream import accumulate, from_dask
from .sums import Choice, Statistics

__all__ = [
    "Choice",
    "Processes",
    "Statistics",
    "accumulate",
    "accumulate_shards",
    "from_dask",
    "row_shards",
]
