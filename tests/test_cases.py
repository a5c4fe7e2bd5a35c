"""Inputs and situations that went wrong once, and their neighbours, as users met them: each has its right outcome.

What is wrong is refused in one line, what is done to the data is said, and the rest is read as it is meant.
"""

import bz2
import gzip
import lzma
import os
import re
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.linear_model import Ridge, RidgeCV

from conftest import error
from ddref import files, kip, krr, maps, recipe
from ddref.command import main
from ddref.datasets import image_folder
from ddref.estimator import DistilledRidge, DistilledRidgeClassifier
from ddref.tables.cells import alike, may_be_quantities
from ddref.tables.text import read_text

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 3)).round(3)
Y = (X @ [1.0, 2.0, 3.0] + 0.1 * RNG.normal(size=24)).round(3)
KINDS = np.where(X[:, 0] > 0, "rose", "lily")
NAMES = ("a", "b", "c", "y")


def text(column=None, target=KINDS, names=NAMES, mark=","):
    """A table as a text; `column` makes the cell a of row i, of i and the value."""
    rows = [[*x, t] for x, t in zip(X.tolist(), target, strict=True)]
    if column is not None:
        rows = [[column(i, row[0]), *row[1:]] for i, row in enumerate(rows)]
    return "\n".join(mark.join(map(str, row)) for row in [names, *rows]) + "\n"


def distilled(capsys, path, content, *options, target="y"):
    """Exit code, what was printed and what was said of `ddref distill`."""
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    wanted = ["--target", target] if target else []
    line = [str(path), *wanted, "--out", str(path.parent / "o.npz"), "--force"]
    capsys.readouterr()
    code = main(["distill", *line, *options])
    printed = capsys.readouterr()
    said = "\n".join(said for said in printed.err.splitlines() if not said.startswith("["))
    assert "Traceback" not in said and ".py:" not in said
    return code, printed.out, said.replace(str(path.parent), "")


def test_a_file_of_the_kinds_that_went_wrong_is_read_or_refused_in_words(tmp_path, capsys):
    """One line each; the neighbours of each are in test_tables.py and test_datasets.py."""
    bare = text().split("\n", 1)[1]
    cases = {
        "no names, words last": (bare, "-1", "looks like the lines below it"),
        "a quote never closed": (
            text().replace("rose", '"rose', 1),
            "y",
            "a quote is opened here and not closed",
        ),
        "NA in a target": (
            text(target=["NA", *Y[1:]]),
            "y",
            "line 2: the target 'y' is missing ('NA')",
        ),
        "labels with underscores": (
            text(target=np.where(X[:, 0] > 0, "2019_01", "20190_1")),
            "y",
            "20190_1, 2019_01",
        ),
        "decimal commas": (
            text(mark=";").replace(".", ","),
            "y",
            "read with a decimal comma: 'a', 'b', 'c'",
        ),
    }
    for name, (content, target, words) in cases.items():
        code, out, said = distilled(capsys, tmp_path / "t.csv", content, target=target)
        assert words in out + said and code == (0 if "training samples       24" in out else 2), name


LEFT_OUT = "left out: a (24 different words in 24 rows; of dates or numbers? write 2019-01-31"
READ = "training samples       24"


