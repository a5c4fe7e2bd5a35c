"""Images for the chapters: digits, a shipped sample of Fashion-MNIST, the full MNIST and Fashion-MNIST, CIFAR, yours.

Every loader returns a `Dataset` of raw pixels; `standardize` and `one_hot` turn it into the `X` and `Y` of
the formulas. Nothing is scaled, shuffled or encoded on the way in.

The module needs NumPy alone. scikit-learn is imported inside `digits`, Pillow inside `image_folder`; pooch, with
tqdm for its progress bar, only when a file has to be downloaded.
"""

import bz2
import contextlib
import gzip
import hashlib
import io
import lzma
import math
import os
import struct
import tarfile
import uuid
import warnings
import zlib
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

__all__ = [
    "Dataset",
    "Standardized",
    "cifar10",
    "cifar100",
    "digits",
    "fashion_sample",
    "image_folder",
    "load",
    "one_hot",
    "standardize",
    "unstandardize",
]


class Dataset(NamedTuple):
    """Images and classes, as stored: pixels are unsigned bytes, classes count from 0.

    Attributes
    ----------
    X_train, X_test : ndarray of uint8, (n, height, width), or (n, height, width, 3) in colour
    y_train, y_test : ndarray of int64, (n,)
    class_names : tuple of str
        The name of class i is `class_names[i]`.
    """

    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple


class Standardized(NamedTuple):
    """Standardised rows and what is needed to undo the scaling.

    Attributes
    ----------
    X_train, X_test : ndarray, (n, d)
        `X_test` is None where none was given.
    mean, std : float
        One mean and one standard deviation over all training pixels, after division by `max_value`.
    shape : tuple of int
        Shape of one image, before flattening.
    max_value : float
        What the pixels were divided by.
    """

    X_train: np.ndarray
    X_test: np.ndarray | None
    mean: float
    std: float
    shape: tuple
    max_value: float


class _File(NamedTuple):
    sha256: str  # of the content after decompression
    shape: tuple


# Official idx files, in the order of the first four fields of Dataset.
_OFFICIAL = {
    "mnist": {
        "train-images-idx3-ubyte": _File(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db", (60000, 28, 28)
        ),
        "train-labels-idx1-ubyte": _File("65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5", (60000,)),
        "t10k-images-idx3-ubyte": _File(
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7", (10000, 28, 28)
        ),
        "t10k-labels-idx1-ubyte": _File("ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2", (10000,)),
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte": _File(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888", (60000, 28, 28)
        ),
        "train-labels-idx1-ubyte": _File("bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9", (60000,)),
        "t10k-images-idx3-ubyte": _File(
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b", (10000, 28, 28)
        ),
        "t10k-labels-idx1-ubyte": _File("0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34", (10000,)),
    },
}

# Tried in this order. Plain http is safe here: what arrives is checked against the table above.
_SERVERS = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    "fashion-mnist": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
}

