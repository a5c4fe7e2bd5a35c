"""The file of a distilled set: one `.npz` that NumPy alone reads, without pickle, and that nothing in it can execute.

It holds the array `header`, a text in JSON, and the arrays `X_S` (m, d), `Y_S` (m, k), `mean` (d,), `scale` (d,),
`classes` (k,) of a classification, and those of the feature map, `map/...`. Ridge regression with `lam_S` on
``phi((X_S - mean) / scale)`` and `Y_S`, with an intercept where `fit_intercept` says so, gives the model.

`load` believes nothing: sizes before anything is unpacked, the checksum of every array, every shape and number.
"""

import hashlib
import io
import json
import math
import os
import sys
import uuid
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ddref import fourier, intercept, krr, maps

MAGIC, FORMAT = "ddref distilled set", 1
ONE_HOT = "column i of Y_S is the score of classes[i]; the class of a row is that of its largest score"
TARGETS = "columns of Y_S are the targets"
SCALINGS = ("none", "columns", "global")
MEMBERS = 4096  # arrays a file may have


class Saved(NamedTuple):
    """What a file of a distilled set holds."""

    X_S: np.ndarray  # (m, d), in the units of the data
    Y_S: np.ndarray  # (m, k)
    lam_S: float  # regularisation to train on the set with
    lam: float  # that of the original training
    fit_intercept: bool
    mean: np.ndarray  # (d,), subtracted from the rows before the feature map
    scale: np.ndarray  # (d,), what they are divided by then
    scaling: str = "none"  # how mean and scale were found: "none", "columns", "global"
    feature_map: object = None  # None: the scaled rows themselves
    image_shape: tuple | None = None
    value_range: tuple | None = None  # smallest and largest value of the original data
    task: str = "regression"  # or "classification"
    classes: np.ndarray | None = None  # (k,), the labels as they were given
    class_names: tuple | None = None  # words for them
    seed: int | None = None
    certificate: dict | None = None
    version: str = ""  # of the ddref that wrote the file


def save(path, saved, *, overwrite=False):
    """Write a distilled set to one `.npz` file, whole or not at all.

    Parameters
    ----------
    path : str or path
        Its name ends in `.npz`.
    saved : Saved
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    FileExistsError
        When the file exists and `overwrite` is False.
    ValueError, TypeError
        For what `load` would refuse; for a feature map of your own, which a file cannot hold.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import numpy as np
    >>> set_ = Saved(np.eye(2), np.eye(2), 0.1, 1.0, False, np.zeros(2), np.ones(2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "set.npz")
    ...     save(path, set_)
    ...     again = load(path)
    >>> np.array_equal(again.X_S, set_.X_S), again.lam_S
    (True, 0.1)
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"{path}: the name of the file must end in .npz")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; pass overwrite=True (--force) to replace it, or another name")
    if not isinstance(saved, Saved):
        raise TypeError(f"saved must be a Saved, got {type(saved).__name__}")
    _check(saved)
    _write(path, _packed(saved))


def load(path, *, max_bytes=1 << 30):
    """Read a distilled set.

    Parameters
    ----------
    path : str or path
    max_bytes : int, default 1 GiB
        Limit for all arrays, unpacked: a file made to fill the memory is refused before it does.

    Returns
    -------
    Saved

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is no `.npz`, damaged, not a distilled set, of a newer format, or too large; the message says which.

    Examples
    --------
    >>> load("no/such/file.npz")
    Traceback (most recent call last):
        ...
    FileNotFoundError: no/such/file.npz does not exist
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist" if not path.exists() else f"{path} is not a file")
    try:
        saved = _unpacked(_arrays(path, max_bytes))
        _check(saved)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        text = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path}: {text}") from error
    return saved


def model(saved):
    """Train on a distilled set: ridge regression on its features.

    Parameters
    ----------
    saved : Saved

    Returns
    -------
    ddref.intercept.Model
        `W` (p, k) and `b` (1, k), zero without an intercept.

    Notes
    -----
    Book: thm-intercept.

    Examples
    --------
    >>> import numpy as np
    >>> model(Saved(np.array([[1.0], [3.0]]), np.array([[5.0], [9.0]]), 0.0, 1.0, True, np.zeros(1), np.ones(1))).b
    array([[3.]])
    """
    Phi_S, Y_S = features(saved, saved.X_S), saved.Y_S.astype(np.float64)
    if saved.fit_intercept:
        return intercept.fit(Phi_S, Y_S, saved.lam_S)
    return intercept.Model(krr.fit(Phi_S, Y_S, saved.lam_S), np.zeros((1, Y_S.shape[1])))