@pytest.mark.parametrize(
    "content, words",
    {
        "other delimiters": (text(mark=":"), "has one column only, 'a:b:c:y': no comma, semicolon, tab, |"),
        "single quotes": (text(names=[f"'{n}'" for n in NAMES]), "has no column 'y'; it has \"'a'\""),
        "byte order mark": ("\ufeff" + text(), READ),
        "carriage returns": (text().replace("\n", "\r\n"), READ),
        "carriage returns alone": (text().replace("\n", "\r"), READ),
        "utf-16": (text().encode("utf-16"), "not a text file in UTF-8"),
        "latin-1": (text().replace("lily", "lil\xe9").encode("latin-1"), "not a text file in UTF-8"),
        "separators at the ends": (text().replace("\n", ",\n"), "left out: no name (empty)"),
        "separators at some ends": (text().replace("rose\n", "rose,\n"), "5 columns, where there should be 4 (and"),
        "blank lines": (text().replace("\n", "\n\n"), READ),
        "a remark above": ("# of May\n" + text(), "if '# of May' above is no line of names, remove it"),
        "units below the names": (text().replace("y\n", "y\ncm,cm,kg,\n"), "line 2: the target 'y' is missing ('empty')"),
        "a sum below": (text() + "sum,,,\n", "line 26: the target 'y' is missing ('empty')"),
        "thousands": (text(lambda i, x: f'"{1000 + 37 * i:,}"'), "has a comma, and line 2 '-0.132' a point"),
        "thousands and commas": (text(lambda i, x: f"1.{100 + i},5", mark=";"), "is a number only without its signs"),
        "thousands with blanks": (text(lambda i, x: f"1 {100 + i}", mark=";"), "is a number only without its signs"),
        "percent": (text(lambda i, x: f"{i}%"), "'0%' is a number only without its signs"),
        "currency": (text(lambda i, x: f"${i}.50"), "'$0.50' is a number only without its signs"),
        "another minus": (text(lambda i, x: str(x).replace("-", "\u2212")), "is a number only without its signs"),
        "units": (text(lambda i, x: f"{i}.5 EUR"), LEFT_OUT),
        "booleans": (text(lambda i, x: x > 0), "one-hot: a (2 words)"),
        "booleans in two spellings": (text(lambda i, x: ["TRUE", "True", "no"][i % 3]), "a: 'TRUE', 'True' are different words"),
        "dates, days first": (text(lambda i, x: f"{i + 1:02}.03.2021"), "days since 1970: a"),
        "dates, years of two digits": (text(lambda i, x: f"03/{i + 1:02}/21"), LEFT_OUT),
        "dates in words": (text(lambda i, x: f'"Mar {i + 1}, 2021"'), LEFT_OUT),
        "dates in two orders": (text(lambda i, x: [f"2021-03-{i + 1:02}", f"{i + 1:02}.03.2021"][i % 2]), LEFT_OUT),
        "dates that are none": (text(lambda i, x: f"2021-02-{i + 9:02}"), LEFT_OUT),
        "times of day": (text(lambda i, x: f"{i}:30"), LEFT_OUT),
        "dates of either order": (text(lambda i, x: f"{i % 12 + 1:02}/{i % 9 + 1:02}/2021"), "cannot be told apart"),
        "times with zones": (text(lambda i, x: f"2021-02-{i + 1:02}T10:00:00Z"), "days since 1970: a"),
        "words among numbers": (text(lambda i, x: f"w{i % 4}" if i % 2 else x), "'w1' among 12 numbers"),
        "one class": (text(target=["x"] * 24), "at least 2 classes are needed, y has 1 class: 'x'"),
        "names that differ in blanks": (text(names=("a", " a", "c", "y")), "2 columns have 'a' (columns 0, 1"),
        "the target twice": (text(names=("a", "b", "y", "y")), "2 columns have 'y' (columns 2, 3"),
        "labels with blanks and commas": (text(target=np.where(X[:, 0] > 0, '" a, b "', "c d")), "classes: a, b, c d"),
        "labels with blanks behind": (text(target=[k + " " * (i % 3) for i, k in enumerate(KINDS)]), "2 classes: lily, rose"),
        "labels in two spellings": (text(target=[k.title() if i % 2 else k for i, k in enumerate(KINDS)]),
                                    "'Lily', 'Rose', 'lily', 'rose' are different classes"),
        "an index of floats": (text(lambda i, x: f"{i}.0", names=("", "b", "c", "y")), "no name (counts the rows)"),
        "places": (text(lambda i, x: f'"52.{i},13.{i}"'), "left out: a (24 different words in 24 rows"),
        "one word": (text(lambda i, x: "same"), "1 constant columns, which no model uses: a=same"),
        "nothing": ("", "is empty"),
        "a page": ("<html><body>1</body></html>\n", "a line of names and no samples"),
        "numbers too large": (text(lambda i, x: f"{x}e300"), "whose squares float64 does not hold"),
    }.values(),
)  # fmt: skip
def test_neighbours_of_these_tables_are_read_or_refused_in_words(content, words, tmp_path, capsys):
    code, out, said = distilled(capsys, tmp_path / "t.csv", content)
    assert words in out + said
    assert (code == 0) == (READ in out) and len(max(said.splitlines(), key=len, default="")) < 300


