"""Files of arrays: written whole or not at all, and read without trust.

An `.npz` file is a zip archive of arrays. `save_npz` writes the same bytes for the same
arrays; `load_npz` reads numbers and texts only: no pickle, sizes known before anything
is unpacked, every array unpacked once, into the memory it stays in.
"""

import contextlib
import math
import os
import re
import uuid
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np

MEMBERS = 4096  # arrays a file may have
LONG = 200  # characters of a message, without the name of the file
HEADER = 1 << 16  # bytes of an .npy file in which its header has to end
DEFLATED = 1032  # bytes that deflate can make of one
CHUNK = 1 << 20  # bytes that are read or written at a time
FEW = 128  # rows here and there of a mapped file that are read at a time

# What an .npy header says, which is a literal of Python. Its parser is for one thread:
# it warns, and to hold that back in several leaves all warnings ignored afterwards.
FIELDS = [
    re.compile(r"'descr':\s*('[^'\\]*'|\[[^]]*\])"),
    re.compile(r"'fortran_order':\s*(True|False)"),
    re.compile(r"'shape':\s*\(((?:\s*-?\d+L?\s*(?:,|(?=\))))*)\s*\)"),  # 3L: Python 2
]
PLAIN = re.compile(r"'([<>|=]?[b-zA-Z?]\d*)'")  # dtypes without parts
KINDS = (
    "only numbers and texts are read and written (save its .astype(str) or "
    ".astype(float))"
)


# ---------------------------------------------------------------------------- writing


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


