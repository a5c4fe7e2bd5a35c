"""A distilled set as a folder: pictures, labels for them, and how to train on both."""

import contextlib
import csv
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__, files, recipe
from ..datasets.pictures import pillow
from ..measure import relative_error
from ..npz import shortened
from ..tables.encoder import TableEncoder
from .eight_bits import coefficients, in_bytes, labels_for
from .points import outputs
from .readme import readme
from .report import aligned

MAGIC = "ddref folder"
WRITTEN = re.compile(
    r"points|points/\d+\.png|(points|labels)\.csv|[Xy]\.npy|set\.npz|about\.json|README\.md"
)


def export(saved: files.Saved, folder: Path, *, overwrite: bool = False) -> str:
    """Write a set into a new folder, whole or not at all; returns what to print.

    Of images each point becomes a PNG, and the labels are computed from the pixels as
    they were rounded. The folder is read again, and what it trains is compared.
    """
    _check_place(folder, overwrite)
    colours = _colours(saved)
    with _whole_folder(folder) as part:
        np.save(part / "X.npy", saved.X_S)
        np.save(part / "y.npy", saved.Y_S)
        if saved.table is not None:
            _write_points(part / "points.csv", saved)
        if colours:
            lines = _write_pictures(part, saved, colours)
        else:
            lines = [_why_no_pictures(saved)]
            _write_labels(part / "labels.csv", saved, saved.Y_S)
            _write_about(part / "about.json", saved)
            if saved.feature_map is not None:
                files.save(part / "set.npz", saved)
        text = readme(saved, colours, lines[-1])
        (part / "README.md").write_text(text, encoding="utf-8")
    return "\n".join([*lines, f"wrote {folder}: its README.md says how to train on it"])


# -------------------------------------------------------------------------- pictures


def _colours(saved: files.Saved) -> int | None:
    """How many colours the pictures have, None where points are no pictures."""
    if saved.image_shape is None:
        return None
    colours = saved.image_shape[2] if len(saved.image_shape) == 3 else 1
    return colours if colours in (1, 3) else None


def _why_no_pictures(saved):
    points = f"{len(saved.X_S)} points of {saved.X_S.shape[1]} values"
    why = "no image shape is known" if saved.table is None else "a table"
    if saved.image_shape is not None:
        why = f"pictures have 1 or 3 colours, these {saved.image_shape[2]}"
    return f"{points}, no pictures ({why}): numbers in full precision alone"


def _write_pictures(part, saved, colours):
    """PNG files, labels, numbers; lines about what they train once they are read."""
    W, b = files.model(saved)
    b = b if saved.fit_intercept else None
    rounded = _rounded(saved, W, b)
    found = labels_for(files.features(saved, rounded.values), W, b, saved.lam_S)
    height, width = saved.image_shape[:2]
    shape = (height, width, 3) if colours == 3 else (height, width)
    _write_png(part / "points", rounded.pixels.reshape(-1, *shape))
    _write_labels(part / "labels.csv", saved, found.Y_S)
    X, Y = _read_again(part, rounded)
    certificate = recipe.certified(
        lambda X: files.features(saved, X), X, Y, saved.lam_S, W, b, dtype="float64"
    )
    _write_about(part / "about.json", saved, rounded, certificate)
    if saved.feature_map is not None:
        kept = saved._replace(X_S=X, Y_S=Y, certificate=files.numbers(certificate))
        files.save(part / "set.npz", kept)
    full = saved.X_S.astype(np.float64)
    lines = {
        "pictures": f"{len(X)} PNG of {' x '.join(map(str, shape))}, 8 bits",
        "value of a pixel": f"{rounded.offset:.6g} + {rounded.scale:.6g} * byte",
        "pixels moved": f"by at most {np.abs(X - full).max():.3g}; relative error "
        f"{relative_error(X, full):.2e}",
        "relative error of W": f"{certificate.relative_error:.2e}, trained on the "
        f"folder as it reads (exact: at most {certificate.tolerance:.1e})",
    }
    return [aligned(lines), _verdict(W, b, found, certificate)]


def _rounded(saved, W, b):
    """The points in 8 bits, by what the model needs where pixels are its features."""
    if saved.feature_map is not None:
        return in_bytes(saved.X_S)
    if len(saved.X_S) >= _enough(W, b):
        return in_bytes(saved.X_S, enough=True)
    Phi_S = files.features(saved, saved.X_S)
    return in_bytes(saved.X_S, coefficients(Phi_S, W, b is not None))


def _enough(W, b):
    """With how many points labels can absorb every rounding."""
    size = np.abs(W).max(axis=1)
    return int(np.sum(size > 1e-12 * size.max())) + (b is not None)