def test_fractions_are_no_classes_unless_they_are_words(tmp_path, capsys):
    versions = text(target=["1.10", "1.1"] * 12)
    code, _, said = distilled(capsys, tmp_path / "t.csv", versions, "--task", "classification")
    assert code == 2 and "fractions such as 1.1: classes are words or whole numbers; say --task regression, --words" in said
    code, out, _ = distilled(capsys, tmp_path / "t.csv", versions, "--task", "classification", "--words", "y")
    assert code == 0 and "2 classes: 1.1, 1.10" in out


def test_words_that_may_be_dates_or_quantities_and_words_that_differ_in_capitals_are_told():
    assert (
        may_be_quantities(["5-Mar-2021", "6-Apr-2021", "7-Mar-2021"]) and may_be_quantities(["about 5", "5"]) is False
    )
    assert not may_be_quantities(["007", "012", "013"]) and not may_be_quantities(["1f2e", "20a1", "3c3c"])
    assert alike(["a", "b", "A ", "c", "b\u200b"]) == ["a", "b", "A ", "b\u200b"] and alike([1, 2, True]) == []


@pytest.mark.parametrize(
    "ending, pack",
    [
        (".gz", gzip.compress),
        (".bz2", bz2.compress),
        (".xz", lzma.compress),
        (".zip", None),
    ],
)
def test_tables_are_unpacked_and_what_is_damaged_is_refused(ending, pack, tmp_path):
    path = tmp_path / f"t.csv{ending}"
    if pack is None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("t.csv", text())
            archive.writestr("__MACOSX/._t.csv", b"\0")
    else:
        path.write_bytes(pack(text().encode()))
    assert len(read_text(path).lines) == 24
    with pytest.raises(ValueError, match="is larger than --max-bytes 100"):
        read_text(path, max_bytes=100)
    if pack is None:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("u.csv", text())
    else:
        path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=f"damaged, or not {ending}"):
        read_text(path)


ONE_HOT = np.eye(2)[(KINDS == "rose").astype(int)]
IMAGES = RNG.integers(0, 256, size=(24, 8, 8)).astype(np.uint8)


@pytest.mark.parametrize(
    "arrays, words",
    [
        (
            {"data": X, "labels": KINDS},
            "has the arrays 'data', 'labels': X and y are needed",
        ),
        (
            {"arr_0": X, "arr_1": KINDS},
            "has the arrays 'arr_0', 'arr_1': X and y are needed",
        ),
        ({"X": X, "y": KINDS, "X_test": X}, "arrays not looked at: 'X_test'"),
        (
            {"X": X, "y": KINDS, "names": np.array([None])},
            "arrays not looked at: 'names'",
        ),
        ({"x": X, "y": Y[:, None]}, "R^2 on training"),
        (
            {"x": X, "y": Y[None]},
            "y has shape (1, 24), one target for each of 24 samples",
        ),
        (
            {"X": X, "y": ONE_HOT.astype(bool)},
            "is one-hot: class i is its column i (argmax)",
        ),
        (
            {"X": X, "y": ONE_HOT.astype(np.uint8)},
            "is one-hot: class i is its column i (argmax)",
        ),
        (
            {"X": X, "y": ONE_HOT.astype(np.float32)},
            "is one-hot: class i is its column i (argmax)",
        ),
        ({"X": X, "y": KINDS.astype("S")}, "only numbers and texts are read"),
        ({"X": X + 1j, "y": KINDS}, "only numbers and texts are read"),
        ({"X": X, "y": KINDS.astype(object)}, "'y' holds object: only numbers and texts are read and written (save its .astype(str)"),
        ({"X": IMAGES, "y": KINDS}, "images of 8 x 8\n"),
        ({"X": IMAGES[:, None], "y": KINDS}, "images of 8 x 8 x 1"),
        ({"X": np.stack([IMAGES] * 4, 1), "y": KINDS}, "(24, 4, 8, 8): channels first"),
        ({"X": np.zeros((24, 4, 4, 4)), "y": KINDS}, "which axis is the channels?"),
        ({"X": np.zeros((24, 2, 8, 8)), "y": KINDS}, "which axis is the channels?"),
        ({"X": np.zeros((24, 12, 9, 8)), "y": KINDS}, "which axis is the channels?"),
        (
            {"X": np.zeros((24, 2, 4, 4, 3)), "y": KINDS},
            "rows are samples, or images (n, height, width",
        ),
        ({"X": X.T, "y": KINDS}, "y has shape (24,), one target for each of 3 samples"),
    ],
)
def test_arrays_by_other_names_and_in_other_shapes_are_read_or_refused_in_words(arrays, words, tmp_path, capsys):
    np.savez(tmp_path / "x.npz", **arrays)
    code, out, said = distilled(capsys, tmp_path / "x.npz", None, target=None)
    assert words in out + said and (code == 0) == (READ in out)


