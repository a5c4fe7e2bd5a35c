"""Images of your own: a folder, or a tar or zip file of one."""

import math
import operator
import os
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from ..npz import shortened
from .pictures import ENDINGS, decoded, in_colour, pillow
from .samples import Dataset, as_dataset

TESTS = ("test", "val", "valid", "validation")  # folders beside train/, the first found
# What desktops and disks on the network leave.
PASSED_OVER = (
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "icon\r",
    "__macosx",
    "@eadir",
)
NAME_LIMIT = 1 << 16  # bytes of a name in a tar file

Parts = tuple[str, ...]  # of a path below the folder


class Picture(NamedTuple):
    """An image: ``split/kind/name``, with split "train" or "test"."""

    split: str
    kind: str
    name: str


def image_folder(
    path: str | Path,
    *,
    test: float | None = None,
    size: int | tuple[int, int] | None = None,
    seed: int = 0,
    max_bytes: int = 1 << 32,
    progress: Callable[[int, int], Any] | None = None,
) -> Dataset:
    """Images of your own: a folder of images for each class.

    In `train/<class>/` and `test/<class>/` (or val, valid, validation), in
    `train/<class>/` alone, or in `<class>/`. A folder, or a file of one: zip, or tar,
    plain or compressed by gzip, bzip2 or xz; all of that may be in one outer folder,
    and nothing is written to disk. PNG, JPEG, WebP and BMP. Names beginning with a dot,
    Thumbs.db, desktop.ini and __MACOSX are passed over.

    Parameters
    ----------
    path : str or path
        The folder or file.
    test : float, optional
        Between 0 and 1: this part of every class, at least one image, is drawn as test
        images where there are none. Default: then all are training images.
    size : int or (height, width), optional
        Images of other sizes are cut at their longer sides, the centre stays, and
        scaled. Default: all must have one size.
    seed : int
        Of the draw.
    max_bytes : int, default 4 GiB
        Limit for all pixels, and for all that an archive holds: an archive or image
        made to fill the memory is refused before it does.
    progress : callable, optional
        Called as ``progress(done, total)`` after each image decoded.

    Returns
    -------
    Dataset
        Images uint8, (n, height, width) when all are grey, else (n, height, width, 3)
        with grey ones repeated in red, green and blue. Classes in the alphabetical
        order of their folders' names, images in that of the classes and then of their
        own names ("10" comes before "9"). `notes` count what was done to images: turned
        upright as their tag says, put on white where transparent, 16 bits cut to 8,
        resized. Of the pictures in one file of a phone (MPO) the first is read.

    Every checksum of a PNG and of a zip is checked. A JPEG has none, nor has what a tar
    file holds: there a changed byte may give other pixels without a word.

    Raises
    ------
    ValueError
        Names the file and the reason: images of different sizes, files that are no
        images or cut short, fewer than two classes, a test class without training
        images, links, `max_bytes` exceeded.
    FileNotFoundError
        `path` does not exist, or holds no images in folders of classes.
    ImportError
        Pillow is not installed.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from PIL import Image
    >>> from ddref.datasets import image_folder
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for grey, name in ((0, "black"), (255, "white")):
    ...         place = pathlib.Path(folder, name)
    ...         place.mkdir()
    ...         Image.new("L", (3, 2), grey).save(place / "0.png")
    ...     data = image_folder(folder)
    >>> data.X_train.shape, data.y_train, data.class_names
    ((2, 2, 3), array([0, 1]), ('black', 'white'))
    """
    PIL, path = pillow(), Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: pass a folder, or a tar file")
    if test is not None and not 0 < test < 1:
        raise ValueError(f"test = {test!r} must be between 0 and 1, such as 0.2")
    sides = _sides(size)
    files = dict(_files(path, max_bytes))
    places, notes = _layout(path, files)
    names = _class_names(places, path)
    pictures = sorted(places, key=lambda p: (p.split != "train", p.kind, p.name))
    images: list[np.ndarray] = []
    changes: Counter[str] = Counter()
    for picture in pictures:
        where = f"{path}: {'/'.join(places[picture])}"
        file = files.pop(places[picture])
        pixels, done = decoded(PIL, file, where, max_bytes // len(places), sides)
        if images and pixels.shape[:2] != images[0].shape[:2]:
            raise ValueError(
                f"{where}: {_size(pixels)} pixels, where "
                f"{'/'.join(places[pictures[0]])} has {_size(images[0])}; bring all "
                "images to one size first, or pass size (--size 32)"
            )
        images.append(pixels)
        changes.update(done)
        if progress is not None:
            progress(len(images), len(places))
    if any(pixels.ndim == 3 for pixels in images):
        images = [in_colour(pixels) for pixels in images]
    notes += [
        f"{count} of {len(images)} images {what}" for what, count in changes.items()
    ]
    y = np.array([names.index(picture.kind) for picture in pictures])
    train = np.array([picture.split == "train" for picture in pictures])
    if test is not None:
        train = _drawn(path, y, train, test, seed, names)
        notes.append(f"{np.sum(~train)} of {len(y)} images drawn as test images")
    X = np.stack(images)
    found = as_dataset((X[train], y[train], X[~train], y[~train]), names, notes)
    chosen = (places[pictures[i]] for i in np.flatnonzero(train))
    return found._replace(files=tuple(map(_name, chosen)))


def _name(parts: Parts) -> str:
    """The name of a training image, the same with an outer folder around as without."""
    return "/".join(parts[-3:] if parts[-3:-2] == ("train",) else parts[-2:])


def _sides(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    height, width = size if isinstance(size, tuple) else (size, size)
    sides = operator.index(height), operator.index(width)
    if min(sides) < 1 or math.prod(sides) > 1 << 26:
        raise ValueError(
            f"size = {size!r} must be a number of pixels, or (height, width)"
        )
    return sides


def _drawn(
    path: Path,
    y: np.ndarray,
    train: np.ndarray,
    test: float,
    seed: int,
    names: tuple[str, ...],
) -> np.ndarray:
    """Which images stay training images: of each class a part does not."""
    if not train.all():
        raise ValueError(f"{path} has test images: leave test (--test) out")
    rng = np.random.default_rng(seed)
    stays = train.copy()
    for c, name in enumerate(names):
        members = np.flatnonzero(y == c)
        out = max(1, round(test * len(members)))
        if out >= len(members):
            raise ValueError(
                f"{path}: the class {name!r} has {len(members)} images: with {out} "
                f"drawn as test images (test = {test}) none is left; add images"
            )
        stays[rng.permutation(members)[:out]] = False
    return stays


def _class_names(pictures: Any, path: Path) -> tuple[str, ...]:
    """The classes of the training images, which have to be those of the test images."""
    kinds = {
        split: {picture.kind for picture in pictures if picture.split == split}
        for split in ("train", "test")
    }
    names = tuple(sorted(kinds["train"]))
    for name in names:
        if name.encode(errors="replace").decode() != name:
            raise ValueError(
                f"{path}: the name of the class {name!r} is no text in UTF-8: rename "
                "its folder"
            )
    if len(names) < 2:
        raise ValueError(
            f"{path} has 1 class, {names[0]!r}: at least 2 are needed, each a folder "
            "of images"
        )
    unknown = sorted(kinds["test"] - kinds["train"])
    if unknown:
        raise ValueError(
            f"{path}: test/ has the class {unknown[0]!r}, of which train/ has no image"
        )
    return names


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[0]} x {pixels.shape[1]}"


# ------------------------------------------------------------------------------ layout


def _layout(
    path: Path, files: dict[Parts, Any]
) -> tuple[dict[Picture, Parts], list[str]]:
    """Which file is which picture, and notes on folders that are not looked at."""
    depths = {parts: _depth(parts) for parts in files}
    splits = {parts[i] for parts, i in depths.items() if i is not None}
    if "train" not in splits:
        return _in_classes(path, files), []
    outer = {"/".join(parts[:i]) for parts, i in depths.items() if i is not None}
    if len(outer) > 1:
        raise ValueError(
            f"{path}: train and test are in several folders: "
            f"{', '.join(map(repr, sorted(outer)))}"
        )
    tests = [name for name in TESTS if name in splits]
    notes = [
        f"{name}/ is not looked at: the test images are those of {tests[0]}/"
        for name in tests[1:]
    ]
    outer_parts = tuple(filter(None, outer.pop().split("/")))
    notes += [
        f"{name}/ is not looked at: test images are those of test/ or val/"
        for name in _others(path, files, outer_parts)
    ]
    used = {"train": "train", **{name: "test" for name in tests[:1]}}
    found: dict[Picture, Parts] = {}
    for parts, i in depths.items():
        if i is not None and parts[i] in used:
            split, *rest = parts[i:]
            _check_place(path, parts, tuple(rest), f"{split}/<class>/<image>", split)
            found[Picture(used[split], *rest)] = parts
    return found, notes


def _others(path: Path, files: dict[Parts, Any], outer: Parts) -> list[str]:
    """Folders beside train/ that are no test folders."""
    depth = len(outer)
    if path.is_dir():
        beside = path.joinpath(*outer).iterdir()
        names = {place.name for place in beside if place.is_dir()}
    else:
        inside = [p for p in files if p[:depth] == outer and len(p) > depth + 1]
        names = {parts[depth] for parts in inside}
    known = {"train", *TESTS}
    return sorted(n for n in names if n not in known and not _passed_over((n,)))


def _depth(parts: Parts) -> int | None:
    """Where train/ or a test folder is in a path: first, or in one outer folder."""
    splits = ("train", *TESTS)
    return next((i for i in (0, 1) if parts[i + 1 :] and parts[i] in splits), None)


def _in_classes(path: Path, files: dict[Parts, Any]) -> dict[Picture, Parts]:
    """Pictures in <class>/: all of them are training images."""
    pictures = [parts for parts in files if _is_picture(parts[-1])]
    above = {parts[:1] for parts in pictures}
    deep = len(above) == 1 and max(map(len, pictures)) > 2
    depth = 1 if deep else 0
    top = {parts[depth] for parts in pictures}
    if not pictures or (top | {parts[0] for parts in pictures}) & set(TESTS):
        raise FileNotFoundError(
            f"{path} has no images train/<class>/*.png or .jpg, and none in folders of "
            "classes, <class>/*.png"
        )
    found: dict[Picture, Parts] = {}
    for parts in files:
        rest = parts[depth:]
        if parts[:depth] not in above | {()} or (
            len(rest) < 2 and parts not in pictures
        ):
            continue  # a text beside the classes
        _check_place(path, parts, rest, "<class>/<image>", rest[0])
        found[Picture("train", rest[0], rest[1])] = parts
    return found


def _is_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in ENDINGS


def _check_place(path: Path, parts: Parts, rest: Parts, wanted: str, top: str) -> None:
    """Refuse a file that is not an image of a class: rest = (class, name)."""
    where = f"{path}: {'/'.join(parts)}"
    if len(rest) != 2:
        raise ValueError(f"{where}: expected {wanted}, with folders one level deep")
    if not _is_picture(rest[1]):
        raise ValueError(
            f"{where}: not one of {', '.join(ENDINGS)}; move it out of {top}/"
        )


# ------------------------------------------------------------------------------- files


def _files(path: Path, max_bytes: int) -> Iterator[tuple[Parts, Path | bytes]]:
    """Every file but those passed over; those of an archive in memory: no name of it
    ever becomes a path.
    """
    if path.is_dir():
        yield from _in_folder(path)
        return
    members = _in_zip if zipfile.is_zipfile(path) else _in_tar
    seen = set()
    for name, content in members(path, max_bytes):
        parts = _safe_parts(path, name)
        if _passed_over(parts):
            continue
        if parts in seen:
            raise ValueError(f"{path}: {'/'.join(parts)} is there twice; refused")
        seen.add(parts)
        yield parts, content


def _passed_over(parts: Parts) -> bool:
    return any(part.startswith(".") or part.lower() in PASSED_OVER for part in parts)


def _safe_parts(path: Path, name: str) -> Parts:
    place = PurePosixPath(name.replace("\\", "/"))
    if place.is_absolute() or ".." in place.parts:
        raise ValueError(f"{path}: the name {name!r} leads out of the archive; refused")
    return place.parts


def _in_folder(folder: Path) -> Iterator[tuple[Parts, Path]]:
    """The files of train/ and the test folders, or of all folders without train/."""
    tops = [folder / "train", *(folder / name for name in TESTS)]
    if not (folder / "train").exists():
        tops = [folder]
        inner = [place for place in folder.iterdir() if place.is_dir()]
        if len(inner) == 1 and (inner[0] / "train").exists():
            tops = [inner[0] / name for name in ("train", *TESTS)]
    for top in tops:
        # os.walk does not follow links; what it cannot list is an error.
        for place, folders, names in os.walk(top, onerror=_raised):
            folders[:] = sorted(name for name in folders if not _passed_over((name,)))
            for link in (
                Path(place),
                *(Path(place, name) for name in (*folders, *names)),
            ):
                if link != folder and link.is_symlink():
                    raise ValueError(f"{link}: a link; put the images themselves there")
            kept = [name for name in names if not _passed_over((name,))]
            if not (folders or kept or Path(place) in (folder, *tops)):
                raise ValueError(f"{place}: a class without images; remove it")
            for name in kept:
                file = Path(place, name)
                if not file.is_file():
                    raise ValueError(f"{file}: not a regular file")
                yield file.relative_to(folder).parts, file


def _raised(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _in_zip(path: Path, limit: int) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of the files of a zip; checksums are checked by zipfile."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > limit:
                raise ValueError(f"holds more than max_bytes = {limit:,}; refused")
            for member in members:
                if member.is_dir():
                    continue
                if member.flag_bits & 1:
                    raise ValueError(f"{member.filename} is encrypted; refused")
                with archive.open(member) as file:
                    content = file.read(member.file_size + 1)
                yield member.filename, content
    except Exception as error:  # each compression raises errors of its own
        raise ValueError(
            f"{path}: {shortened(str(error))}; an intact zip file is needed"
        ) from error


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


def _in_tar(path: Path, limit: int) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of the files of a tar file, in their order.

    Refused: links and special files, more than `limit` bytes in all, headers included,
    and an archive without its end.
    """
    size = 0
    try:
        with tarfile.open(path, "r:*", tarinfo=_ShortNames) as tar:
            for member in tar:
                size += tarfile.BLOCKSIZE + member.size
                if size > limit:
                    raise ValueError(f"holds more than max_bytes = {limit:,}; refused")
                _safe_parts(path, member.name)
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse():
                    raise ValueError(
                        f"{member.name} is a link or a special file, not a regular "
                        "file; refused"
                    )
                yield member.name, tar.extractfile(member).read()
            _check_end(tar)
    except Exception as error:  # each compression raises errors of its own
        raise ValueError(
            f"{path}: {shortened(str(error))}; an intact tar file is needed (or, for "
            "image_folder, a folder)"
        ) from error


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
