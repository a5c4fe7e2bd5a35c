"""The full MNIST and Fashion-MNIST, from the official idx files."""

import gzip
import hashlib
import math
import zlib
from functools import partial
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .downloads import is_gzip, obtained, places
from .samples import DIGIT_NAMES, FASHION_NAMES, Dataset, as_dataset


class IdxFile(NamedTuple):
    """An idx file of unsigned bytes: big-endian sizes in its header, then the array."""

    sha256: str  # of the content after decompression
    shape: tuple[int, ...]

    @property
    def start(self) -> int:
        """Bytes before the array."""
        return 4 + 4 * len(self.shape)

    @property
    def size(self) -> int:
        """Bytes of the content."""
        return self.start + math.prod(self.shape)


# In the order of the first four fields of Dataset.
OFFICIAL = {
    "mnist": {
        "train-images-idx3-ubyte": IdxFile(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            (60000, 28, 28),
        ),
        "train-labels-idx1-ubyte": IdxFile(
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            (60000,),
        ),
        "t10k-images-idx3-ubyte": IdxFile(
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            (10000, 28, 28),
        ),
        "t10k-labels-idx1-ubyte": IdxFile(
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            (10000,),
        ),
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte": IdxFile(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            (60000, 28, 28),
        ),
        "train-labels-idx1-ubyte": IdxFile(
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            (60000,),
        ),
        "t10k-images-idx3-ubyte": IdxFile(
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            (10000, 28, 28),
        ),
        "t10k-labels-idx1-ubyte": IdxFile(
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            (10000,),
        ),
    },
}
CLASS_NAMES = {"mnist": DIGIT_NAMES, "fashion-mnist": FASHION_NAMES}

# Tried in this order. Plain http is safe: what arrives is checked against OFFICIAL.
SERVERS = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    "fashion-mnist": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
}


def load(
    name: str,
    root: str | Path | None = None,
    *,
    base_url: str | None = None,
    download: bool = True,
) -> Dataset:
    """The full MNIST or Fashion-MNIST, from the official files, downloaded when absent.

    Each of the four idx files is looked for, compressed (`.gz`) or not, in `root/name`
    and in `root`. Without `root`, the folder in the environment variable DDREF_DATA is
    searched in the same way, then the user's cache (`$XDG_CACHE_HOME/ddref`, by default
    `~/.cache/ddref`).

    A file found nowhere is downloaded to `root/name` (to the cache without `root`). It
    gets its name only once its content has been verified. A file is accepted by the
    SHA-256 of its decompressed content: copies that were compressed again are welcome.

    Parameters
    ----------
    name : {"mnist", "fashion-mnist"}
    root : str or path, optional
        Folder of the files; created when something is downloaded to it.
    base_url : str, optional
        Download from this folder on the web instead of the addresses known here.
    download : bool, default True
        With False, a missing file is an error.

    Returns
    -------
    Dataset
        Images uint8, (60000, 28, 28) and (10000, 28, 28), values 0 to 255.

    Raises
    ------
    ValueError
        Unknown name; a file that is damaged or not the official one; DDREF_DATA naming
        no folder.
    FileNotFoundError, OSError, ImportError
        A file is missing and `download` is False; it could not be downloaded (the
        message has the reason at each address); pooch is not installed.

    References
    ----------
    Y. LeCun, C. Cortes and C. J. C. Burges, The MNIST database of handwritten digits,
    1998; Fashion-MNIST as in `fashion_sample`.

    Examples
    --------
    >>> from ddref.datasets import load
    >>> load("cifar-10")
    Traceback (most recent call last):
        ...
    ValueError: unknown data set 'cifar-10': choose 'mnist' or 'fashion-mnist'
    """
    if name not in OFFICIAL:
        choices = " or ".join(map(repr, OFFICIAL))
        raise ValueError(f"unknown data set {name!r}: choose {choices}")
    where = places(name, root, base_url, SERVERS[name], download)
    arrays = []
    for file, official in OFFICIAL[name].items():
        read = partial(read_idx, official=official)
        limit = official.size + (1 << 20)  # of what a server sends
        arrays.append(obtained((f"{file}.gz", file), where, limit, read))
    return as_dataset(arrays, CLASS_NAMES[name])


def read_idx(raw: BufferedIOBase, official: IdxFile) -> np.ndarray:
    """The array in an open idx file, gzipped or not; its checksum is the one check."""
    source = gzip.GzipFile(fileobj=raw) if is_gzip(raw) else raw
    try:  # a byte more, so that a longer file has another checksum; not a whole bomb
        content = source.read(official.size + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"damaged gzip file ({error})") from error
    found = hashlib.sha256(content).hexdigest()
    if found != official.sha256:
        more = "more than " if len(content) > official.size else ""
        raise ValueError(
            f"not the official file{_also_known(found)}: {more}"
            f"{min(len(content), official.size):,} bytes after decompression with "
            f"SHA-256 {found}; {official.size:,} with {official.sha256} are expected"
        )
    pixels = np.frombuffer(content, np.uint8, offset=official.start)
    return pixels.reshape(official.shape).copy()


def _also_known(sha256: str) -> str:
    for name, files in OFFICIAL.items():
        for file, official in files.items():
            if official.sha256 == sha256:
                return f" (this is {file} of {name})"
    return ""