def _verdict(W, b, found, certificate):
    """Whether the folder trains the same model; else why not, and the way out."""
    if certificate.exact:
        return "exact: in 8 bits, too, the labels absorb the rounding"
    m, needed = len(found.Y_S), _enough(W, b)
    full = "X.npy and y.npy are as exact as the file"
    if found.parameters <= certificate.tolerance:
        return (
            f"NOT EXACT in 8 bits: labels up to {np.abs(found.Y_S).max():.2g}, "
            f"condition number {certificate.condition:.2g}; {full}"
        )
    more = f"; {needed} points and more can be exact" if m < needed else ""
    return (
        f"NOT EXACT in 8 bits: {m} rounded points miss a fraction "
        f"{found.parameters:.2g} of W, and these are the labels of least error{more}; "
        f"{full}"
    )


def _write_png(folder, pictures):
    Image = pillow("export").Image

    folder.mkdir()
    digits = max(4, len(str(len(pictures) - 1)))
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{i:0{digits}}.png")


def _read_again(part, rounded):
    """Points and labels of a folder, as others will read them."""
    Image = pillow("export").Image

    pixels = []
    for name in sorted((part / "points").glob("*.png")):
        with Image.open(name) as image:
            pixels.append(np.array(image).ravel())
    with open(part / "labels.csv", newline="", encoding="utf-8") as file:
        _, *lines = csv.reader(file)
    Y = np.array([line[1:] for line in lines], dtype=np.float64)
    return rounded._replace(pixels=np.stack(pixels)).values, Y


# --------------------------------------------------------------------- other files


def _write_labels(path, saved, Y_S):
    """A line a point, a column a class or target; the first column names the point."""
    names = list(map(shortened, outputs(saved)))
    k = Y_S.shape[1]
    names = names or ([f"target {i}" for i in range(k)] if k > 1 else ["target"])
    _write_csv(path, ["point", *names], Y_S)


def _write_points(path, saved):
    """A table's points in its columns, a word as one column."""
    names = TableEncoder.from_dict(saved.table).get_feature_names_out()
    _write_csv(path, ["point", *map(shortened, names)], saved.X_S)


def _write_csv(path, names, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([i, *row] for i, row in enumerate(rows.tolist()))


def _write_about(path, saved, rounded=None, certificate=None):
    """The numbers that training on the folder needs, and what rounding has cost."""
    one = saved.scaling == "global"
    about: dict[str, Any] = {
        "magic": MAGIC,
        "ddref": __version__,
        "alpha": saved.lam_S,
        "fit_intercept": saved.fit_intercept,
        "task": saved.task,
        "outputs": saved.class_names,
        "image_shape": saved.image_shape,
        "mean": saved.mean[0] if one else saved.mean.tolist(),
        "std": saved.scale[0] if one else saved.scale.tolist(),
    }
    if saved.scaling == "none":
        about |= {"mean": 0.0, "std": 1.0}
    if rounded is not None:
        about |= {"pixel_offset": rounded.offset, "pixel_scale": rounded.scale}
        about |= {"relative_error": certificate.relative_error}
        about |= {"exact": certificate.exact}
    path.write_text(json.dumps(about, indent=1), encoding="utf-8")


# ------------------------------------------------------------------------ the folder


@contextlib.contextmanager
def _whole_folder(path: Path) -> Iterator[Path]:
    """A new folder that takes the name `path` once the block has ended without an
    error; until then `path` is what it was.
    """
    unique = uuid.uuid4().hex
    part, old = (
        path.with_name(f".{path.name}.{unique}.{end}") for end in ("part", "old")
    )
    try:
        part.mkdir()
        yield part
        if path.exists():
            os.replace(path, old)
        os.replace(part, path)
    finally:
        if old.exists() and not path.exists():
            os.replace(old, path)
        for left in (part, old):
            shutil.rmtree(left, ignore_errors=True)


def _check_place(folder, overwrite):
    """Refuse a place that cannot be written, or holds what no export wrote."""
    if folder.name in ("", ".."):
        raise ValueError(f"{folder}: name a new folder")
    if not folder.parent.is_dir():
        raise FileNotFoundError(
            f"{folder.parent} does not exist: make that folder first"
        )
    if not folder.exists():
        return
    if not folder.is_dir():
        raise FileExistsError(f"{folder} is a file: name a new folder")
    found = _listed(folder)
    if found and not overwrite:
        raise FileExistsError(
            f"{folder} is not empty: pass --overwrite to replace what an export wrote, "
            "or another name"
        )
    foreign = [name for name in found if not WRITTEN.fullmatch(name)]
    if foreign:
        raise FileExistsError(
            f"{folder} holds {foreign[0]!r}, which no export wrote: it is not "
            "replaced; name another folder"
        )
    if found and not _is_export(folder):
        raise FileExistsError(
            f"{folder} is not a folder that an export wrote: it is not replaced; name "
            "another"
        )


def _listed(folder):
    """What a folder and its points/ hold, as relative names."""
    inner = folder / "points"
    found = [path for path in folder.iterdir() if path != inner or not path.is_dir()]
    found += list(inner.iterdir()) if inner.is_dir() else []
    return sorted(path.relative_to(folder).as_posix() for path in found)


def _is_export(folder):
    with contextlib.suppress(OSError, ValueError, AttributeError):
        text = (folder / "about.json").read_text(encoding="utf-8")
        return json.loads(text).get("magic") == MAGIC
    return False