def features(saved, X):
    """Features (n, p), in float64, that a distilled set is trained on: ``phi((X - mean) / scale)``.

    Parameters
    ----------
    saved : Saved
    X : ndarray (n, d)

    Returns
    -------
    ndarray (n, p)

    Raises
    ------
    ValueError
        For rows of another width.

    Examples
    --------
    >>> import numpy as np
    >>> set_ = Saved(np.eye(2), np.eye(2), 0.0, 1.0, False, np.ones(2), np.full(2, 2.0), "global")
    >>> features(set_, np.array([[3.0, 1.0]]))
    array([[1., 0.]])
    """
    X = np.asarray(X, dtype=np.float64)
    if X.ndim != 2 or X.shape[1] != len(saved.mean):
        raise ValueError(f"rows of {len(saved.mean)} values are needed, X has shape {X.shape}")
    rows = X if saved.scaling == "none" else (X - saved.mean) / saved.scale
    if saved.feature_map is None:
        return rows
    if not _is_torch(saved.feature_map):
        return saved.feature_map(rows)
    import torch

    return saved.feature_map(torch.from_numpy(np.array(rows))).numpy()


def plain(phi):
    """A copy of a feature map with weights in NumPy (those of ddref.conv: PyTorch on the CPU), as a file holds it.

    Parameters
    ----------
    phi : map of ddref.maps, ddref.fourier or ddref.conv, or None

    Returns
    -------
    map or None

    Raises
    ------
    TypeError
        For a map of your own.

    Examples
    --------
    >>> plain(maps.LeakyReLU(0.5)).slope
    0.5
    """
    arrays = {}
    return _restore(_describe(phi, "map", arrays), "map", arrays, 0)


# ------------------------------------------------------------------------------------------------- the bytes


def _packed(saved):
    """The bytes of the file: the same set gives the same bytes."""
    arrays = {"X_S": saved.X_S, "Y_S": saved.Y_S, "mean": saved.mean, "scale": saved.scale}
    if saved.classes is not None:
        arrays["classes"] = np.asarray(saved.classes)
    described = _describe(saved.feature_map, "map", arrays)
    from ddref import __version__

    header = {
        "magic": MAGIC,
        "format": FORMAT,
        "ddref": __version__,
        "task": saved.task,
        "labels": TARGETS if saved.classes is None else ONE_HOT,
        "class_names": None if saved.class_names is None else list(saved.class_names),
        "lam_S": saved.lam_S,
        "lam": saved.lam,
        "fit_intercept": saved.fit_intercept,
        "scaling": saved.scaling,
        "image_shape": None if saved.image_shape is None else list(saved.image_shape),
        "value_range": None if saved.value_range is None else list(saved.value_range),
        "feature_map": described,
        "dtype": saved.X_S.dtype.name,
        "seed": saved.seed,
        "certificate": saved.certificate,
        "sha256": {name: _sha256(A) for name, A in arrays.items()},
    }
    arrays = {"header": np.array(json.dumps(header, indent=1, allow_nan=False)), **arrays}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, A in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(A) if A.ndim else A, allow_pickle=False)
            info = zipfile.ZipInfo(name + ".npy")  # dated 1980: the bytes do not depend on the day
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, member.getvalue())
    return file.getvalue()


