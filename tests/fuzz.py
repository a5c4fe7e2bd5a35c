"""Files changed at random: `python tests/fuzz.py SECONDS` (make fuzz) tries as many as there is time for.

A changed file is refused in one short line, or loaded as what it says; nothing ends in a traceback or a warning.
"""

import contextlib
import io
import json
import struct
import sys
import tempfile
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np

from ddref import files, maps
from ddref.command import main
from ddref.npz import save_npz

LONGEST = 300  # characters of a message, without the folder of the file
NASTY = [
    None, True, False, 0, -1, 1, 10**40, 2**63, 1e308, -0.0, 1e-320, "", "x" * 5000, "\x1b[2J", "\x00", "\ud800", "NaN",
    [], [[]], {}, [None], [1, 2], [10**9, 10**9], [-1, -1], {"a": 1}, [[[[[[]]]]]], "float64", "classification", ["a"] * 3,
]  # fmt: skip


def originals(folder):
    """Files of each kind: classes and pictures, a network and numbers, random features by their seed in float32."""
    rng = np.random.default_rng(0)
    certificate = {"relative_error": 1e-15, "condition": 3.0, "samples": 30, "distance": 0.1, "lower_bound": 0.1}
    common = {"lam_S": 0.1, "lam": 1.0, "seed": 3, "certificate": certificate, "version": "0.2.0"}
    X, d = rng.normal(size=(4, 6)), 6
    two = {"task": "classification", "classes": np.array(["cat", "dog"]), "class_names": ("cat", "dog")}
    one = files.Saved(X, rng.normal(size=(4, 2)), fit_intercept=True, mean=np.full(d, 0.5), scale=np.full(d, 2.0),
                      scaling="global", image_shape=(2, 3), value_range=(0.0, 1.0), data_sha256="0" * 64, sources=np.arange(4), source_names=tuple("abcd"), source_classes=(0, 1, 0, 1), means=np.ones((2, d)), **two, **common)  # fmt: skip
    plain = {"fit_intercept": False, "mean": np.zeros(d), "scale": np.ones(d), **common}
    network = files.Saved(X, rng.normal(size=(4, 1)), feature_map=maps.leaky_relu_network([d, d, d], seed=0), **plain)
    X_32, Y_32 = X.astype(np.float32), rng.normal(size=(4, 3)).astype(np.float32)
    fourier = files.Saved(X_32, Y_32, feature_map=maps.fourier.orthogonal_features(d, d, 2.0, seed=0), **plain)
    for name, saved in (("pictures", one), ("network", network), ("fourier", fourier)):
        files.save(folder / f"{name}.npz", saved, overwrite=True, map_arrays=name == "network")
    return [folder / f"{name}.npz" for name in ("pictures", "network", "fourier")]


# ---------------------------------------------------------------------------- changes


def changed_bytes(rng, path, out):
    """Bytes flipped, cut, doubled, inserted; what loads all the same has to be the original."""
    content = bytearray(path.read_bytes())
    at, length = (int(rng.integers(len(content))) for _ in range(2))
    how = rng.integers(5)
    if how <= 1:
        for place in rng.integers(len(content), size=rng.integers(1, 5)):
            content[place] ^= int(rng.integers(1, 256))
    elif how == 2:
        del content[at : at + 1 + length % 64]
    elif how == 3:
        content[at:at] = rng.bytes(1 + length % 64)
    else:
        content = content[:at]
    out.write_bytes(content)
    return True