_DIGITS = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
_CLASSES = {
    "mnist": _DIGITS,
    "fashion-mnist": (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
}


class _Archive(NamedTuple):
    file: str
    md5: str
    folder: str
    train: tuple  # files of the archive
    test: tuple
    labels: int  # bytes before the pixels of an image; the last one counts
    images: tuple  # of the training set, of the test set
    names: str  # the file that names the classes
    classes: int


_CIFAR = {
    "cifar-10": _Archive(
        "cifar-10-binary.tar.gz",
        "c32a1d4ab5d03f1284b67883e8d87530",
        "cifar-10-batches-bin",
        tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        ("test_batch.bin",),
        1,
        (50000, 10000),
        "batches.meta.txt",
        10,
    ),
    "cifar-100": _Archive(
        "cifar-100-binary.tar.gz",
        "03b5dce01913d631647c71ecec9e9cb8",
        "cifar-100-binary",
        ("train.bin",),
        ("test.bin",),
        2,
        (50000, 10000),
        "fine_label_names.txt",
        100,
    ),
}
_CIFAR_SERVER = "https://www.cs.toronto.edu/~kriz/"
_CIFAR_LIMIT = 1 << 28  # bytes of a whole archive, unpacked: the official ones take 184 million

_SAMPLE = Path(__file__).parent / "data" / "fashion_sample.npz"
_SAMPLE_SHA256 = "6f8596ccb3e4234b48241378a3619d486e8d3455dc87b1a8de62d15de1b974d3"


# ---------------------------------------------------------------------------------------------- small sets


def digits():
    """scikit-learn's handwritten digits: 1,797 images of 8 x 8 pixels, values 0 to 16.

    Small enough for every check to be instant. The set has no official split; the first 1,437 images are
    used for training and the last 360 for testing, in scikit-learn's order.

    Returns
    -------
    Dataset
        Images uint8, (1437, 8, 8) and (360, 8, 8), still on their scale of 0 to 16.

    Raises
    ------
    ImportError
        When scikit-learn is not installed.

    References
    ----------
    `sklearn.datasets.load_digits`; E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI
    Machine Learning Repository, 1998.

    Examples
    --------
    >>> from ddref.datasets import digits
    >>> data = digits()
    >>> data.X_train.shape, data.X_test.shape, int(data.X_train.max())
    ((1437, 8, 8), (360, 8, 8), 16)
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as err:
        raise ImportError(
            "digits() needs scikit-learn: install scikit-learn, or ddref with its extra 'sklearn'. "
            "fashion_sample() needs neither."
        ) from err
    bunch = load_digits()
    X, y = bunch.images.astype(np.uint8), bunch.target.astype(np.int64)
    return Dataset(X[:1437], y[:1437], X[1437:], y[1437:], _DIGITS)


def fashion_sample():
    """The first 6,000 training and the first 1,000 test images of Fashion-MNIST, shipped with the package.

    Needs no network and no data folder, so every chapter and every test can run on real images.

    Returns
    -------
    Dataset
        Images uint8, (6000, 28, 28) and (1000, 28, 28), values 0 to 255.

    Raises
    ------
    FileNotFoundError, ValueError
        When the shipped file is missing or damaged.

    References
    ----------
    H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
    Algorithms, 2017, arXiv:1708.07747; (c) 2017 Zalando SE, MIT licence (the text lies beside the file).

    Examples
    --------
    >>> from ddref.datasets import fashion_sample
    >>> data = fashion_sample()
    >>> data.X_train.shape, data.X_test.shape
    ((6000, 28, 28), (1000, 28, 28))
    >>> data.class_names[data.y_train[0]]
    'Ankle boot'
    """
    if not _SAMPLE.is_file():
        raise FileNotFoundError(f"{_SAMPLE} is missing: reinstall ddref, or run tools/make_sample.py")
    try:
        with open(_SAMPLE, "rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = [stored[field] for field in Dataset._fields[:4]]
        found = _sha256(*arrays)
    except Exception as err:  # zip, zlib and NumPy raise half a dozen types on damaged files
        raise ValueError(f"{_SAMPLE} is damaged ({err}): reinstall ddref") from err
    if found != _SAMPLE_SHA256:
        raise ValueError(
            f"{_SAMPLE} is damaged: SHA-256 of its arrays {found}, expected {_SAMPLE_SHA256}; reinstall ddref"
        )
    return _dataset(arrays, _CLASSES["fashion-mnist"])


def _dataset(arrays, class_names):
    X_train, y_train, X_test, y_test = arrays
    return Dataset(X_train, y_train.astype(np.int64), X_test, y_test.astype(np.int64), class_names)


def _sha256(*arrays):
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


# ----------------------------------------------------------------------------------------------- full sets


def load(name, root=None, *, base_url=None, download=True):
    """The full MNIST or Fashion-MNIST, read from the official idx files, which are downloaded when absent.

    Each of the four files is looked for, compressed (`.gz`) or not, in `root/name` and in `root`. Without
    `root`, the folder in the environment variable DDREF_DATA is searched in the same way, then the user's
    cache (`$XDG_CACHE_HOME/ddref`, by default `~/.cache/ddref`).

    A file found nowhere is downloaded to `root/name` (to the cache without `root`). It gets its name only
    once its content has been verified, so that an interrupted download is never read later. A file is
    accepted by the SHA-256 of its decompressed content: copies that were compressed again are welcome.

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
        Unknown name; a file that is damaged or is not the official one (the message names the file, the
        expected and the found checksum); DDREF_DATA naming no folder.
    FileNotFoundError
        A file is missing and `download` is False.
    OSError
        A file could not be downloaded; the message gives the reason at each address.
    ImportError
        A file has to be downloaded and pooch is not installed.

    References
    ----------
    Y. LeCun, C. Cortes and C. J. C. Burges, The MNIST database of handwritten digits, 1998; Fashion-MNIST as
    in `fashion_sample`.

    Examples
    --------
    `load("mnist", "my/data")` reads `my/data/mnist/train-images-idx3-ubyte.gz` and its three companions.

    >>> from ddref.datasets import load
    >>> load("cifar-10")
    Traceback (most recent call last):
        ...
    ValueError: unknown data set 'cifar-10': choose 'mnist' or 'fashion-mnist'
    """
    if name not in _OFFICIAL:
        raise ValueError(f"unknown data set {name!r}: choose {' or '.join(map(repr, _OFFICIAL))}")
    _check_url(base_url)
    folders, target = _folders(name, root)
    arrays = []
    for file in _OFFICIAL[name]:
        path = _find(file, folders)
        if path is not None:
            arrays.append(_read(path, name, file))
        elif download:
            arrays.append(_download(name, file, target, base_url))
        else:
            raise FileNotFoundError(
                f"{file}, compressed (.gz) or not, is in none of "
                f"{', '.join(map(str, folders))}: put it there, or pass download=True"
            )
    return _dataset(arrays, _CLASSES[name])


def _check_url(base_url):
    if base_url is not None and not str(base_url).startswith(("http://", "https://")):
        raise ValueError(
            f"base_url = {base_url!r} must begin with http:// or https://; pass a folder on this machine as root="
        )


def _folders(name, root):
    """The folders to search, in order, and the one to download to."""
    if root is not None:
        root = Path(root).expanduser()
        return [root / name, root], root / name
    searched = []
    if os.environ.get("DDREF_DATA"):
        data = Path(os.environ["DDREF_DATA"]).expanduser()
        if not data.is_dir():
            raise ValueError(f"DDREF_DATA = {data} is not a folder: correct it, unset it, or pass root=")
        searched = [data / name, data]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ddref" / name
    return [*searched, cache], cache


def _find(file, folders):
    paths = [folder / (file + ending) for folder in folders for ending in (".gz", "")]
    return next((path for path in paths if path.is_file()), None)


def _read(path, name, file):
    """The array in an idx file on this machine, verified."""
    with open(path, "rb") as raw:
        try:
            return _verified(raw, name, file)
        except ValueError as err:
            raise ValueError(
                f"{path}: {err}; delete or replace this file (a missing file is downloaded), "
                "or pass another folder as root="
            ) from err


def _verified(raw, name, file):
    """The array in an open idx file, gzipped or not, after every check."""
    official = _OFFICIAL[name][file]
    start = 4 + 4 * len(official.shape)
    size = start + math.prod(official.shape)
    content = _unzipped(raw, size + 1)  # no more, so that a gzip bomb stays small
    magic = bytes((0, 0, 8, len(official.shape)))  # 8: unsigned bytes
    if content[:4] != magic:
        raise ValueError(
            f"not an idx file of {len(official.shape)} dimensions: it begins with "
            f"{content[:4].hex(' ') or 'nothing'}, expected {magic.hex(' ')}"
        )
    if len(content) < start:
        raise ValueError(f"cut short: {len(content)} bytes, fewer than the {start} of its header")
    shape = struct.unpack(f">{len(official.shape)}I", content[4:start])
    if shape != official.shape:
        raise ValueError(f"dimensions {shape}, expected {official.shape}")
    if len(content) != size:
        found = "too long" if len(content) > size else f"cut short at {len(content):,} bytes"
        raise ValueError(f"{found}: {size:,} bytes expected after decompression")
    found = hashlib.sha256(content).hexdigest()
    if found != official.sha256:
        raise ValueError(
            f"wrong checksum: SHA-256 after decompression {found}{_known_as(found)}, "
            f"expected {official.sha256} ({name}, {file})"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()


def _unzipped(raw, limit):
    zipped = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    try:
        return gzip.GzipFile(fileobj=raw).read(limit) if zipped else raw.read(limit)
    except (EOFError, zlib.error, gzip.BadGzipFile) as err:
        raise ValueError(f"damaged gzip file ({err})") from err


def _known_as(sha256):
    for name, files in _OFFICIAL.items():
        for file, official in files.items():
            if official.sha256 == sha256:
                return f" (this is {file} of {name})"
    return ""


def _download(name, file, folder, base_url):
    """Fetch one file into memory, verify it there, then save it: no unverified byte reaches `folder`."""
    _make_folder(folder)
    failures = []
    for server in _SERVERS[name] if base_url is None else (base_url,):
        url = f"{str(server).rstrip('/')}/{file}.gz"
        try:
            body = _fetch(url, limit=math.prod(_OFFICIAL[name][file].shape) + (1 << 20))
            array = _verified(io.BytesIO(body), name, file)
        except (OSError, ValueError) as err:  # requests' errors are OSErrors or ValueErrors
            failures.append(f"{url}: {err}")
            continue
        # Some servers take the .gz for an encoding and the client unpacks it: name what arrived.
        _save(body, folder / (f"{file}.gz" if body[:2] == b"\x1f\x8b" else file))
        return array
    raise OSError(
        f"could not download {file} of {name}. "
        + ". ".join(failures)
        + f". Try again later, pass base_url= another server, or put the official file in {folder}"
    )


def _make_folder(folder):
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise OSError(f"cannot create {folder} for the download ({err}): pass root= a folder you can write to") from err


class _Limited(io.BytesIO):
    def __init__(self, limit):
        super().__init__()
        self.limit = limit

    def write(self, data):
        if self.tell() + len(data) > self.limit:
            raise ValueError(f"the server sends more than {self.limit:,} bytes; stopped")
        return super().write(data)


def _fetch(url, limit):
    """The bytes at `url`, in memory."""
    # Not pooch.retrieve: it checks what travels, and we know the checksum of what is inside.
    try:
        import pooch
    except ImportError as err:
        raise ImportError(
            f"downloading {url} needs pooch: install pooch, or ddref with its extra 'data'; "
            "or fetch the file by hand and pass its folder as root="
        ) from err
    options = {"chunk_size": 1 << 16, "headers": {"Accept-Encoding": "identity"}}
    try:
        downloader = pooch.HTTPDownloader(progressbar=True, **options)
    except ValueError:  # pooch's answer when tqdm is not installed
        downloader = pooch.HTTPDownloader(**options)
    pooch.get_logger().info("Downloading %s", url)
    body = _Limited(limit)
    downloader(url, body, None)
    return body.getvalue()


def _save(body, path):
    """Write a temporary file, then rename it: `path` is absent or whole, even if the process is killed."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with open(part, "xb") as out:
            out.write(body)
            out.flush()
            os.fsync(out.fileno())
        os.replace(part, path)
    except OSError:
        if not path.is_file():  # else another process saved the same file first
            raise
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    for old in path.parent.glob(f".{path.name}.*.part"):  # `path` is there: what killed processes left can go
        with contextlib.suppress(OSError):
            old.unlink()


# ---------------------------------------------------------------------------------------------------- CIFAR


def cifar10(root=None, *, base_url=None, download=True):
    """CIFAR-10: 60,000 colour images of 10 classes, from the official binary archive, downloaded when absent.

    `cifar-10-binary.tar.gz` is looked for in `root/cifar-10` and in `root`; without `root`, where `load` looks. It
    is accepted by its MD5 checksum and read as it is, without unpacking it to disk. No pickle is ever read.

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
        Images uint8, (50000, 32, 32, 3) and (10000, 32, 32, 3), red, green, blue; batches in their order.

    Raises
    ------
    ValueError
        An archive that is damaged or not the official one; DDREF_DATA naming no folder.
    FileNotFoundError
        The archive is missing and `download` is False.
    OSError, ImportError
        It could not be downloaded; pooch is not installed.

    References
    ----------
    A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.

    Examples
    --------
    >>> from ddref.datasets import cifar10
    >>> cifar10("no/such/folder", download=False)
    Traceback (most recent call last):
        ...
    FileNotFoundError: cifar-10-binary.tar.gz is in none of no/such/folder/cifar-10, no/such/folder: put it there, or
    pass download=True
    """
    return _cifar("cifar-10", root, base_url, download)


def cifar100(root=None, *, base_url=None, download=True):
    """CIFAR-100: 60,000 colour images of 100 classes, from the official binary archive, downloaded when absent.

    The same as `cifar10`, with `cifar-100-binary.tar.gz`, in `root/cifar-100` or `root`. Classes are the 100 fine ones.

    Parameters
    ----------
    root, base_url, download
        See `cifar10`.

    Returns
    -------
    Dataset
        Images uint8, (50000, 32, 32, 3) and (10000, 32, 32, 3), red, green, blue.

    Raises
    ------
    ValueError, FileNotFoundError, OSError, ImportError
        As `cifar10`.

    References
    ----------
    A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.

    Examples
    --------
    >>> from ddref.datasets import cifar100
    >>> cifar100(base_url="ftp://nowhere")
    Traceback (most recent call last):
        ...
    ValueError: base_url = 'ftp://nowhere' must begin with http:// or https://; pass a folder on this machine as root=
    """
    return _cifar("cifar-100", root, base_url, download)


def _cifar(name, root, base_url, download):
    _check_url(base_url)
    archive = _CIFAR[name]
    folders, target = _folders(name, root)
    path = next((folder / archive.file for folder in folders if (folder / archive.file).is_file()), None)
    if path is None:
        if not download:
            raise FileNotFoundError(
                f"{archive.file} is in none of {', '.join(map(str, folders))}: put it there, or pass download=True"
            )
        path = _download_archive(archive, target, base_url)
    with open(path, "rb") as raw:
        found = hashlib.file_digest(raw, "md5").hexdigest()
    if found != archive.md5:
        raise ValueError(
            f"{path}: wrong checksum: MD5 {found}, expected {archive.md5}; delete or replace this file (a missing file "
            "is downloaded), or pass another folder as root="
        )
    wanted = {f"{archive.folder}/{file}" for file in (*archive.train, *archive.test, archive.names)}
    contents = dict(_tar_files(path, wanted.__contains__, _CIFAR_LIMIT))
    if wanted - set(contents):
        raise ValueError(f"{path} lacks {', '.join(sorted(wanted - set(contents)))}")
    names = tuple(contents[f"{archive.folder}/{archive.names}"].decode("ascii").split())
    if len(names) != archive.classes:
        raise ValueError(f"{path}: {archive.names} names {len(names)} classes, expected {archive.classes}")
    arrays = []
    for files, n in zip((archive.train, archive.test), archive.images, strict=True):
        content = b"".join(contents[f"{archive.folder}/{file}"] for file in files)
        arrays += _cifar_records(content, archive, n, f"{path}: {', '.join(files)}")
    return _dataset(arrays, names)


def _cifar_records(content, archive, n, where):
    """Images (n, 32, 32, 3) and classes (n,) from records of label bytes, then 1,024 red, green and blue pixels."""
    size = archive.labels + 3 * 32 * 32
    if len(content) != n * size:
        raise ValueError(f"{where}: {len(content):,} bytes, expected {n:,} records of {size:,} bytes")
    records = np.frombuffer(content, np.uint8).reshape(n, size)
    y = records[:, archive.labels - 1]
    if y.max() >= archive.classes:
        raise ValueError(f"{where}: a class {y.max()}, expected 0 to {archive.classes - 1}")
    return np.ascontiguousarray(records[:, archive.labels :].reshape(n, 3, 32, 32).transpose(0, 2, 3, 1)), y


def _download_archive(archive, folder, base_url):
    """Fetch an archive into memory, verify it there, then save it."""
    _make_folder(folder)
    url = f"{str(_CIFAR_SERVER if base_url is None else base_url).rstrip('/')}/{archive.file}"
    try:
        body = _fetch(url, limit=_CIFAR_LIMIT)
        found = hashlib.md5(body).hexdigest()
        if found != archive.md5:
            raise ValueError(f"wrong checksum: MD5 {found}, expected {archive.md5}")
    except (OSError, ValueError) as err:  # requests' errors are OSErrors or ValueErrors
        raise OSError(
            f"could not download {url}: {err}. Try again later, pass base_url= another server, or put the official "
            f"file in {folder}"
        ) from err
    _save(body, folder / archive.file)
    return folder / archive.file


# ------------------------------------------------------------------------------------------- your own images

_ENDINGS = (".png", ".jpg", ".jpeg")


def image_folder(path, *, max_bytes=1 << 32, progress=None):
    """Images of your own: a folder, or a tar file of one, with `train/<class>/*.png` and `test/<class>/*.png`.

    `.png`, `.jpg` and `.jpeg` in any case; other folders and files beside `train` and `test` are not looked at. A tar
    file (plain, or compressed by gzip, bzip2 or xz) may hold the two in one outer folder; it is read in memory and
    nothing is unpacked to disk. Names beginning with a dot, and Thumbs.db, are passed over: desktops leave them.

    Parameters
    ----------
    path : str or path
        The folder, or the tar file.
    max_bytes : int, default 4 GiB
        Limit for all pixels, and for all that a tar file holds: an archive or image made to fill the memory is
        refused before it does.
    progress : callable, optional
        Called as ``progress(done, total)`` after each image decoded.

    Returns
    -------
    Dataset
        Images uint8, (n, height, width) when all are grey, else (n, height, width, 3) with grey ones repeated in
        red, green and blue. Classes in the alphabetical order of their folders' names, images in that of the classes
        and then of their own names ("10" comes before "9"). Pixels as stored: orientation tags are not applied.

    Raises
    ------
    ValueError
        Names the file and the reason: images of different sizes, files that are no images or cut short, transparency
        or more than 8 bits, fewer than two classes, a test class without training images, links, names that lead out
        of the archive, `max_bytes` exceeded.
    FileNotFoundError
        `path` does not exist, or holds no `train` or no `test`.
    ImportError
        Pillow is not installed.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from PIL import Image
    >>> from ddref.datasets import image_folder
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for split in ("train", "test"):
    ...         for grey, name in ((0, "black"), (255, "white")):
    ...             place = pathlib.Path(folder, split, name)
    ...             place.mkdir(parents=True)
    ...             Image.new("L", (3, 2), grey).save(place / "0.png")
    ...     data = image_folder(folder)
    >>> data.X_train.shape, data.y_train, data.class_names
    ((2, 2, 3), array([0, 1]), ('black', 'white'))
    """
    try:
        from PIL import Image
    except ImportError as err:
        raise ImportError(
            "image_folder() needs Pillow: install pillow, or ddref with its extra 'data'. fashion_sample() and load() "
            "do without."
        ) from err
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: pass a folder, or a tar file of one")
    files = _listed(path) if path.is_dir() else _archived(path, max_bytes)
    splits = {split: sorted(place for place in files if place[0] == split) for split in ("train", "test")}
    for split, places in splits.items():
        if not places:
            raise FileNotFoundError(
                f"{path} has no images {split}/<class>/*.png or .jpg: image_folder() needs train/ and test/"
            )
    names = sorted({place[1] for place in splits["train"]})
    if len(names) < 2:
        raise ValueError(f"{path} has 1 class, {names[0]!r}: at least 2 are needed, each a folder in train/")
    unknown = sorted({place[1] for place in splits["test"]} - set(names))
    if unknown:
        raise ValueError(f"{path}: test/ has the class {unknown[0]!r}, of which train/ has no image")
    shape, colour, arrays, done = None, False, [], 0
    for places in splits.values():
        images = []
        for place in places:
            pixels = _decoded(Image, files[place], f"{path}: {'/'.join(place)}", shape, max_bytes // len(files))
            shape, colour = shape or (pixels.shape[:2], "/".join(place)), colour or pixels.ndim == 3
            images.append(pixels)
            done += 1
            if progress is not None:
                progress(done, len(files))
        arrays += [images, np.array([names.index(place[1]) for place in places])]
    for i in (0, 2):
        arrays[i] = np.stack([_rgb(pixels) for pixels in arrays[i]] if colour else arrays[i])
    return _dataset(arrays, tuple(names))


def _rgb(pixels):
    return pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)


def _decoded(Image, file, where, shape, limit):
    """Pixels (h, w) or (h, w, 3) of one image: a path, or the bytes. Its header is judged before it is decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(file) if isinstance(file, bytes) else file, formats=("PNG", "JPEG"))
        with image:
            _check_header(image, shape, limit)
            return np.array(image.convert("L" if image.mode in ("1", "L") else "RGB"))
    except Image.UnidentifiedImageError as err:
        raise ValueError(f"{where}: not a PNG or JPEG image") from err
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as err:
        raise ValueError(f"{where}: {err}") from err
    except (ValueError, OSError, SyntaxError, EOFError, IndexError, struct.error, zlib.error) as err:
        raise ValueError(f"{where}: {err}") from err  # Pillow raises all of these on damaged files


def _check_header(image, shape, limit):
    height, width, grey = image.height, image.width, image.mode in ("1", "L")
    if shape is not None and (height, width) != shape[0]:
        raise ValueError(
            f"{height} x {width} pixels, where {shape[1]} has {shape[0][0]} x {shape[0][1]}; bring all images to one "
            "size first"
        )
    if height * width * (1 if grey else 3) > limit:
        raise ValueError(
            f"{height} x {width} pixels: were all images as large, they would exceed max_bytes; make them smaller"
        )
    raw = str(image.tile[0][3]) if image.tile else ""  # Pillow would cut 16-bit colours to 8 bits without a word
    if not (grey or image.mode in ("RGB", "P")) or "transparency" in image.info or ";16" in raw:
        raise ValueError(f"mode {raw or image.mode}: 8-bit grey or RGB without transparency is needed; convert it")
    if getattr(image, "n_frames", 1) > 1:
        raise ValueError(f"{image.n_frames} frames: one image a file is needed")


def _place(parts, where):
    """(split, class, file) of a file below train/ or test/; None for one to pass over."""
    if any(part.startswith(".") for part in parts) or parts[-1] == "Thumbs.db":
        return None
    if len(parts) != 3:
        raise ValueError(f"{where}: expected {parts[0]}/<class>/<image>, with folders one level deep")
    if not parts[-1].lower().endswith(_ENDINGS):
        raise ValueError(f"{where}: not one of {', '.join(_ENDINGS)}; move it out of {parts[0]}/")
    return tuple(parts)


def _listed(folder):
    """(split, class, file) -> path, of a folder."""
    found = {}
    for split in ("train", "test"):
        walk = os.walk(folder / split, onerror=_raise) if (folder / split).exists() else ()
        for top, folders, files in walk:  # os.walk does not follow links
            for path in (Path(top), *(Path(top, name) for name in (*folders, *files))):
                if path.is_symlink():
                    raise ValueError(f"{path}: a link; put the images themselves there")
            for path in (Path(top, name) for name in files):
                place = _place(path.relative_to(folder).parts, path)
                if place is not None and not path.is_file():
                    raise ValueError(f"{path}: not a regular file")
                if place is not None:
                    found[place] = path
        for name in sorted(os.listdir(folder / split) if walk else ()):
            if not name.startswith(".") and not any(place[:2] == (split, name) for place in found):
                raise ValueError(f"{folder / split / name}: a class without images; remove it")
    return found


def _raise(err):
    raise err


def _archived(path, max_bytes):
    """(split, class, file) -> bytes, of a tar file."""
    found, outer = {}, set()

    def wanted(name):
        return bool({"train", "test"} & set(name.split("/")[:2]))

    for name, content in _tar_files(path, wanted, max_bytes):
        parts = name.split("/")
        start = next((i for i in (0, 1) if parts[i : i + 1] and parts[i] in ("train", "test")), None)
        place = None if start is None else _place(parts[start:], f"{path}: {name}")
        if place is None:
            continue
        outer.add("/".join(parts[:start]))
        if len(outer) > 1:
            raise ValueError(f"{path}: train and test are in several folders: {', '.join(map(repr, sorted(outer)))}")
        found[place] = content
    return found


def _tar_files(path, wanted, limit):
    """Name and bytes of each wanted regular file of a tar file, in its order; nothing is written to disk.

    Refused: links and special files, names that lead out of the archive, the same name twice, and more than `limit`
    bytes in all, headers included.
    """
    names, last = set(), None
    with open(path, "rb") as raw:
        opener = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}.get(raw.read(2))
        raw.seek(0)
        try:
            with _Metered(opener(raw) if opener else raw, limit) as file, tarfile.open(fileobj=file, mode="r:") as tar:
                for member in tar:
                    name = PurePosixPath(member.name.replace("\\", "/"))
                    if name.is_absolute() or ".." in name.parts:
                        raise ValueError(f"the name {member.name!r} leads out of the archive; refused")
                    if member.isdir():
                        continue
                    if not member.isreg() or member.issparse():
                        raise ValueError(f"{member.name} is a link or a special file, not a regular file; refused")
                    if str(name) in names:
                        raise ValueError(f"{member.name} is there twice; refused")
                    last = str(name)
                    names.add(last)
                    if wanted(str(name)):
                        content = tar.extractfile(member).read()
                        if len(content) != member.size:
                            raise ValueError(f"{member.name} is cut short")
                        yield str(name), content
                if file.last != bytes(512):  # tarfile takes a damaged header for the end
                    raise ValueError(f"cut short or damaged after {last or 'its beginning'}")
                while file.read(1 << 20):  # on to the checksum of the compression
                    pass
        except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError, ValueError) as err:
            raise ValueError(f"{path}: {err}; an intact tar file is needed (or, for image_folder, a folder)") from err


class _Metered(io.RawIOBase):
    """A file that refuses to be read beyond `limit` bytes, and keeps what was read last."""

    def __init__(self, file, limit):
        super().__init__()
        self.file, self.limit, self.last = file, limit, b""

    def read(self, size=-1):
        room = self.limit + 1 - self.file.tell()
        self.last = self.file.read(room if size < 0 else min(size, room))
        self._check(self.file.tell())
        return self.last

    def seek(self, offset, whence=0):
        self._check(offset)
        return self.file.seek(offset, whence)

    def tell(self):
        return self.file.tell()

    def _check(self, end):
        if end > self.limit:
            raise ValueError(f"holds more than max_bytes = {self.limit:,} bytes; refused")


# ------------------------------------------------------------------------------------------ pixels to X, Y


def standardize(X_train, X_test=None, *, max_value=255, dtype=np.float64):
    """Rows with training mean 0 and variance 1: the preprocessing of every figure of this project.

    Pixels are divided by `max_value`; then the mean of all training pixels is subtracted, and the result
    divided by the standard deviation of all training pixels. One mean and one deviation for all pixel
    positions, so images keep their look and pixels that never change do no harm. `max_value` cancels in the
    rows; it sets the unit of `mean` and `std`.

    Parameters
    ----------
    X_train : ndarray of integers or floats, (n, ...)
        Images, values from 0 to `max_value`.
    X_test : ndarray, (n_test, ...), optional
        Scaled with the numbers of the training images.
    max_value : float, default 255
        The largest possible pixel value: 255 for bytes, 16 for `digits`, 1 for images already in [0, 1].
    dtype : float64 (default) or float32
        Of the rows; mean and deviation are always computed in float64.

    Returns
    -------
    Standardized
        Rows (n, d), d the number of pixels of an image, and the numbers that `unstandardize` needs.

    Raises
    ------
    TypeError
        Not a NumPy array of real numbers; `dtype` not float32 or float64.
    ValueError
        No rows; fewer than two dimensions; NaN or Inf; pixels outside 0 to `max_value`; test images of
        another shape; constant training images.

    Examples
    --------
    >>> import numpy as np
    >>> from ddref.datasets import standardize
    >>> images = np.array([[[0, 0], [0, 255]], [[255, 0], [255, 255]]], dtype=np.uint8)
    >>> result = standardize(images)
    >>> result.X_train
    array([[-1., -1., -1.,  1.],
           [ 1., -1.,  1.,  1.]])
    >>> result.mean, result.std, result.shape
    (0.5, 0.5, (2, 2))
    """
    dtype = _float_dtype(dtype)
    max_value = _positive(max_value, "max_value")
    X_train = _images(X_train, "X_train", max_value)
    X_test = None if X_test is None else _images(X_test, "X_test", max_value)
    shape = X_train.shape[1:]
    if X_test is not None and X_test.shape[1:] != shape:
        raise ValueError(f"X_test holds images of shape {X_test.shape[1:]}, X_train of shape {shape}")
    rows = _rows(X_train, max_value)
    mean = float(rows.mean())
    rows -= mean
    std = math.sqrt(np.einsum("ij,ij->i", rows, rows).sum() / rows.size)  # rows.std() without a second array
    if X_train.min() == X_train.max() or std == 0:  # of a constant, rounding can leave 1e-17, not 0
        raise ValueError(
            f"all pixels of X_train are {X_train.flat[0]}: a constant has no standard deviation to divide by"
        )
    rows /= std
    test = None
    if X_test is not None:
        test = _rows(X_test, max_value)
        test -= mean
        test /= std
        test = test.astype(dtype, copy=False)
    return Standardized(rows.astype(dtype, copy=False), test, mean, std, shape, max_value)


def unstandardize(X, like):
    """Images from standardised rows: the inverse of `standardize`, for looking at distilled points.

    Nothing is clipped: a distilled point may have pixels below 0 or above `like.max_value`.

    Parameters
    ----------
    X : ndarray or torch.Tensor of floats, (m, d)
    like : Standardized
        What `standardize` returned for the images that X came from.

    Returns
    -------
    ndarray or torch.Tensor, (m, *like.shape)
        `(X * like.std + like.mean) * like.max_value`, in the library and dtype of X.

    Raises
    ------
    TypeError
        `X` not an array of floats; `like` not a `Standardized`.
    ValueError
        `X` not of shape (m, d) with m >= 1 and d pixels an image; NaN or Inf.

    Examples
    --------
    >>> import numpy as np
    >>> from ddref.datasets import standardize, unstandardize
    >>> images = np.array([[[0, 0], [0, 255]], [[255, 0], [255, 255]]], dtype=np.uint8)
    >>> scaled = standardize(images)
    >>> unstandardize(scaled.X_train[:1], scaled)
    array([[[  0.,   0.],
            [  0., 255.]]])
    """
    if not isinstance(like, Standardized):
        raise TypeError(f"like must be what standardize() returned, got {type(like).__name__}")
    kind = getattr(X, "dtype", None)
    if not (getattr(kind, "kind", "") == "f" or getattr(kind, "is_floating_point", False)):
        raise TypeError(f"X must be an array of floats, got {kind or type(X).__name__}")
    d = math.prod(like.shape)
    if X.ndim != 2 or X.shape[0] == 0 or X.shape[1] != d:
        raise ValueError(
            f"X has shape {tuple(X.shape)}, expected (m, {d}) with m >= 1: one row an image of shape {like.shape}"
        )
    if bool(((X != X) | (abs(X) == math.inf)).any()):
        raise ValueError("X contains NaN or Inf")
    return ((X * like.std + like.mean) * like.max_value).reshape((X.shape[0], *like.shape))


def one_hot(classes, k=None, *, dtype=np.float64):
    """Targets `Y` for classification: row i is 1 at the class of sample i and 0 elsewhere.

    Parameters
    ----------
    classes : ndarray of integers, (n,)
        From 0 to k - 1.
    k : int, optional
        Number of classes. The default is the largest class present plus one: pass k where the last class may
        be absent.
    dtype : float64 (default) or float32

    Returns
    -------
    ndarray, (n, k)

    Raises
    ------
    TypeError
        Classes not a NumPy array of integers; k not an integer; `dtype` not float32 or float64.
    ValueError
        No classes; not one-dimensional; a class below 0 or above k - 1; k below 1.

    Examples
    --------
    >>> import numpy as np
    >>> from ddref.datasets import one_hot
    >>> one_hot(np.array([2, 0]), 3)
    array([[0., 0., 1.],
           [1., 0., 0.]])
    """
    dtype = _float_dtype(dtype)
    classes = _numpy(classes, "classes", "ui", "integers")
    if classes.ndim != 1 or classes.size == 0:
        raise ValueError(f"classes has shape {classes.shape}, expected (n,) with n >= 1")
    low, high = int(classes.min()), int(classes.max())
    if low < 0:
        raise ValueError(f"classes contains {low}: classes count from 0")
    if k is None:
        k = high + 1
    if isinstance(k, bool) or not isinstance(k, int | np.integer):
        raise TypeError(f"k must be an integer, got {k!r}")
    if k < 1 or high >= k:
        raise ValueError(f"classes contains {high}, but k = {k} allows 0 to {k - 1}: pass k >= {high + 1}")
    Y = np.zeros((classes.size, int(k)), dtype)
    Y[np.arange(classes.size), classes] = 1
    return Y


def _rows(images, max_value):
    rows = images.reshape(len(images), -1).astype(np.float64)  # a copy, also of float64 input
    rows /= max_value
    return rows


def _images(X, name, max_value):
    X = _numpy(X, name, "uif", "real numbers")
    if X.ndim < 2 or X.size == 0:
        raise ValueError(f"{name} has shape {X.shape}, expected (n, ...) with n >= 1 and at least one pixel")
    low, high = X.min(), X.max()
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"{name} contains NaN or Inf")
    if low < 0 or high > max_value:
        raise ValueError(
            f"{name} has pixels from {low} to {high}, outside 0 to max_value = {max_value:g}: "
            "pass raw pixels, and their largest possible value as max_value="
        )
    return X


def _numpy(X, name, kinds, what):
    if not isinstance(X, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, got {type(X).__name__}: use numpy.asarray")
    if X.dtype.kind not in kinds:
        raise TypeError(f"{name} must hold {what}, got {X.dtype}")
    return X


def _positive(value, name):
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} = {value} must be positive and finite")
    return float(value)


def _float_dtype(dtype):
    try:
        found = "" if dtype is None else np.dtype(dtype).name  # NumPy reads None as float64
    except TypeError:
        found = ""
    if found not in ("float32", "float64"):
        raise TypeError(f"dtype must be numpy.float32 or numpy.float64, got {dtype!r}")
    return np.dtype(found)