def test_what_is_said_about_inputs_of_another_kind_is_refused_and_not_passed_over(tmp_path, capsys):
    np.savez(tmp_path / "x.npz", X=X, y=KINDS)
    np.save(tmp_path / "X.npy", X)
    for name, options, words in (
        ("t.csv", ["--test", "0.2"], "--test is for a folder of images, and"),
        ("t.csv", ["--size", "8"], "t.csv is a table: leave it out"),
        ("t.csv", ["--channels", "first"], "--channels is for .npz or .npy"),
        ("x.npz", ["--missing", "drop"], "--missing is for a table"),
        ("x.npz", ["--no-header"], "--header is for a table"),
        ("X.npy", [], "--targets Y.npy"),
    ):
        content, target = (text(), "y") if name == "t.csv" else (None, None)
        code, _, said = distilled(capsys, tmp_path / name, content, *options, target=target)
        assert code == 2 and words in said


def photos(folder, places=("train/cat", "train/dog"), count=3, ending=".png"):
    for place in places:
        (folder / place).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.fromarray(RNG.integers(0, 256, (8, 8)).astype(np.uint8)).save(folder / place / f"{i}{ending}")
    return folder


def test_neighbours_of_image_folders_are_read_or_refused_in_words(tmp_path):
    def change(folder, name, content=b""):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        return folder

    read = {
        "capitals": photos(tmp_path / "1", ending=".PNG"),
        "of a disk on the network": change(photos(tmp_path / "13"), "train/cat/@eaDir/0.png", b"no image"),
        "of a media library": change(photos(tmp_path / "14"), "train/cat/ehthumbs.db"),
        "hidden": change(photos(tmp_path / "2"), "train/.cache/x.png"),
        "of a Mac": change(photos(tmp_path / "3"), "train/cat/._0.png"),
        "names with blanks and dots": photos(tmp_path / "4", ("a cat", "dr. dog v1.2")),
    }
    for name, folder in read.items():
        found = image_folder(folder)
        assert len(found.X_train) == 6 and found.notes == (), name
    assert found.class_names == ("a cat", "dr. dog v1.2")
    beside = image_folder(photos(tmp_path / "5", ("train/cat", "train/dog", "Test/cat")))
    assert beside.notes == ("Test/ is not looked at: test images are those of test/ or val/",)
    with zipfile.ZipFile(tmp_path / "5.zip", "w") as archive:
        for file in sorted(tmp_path.glob("5/*/*/*")):
            archive.write(file, file.relative_to(tmp_path))
    assert image_folder(tmp_path / "5.zip").notes == beside.notes
    refused = {
        "expected train/<class>/<image>, with folders one level deep": change(photos(tmp_path / "6"), "train/cat/more/9.png"),
        "not a PNG, JPEG, WebP or BMP image": change(photos(tmp_path / "7"), "train/cat/bad.png", b"no image"),
        "is cut short": change(photos(tmp_path / "8"), "train/cat/c.png", (tmp_path / "8/train/dog/0.png").read_bytes()[:60]),
        "not one of .png, .jpg": change(photos(tmp_path / "9"), "train/cat/x.gif"),
        "at least 2 are needed": photos(tmp_path / "10", (".cat", "dog")),
    }  # fmt: skip
    if sys.platform == "linux":  # elsewhere no file has such a name
        refused["is no text in UTF-8: rename"] = photos(tmp_path / "15", ("train/caf\udce9", "train/dog"))
    (photos(tmp_path / "11") / "train/bird").mkdir()
    os.symlink(tmp_path / "1/train/cat/0.PNG", photos(tmp_path / "12") / "train/dog/9.png")
    refused |= {
        "a class without images": tmp_path / "11",
        "a link; put the images themselves": tmp_path / "12",
    }
    for words, folder in refused.items():
        with pytest.raises(ValueError, match=re.escape(words)):
            image_folder(folder)


