"""Files of arrays: written whole or not at all, and read without trust.

An `.npz` file is a zip archive of arrays. `save_npz` writes the same bytes for the same
arrays, `load_npz` reads numbers and texts only: no pickle, sizes known before anything
is unpacked, nothing made that a header only claims.
"""

import contextlib
import io
import lzma
import math
import os
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

MEMBERS = 4096  # arrays a file may have
LONG = 300  # characters of a message

# What zipfile and the decompressors raise on damaged archives.
DAMAGED = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError,
    NotImplementedError, RuntimeError, ValueError, OverflowError, MemoryError,
)  # fmt: skip


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[BinaryIO]:
    """An open file that takes the name `path` once the block has ended without an
    error.

    Until then, or after an error, `path` is what it was; even if the process is killed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with whole_file(folder + "/a.txt") as file:
    ...         _ = file.write(b"whole")
    ...     Path(folder, "a.txt").read_bytes()
    b'whole'
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with open(part, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def save_npz(path: str | Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays of numbers and texts by name; a file that exists is replaced.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_npz(folder + "/a.npz", {"A": np.arange(3)})
    ...     load_npz(folder + "/a.npz")
    {'A': array([0, 1, 2])}
    """
    with (
        whole_file(path) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name, A in arrays.items():
            A = np.asarray(A)
            info = zipfile.ZipInfo(
                name + ".npy"
            )  # dated 1980: the bytes do not depend on the day
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(
                info, "w", force_zip64=A.nbytes > 2**31 - 2**16
            ) as member:
                np.lib.format.write_array(
                    member, np.ascontiguousarray(A) if A.ndim else A, allow_pickle=False
                )


def load_npz(
    path: str | Path,
    *,
    max_bytes: int = 1 << 30,
    only: tuple[str, ...] | None = None,
) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file by name; with `only`, those names alone, and the
    others are not unpacked.

    Raises FileNotFoundError, and ValueError for a file that is no `.npz`, damaged,
    larger than `max_bytes` unpacked, or that holds anything but numbers and texts. The
    message names the file, in at most a few lines.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist" if not path.exists() else f"{path} is not a file"
        )
    try:
        with open(path, "rb") as raw:
            start = raw.read(4)
            if start[:2] != b"PK":
                begins = start.hex(" ") or "nothing"
                raise ValueError(
                    f"not an .npz file: it begins with {begins}, not with 50 4b"
                )
            with zipfile.ZipFile(raw) as archive:
                return _members(archive, max_bytes, only)
    except DAMAGED as error:
        why = (
            str(error)
            if isinstance(error, ValueError)
            else f"damaged, or not an .npz file ({error})"
        )
        raise ValueError(f"{path}: {shortened(why)}") from error


def load_npy(path: str | Path, max_bytes: int = 1 << 30) -> np.ndarray:
    """The array of an `.npy` file of numbers or texts; refusals as `load_npz`."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist" if not path.exists() else f"{path} is not a file"
        )
    if path.stat().st_size > max_bytes:
        raise ValueError(f"{path} is larger than max_bytes = {max_bytes:,}; refused")
    content = path.read_bytes()
    if content[:6] != b"\x93NUMPY":
        begins = content[:6].hex(" ") or "nothing"
        raise ValueError(f"{path}: not an .npy file: it begins with {begins}")
    try:
        return _array(path.name, content)
    except ValueError as error:
        raise ValueError(f"{path}: {shortened(str(error))}") from error


def shortened(text: str, length: int = LONG) -> str:
    """A message in one line of at most `length` characters."""
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[: length - 4]} ..."


def _members(
    archive: zipfile.ZipFile, max_bytes: int, only: tuple[str, ...] | None
) -> dict[str, np.ndarray]:
    members = archive.infolist()
    names = [info.filename.removesuffix(".npy") for info in members]
    for name, info in zip(names, members, strict=True):
        if name == info.filename or names.count(name) > 1 or info.flag_bits & 1:
            raise ValueError(f"{info.filename!r}: not one array of a name of its own")
    wanted = {
        name: info
        for name, info in zip(names, members, strict=True)
        if only is None or name in only
    }
    size = sum(info.file_size for info in wanted.values())
    if size > max_bytes or len(members) > MEMBERS:
        raise ValueError(
            f"{len(wanted)} arrays of {size:,} bytes, unpacked, are more than "
            f"{MEMBERS} arrays or max_bytes = {max_bytes:,}; refused"
        )
    found = {}
    for name, info in wanted.items():
        with archive.open(info) as member:
            found[name] = _array(name, member.read(info.file_size + 1))
    return found


def _array(name: str, content: bytes) -> np.ndarray:
    """An array from the bytes of an .npy file; nothing is made before its size is known
    to be right.
    """
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        headers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        shape, _, dtype = headers[version](file)
    except (
        Exception
    ) as error:  # a header is a literal of Python: NumPy raises what its parser does
        raise ValueError(f"array {name!r} is damaged ({error})") from error
    if dtype.kind not in "fiubU" or dtype.itemsize > 1 << 28:
        raise ValueError(
            f"array {name!r} holds {dtype}: only numbers and texts are read"
        )
    expected = math.prod(shape) * dtype.itemsize
    given = len(content) - file.tell()
    if min(shape, default=0) < 0 or expected != given:
        raise ValueError(
            f"array {name!r} is damaged: {given:,} bytes where {shape} of {dtype} "
            f"need {expected:,}"
        )
    file.seek(0)
    A = np.lib.format.read_array(file, allow_pickle=False)
    return A.astype(A.dtype.newbyteorder("="), copy=False)
