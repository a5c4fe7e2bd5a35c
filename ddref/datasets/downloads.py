"""Official files: looked for on this machine, else fetched, and never believed before
their checksum is right.
"""

import io
import os
from collections.abc import Callable
from io import BufferedIOBase
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ..npz import whole_file

Content = TypeVar("Content")


class Places(NamedTuple):
    """Where files are looked for, where they come from and where they go to."""

    folders: list[Path]
    servers: tuple[str, ...]  # none where nothing may be downloaded
    target: Path


def places(
    name: str,
    root: str | Path | None,
    base_url: str | None,
    known: tuple[str, ...],
    download: bool,
) -> Places:
    """The folders to search, in order, the servers to ask and the folder for what they
    send.
    """
    servers = known if base_url is None else (str(base_url),)
    if not all(url.startswith(("http://", "https://")) for url in servers):
        raise ValueError(
            f"base_url = {base_url!r} must begin with http:// or https://; pass a "
            "folder on this machine as root="
        )
    servers = servers if download else ()
    if root is not None:
        root = Path(root).expanduser()
        return Places([root / name, root], servers, root / name)
    searched = []
    if os.environ.get("DDREF_DATA"):
        data = Path(os.environ["DDREF_DATA"]).expanduser()
        if not data.is_dir():
            raise ValueError(
                f"DDREF_DATA = {data} is not a folder: correct it, unset it, or pass "
                "root="
            )
        searched = [data / name, data]
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = caches / "ddref" / name
    return Places([*searched, cache], servers, cache)


def obtained(
    names: tuple[str, ...],
    where: Places,
    limit: int,
    read: Callable[[BufferedIOBase], Content],
) -> Content:
    """What `read` makes of the file of one of these names; it raises ValueError for
    another content.

    A file found nowhere is fetched under its first name, at most `limit` bytes.
    """
    paths = [folder / name for folder in where.folders for name in names]
    for path in filter(Path.is_file, paths):
        with open(path, "rb") as raw:
            try:
                return read(raw)
            except ValueError as error:
                raise ValueError(
                    f"{path}: {error}; delete or replace this file (a missing file is "
                    "downloaded), or pass another folder as root="
                ) from error
    if not where.servers:
        raise FileNotFoundError(
            f"{' or '.join(names)} is in none of "
            f"{', '.join(map(str, where.folders))}: put it there, or pass download=True"
        )
    return _fetched(names, where, limit, read)


def _fetched(
    names: tuple[str, ...],
    where: Places,
    limit: int,
    read: Callable[[BufferedIOBase], Content],
) -> Content:
    """Read in memory what a server sends, then save it: no unverified byte is left."""
    download = _downloader(names[0])
    _make_folder(where.target)
    failures = []
    for server in where.servers:
        url = f"{server.rstrip('/')}/{names[0]}"
        body = _LimitedBytes(limit)
        try:
            download(url, body, None)
            body.seek(0)
            content = read(body)
        except (OSError, ValueError) as error:  # those of requests are one or the other
            failures.append(f"{url}: {error}")
            continue
        # Some servers take the .gz for an encoding and the client unpacks it: the name
        # is that of what arrived.
        name = names[0] if is_gzip(body) else names[-1]
        with whole_file(where.target / name) as file:
            file.write(body.getbuffer())
        return content
    raise OSError(
        f"could not download {names[0]}. {'. '.join(failures)}. Try again later, pass "
        f"base_url= another server, or put the official file in {where.target}"
    )


def is_gzip(raw: BufferedIOBase) -> bool:
    """Whether an open file begins as gzip files do; it is at its beginning again."""
    raw.seek(0)
    begins = raw.read(2)
    raw.seek(0)
    return begins == b"\x1f\x8b"


def _downloader(file: str) -> Any:
    """pooch's downloader; `pooch.retrieve` would check what travels, and we know what
    is inside.
    """
    try:
        import pooch
    except ImportError as error:
        raise ImportError(
            f"downloading {file} needs pooch: install pooch, or ddref with its extra "
            "'data'; or fetch the file by hand and pass its folder as root="
        ) from error
    options = {"chunk_size": 1 << 16, "headers": {"Accept-Encoding": "identity"}}
    try:
        return pooch.HTTPDownloader(progressbar=True, **options)
    except ValueError:  # pooch's answer when tqdm is not installed
        return pooch.HTTPDownloader(**options)


class _LimitedBytes(io.BytesIO):
    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self.limit:
            raise ValueError(
                f"the server sends more than {self.limit:,} bytes; stopped"
            )
        return super().write(data)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"cannot create {folder} for the download ({error}): pass root= a folder "
            "you can write to"
        ) from error