def _write(path, data):
    """A temporary file, then renamed: `path` is absent, old or whole, even if the process is killed."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with open(part, "xb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _arrays(path, limit):
    """The arrays of an .npz file by name, of numbers and texts only, at most `limit` bytes in all."""
    with open(path, "rb") as raw:
        start = raw.read(4)
        if start[:2] != b"PK":
            raise ValueError(f"not an .npz file: it begins with {start.hex(' ') or 'nothing'}, not with 50 4b")
        try:
            with zipfile.ZipFile(raw) as archive:
                members = archive.infolist()
                size = sum(info.file_size for info in members)
                if size > limit or len(members) > MEMBERS:
                    raise ValueError(
                        f"{len(members)} arrays of {size:,} bytes, unpacked, are more than {MEMBERS} arrays or "
                        f"max_bytes = {limit:,}; refused"
                    )
                found = {}
                for info in members:
                    name = info.filename.removesuffix(".npy")
                    if name == info.filename or name in found or info.flag_bits & 1:
                        raise ValueError(f"{info.filename!r}: not one array of a name of its own")
                    with archive.open(info) as member:
                        content = member.read(info.file_size + 1)
                    found[name] = _array(name, content)
                return found
        except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
            raise ValueError(f"damaged, or not an .npz file ({error})") from error
        except zlib.error as error:
            raise ValueError(f"damaged ({error})") from error


def _array(name, content):
    """An array from the bytes of an .npy file; nothing is made before its size is known to be right."""
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, _, dtype = read(file)
    except Exception as error:  # a header is a literal of Python: NumPy raises what its parser does
        raise ValueError(f"array {name!r} is damaged ({error})") from error
    if dtype.kind not in "fiubU" or dtype.itemsize > 1 << 28:
        raise ValueError(f"array {name!r} holds {dtype}: only numbers and texts are read")
    expected, found = math.prod(shape) * dtype.itemsize, len(content) - file.tell()
    if min(shape, default=0) < 0 or expected != found:
        raise ValueError(f"array {name!r} is damaged: {found:,} bytes where {shape} of {dtype} need {expected:,}")
    file.seek(0)
    A = np.lib.format.read_array(file, allow_pickle=False)
    return A.astype(A.dtype.newbyteorder("="), copy=False)


def _unpacked(arrays):
    """A Saved from the arrays, with everything but the numbers themselves checked."""
    text = arrays.pop("header", None)
    if text is None or text.shape != () or text.dtype.kind != "U":
        raise ValueError("not a distilled set of ddref: the text 'header' is missing")
    try:
        header = json.loads(str(text), parse_constant=_refuse)
    except ValueError as error:
        raise ValueError(f"the header is damaged ({error})") from error
    if not isinstance(header, dict) or header.get("magic") != MAGIC:
        raise ValueError(f"not a distilled set of ddref: its header does not say {MAGIC!r}")
    if not _is(header.get("format"), int) or header["format"] < 1:
        raise ValueError(f"the header is damaged: format = {header.get('format')!r}")
    if header["format"] > FORMAT:
        raise ValueError(
            f"format {header['format']}, written by ddref {header.get('ddref')}; this ddref reads up to format "
            f"{FORMAT}: install a newer one"
        )
    sums = header["sha256"]
    if not isinstance(sums, dict) or set(sums) != set(arrays):
        raise ValueError(f"damaged: it has the arrays {sorted(arrays)}, and its header those of another file")
    for name, A in arrays.items():
        if _sha256(A) != sums[name]:
            raise ValueError(f"array {name!r} is damaged: its checksum is wrong")
    shape, bounds, names = (header[key] for key in ("image_shape", "value_range", "class_names"))
    phi = _restore(header["feature_map"], "map", arrays, 0)
    saved = Saved(
        **{name: arrays.pop(name) for name in ("X_S", "Y_S", "mean", "scale")},
        **{name: header[name] for name in ("lam_S", "lam", "fit_intercept", "scaling", "task", "seed", "certificate")},
        feature_map=phi,
        image_shape=tuple(shape) if isinstance(shape, list) else shape,
        value_range=tuple(bounds) if isinstance(bounds, list) else bounds,
        classes=arrays.pop("classes", None),
        class_names=tuple(names) if isinstance(names, list) else names,
        version=header["ddref"],
    )
    if arrays:
        raise ValueError(f"the arrays {sorted(arrays)} belong to nothing")
    if header["dtype"] != saved.X_S.dtype.name or header["labels"] != (TARGETS if saved.classes is None else ONE_HOT):
        raise ValueError("the header is damaged: its dtype or label convention is not that of the arrays")
    return saved


def _check(saved):
    """Every value of a Saved, or a ValueError that says which is wrong."""
    m, d = _matrix(saved.X_S, "X_S", (np.float32, np.float64))
    if _matrix(saved.Y_S, "Y_S", (saved.X_S.dtype.type,))[0] != m:
        raise ValueError(f"X_S has {m} rows and Y_S has {saved.Y_S.shape[0]}")
    k = saved.Y_S.shape[1]
    for name in ("mean", "scale"):
        A = getattr(saved, name)
        if not isinstance(A, np.ndarray) or A.shape != (d,) or A.dtype != np.float64 or not np.isfinite(A).all():
            raise ValueError(f"{name} must be {d} finite numbers in float64")
    for name in ("lam_S", "lam"):
        value = getattr(saved, name)
        if not _is(value, int, float) or not 0 <= value < math.inf:
            raise ValueError(f"{name} = {value!r} must be a finite number, not negative")
    if saved.scaling not in SCALINGS or not (saved.scale > 0).all():
        raise ValueError(f"scaling = {saved.scaling!r} must be one of {SCALINGS}, with positive scales")
    if saved.scaling == "none" and (saved.mean.any() or (saved.scale != 1).any()):
        raise ValueError("scaling = 'none', but mean and scale are not 0 and 1")
    if not isinstance(saved.fit_intercept, bool):
        raise ValueError(f"fit_intercept = {saved.fit_intercept!r} must be True or False")
    if saved.seed is not None and not _is(saved.seed, int):
        raise ValueError(f"seed = {saved.seed!r} must be an integer or None")
    if not isinstance(saved.version, str):
        raise ValueError(f"the version is {saved.version!r}, not a text")
    _check_images(saved, d)
    _check_classes(saved, k)
    _check_certificate(saved.certificate)
    phi = saved.feature_map
    if phi is not None:
        _describe(phi, "map", {})
        if phi.input_dim not in (None, d):
            raise ValueError(f"the feature map takes {phi.input_dim} values, a point has {d}")
        if not np.isfinite(features(saved, saved.X_S)).all():
            raise ValueError("the features of the distilled points contain NaN or Inf")


def _matrix(A, name, dtypes):
    if not isinstance(A, np.ndarray) or A.ndim != 2 or 0 in A.shape or A.dtype not in dtypes:
        kind = f"{A.shape} of {A.dtype}" if isinstance(A, np.ndarray) else type(A).__name__
        raise ValueError(f"{name} must be a matrix of {' or '.join(t.__name__ for t in dtypes)}, it is {kind}")
    if not np.isfinite(A).all():
        raise ValueError(f"{name} contains NaN or Inf")
    return A.shape


def _check_images(saved, d):
    shape, bounds = saved.image_shape, saved.value_range
    if shape is not None and not (
        isinstance(shape, tuple) and len(shape) in (2, 3) and all(_is(side, int) and side > 0 for side in shape)
        and math.prod(shape) == d
    ):  # fmt: skip
        raise ValueError(f"image_shape = {shape!r} does not describe rows of {d} values")
    if bounds is not None and not (
        isinstance(bounds, tuple) and len(bounds) == 2 and all(_is(v, int, float) and math.isfinite(v) for v in bounds)
        and bounds[0] <= bounds[1]
    ):  # fmt: skip
        raise ValueError(f"value_range = {bounds!r} must be two numbers, the smaller first")


def _check_classes(saved, k):
    classes, names = saved.classes, saved.class_names
    if (saved.task == "classification") != (classes is not None) or saved.task not in ("classification", "regression"):
        raise ValueError(f"task = {saved.task!r} must be 'classification', with classes, or 'regression', without")
    if classes is None:
        if names is not None:
            raise ValueError("class_names without classes")
        return
    if not isinstance(classes, np.ndarray) or classes.shape != (k,) or classes.dtype.kind not in "iufbU":
        raise ValueError(f"classes must be {k} numbers or texts, one for each column of Y_S")
    if len(set(classes.tolist())) != k:
        raise ValueError(f"classes are not {k} different values")
    if not isinstance(names, tuple) or len(names) != k or not all(isinstance(name, str) for name in names):
        raise ValueError(f"class_names must be {k} texts, one for each class")


def _check_certificate(certificate):
    if certificate is None:
        return
    good = isinstance(certificate, dict) and all(
        isinstance(name, str) and (value is None or _is(value, bool, int, float) and math.isfinite(value))
        for name, value in certificate.items()
    )
    if not good:
        raise ValueError("the certificate must be finite numbers by name")


# ---------------------------------------------------------------------------------------------- feature maps

# Kinds a file may name, with the numbers and arrays each is made from: nothing else is ever made.
_STEPS = {
    "Identity": (maps.Identity, (), ()),
    "Linear": (maps.Linear, ("rtol",), ("A", "b")),
    "LeakyReLU": (maps.LeakyReLU, ("slope",), ()),
    "Asinh": (maps.Asinh, (), ()),
    "Tanh": (maps.Tanh, (), ()),
    "Sigmoid": (maps.Sigmoid, (), ()),
    "ReLU": (maps.ReLU, (), ()),
    "RandomFourier": (fourier.RandomFourier, ("rtol",), ("A", "b")),
}


def _describe(phi, place, arrays):
    """A map as plain data, its weights put into `arrays` under names that begin with `place`."""
    if phi is None:
        return None
    kind = type(phi).__name__
    if type(phi) is maps.Chain:
        return {"kind": "Chain", "steps": [_describe(s, f"{place}/{i}", arrays) for i, s in enumerate(phi.steps)]}
    if type(phi) is maps.AffineCoupling:
        return {
            "kind": kind, "d": phi.input_dim, "half": phi.half, "swap": bool(phi.swap),
            "log_scale": _describe(phi.log_scale, f"{place}/s", arrays),
            "shift": _describe(phi.shift, f"{place}/t", arrays),
        }  # fmt: skip
    if kind in _STEPS and type(phi) is _STEPS[kind][0]:
        _, numbers, weights = _STEPS[kind]
        found = {"kind": kind, **{name: float(getattr(phi, name)) for name in numbers}}
        if kind == "Identity":
            found["d"] = phi.input_dim
        for name in weights:
            if getattr(phi, name) is not None:
                arrays[f"{place}/{name}"] = _numpy(getattr(phi, name))
        return found
    if _is_torch(phi):
        return _describe_conv(phi, place, arrays)
    raise TypeError(
        f"a file holds the maps of ddref.maps, ddref.fourier and ddref.conv, not {type(phi).__module__}.{kind}: pass "
        "its features as X and save a set of those"
    )


def _describe_conv(phi, place, arrays):
    kind = f"conv.{type(phi).__name__}"
    if hasattr(phi, "steps"):
        return {"kind": kind, "steps": [_describe(s, f"{place}/{i}", arrays) for i, s in enumerate(phi.steps)]}
    if kind == "conv.LeakyReLU":
        return {"kind": kind, "dim": phi.input_dim, "slope": phi.slope}
    weights = (phi._A, phi._bias) if kind == "conv.Linear" else (phi._weight, phi._channel_bias)
    for name, A in zip(("A", "b"), weights, strict=True):
        if A is not None:
            arrays[f"{place}/{name}"] = _numpy(A)
    if kind == "conv.Linear":
        return {"kind": kind}
    return {
        "kind": kind, "input_shape": list(phi.input_shape), "stride": list(phi.stride), "padding": list(phi.padding)
    }  # fmt: skip


def _restore(found, place, arrays, depth):
    """The map that `_describe` described; its arrays are taken out of `arrays`."""
    if found is None:
        return None
    if not isinstance(found, dict) or depth > 20:
        raise ValueError("the feature map is damaged")
    kind = found["kind"]

    def weights(*names):
        return {name: arrays.pop(f"{place}/{name}") for name in names if f"{place}/{name}" in arrays}

    def part(name, at):
        return _restore(found[name], f"{place}/{at}", arrays, depth + 1)

    if kind in ("Chain", "conv.Chain"):
        steps = [_restore(step, f"{place}/{i}", arrays, depth + 1) for i, step in enumerate(found["steps"])]
        return maps.Chain(steps) if kind == "Chain" else _conv().Chain(steps)
    if kind == "AffineCoupling":
        return maps.AffineCoupling(
            found["d"], part("log_scale", "s"), part("shift", "t"), half=found["half"], swap=found["swap"]
        )
    if kind == "Identity":
        return maps.Identity(found["d"])
    if kind in _STEPS:
        make, numbers, names = _STEPS[kind]
        return make(**weights(*names), **{name: found[name] for name in numbers})
    if kind in ("conv.Linear", "conv.Conv2d", "conv.LeakyReLU"):
        conv = _conv()
        if kind == "conv.LeakyReLU":
            return conv.LeakyReLU(found["dim"], found["slope"])
        import torch

        tensors = {name: torch.from_numpy(np.array(A)) for name, A in weights("A", "b").items()}
        if kind == "conv.Linear":
            return conv.Linear(tensors["A"], tensors.get("b"))
        options = {name: tuple(found[name]) for name in ("input_shape", "stride", "padding")}
        return conv.Conv2d(tensors["A"], tensors.get("b"), **options)
    raise ValueError(f"the feature map has a step {kind!r} that this ddref does not know")


def _conv():
    try:
        from ddref import conv
    except ImportError as error:
        raise ValueError("the feature map is a convolutional network: install PyTorch to read it") from error
    return conv


def _is_torch(phi):
    """Whether `phi` is a map of ddref.conv, without importing it (and PyTorch) to find out."""
    module = sys.modules.get("ddref.conv")
    return module is not None and isinstance(phi, module.Linear | module.Conv2d | module.LeakyReLU | module.Chain)


# ------------------------------------------------------------------------------------------------ small parts


def _sha256(A):
    found = hashlib.sha256(f"{A.dtype.str} {A.shape} ".encode())
    found.update(np.ascontiguousarray(A).tobytes())
    return found.hexdigest()


def _numpy(A):
    return np.ascontiguousarray(A if isinstance(A, np.ndarray) else A.detach().cpu().numpy())


def _is(value, *types):
    """Whether a value is of one of the types, where True and False are no integers."""
    return isinstance(value, types) and (bool in types or not isinstance(value, bool))


def _refuse(constant):
    raise ValueError(f"{constant} is not a number")