# -- situations by code


def test_a_large_column_beside_ordinary_ones_costs_no_score_and_chooses_no_other_lam(
    monkeypatch,
):
    rng = np.random.default_rng(0)
    F = rng.normal(size=(500, 20))
    A, y = (
        np.c_[1e8 * rng.normal(size=500), F],
        F @ np.ones(20) + 0.1 * rng.normal(size=500),
    )
    lams = [1e-3, 1.0, 1e9]
    assert RidgeCV(lams).fit(A, y).alpha_ == 1e-3
    for small in (krr.SMALL, 0):
        monkeypatch.setattr(krr, "SMALL", small)
        model = DistilledRidge(lam=1.0).fit(A, y)
        assert model.score(A, y) == pytest.approx(Ridge(alpha=1.0, solver="svd").fit(A, y).score(A, y), abs=1e-9)
        assert model.certificate_.exact and error(krr.fit(A, y[:, None], 1.0)[1:, 0], np.ones(20)) < 0.02
        for select in ("gcv", "loo", "validation"):
            found = DistilledRidge(lam=lams, select=select).fit(A, y)
            assert found.lam_ in (1e-3, 1.0) and found.score(A, y) > 0.999


def test_a_module_used_twice_is_a_step_twice():
    torch.manual_seed(0)
    act = torch.nn.LeakyReLU(0.1)
    net = torch.nn.Sequential(torch.nn.Linear(8, 8), act, torch.nn.Linear(8, 8), act).double()
    phi, x, W = (
        maps.from_torch(net, (8,)),
        torch.randn(4, 8).double(),
        torch.randn(8, 3).double(),
    )
    found = recipe.distill(phi, W, near=x)
    with torch.no_grad():
        assert len(phi.steps) == 4 and float(torch.linalg.norm(phi(x) - net(x))) < 1e-12
        assert error(krr.fit(net(found.X_S), found.Y_S, found.lam_S), W) < 1e-10 and found.certificate.exact


def test_words_in_an_array_of_objects_are_saved(tmp_path):
    DistilledRidgeClassifier().fit(X, KINDS.astype(object)).save(tmp_path / "s.npz")
    assert files.load(tmp_path / "s.npz").classes.tolist() == ["lily", "rose"]
    cut = DistilledRidgeClassifier().fit(X, np.array(["a\0", "b\0"] * 12, object))
    with pytest.raises(ValueError, match="a class ends in a zero byte"):
        cut.save(tmp_path / "cut.npz")


@pytest.mark.parametrize("fit", ["fit", "partial_fit"])
def test_classes_in_an_array_of_objects_are_of_one_kind(fit):
    truths = np.array([True, False] * 12, object)
    assert getattr(DistilledRidgeClassifier(), fit)(X, truths).classes_.tolist() == [False, True]
    months = pd.Series(list(pd.period_range("2020-01", periods=2, freq="M")) * 12)
    assert getattr(DistilledRidgeClassifier(), fit)(X, months.astype(str)).classes_.tolist() == ["2020-01", "2020-02"]
    for labels, words in ((["a", 1], "int, str"), (["a", None], "NoneType, str"), (months[:2].tolist(), "Period")):
        with pytest.raises(TypeError, match=rf"the classes y are objects: {words}; .*pass y.astype\(str\)"):
            getattr(DistilledRidgeClassifier(), fit)(X, np.array(labels * 12, object))