def save_npz(
    path: str | Path, arrays: dict[str, np.ndarray], *, compress: bool = True
) -> None:
    """Write arrays of numbers and texts by name; a file that exists is replaced.

    Large sums of floats hardly get smaller and take minutes to compress: with
    ``compress=False`` they are stored as they are. Nothing is copied as a whole.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_npz(folder + "/a.npz", {"A": np.arange(3)})
    ...     load_npz(folder + "/a.npz")
    {'A': array([0, 1, 2])}
    """
    with whole_file(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, A in arrays.items():
            A = np.asarray(A)
            _check_kind(name, A.dtype)
            if A.dtype.kind == "U":
                _check_content(np.frombuffer(A.tobytes(), np.uint8), A.dtype, name)
            info = zipfile.ZipInfo(f"{name}.npy")  # dated 1980, not today
            info.create_system = 3  # on every system: the same bytes
            info.compress_type = (
                zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
            )
            info.file_size = A.nbytes  # so that zipfile knows when 32 bits do not do
            with archive.open(info, "w") as member:
                _write_array(member, A)


def _write_array(member: IO[bytes], A: np.ndarray) -> None:
    """What `numpy.save` writes, always row by row, in chunks."""
    header = {"descr": A.dtype.str, "fortran_order": False, "shape": A.shape}
    np.lib.format.write_array_header_1_0(member, header)
    parts = np.nditer(
        A,
        flags=["external_loop", "buffered", "zerosize_ok"],
        buffersize=max(CHUNK // A.itemsize, 1),
        order="C",
    )
    for part in parts:
        member.write(np.asarray(part).tobytes())


# ---------------------------------------------------------------------------- reading


def load_npz(
    path: str | Path,
    *,
    max_bytes: int = 1 << 30,
    only: Iterable[str] | None = None,
) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file by name; with `only`, those of these names, in
    capitals or not, that are there: the others are not looked at.

    Raises FileNotFoundError, and ValueError for a file that is no `.npz`, damaged,
    larger than `max_bytes` unpacked, or that holds anything but numbers and texts. The
    message is one line that begins with the name of the file.
    """
    path = _existing(path)
    only = None if only is None else {name.lower() for name in only}
    with open(path, "rb") as raw, _explained_by(path, "an .npz file"):
        start = raw.read(4)
        if start[:2] != b"PK":
            begins = start.hex(" ") or "nothing"
            raise _Refusal(f"not an .npz file: it begins with {begins}, not with 50 4b")
        with zipfile.ZipFile(raw) as archive:
            return _unpacked_members(archive, max_bytes, only)


def names_in(path: str | Path) -> list[str]:
    """The names of all arrays of an `.npz` file that `load_npz` has read, of any kind.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_npz(folder + "/a.npz", {"A": np.arange(3), "b": np.ones(1)})
    ...     names_in(folder + "/a.npz")
    ['A', 'b']
    """
    with zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def load_npy(path: str | Path, max_bytes: int = 1 << 30) -> np.ndarray:
    """The array of an `.npy` file of numbers or texts; refusals as `load_npz`."""
    path = _existing(path)
    size = path.stat().st_size
    with open(path, "rb") as raw, _explained_by(path, "an .npy file"):
        if size > max_bytes:
            raise _Refusal(f"{size:,} bytes, more than max_bytes = {max_bytes:,}")
        return _read_array(raw, size, path.name)


class NpyFile:
    """The array of an `.npy` file of numbers, of which only what is asked for is read.

    ``file[rows]``, for a slice or for indices, is a copy: the file is mapped for it,
    and let go. Refusals as `load_npz`; also for a file that changes on the way.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(folder + "/a.npy", np.arange(6.0).reshape(3, 2))
    ...     file = NpyFile(folder + "/a.npy")
    ...     file.shape, file[1:2]
    ((3, 2), array([[2., 3.]]))
    """

    def __init__(self, path: str | Path) -> None:
        self.path = _existing(path)
        self._stamp = self._stamped()
        size = self.nbytes = self.path.stat().st_size
        with open(self.path, "rb") as raw, _explained_by(self.path, "an .npy file"):
            start = raw.read(min(size, HEADER))
            found = _array_in(start, size, self.path.name)
            self.shape, self._fortran, self._stored, self._begin = found
            if self._stored.kind == "U" or 0 in (self.shape or (0,)):
                raise _Refusal(f"an array of numbers is needed, with rows; {self!r}")
        self.dtype = self._stored.newbyteorder("=")

    def __repr__(self) -> str:
        return f"NpyFile({self.path.name}: {self.shape} of {self._stored})"

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        if isinstance(rows, slice) or len(rows) <= FEW:
            return self._read(rows)
        # pages around every row are mapped too: of rows here and there, all the file
        some = range(0, len(rows), FEW)
        return np.concatenate([self._read(rows[i : i + FEW]) for i in some])

    def _read(self, rows: slice | np.ndarray) -> np.ndarray:
        if self._stamped() != self._stamp:
            raise ValueError(f"{self.path} has changed while it was read")
        kind: Any = {"dtype": self._stored, "offset": self._begin, "shape": self.shape}
        order: Any = "F" if self._fortran else "C"
        mapped = np.memmap(self.path, mode="r", order=order, **kind)
        found = np.array(mapped[rows], dtype=self.dtype, order="C")
        with _explained_by(self.path, "an .npy file"):
            _check_content(found.reshape(-1).view(np.uint8), self.dtype, "rows")
        return found

    def _stamped(self) -> tuple[int, int]:
        status = self.path.stat()
        return status.st_size, status.st_mtime_ns


def shortened(text: str, length: int = LONG) -> str:
    """A message in one line of at most `length` characters, what a terminal would not
    print written as its code.

    >>> shortened("a\\n b\\x1b[2J"), shortened(12 * "no ", 14)
    ('a b\\\\x1b[2J', 'no no no n ...')
    """
    text = " ".join(text[: 8 * length].split())
    text = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text
    )
    return text if len(text) <= length else f"{text[: length - 4]} ..."


class _Refusal(ValueError):
    """What this file refuses by itself; all other errors are those of a parser."""


@contextlib.contextmanager
def _explained_by(path: Path, kind: str) -> Iterator[None]:
    """Any error as a ValueError of one line: zipfile, zlib, ast and NumPy raise a dozen
    types on files that are damaged or made to harm.
    """
    try:
        yield
    except _Refusal as error:
        raise ValueError(f"{path}: {shortened(str(error))}") from error
    except Exception as error:
        why = f"damaged, or not {kind} ({error})"
        raise ValueError(f"{path}: {shortened(why)}") from error


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        why = "is not a file" if path.exists() else "does not exist"
        raise FileNotFoundError(f"{path} {why}")
    return path


def _unpacked_members(
    archive: zipfile.ZipFile, max_bytes: int, only: set[str] | None
) -> dict[str, np.ndarray]:
    wanted: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        if b"PK\1\2" in info.comment + info.extra:  # one wrong length swallows others
            raise _Refusal("damaged: its directory is broken")
        name = info.filename.removesuffix(".npy")
        if only is not None and name.lower() not in only:
            continue
        if name == info.filename or name in wanted:
            raise _Refusal(f"{info.filename!r}: not one array of a name of its own")
        if info.flag_bits & 1:
            raise _Refusal(f"{info.filename!r} is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _Refusal(
                f"{info.filename!r} is compressed by method {info.compress_type}; "
                "the arrays of an .npz file are deflated or stored"
            )
        wanted[name] = info
    size = sum(info.file_size for info in wanted.values())
    if size > max_bytes or len(wanted) > MEMBERS:
        raise _Refusal(
            f"{len(wanted)} arrays of {size:,} bytes, unpacked, are more than "
            f"{MEMBERS} arrays or max_bytes = {max_bytes:,}; refused"
        )
    found = {}
    for name, info in wanted.items():
        if info.file_size > DEFLATED * (info.compress_size + 1):
            raise _Refusal(
                f"{info.filename!r} is damaged: {info.compress_size:,} bytes cannot "
                f"hold {info.file_size:,}"
            )
        with archive.open(info) as member:
            found[name] = _read_array(member, info.file_size, name)
    return found


def _read_array(member: IO[bytes], size: int, name: str) -> np.ndarray:
    """The array in an open .npy file of `size` bytes.

    Its memory is asked for once its size is known to be that of the file, and filled
    chunk by chunk.
    """
    start = member.read(min(size, HEADER))
    shape, fortran, dtype, begin = _array_in(start, size, name)
    given = size - begin
    content = np.empty(given, np.uint8)
    part, at = start[begin:], 0
    while part:
        content[at : at + len(part)] = np.frombuffer(part, np.uint8)
        at += len(part)
        part = member.read(min(CHUNK, given - at))  # the last one checks the sum, too
    if at != given:
        raise _Refusal(f"array {name!r} is cut short")
    _check_content(content, dtype, name)
    A = content.view(dtype).reshape(shape, order="F" if fortran else "C")
    return A.astype(dtype.newbyteorder("="), copy=False)


def _array_in(start: bytes, size: int, name: str) -> tuple[tuple, bool, np.dtype, int]:
    """What `_described` gives, of a file whose size is that of its array."""
    shape, fortran, dtype, begin = _described(start, name)
    given = size - begin
    expected = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or expected != given:
        raise _Refusal(
            f"array {name!r} is damaged: {given:,} bytes where {shape} of {dtype} "
            f"need {expected:,}"
        )
    return shape, fortran, dtype, begin


def _described(start: bytes, name: str) -> tuple[tuple, bool, np.dtype, int]:
    """Shape, order and dtype that an .npy file says, and where its header ends."""
    width = {b"\x93NUMPY\1\0": 2, b"\x93NUMPY\2\0": 4}.get(start[:8], 0)
    end = 8 + width + int.from_bytes(start[8 : 8 + width], "little")
    rest, said = start[8 + width : end].decode("latin-1"), []
    for field in FIELDS:
        if found := field.search(rest):
            said.append(found[1])
            rest = rest[: found.start()] + rest[found.end() :]
    if end > len(start) or len(said) < 3 or not re.fullmatch(r"{[\s,]*}\s*", rest):
        raise _Refusal(f"array {name!r} is damaged: its header is none of NumPy's")
    plain = PLAIN.fullmatch(said[0])
    if plain is None:
        raise _Refusal(f"array {name!r} holds {said[0]}: {KINDS}")
    dtype = np.dtype(plain[1])
    _check_kind(name, dtype)
    shape = tuple(int(n) for n in re.findall(r"-?\d+", said[2]))
    return shape, said[1] == "True", dtype, end


def _check_kind(name: str, dtype: np.dtype) -> None:
    if dtype.kind not in "fiubU" or not 0 < dtype.itemsize <= 1 << 28:
        raise _Refusal(f"array {name!r} holds {dtype}: {KINDS}")


def _check_content(content: np.ndarray, dtype: np.dtype, name: str) -> None:
    """Refuse bytes that are no truth values, or no letters."""
    if dtype.kind == "b" and content.max(initial=0) > 1:
        raise _Refusal(f"array {name!r} is damaged: a truth value is neither 0 nor 1")
    if dtype.kind == "U":
        letters = content.view(np.dtype(np.uint32).newbyteorder(dtype.byteorder))
        surrogates = (letters >= 0xD800) & (letters <= 0xDFFF)
        if (surrogates | (letters > 0x10FFFF)).any():
            raise _Refusal(f"array {name!r} is damaged: it holds what is no letter")
