"""CIFAR-10 and CIFAR-100, from the official binary archives. No pickle is read."""

import hashlib
import tarfile
from functools import partial
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .downloads import obtained, places
from .samples import Dataset, as_dataset


class Archive(NamedTuple):
    """A tar file of records: labels, then 1,024 red, green and blue pixels."""

    file: str
    md5: str
    folder: str
    train: tuple[str, ...]  # files in that folder
    test: tuple[str, ...]
    names: str  # the file that names the classes
    labels: int  # bytes before the pixels of an image; the last one counts


CIFAR = {
    "cifar-10": Archive(
        "cifar-10-binary.tar.gz",
        "c32a1d4ab5d03f1284b67883e8d87530",
        "cifar-10-batches-bin",
        tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        ("test_batch.bin",),
        "batches.meta.txt",
        1,
    ),
    "cifar-100": Archive(
        "cifar-100-binary.tar.gz",
        "03b5dce01913d631647c71ecec9e9cb8",
        "cifar-100-binary",
        ("train.bin",),
        ("test.bin",),
        "fine_label_names.txt",
        2,
    ),
}
SERVER = "https://www.cs.toronto.edu/~kriz/"
LIMIT = 1 << 28  # bytes of an archive; the official ones have 170 million


def cifar10(
    root: str | Path | None = None,
    *,
    base_url: str | None = None,
    download: bool = True,
) -> Dataset:
    """CIFAR-10: 60,000 colour images of 10 classes, downloaded when absent.

    The official `cifar-10-binary.tar.gz` is looked for in `root/cifar-10` and in
    `root`; without `root`, where `load` looks. It is accepted by its MD5 checksum and
    read as it is, without unpacking it to disk.

    Parameters
    ----------
    root : str or path, optional
        Folder of the archive; created when it is downloaded.
    base_url : str, optional
        Download from this folder on the web instead of the address known here.
    download : bool, default True
        With False, a missing archive is an error.

    Returns
    -------
    Dataset
        Images uint8, (50000, 32, 32, 3) and (10000, 32, 32, 3), red, green, blue;
        batches in their order.

    Raises
    ------
    ValueError, FileNotFoundError, OSError, ImportError
        As `load`.

    References
    ----------
    A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.

    Examples
    --------
    >>> from ddref.datasets import cifar10
    >>> cifar10("no/such/folder", download=False)
    Traceback (most recent call last):
        ...
    FileNotFoundError: cifar-10-binary.tar.gz is in none of no/such/folder/cifar-10,
    no/such/folder: put it there, or pass download=True
    """
    return _cifar("cifar-10", root, base_url, download)


def cifar100(
    root: str | Path | None = None,
    *,
    base_url: str | None = None,
    download: bool = True,
) -> Dataset:
    """CIFAR-100: 60,000 colour images of 100 classes, downloaded when absent.

    As `cifar10`, with `cifar-100-binary.tar.gz` in `root/cifar-100` or `root`. Classes
    are the 100 fine ones.

    References
    ----------
    A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.

    Examples
    --------
    >>> from ddref.datasets import cifar100
    >>> cifar100(base_url="ftp://nowhere")
    Traceback (most recent call last):
        ...
    ValueError: base_url = 'ftp://nowhere' must begin with http:// or https://; pass a
    folder on this machine as root=
    """
    return _cifar("cifar-100", root, base_url, download)


def _cifar(
    name: str, root: str | Path | None, base_url: str | None, download: bool
) -> Dataset:
    archive = CIFAR[name]
    where = places(name, root, base_url, (SERVER,), download)
    read = partial(read_archive, archive=archive)
    return obtained((archive.file,), where, LIMIT, read)


def read_archive(raw: BufferedIOBase, archive: Archive) -> Dataset:
    """The images in an open archive; its checksum is the one check."""
    found = hashlib.file_digest(raw, "md5").hexdigest()
    if found != archive.md5:
        raise ValueError(f"wrong checksum: MD5 {found}, expected {archive.md5}")
    raw.seek(0)
    with tarfile.open(fileobj=raw, mode="r:gz") as tar:
        contents = {
            member.name.removeprefix(f"{archive.folder}/"): tar.extractfile(
                member
            ).read()
            for member in tar
            if member.isreg()
        }
    arrays = []
    for files in (archive.train, archive.test):
        content = b"".join(contents[file] for file in files)
        records = np.frombuffer(content, np.uint8).reshape(-1, archive.labels + 3072)
        planes = records[:, archive.labels :].reshape(-1, 3, 32, 32)
        arrays.append(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)))
        arrays.append(records[:, archive.labels - 1])
    return as_dataset(arrays, tuple(contents[archive.names].decode("ascii").split()))
