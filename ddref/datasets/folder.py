"""Images of your own: a folder, or a tar file of one."""

import io
import os
import tarfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from ..npz import shortened
from .samples import Dataset, as_dataset

SPLITS = (("train",), ("test",))
ENDINGS = (".png", ".jpg", ".jpeg")
PASSED_OVER = ("thumbs.db", "desktop.ini")  # desktops leave them
NAME_LIMIT = 1 << 16  # bytes of a name in a tar file


class Picture(NamedTuple):
    """An image: ``split/kind/name``, with split "train" or "test"."""

    split: str
    kind: str
    name: str


def image_folder(
    path: str | Path,
    *,
    max_bytes: int = 1 << 32,
    progress: Callable[[int, int], Any] | None = None,
) -> Dataset:
    """Images of your own, in `train/<class>/*.png` and `test/<class>/*.png`.

    A folder, or a tar file of one: plain, or compressed by gzip, bzip2 or xz. It may
    hold the two in one outer folder, and nothing of it is written to disk. `.png`,
    `.jpg` and `.jpeg` in any case; other folders and files beside `train` and `test`
    are not looked at. Names beginning with a dot, Thumbs.db and desktop.ini are passed
    over: desktops leave them.

    Parameters
    ----------
    path : str or path
        The folder, or the tar file.
    max_bytes : int, default 4 GiB
        Limit for all pixels, and for all that a tar file holds: an archive or image
        made to fill the memory is refused before it does.
    progress : callable, optional
        Called as ``progress(done, total)`` after each image decoded.

    Returns
    -------
    Dataset
        Images uint8, (n, height, width) when all are grey, else (n, height, width, 3)
        with grey ones repeated in red, green and blue. Classes in the alphabetical
        order of their folders' names, images in that of the classes and then of their
        own names ("10" comes before "9"). Photos are turned upright as their
        orientation tag says; of the pictures in one file of a phone (MPO) the first is
        read.

    Raises
    ------
    ValueError
        Names the file and the reason: images of different sizes, files that are no
        images or cut short, transparency or more than 8 bits, fewer than two classes, a
        test class without training images, links, `max_bytes` exceeded.
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
    pillow = _pillow()
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: pass a folder, or a tar file")
    files = _in_folder(path) if path.is_dir() else _in_tar(path, max_bytes)
    names = _class_names(files, path)
    pictures = sorted(files, key=lambda p: (p.split != "train", p.kind, p.name))
    images: list[np.ndarray] = []
    for picture in pictures:
        where = f"{path}: {'/'.join(picture)}"
        pixels = _decoded(pillow, files[picture], where, max_bytes // len(files))
        if images and pixels.shape[:2] != images[0].shape[:2]:
            raise ValueError(
                f"{where}: {_size(pixels)} pixels, where {'/'.join(pictures[0])} has "
                f"{_size(images[0])}; bring all images to one size first"
            )
        images.append(pixels)
        if progress is not None:
            progress(len(images), len(files))
    if any(pixels.ndim == 3 for pixels in images):
        images = [_in_colour(pixels) for pixels in images]
    y = np.array([names.index(picture.kind) for picture in pictures])
    n = sum(picture.split == "train" for picture in pictures)
    arrays = np.stack(images[:n]), y[:n], np.stack(images[n:]), y[n:]
    return as_dataset(arrays, names)


def _class_names(files: dict[Picture, Any], path: Path) -> tuple[str, ...]:
    """The classes of the training images, which have to be those of the test images."""
    kinds = {
        split: {picture.kind for picture in files if picture.split == split}
        for split in ("train", "test")
    }
    for split, found in kinds.items():
        if not found:
            raise FileNotFoundError(
                f"{path} has no images {split}/<class>/*.png or .jpg: image_folder() "
                "needs train/ and test/"
            )
    names = tuple(sorted(kinds["train"]))
    if len(names) < 2:
        raise ValueError(
            f"{path} has 1 class, {names[0]!r}: at least 2 are needed, each a folder "
            "in train/"
        )
    unknown = sorted(kinds["test"] - kinds["train"])
    if unknown:
        raise ValueError(
            f"{path}: test/ has the class {unknown[0]!r}, of which train/ has no image"
        )
    return names


# ---------------------------------------------------------------------------- pictures


def _pillow() -> ModuleType:
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError as error:
        raise ImportError(
            "image_folder() needs Pillow: install pillow, or ddref with its extra "
            "'data'. fashion_sample() and load() do without."
        ) from error
    return PIL


def _decoded(
    pillow: ModuleType, file: Path | bytes, where: str, limit: int
) -> np.ndarray:
    """Pixels (h, w) or (h, w, 3) of one image; its header is judged before it is
    decoded.
    """
    source = io.BytesIO(file) if isinstance(file, bytes) else file
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pillow.Image.DecompressionBombWarning)
            image = pillow.Image.open(source, formats=("PNG", "JPEG"))
        with image:
            grey = image.mode in ("1", "L")
            _check_header(image, image.height * image.width * (1 if grey else 3), limit)
            upright = pillow.ImageOps.exif_transpose(image)
            return np.array(upright.convert("L" if grey else "RGB"))
    except pillow.UnidentifiedImageError as error:
        raise ValueError(f"{where}: not a PNG or JPEG image") from error
    except Exception as error:  # Pillow raises a dozen types on damaged files
        raise ValueError(f"{where}: {error}") from error


def _check_header(image: Any, size: int, limit: int) -> None:
    if size > limit:
        raise ValueError(
            f"{image.height} x {image.width} pixels: were all images as large, they "
            "would exceed max_bytes; make them smaller"
        )
    # Pillow would cut colours of 16 bits to 8 without a word.
    raw = str(image.tile[0][3]) if image.tile else ""
    plain = image.mode in ("1", "L", "RGB", "P") and ";16" not in raw
    if not plain or "transparency" in image.info:
        raise ValueError(
            f"mode {raw or image.mode}: 8-bit grey or RGB without transparency is "
            "needed; convert it"
        )
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise ValueError(f"{frames} frames: one image a file is needed")


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[0]} x {pixels.shape[1]}"


def _in_colour(pixels: np.ndarray) -> np.ndarray:
    return pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)


# ------------------------------------------------------------------------------- files


def _picture(parts: tuple[str, ...], where: Path | str) -> Picture | None:
    """The picture that a file below train/ or test/ is; None for one to pass over."""
    ignored = parts[-1].lower() in PASSED_OVER
    if ignored or any(part.startswith(".") for part in parts):
        return None
    if len(parts) != 3:
        raise ValueError(
            f"{where}: expected {parts[0]}/<class>/<image>, with folders one level deep"
        )
    if not parts[-1].lower().endswith(ENDINGS):
        raise ValueError(
            f"{where}: not one of {', '.join(ENDINGS)}; move it out of {parts[0]}/"
        )
    return Picture(*parts)


def _in_folder(folder: Path) -> dict[Picture, Path]:
    """The pictures of a folder."""
    found: dict[Picture, Path] = {}
    classes = set()
    for split in ("train", "test"):
        if not (folder / split).exists():
            continue
        # os.walk does not follow links; what it cannot list is an error.
        for top, folders, files in os.walk(folder / split, onerror=_raised):
            for path in (Path(top), *(Path(top, name) for name in (*folders, *files))):
                if path.is_symlink():
                    raise ValueError(f"{path}: a link; put the images themselves there")
            for path in (Path(top, name) for name in files):
                picture = _picture(path.relative_to(folder).parts, path)
                if picture is None:
                    continue
                if not path.is_file():
                    raise ValueError(f"{path}: not a regular file")
                found[picture] = path
            if Path(top) == folder / split:
                classes |= {(split, name) for name in folders if name[0] != "."}
    for split, kind in sorted(classes - {picture[:2] for picture in found}):
        where = folder / split / kind
        raise ValueError(f"{where}: a class without images; remove it")
    return found


def _raised(error: OSError) -> None:
    raise error


class _ShortNames(tarfile.TarInfo):
    """A member of a tar file whose name does not fill the memory: names longer than 100
    bytes are members of their own, which tarfile reads as a whole.
    """

    @classmethod
    def frombuf(
        cls, buf: bytes | bytearray, encoding: str, errors: str
    ) -> "_ShortNames":
        member = super().frombuf(buf, encoding, errors)
        data = (*tarfile.REGULAR_TYPES, tarfile.DIRTYPE)
        if member.type not in data and member.size > NAME_LIMIT:
            raise tarfile.ReadError(f"a name of {member.size:,} bytes; refused")
        return member


def _in_tar(path: Path, max_bytes: int) -> dict[Picture, bytes]:
    """The pictures of a tar file, in memory: no name of it ever becomes a path."""
    found: dict[Picture, bytes] = {}
    outer = set()
    for above, parts, content in _tar_files(path, max_bytes):
        where = "/".join((*above, *parts))
        picture = _picture(parts, f"{path}: {where}")
        if picture is None:
            continue
        outer.add("/".join(above))
        if len(outer) > 1:
            raise ValueError(
                f"{path}: train and test are in several folders: "
                f"{', '.join(map(repr, sorted(outer)))}"
            )
        if picture in found:
            raise ValueError(f"{path}: {where} is there twice; refused")
        found[picture] = content
    return found


def _tar_files(
    path: Path, limit: int
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], bytes]]:
    """Files below train/ and test/: the folder above, path and bytes, in their order.

    Refused: links and special files, names that lead out of the archive, more than
    `limit` bytes in all, headers included, and an archive without its end.
    """
    size = 0
    try:
        with tarfile.open(path, "r:*", tarinfo=_ShortNames) as tar:
            for member in tar:
                size += tarfile.BLOCKSIZE + member.size
                if size > limit:
                    raise ValueError(f"holds more than max_bytes = {limit:,}; refused")
                name = PurePosixPath(member.name.replace("\\", "/"))
                if name.is_absolute() or ".." in name.parts:
                    raise ValueError(
                        f"the name {member.name!r} leads out of the archive; refused"
                    )
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse():
                    raise ValueError(
                        f"{member.name} is a link or a special file, not a regular "
                        "file; refused"
                    )
                split = _split_at(name.parts)
                if split is not None:
                    content = tar.extractfile(member).read()
                    yield name.parts[:split], name.parts[split:], content
            _check_end(tar)
    except Exception as error:  # each compression raises errors of its own
        raise ValueError(
            f"{path}: {shortened(str(error))}; an intact tar file is needed (or, for "
            "image_folder, a folder)"
        ) from error


def _split_at(parts: tuple[str, ...]) -> int | None:
    """Where train/ or test/ is in a path: first, or in one outer folder."""
    return next((i for i in (0, 1) if parts[i : i + 1] in SPLITS), None)


def _check_end(tar: tarfile.TarFile) -> None:
    """Refuse an archive that ends without its end: tarfile takes a damaged header for
    one.
    """
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        last = ["its beginning", *tar.getnames()][-1]
        raise ValueError(f"cut short or damaged after {last}")
    while tar.fileobj.read(1 << 20):  # on to the checksum of the compression
        pass