def changed_archive(rng, path, out):
    """Members renamed, left out, doubled, added, packed by another method."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    names, how = list(members), rng.integers(5)
    chosen = names[rng.integers(len(names))]
    with zipfile.ZipFile(out, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's, of names that come twice
        for name, body in members.items():
            if how == 0 and name == chosen:
                continue
            new = "../" + name if how == 1 and name == chosen else name
            method = [0, 8, 12, 14][rng.integers(4)] if how == 2 else 8
            archive.writestr(new, body, compress_type=method)
            if how == 3 and name == chosen:
                archive.writestr(new, body)
        if how == 4:
            archive.writestr(["x", "x.npy", "map/9/A.npy", "/a.npy"][rng.integers(4)], rng.bytes(100))
    return how == 2


def changed_record(rng, path, out):
    """A field in a record of the zip: a size, a method, a flag, an offset, a length."""
    content = bytearray(path.read_bytes())
    marks = [i for i in range(len(content)) if content[i : i + 4] in (b"PK\1\2", b"PK\3\4", b"PK\5\6")]
    for _ in range(rng.integers(1, 3)):
        at, width = int(rng.choice(marks) + rng.integers(4, 40)), int(rng.choice([1, 2, 4]))
        value = rng.choice([0, 1, 2, 8, 12, 14, 93, 255, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF])
        content[at : at + width] = struct.pack("<I", value)[:width]
    out.write_bytes(content)
    return True


def changed_content(rng, path, out):
    """A value of the header or an array replaced, and every checksum made right again."""
    from ddref.files import _sha256
    from ddref.npz import load_npz

    arrays = load_npz(path)
    header = json.loads(str(arrays.pop("header")))
    if rng.random() < 0.6:
        inside = [header, header, header["certificate"], header["feature_map"]][rng.integers(4)]
        while isinstance(inside, list) and inside:
            inside = inside[rng.integers(len(inside))]
        inside = inside if isinstance(inside, dict) else header
        if "arguments" in inside and rng.random() < 0.5:
            inside = inside["arguments"]
        key = sorted(inside)[rng.integers(len(inside))]
        if rng.random() < 0.2:
            del inside[key]
        else:
            inside[key] = NASTY[rng.integers(len(NASTY))]
    else:
        name = sorted(arrays)[rng.integers(len(arrays))]
        arrays[name] = _changed_array(rng, arrays[name])
    if isinstance(header.get("sha256"), dict):
        header["sha256"] = {name: _sha256(A) for name, A in arrays.items()}
    text = json.dumps(header).replace("\\ud800", "\\ud800")
    try:
        save_npz(out, {"header": np.array(text), **arrays})
    except ValueError:  # no letters: save_npz refuses what load would
        out.write_bytes(b"")
    return False


def _changed_array(rng, A):
    A, how = A.copy(), rng.integers(8)
    if how == 0 or A.dtype.kind not in "f":
        return A[:-1]
    if how <= 2:
        values = [np.nan, np.inf, 1e300, -1e300, 1.7e308, -1.7e308, 1e160, 1e-320, 5e-324, 0.0]
        with np.errstate(over="ignore"):
            A.flat[rng.integers(A.size)] = values[rng.integers(len(values))]
        return A
    if how >= 6:
        with np.errstate(over="ignore", under="ignore"):
            return (A * 10.0 ** rng.choice([-320, -160, 150, 300])).astype(A.dtype)
    return [A.T, A.astype(np.float32), A.reshape(-1)][how - 3]


# ------------------------------------------------------------------------------ trials


def trial(rng, path, out, data):
    """What is wrong with how a changed file is met, in words; None where all is right."""
    change = [changed_bytes, changed_archive, changed_record, changed_content, changed_content][rng.integers(5)]
    same = change(rng, path, out)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            loaded, message = files.load(out), ""
        except (ValueError, FileNotFoundError) as error:
            loaded, message = None, str(error)
    if wrong := _wrong_message(message, out):
        return f"{change.__name__}: load: {wrong}"
    if same and loaded is not None and not _equal(loaded, files.load(path)):
        return f"{change.__name__}: loaded as another set without a word"
    if loaded is None and rng.random() < 0.9:
        return None  # the commands begin with the same load
    for line in (["info", str(out)], ["show", str(out), "--force"], ["verify", str(out), str(data), "--quiet"]):
        said, errors = io.StringIO(), io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(errors):
            warnings.simplefilter("error")
            code = main(line)
        if code not in (0, 1, 2) or (code == 2) != bool(errors.getvalue()):
            return f"{change.__name__}: {line[0]}: exit code {code}, {errors.getvalue()[:200]!r}"
        wrong = _wrong_message(errors.getvalue().rstrip("\n"), out)
        if wrong or not said.getvalue().replace("\n", "").isprintable():
            return f"{change.__name__}: {line[0]}: {wrong or 'control characters on the screen'}"
    return None


def _wrong_message(text, out):
    text = text.replace(str(out.parent), "")
    if len(text) > LONGEST:
        return f"a message of {len(text)} characters"
    return "" if text.isprintable() else f"a message of several lines or control characters: {text!r}"


def _equal(A, B):
    if type(A) is not type(B):
        return False
    if isinstance(A, np.ndarray):
        return A.dtype == B.dtype and np.array_equal(A, B)
    if isinstance(A, tuple | list):
        return len(A) == len(B) and all(map(_equal, A, B))
    if hasattr(A, "__dict__"):
        return _equal(tuple(vars(A).values()), tuple(vars(B).values()))
    return A == B


def run(folder, seconds=None, count=None, seed=0):
    """Trials until `count` or `seconds` are over; the number made, and what went wrong."""
    paths = originals(folder)
    rng = np.random.default_rng(0)
    data, out = folder / "data.npz", folder / "changed.npz"
    np.savez(data, X=rng.normal(size=(30, 6)), y=np.where(np.arange(30) % 2, "cat", "dog"))
    start, done, wrong = time.monotonic(), 0, []
    while done != count and (seconds is None or time.monotonic() - start < seconds):
        one = seed + done
        rng = np.random.default_rng(one)
        try:
            found = trial(rng, paths[one % 3], out, data)
        except Exception as error:
            found = f"{type(error).__name__}: {error}"[:300]
        if found:
            wrong.append(f"seed {one}: {found}")
        done += 1
    return done, wrong


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        seed = int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time())
        done, wrong = run(Path(folder), seconds=float(sys.argv[1]), seed=seed)
    print("\n".join(wrong[:20]))
    print(f"{done} files from seed {seed}: {len(wrong)} met wrongly")
    raise SystemExit(bool(wrong))
