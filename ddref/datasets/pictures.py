"""Pixels of one picture: decoded, judged before and after, brought to one form."""

import io
import threading
import warnings
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
PNG = b"\x89PNG\r\n\x1a\n"  # the first bytes of one
FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
MODES = ("1", "L", "LA", "RGB", "RGBA", "P", "PA", "I;16", "I;16B", "I;16L")
LARGEST = 1 << 28  # pixels of one picture, times channels, that is made smaller
ONE_READS = threading.Lock()  # all threads share the filters of warnings


class Pixels(NamedTuple):
    """A picture as an array, and what was done to it on the way, in words."""

    array: np.ndarray  # uint8, (h, w) or (h, w, 3)
    done: tuple[str, ...]


def pillow(what: str = "image_folder()") -> ModuleType:
    """The module PIL, or an ImportError that names the extra."""
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError as error:
        raise ImportError(
            f"{what} needs Pillow: install pillow, or ddref with its extra 'data'"
        ) from error
    return PIL


def decoded(
    PIL: ModuleType,
    file: Path | bytes,
    where: str,
    limit: int,
    size: tuple[int, int] | None = None,
) -> Pixels:
    """One picture, upright, on white, in 8 bits; its header is judged before it is
    decoded.

    Parameters
    ----------
    PIL : module
    file : path or bytes
    where : str
        Its name, for messages.
    limit : int
        Bytes that its pixels may take.
    size : (height, width), optional
        Its longer sides are cut equally on both ends until the shape is that, then it
        is scaled. Default: left as it is.

    Raises
    ------
    ValueError
        Names the picture and the reason.
    """
    try:
        source = io.BytesIO(file if isinstance(file, bytes) else file.read_bytes())
        with ONE_READS, warnings.catch_warnings():
            # of a bomb, of data cut short
            warnings.filterwarnings("error", module=r"PIL\.")
            image = PIL.Image.open(source, formats=FORMATS)
            with image:
                _check_header(image, limit if size is None else LARGEST)
                _check_png(source.getvalue())
                return _plain(PIL, image, size)
    except PIL.UnidentifiedImageError as error:
        kinds = "PNG, JPEG, WebP or BMP"
        raise ValueError(f"{where}: not a {kinds} image") from error
    except Exception as error:  # Pillow raises a dozen types on damaged files
        raise ValueError(f"{where}: {error}") from error


def _check_png(content: bytes) -> None:
    """Refuse a PNG one of whose checksums is wrong: readers check some, not all.

    Every chunk has a CRC, all pixels together an Adler checksum. A JPEG has none: of
    its data only an end too early is seen.
    """
    if not content.startswith(PNG):
        return
    at, pixels, kind = len(PNG), zlib.decompressobj(), b""
    while kind != b"IEND":
        length, kind = int.from_bytes(content[at : at + 4]), content[at + 4 : at + 8]
        body = content[at + 4 : at + 8 + length]
        crc = content[at + 8 + length : at + 12 + length]
        if len(crc) < 4:
            raise ValueError("the PNG is cut short")
        if zlib.crc32(body) != int.from_bytes(crc):
            raise ValueError(f"the PNG is damaged: wrong checksum of its {kind!r}")
        if kind == b"IDAT":
            rest = body[4:]
            while rest and not pixels.eof:
                pixels.decompress(rest, 1 << 20)  # raises where the sum is wrong
                rest = pixels.unconsumed_tail
        at += 12 + length
    if not pixels.eof:
        raise ValueError("the PNG is damaged: its pixels are cut short")


def in_colour(pixels: np.ndarray) -> np.ndarray:
    """Grey ones repeated in red, green and blue."""
    return pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)


def _check_header(image: Any, limit: int) -> None:
    channels = 1 if _is_grey(image) else 3
    if image.height * image.width * channels > limit:
        raise ValueError(
            f"{image.height} x {image.width} pixels: were all images as large, they "
            "would exceed max_bytes; make them smaller, or pass size (--size)"
        )
    if image.mode not in MODES:
        raise ValueError(
            f"mode {image.mode}: grey, RGB, transparency or a palette is needed; "
            "convert it"
        )
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise ValueError(f"{frames} frames: one image a file is needed")


def _is_grey(image: Any) -> bool:
    return image.mode in ("1", "L", "LA") or image.mode.startswith("I;16")


def _plain(PIL: ModuleType, image: Any, size: tuple[int, int] | None) -> Pixels:
    grey, done = _is_grey(image), []
    deep = "16" in (str(image.tile[0][3]) if image.tile else "")
    if deep:
        done.append("of 16 bits, cut to 8")
    orientation = image.getexif().get(0x0112, 1)
    if orientation in range(2, 9):  # others say nothing
        done.append("turned upright as their tag says")
    upright = PIL.ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):
        upright = PIL.Image.fromarray((np.array(upright) >> 8).astype(np.uint8))
    if upright.mode in ("LA", "RGBA", "PA") or "transparency" in image.info:
        done.append("transparent, put on white")
        layer = upright.convert("RGBA")
        white = PIL.Image.new("RGBA", layer.size, "white")
        upright = PIL.Image.alpha_composite(white, layer)
    upright = upright.convert("L" if grey else "RGB")
    if size is not None and (upright.height, upright.width) != size:
        done.append(f"brought to {size[0]} x {size[1]} pixels, longer sides cut")
        upright = PIL.ImageOps.fit(upright, size[::-1], PIL.Image.Resampling.LANCZOS)
    return Pixels(np.array(upright), tuple(done))