@pytest.mark.parametrize("seed", [0, 1])
def test_timestamps_of_one_scale_with_small_columns_are_refused_by_numbers_that_explain_it(seed):
    rng = np.random.default_rng(seed)
    F = rng.normal(size=(400, 4))
    A, y = np.c_[1.7e9 + rng.uniform(0, 3.15e7, 400), F], F @ [1.0, -2.0, 0.5, 3.0]
    with pytest.raises(ValueError, match="is not exact|no digit of W may be left") as refusal:
        DistilledRidge(lam=1e12, scaling="global").fit(A, y)
    said = str(refusal.value)
    if "is not exact" in said:
        away, allowed = map(float, re.search(r"model (\S+) away from W \((\S+) allowed\)", said).groups())
        assert away > allowed and "scaling='columns'" in said and len(said) < 300
    else:
        assert float(re.search(r"costs about a fraction (\S+) of it", said)[1]) > 0.01
    assert DistilledRidge(scaling="columns").fit(A, y).certificate_.exact


def test_autocast_is_refused_by_name():
    with (
        torch.autocast("cpu", dtype=torch.bfloat16),
        pytest.raises(TypeError, match="leave torch.autocast"),
    ):
        krr.fit(torch.randn(40, 6), torch.randn(40, 3), 1.0)


def test_in_float32_the_loss_of_kip_is_that_of_the_model_on_the_set():
    rng = np.random.default_rng(0)
    A, T = (torch.tensor(rng.normal(size=shape)).float() for shape in ((300, 20), (300, 3)))
    S = A[:40]  # more points than columns
    lam = 1e-6 * float(kip.linear(S, S).trace()) / 40
    labels = kip.solve_labels(S, A, T, lam_S=lam)
    model = Ridge(alpha=lam, fit_intercept=False, solver="svd").fit(S.double().numpy(), labels.double().numpy())
    theirs = float(((model.predict(A.double().numpy()) - T.double().numpy()) ** 2).sum())
    assert float(kip.loss((S, labels), A, T, lam_S=lam)) == pytest.approx(theirs, rel=1e-3)


@pytest.mark.parametrize("scaling", [None, "columns", "global"])
def test_values_whose_squares_no_float_holds_are_refused(scaling):
    with pytest.raises(ValueError, match="whose squares float64 does not hold: take another unit"):
        DistilledRidge(scaling=scaling).fit(1e300 * X, Y)
    if scaling == "columns":
        with pytest.raises(
            ValueError,
            match="column 0 has values up to .*e-300, whose squares are zero",
        ):
            DistilledRidge(scaling=scaling).fit(1e-300 * X, Y)


def test_parameters_and_arrays_that_users_try_are_taken_or_refused_by_name():
    for parameters, kind, words in (
        (
            {"fit_intercept": "no"},
            TypeError,
            "fit_intercept must be True or False, got 'no'",
        ),
        ({"device": "gpu"}, ValueError, "device = 'gpu' is none of PyTorch's"),
    ):
        with pytest.raises(kind, match=words):
            DistilledRidge(**parameters).fit(X, Y)
    with pytest.raises(ValueError, match="y has 1 class: 'a'"):
        DistilledRidgeClassifier().fit(X, ["a"] * 24)
    half = torch.tensor(X).bfloat16()
    assert (
        error(
            DistilledRidge().fit(half, Y).coef_,
            DistilledRidge().fit(half.double().numpy(), Y).coef_,
        )
        < 1e-12
    )
    pixels = (40 * X + 120).astype(np.uint8)  # no difference of bytes wraps around
    assert np.array_equal(
        DistilledRidge().fit(pixels, Y).coef_,
        DistilledRidge().fit(pixels.astype(float), Y).coef_,
    )
    frame = pd.DataFrame(X, columns=list("abc"))
    model = DistilledRidge().fit(frame, pd.Series(Y, index=range(24, 0, -1)))
    assert np.array_equal(model.predict(frame[["c", "a", "b"]]), model.predict(frame))
