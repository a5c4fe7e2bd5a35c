"""The command: every kind of input, every kind of mistake, exit codes, and no traceback for a user's mistake."""

import csv
import importlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import warnings
import zipfile
from functools import partial

import numpy as np
import pytest
from PIL import Image
from sklearn import datasets as toys
from sklearn.linear_model import LinearRegression, Ridge

from conftest import refusal as refused
from ddref import __version__, files
from ddref.command import commands, main
from ddref.command import inputs as inputs_file
from ddref.command.canvas import STOPS, Canvas
from ddref.command.picture import sheet
from ddref.command.report import Progress
from ddref.estimator import training
from ddref.statistics import Statistics
from ddref.statistics import rows as rows_file
from ddref.statistics.__main__ import main as train_in_shards


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with every kind of input."""
    folder = tmp_path_factory.mktemp("inputs")
    wine, diabetes, digits = toys.load_wine(), toys.load_diabetes(), toys.load_digits()
    names = [*wine.feature_names, "class"]
    write_csv(folder / "wine.csv", [names, *[[*x, wine.target_names[t]] for x, t in zip(wine.data, wine.target)]])  # noqa: B905
    rows = [[*x, t] for x, t in zip(diabetes.data, diabetes.target, strict=True)]
    write_csv(folder / "diabetes.csv", rows, delimiter=";")  # no names, other separator
    np.savez(folder / "digits.npz", X_train=digits.images[:1400], y_train=digits.target[:1400],
             X_test=digits.images[1400:], y_test=digits.target[1400:])  # fmt: skip
    np.save(folder / "X.npy", diabetes.data.astype(np.float32))
    np.save(folder / "y.npy", diabetes.target + 0.5)
    for split, images, classes in (("train", digits.images[:60], digits.target[:60]),
                                   ("test", digits.images[60:90], digits.target[60:90])):  # fmt: skip
        for i, (image, c) in enumerate(zip(images, classes, strict=True)):
            place = folder / "images" / split / f"digit {c}"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray((15 * image).astype(np.uint8)).save(place / f"{i}.png")
    with tarfile.open(folder / "images.tar.gz", "w:gz") as tar:
        tar.add(folder / "images", "images")
    return folder


@pytest.fixture(scope="module")
def distilled(inputs):
    """A distilled set of the wine table."""
    assert main(["distill", str(inputs / "wine.csv"), "--target", "class", "--out", str(inputs / "wine.npz")]) == 0
    return inputs / "wine.npz"


def write_csv(path, rows, **options):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, **options).writerows(rows)


def shell(*arguments, **options):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", "ddref", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, env=environment, timeout=300, **options)


def interrupt(*_, **__):
    raise KeyboardInterrupt


class Terminal(io.StringIO):
    def isatty(self):
        return True


# -- what it does

INPUTS = {
    "csv": ["wine.csv", "--target", "class"],
    "csv without names": ["diabetes.csv", "--target", "-1", "--task", "regression"],
    "npz": ["digits.npz"],
    "npy pair": ["X.npy", "--targets", "y.npy"],
    "folder": ["images"],
    "tar": ["images.tar.gz"],
}


@pytest.mark.parametrize("kind", INPUTS)
def test_each_kind_of_input_is_distilled_and_verified(kind, inputs, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out.npz"
    words = ["distill", *INPUTS[kind], "--out", str(out)]
    if kind == "csv":
        done = shell(*words, cwd=inputs)
        status, printed, progress = done.returncode, done.stdout, done.stderr
    else:  # as the shell does, without a process of its own
        monkeypatch.chdir(inputs)
        status = main(words)
        printed, progress = capsys.readouterr()
    assert status == 0, progress
    assert f"wrote {out}" in printed and "statistics" in progress and "Traceback" not in progress
    arguments = [str(inputs / word) if (inputs / word).exists() else word for word in INPUTS[kind]]
    assert main(["verify", str(out), *(word for word in arguments if word not in ("--task", "regression"))]) == 0
    saved = files.load(out)
    assert saved.task == ("regression" if kind in ("csv without names", "npy pair") else "classification")
    assert saved.certificate["relative_error"] < 1e-12 and saved.certificate["exact"]
    if kind in ("folder", "tar"):
        assert saved.image_shape == (8, 8) and saved.class_names[2] == "digit 2" and saved.scaling == "global"
        assert len(saved.X_S) == 10


def test_verify_prints_error_and_accuracy_and_exits_1_for_other_data(inputs, distilled, capsys):
    assert main(["verify", str(distilled), str(inputs / "wine.csv"), "--target", "class", "--quiet"]) == 0
    printed = capsys.readouterr()
    assert "relative error" in printed.out and "exact: the distilled set trains the same model" in printed.out
    assert "accuracy on training" in printed.out and "0 of 178 decisions differ" in printed.out and printed.err == ""
    lines = (inputs / "wine.csv").read_text().splitlines()
    (inputs / "other.csv").write_text("\n".join(lines[:-1]))  # one sample fewer
    assert main(["verify", str(distilled), str(inputs / "other.csv"), "--target", "class"]) == 1
    assert "NOT EXACT" in capsys.readouterr().out


def test_verify_allows_what_the_certificate_of_the_set_and_the_training_on_the_data_allow(inputs, tmp_path, capsys):
    """No fixed number: 1e-12 for well conditioned sets, and labels of 1e9 excuse the intercept alone."""
    out = tmp_path / "set.npz"
    line = ["distill", str(inputs / "digits.npz"), "--points", "40", "--init", "noise", "--lam-s", "1e6"]
    assert main([*line, "--scaling", "global", "--out", str(out)]) == 0
    assert main(["verify", str(out), str(inputs / "digits.npz")]) == 0
    printed = capsys.readouterr().out
    allowed = [float(number) for number in re.findall(r"exact: at most ([\d.e+-]+)\)", printed)]
    assert len(allowed) == 2 and allowed[0] < 1e-9 and allowed[1] >= allowed[0]
    saved = files.load(out)
    files.save(tmp_path / "off.npz", saved._replace(Y_S=saved.Y_S * (1 + 1e-8)))
    assert main(["verify", str(tmp_path / "off.npz"), str(inputs / "digits.npz")]) == 1


def test_predict_trains_on_the_set_and_writes_a_table(inputs, distilled, tmp_path, capsys):
    """Columns in another order, with or without the target: the predictions of the model that the data train."""
    wine = toys.load_wine(as_frame=True).frame
    names = [*toys.load_wine().feature_names]
    wine[names[::-1]].to_csv(tmp_path / "new.csv", index=False)
    out = tmp_path / "out.csv"
    assert main(["predict", str(distilled), str(tmp_path / "new.csv"), "--out", str(out)]) == 0
    assert "178 predictions" in capsys.readouterr().out
    with open(out, newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    assert head == ["prediction", "score class_0", "score class_1", "score class_2"]
    X = (wine[names] - wine[names].mean()) / wine[names].std(ddof=0)
    saved = files.load(distilled)
    model = Ridge(alpha=saved.lam).fit(X, np.eye(3)[wine["target"]])
    np.testing.assert_allclose(np.array([row[1:] for row in rows], float), model.predict(X), atol=1e-10)
    assert [row[0] for row in rows] == [f"class_{i}" for i in model.predict(X).argmax(axis=1)]
    assert main(["predict", str(distilled), str(inputs / "wine.csv"), "--out", str(tmp_path / "again.csv")]) == 0
    assert (tmp_path / "again.csv").read_text() == out.read_text()
    assert main(["predict", str(distilled), str(tmp_path / "new.csv"), "--out", str(out)]) == 2
    assert "exists: pass --force" in capsys.readouterr().err
    wine[names[1:]].to_csv(tmp_path / "less.csv", index=False)
    assert main(["predict", str(distilled), str(tmp_path / "less.csv"), "--out", str(tmp_path / "x.csv")]) == 2
    assert f"missing columns: '{names[0]}'" in capsys.readouterr().err and not (tmp_path / "x.csv").exists()


def test_predict_reads_arrays(inputs, tmp_path, capsys):
    line = ["distill", str(inputs / "X.npy"), "--targets", str(inputs / "y.npy"), "--out", str(tmp_path / "s.npz")]
    assert main([*line, "--scaling", "none"]) == 0
    np.savez(tmp_path / "rows.npz", X=np.load(inputs / "X.npy"), other=np.zeros(3))
    tables = []
    for rows in (inputs / "X.npy", tmp_path / "rows.npz"):
        assert main(["predict", str(tmp_path / "s.npz"), str(rows), "--out", str(tmp_path / "p.csv"), "--force"]) == 0
        tables.append((tmp_path / "p.csv").read_text().splitlines())
    assert tables[0] == tables[1] and tables[0][0] == "prediction" and len(tables[0]) == 443
    assert main(["predict", str(tmp_path / "s.npz"), str(inputs / "wine.csv"), "--out", str(tmp_path / "q.csv")]) == 2
    assert "was not made from a table" in capsys.readouterr().err
    line = ["predict", tmp_path / "s.npz", inputs / "X.npy", "--out", tmp_path / "q.csv"]
    assert "--test is for a folder of images, and" in refused(capsys, *line, "--test", "0.2")


# -- samples that do not fit into memory


@pytest.fixture
def blocks(monkeypatch):
    """Every .npy file of samples counts as large, and is read a hundred rows at a time."""

    def read_in_blocks(d):
        monkeypatch.setattr(inputs_file, "LARGE", 0)
        monkeypatch.setattr(rows_file, "BLOCK", 8 * d * 100)

    return read_in_blocks


def large_files(folder, dtype="float64", order="C"):
    """Samples far from zero, sorted by class, and classes and targets of them."""
    rng = np.random.default_rng(0)
    y = np.sort(rng.integers(0, 3, 1234))
    X = rng.normal(size=(1234, 6)) * [1, 2, 3, 4, 0, 6] + np.linspace(-5, 100, 6)
    X[:, 0] += y
    np.save(folder / "X.npy", np.asarray(X, dtype, order=order))
    np.save(folder / "y.npy", y)
    np.save(folder / "Z.npy", X @ rng.normal(size=(6, 2)) + rng.normal(size=(1234, 2)))


@pytest.mark.parametrize(
    "targets, dtype, order, words",
    [
        ("y", "float32", "C", []),
        ("y", "float64", "F", ["--map", "fourier", "--points", "7", "--scaling", "global"]),
        ("y", ">f8", "C", ["--init", "noise", "--scaling", "none", "--select", "loo"]),
        ("Z", "float64", "C", ["--scaling", "none", "--no-intercept", "--lam", "3", "--points", "9"]),
        ("Z", "float32", "C", ["--init", "orthonormal", "--map", "network"]),
    ],
)
def test_samples_read_in_blocks_give_the_set_of_samples_in_memory(
    targets, dtype, order, words, tmp_path, monkeypatch, capsys, blocks
):
    monkeypatch.chdir(tmp_path)
    large_files(tmp_path, dtype, order)
    line = ["X.npy", "--targets", f"{targets}.npy"]
    said = []
    for out in ("memory.npz", "blocks.npz"):
        assert main(["distill", *line, *words, "--out", out]) == 0
        assert main(["verify", out, *line]) == 0
        assert main(["predict", out, "X.npy", "--out", f"{out}.csv"]) == 0
        said.append(capsys.readouterr())
        blocks(6)
    assert "read in blocks" in said[1].err and "read in blocks" not in said[0].err
    one, other = files.load("memory.npz"), files.load("blocks.npz")
    assert other.certificate["exact"] and other.data_sha256 == one.data_sha256 and "not the data" not in said[1].out
    assert abs(other.lam / one.lam - 1) < 1e-12 and other.value_range == one.value_range
    for name in ("X_S", "Y_S", "mean", "scale"):
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), rtol=1e-9, atol=1e-9)
    changed = [one.certificate[name] == other.certificate[name] for name in ("decisions_changed", "samples")]
    assert changed == [True, True]
    parts = [re.findall(r"(?:accuracy|R\^2) on training +\S+", text.out) for text in said]
    assert parts[0] == parts[1] and len(parts[0]) == 2
    tables = [np.genfromtxt(f"{name}.npz.csv", delimiter=",", skip_header=1) for name in ("memory", "blocks")]
    np.testing.assert_allclose(tables[0], tables[1], rtol=1e-8, atol=1e-8)


def test_images_in_a_file_are_read_in_blocks_too(tmp_path, blocks, capsys):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "X.npy", rng.integers(0, 256, (400, 3, 4, 4), dtype=np.uint8))
    np.save(tmp_path / "y.npy", rng.integers(0, 2, 400))
    line = ["distill", str(tmp_path / "X.npy"), "--targets", str(tmp_path / "y.npy"), "--out"]
    assert main([*line, str(tmp_path / "memory.npz")]) == 0
    blocks(48)
    assert main([*line, str(tmp_path / "blocks.npz")]) == 0
    assert capsys.readouterr().err.count("channels first; points have them last") == 2
    one, other = (files.load(tmp_path / f"{name}.npz") for name in ("memory", "blocks"))
    assert one.image_shape == other.image_shape == (4, 4, 3) and one.data_sha256 == other.data_sha256
    np.testing.assert_allclose(one.X_S, other.X_S, atol=1e-9)


def test_a_bad_value_in_a_block_is_refused_with_its_row(tmp_path, blocks, capsys):
    large_files(tmp_path)
    X = np.load(tmp_path / "X.npy")
    X[1111, 4] = np.nan
    np.save(tmp_path / "X.npy", X)
    blocks(6)
    line = ["distill", tmp_path / "X.npy", "--targets", tmp_path / "y.npy", "--out", tmp_path / "o.npz"]
    said = refused(capsys, *line)
    assert "X.npy: row 1,111 contains NaN or Inf, in column 4 of 6; fill or remove" in said


def test_what_needs_all_samples_in_memory_says_so(tmp_path, blocks, capsys):
    large_files(tmp_path)
    blocks(6)
    line = ["distill", str(tmp_path / "X.npy"), "--targets", str(tmp_path / "y.npy"), "--out", str(tmp_path / "o.npz")]
    assert main([*line, "--select", "validation"]) == 0
    assert "--select validation: all samples are read into memory" in capsys.readouterr().err


def test_reading_in_blocks_counts_on_a_terminal_and_an_interruption_leaves_nothing(tmp_path, blocks, monkeypatch):
    large_files(tmp_path)
    blocks(6)
    monkeypatch.setattr(sys, "stderr", Terminal())
    calls = []
    update = Statistics.update

    def interrupted(self, Phi, Y):
        calls.append(len(Phi))
        return interrupt() if len(calls) == 5 else update(self, Phi, Y)

    monkeypatch.setattr(Statistics, "update", interrupted)
    line = ["distill", str(tmp_path / "X.npy"), "--targets", str(tmp_path / "y.npy"), "--out", str(tmp_path / "o.npz")]
    assert main(line) == 130
    text = sys.stderr.getvalue()
    assert "reading X.npy 1,234 of 1,234" in text
    assert text.endswith("\nddref: interrupted; nothing was written\n") and calls == [100] * 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["X.npy", "Z.npy", "y.npy"]
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(Statistics, "update", update)
    assert main([*line, "--quiet"]) == 0 and sys.stderr.getvalue() == ""


PEAK = """
import resource, sys
from ddref import estimator
from ddref.command import main
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
before = peak()
status = main(sys.argv[1:])
print("peak", peak() - before)
sys.exit(status)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no resource module")
@pytest.mark.parametrize("dtype, second", [("float32", "verify"), ("float64", "predict")])
def test_the_memory_of_a_large_file_is_bounded(dtype, second, tmp_path):
    X = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", dtype, (200_000_000 // 200 // np.dtype(dtype).itemsize, 200))
    rng = np.random.default_rng(0)
    for start in range(0, len(X), 10_000):
        X[start : start + 10_000] = rng.normal(size=(min(10_000, len(X) - start), 200))
    X.flush()
    assert X.nbytes == 200_000_000
    np.save(tmp_path / "y.npy", (X[:, 0] > 0).astype(int) + (X[:, 1] > 0))
    out = str(tmp_path / "o.npz")
    lines = {"distill": ["--out", out], "verify": [out], "predict": [out, "--out", str(tmp_path / "p.csv")]}
    for name in ("distill", second):
        words = [name, *lines[name], str(tmp_path / "X.npy"), "--targets", str(tmp_path / "y.npy")]
        done = subprocess.run([sys.executable, "-c", PEAK, *words], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        peak = int(done.stdout.split()[-1])
        assert peak < 140e6, (name, peak)  # the file has 200 MB


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of Windows are others")
def test_ctrl_c_while_a_file_is_read_is_one_line(tmp_path):
    X = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", "float32", (400_000, 100))
    X[:] = np.random.default_rng(0).normal(size=100)
    X[:, 0] = np.arange(400_000) % 7
    X.flush()
    np.save(tmp_path / "y.npy", np.arange(400_000) % 7)
    line = [sys.executable, "-m", "ddref", "distill", "X.npy", "--targets", "y.npy", "--out", "o.npz"]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell in the background has it ignored
    running = subprocess.Popen(line, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=heard)
    for said in running.stderr:
        if "statistics" in said:
            break
    running.send_signal(signal.SIGINT)
    out, said = running.communicate(timeout=60)
    assert (running.returncode, out, said) == (130, "", "ddref: interrupted; nothing was written\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["X.npy", "y.npy"]


# -- devices of PyTorch


def on(device):
    torch = pytest.importorskip("torch")
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    return device


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("large, words", [(False, ["--map", "fourier"]), (True, []), (True, ["--map", "network"])])
def test_a_device_gives_the_set_and_the_judgement_of_numpy(
    device, large, words, tmp_path, monkeypatch, capsys, blocks
):
    device = ["--device", on(device)]
    monkeypatch.chdir(tmp_path)
    large_files(tmp_path, "float32")
    if large:
        blocks(6)
    line = ["X.npy", "--targets", "y.npy"]
    said = []
    for out, where in (("numpy.npz", []), ("device.npz", device)):
        assert main(["distill", *line, *words, "--out", out, *where]) == 0
        assert main(["verify", out, *line, *where]) == 0
        assert main(["predict", out, "X.npy", "--out", f"{out}.csv", *where]) == 0
        said.append(re.findall(r"(?:accuracy|exact: the).*", capsys.readouterr().out))
    assert said[0] == said[1] and len(said[0]) == 3
    one, other = files.load("numpy.npz"), files.load("device.npz")
    np.testing.assert_allclose(other.X_S, one.X_S, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(other.Y_S, one.Y_S, rtol=1e-9, atol=1e-9)
    tables = [np.genfromtxt(f"{out}.npz.csv", delimiter=",", skip_header=1)[:, 1:] for out in ("numpy", "device")]
    np.testing.assert_allclose(tables[0], tables[1], rtol=1e-8, atol=1e-8)


def test_tensors_are_computed_with_on_the_device(inputs, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    seen = []
    prepare = training.Training._prepare

    def noted(self, Phi, *others):
        seen.append((type(Phi), Phi.dtype, Phi.device.type))
        return prepare(self, Phi, *others)

    monkeypatch.setattr(training.Training, "_prepare", noted)
    line = [str(inputs / "X.npy"), "--targets", str(inputs / "y.npy"), "--device", "cpu"]
    assert main(["distill", *line, "--out", str(tmp_path / "o.npz")]) == 0
    assert main(["verify", str(tmp_path / "o.npz"), *line]) == 0
    assert len(seen) >= 2 and set(seen) == {(torch.Tensor, torch.float64, "cpu")}


def test_a_device_that_is_not_there_is_refused_with_what_there_is(inputs, distilled, tmp_path, capsys):
    torch = pytest.importorskip("torch")
    n = torch.cuda.device_count()
    lines = (
        ["distill", inputs / "digits.npz", "--out", tmp_path / "o.npz"],
        ["verify", distilled, inputs / "wine.csv", "--target", "class"],
        ["predict", distilled, inputs / "wine.csv", "--out", tmp_path / "p.csv"],
    )
    for line in lines:
        said = refused(capsys, *line, "--device", f"cuda:{n}")
        assert f"device = 'cuda:{n}' is not there, or cannot be used; here there is cpu" in said
    assert "device = 'meta' is not there" in refused(capsys, *lines[0], "--device", "meta")
    assert "device = 'gpu' is none of PyTorch's; here there is cpu" in refused(capsys, *lines[0], "--device", "gpu")
    if not torch.backends.mps.is_available():
        assert "device = 'mps' has no float64" in refused(capsys, *lines[0], "--device", "mps")
    assert not (tmp_path / "o.npz").exists()


# -- a model without its data


def trained_elsewhere(folder, monkeypatch, *more, targets="y.npy"):
    """A model, and its sums, by `python -m ddref.statistics`."""
    monkeypatch.chdir(folder)
    large_files(folder)
    line = ["X.npy", targets, "--lam", "1", "100", "--shards", "run", "--out", "model.npz", "--statistics", "sums.npz"]
    return train_in_shards([*line, "--quiet", *more])


def test_a_model_of_the_streaming_command_is_told_and_distilled(tmp_path, monkeypatch, capsys):
    W = trained_elsewhere(tmp_path, monkeypatch, "--classes", "3")
    capsys.readouterr()
    assert main(["info", "model.npz"]) == 0
    text = capsys.readouterr().out
    assert "ridge regression without an intercept, by ddref.statistics" in text and "3 classes" in text
    assert "6 columns" in text and "1,234" in text and ", chosen from 2" in text and "ddref distill" in text
    assert main(["info", "sums.npz"]) == 0
    assert "sums over 1,234 samples: 6 features, 3 targets" in capsys.readouterr().out
    assert main(["distill", "model.npz", "--out", "o.npz", "--points", "5", "--lam-s", "0.1"]) == 0
    assert "1,234" in capsys.readouterr().out
    saved = files.load("o.npz")
    assert saved.class_names == ("0", "1", "2") and len(saved.X_S) == 5 and saved.lam in (1.0, 100.0)
    ridge = Ridge(alpha=0.1, fit_intercept=False, solver="svd").fit(saved.X_S, saved.Y_S)
    np.testing.assert_allclose(ridge.coef_.T, W, rtol=1e-9, atol=1e-12)
    assert main(["verify", "o.npz", "X.npy", "--targets", "y.npy"]) == 0  # the model that the data train
    assert main(["predict", "o.npz", "X.npy", "--out", "p.csv"]) == 0


def test_a_model_of_features_and_one_of_an_earlier_version_are_distilled(tmp_path, monkeypatch, capsys):
    W = trained_elsewhere(tmp_path, monkeypatch, "--phi", "numpy:sin", targets="Z.npy")
    assert main(["distill", "model.npz", "--out", "o.npz"]) == 0
    assert "points are rows of features, those of numpy:sin" in capsys.readouterr().err
    saved = files.load("o.npz")
    assert saved.task == "regression"
    np.testing.assert_allclose(saved.train().W, W, rtol=1e-9, atol=1e-12)
    np.savez("old.npz", W=W, lam=1.0, n=9)  # without what it is of
    assert main(["info", "old.npz"]) == 0 and "2 targets or classes" in capsys.readouterr().out
    assert main(["distill", "old.npz", "--out", "o.npz", "--force"]) == 0
    assert "of classes, say --task classification" in capsys.readouterr().err
    assert main(["distill", "old.npz", "--out", "o.npz", "--force", "--task", "classification"]) == 0
    assert files.load("o.npz").class_names == ("0", "1")


def test_what_a_model_cannot_do_is_refused(tmp_path, monkeypatch, capsys):
    trained_elsewhere(tmp_path, monkeypatch, "--classes", "3")
    line = ["distill", "model.npz", "--out", "o.npz"]
    assert "--lam belongs to a training" in refused(capsys, *line, "--lam", "3")
    assert "--map belongs to a training" in refused(capsys, *line, "--map", "fourier")
    assert "--init real needs samples" in refused(capsys, *line, "--init", "real")
    assert "holds a model for classification" in refused(capsys, *line, "--task", "regression")
    assert "--target is for a table" in refused(capsys, *line, "--target", "a")
    assert "sums over 1,234 samples" in refused(capsys, "distill", "sums.npz", "--out", "o.npz")
    for wrong in ({"W": np.ones(3)}, {"W": np.full((2, 2), np.nan)}, {"lam": "a"}, {"n": [1, 2]}, {"classes": [1, 2]}):
        np.savez("bad.npz", **{"W": np.ones((2, 2)), "lam": 1.0, "n": 3, **wrong})
        assert "are not those of a model" in refused(capsys, "info", "bad.npz")
    assert not (tmp_path / "o.npz").exists()


def test_letters_that_a_stream_lacks_end_nothing(distilled, tmp_path, monkeypatch):
    files.save(tmp_path / "o.npz", files.load(distilled)._replace(class_names=("кот", "犬", "cat")))
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert main(["info", str(tmp_path / "o.npz")]) == 0
    sys.stdout.flush()
    assert b"3 classes: ???, ?, cat" in sys.stdout.buffer.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_letters_that_a_terminal_lacks_end_nothing(encoding, tmp_path):
    rng = np.random.default_rng(0)
    for name in ("кот", "犬"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for i in range(4):
            Image.fromarray(rng.integers(0, 256, (4, 4)).astype(np.uint8)).save(tmp_path / "train" / name / f"{i}.png")
    out, environment = tmp_path / "o.npz", {**os.environ, "PYTHONIOENCODING": encoding, "OMP_NUM_THREADS": "1"}
    for line in (["distill", tmp_path, "--out", out], ["info", out], ["verify", out, tmp_path], ["show", out]):
        done = subprocess.run(
            [sys.executable, "-m", "ddref", *map(str, line)], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert files.load(out).class_names == ("кот", "犬")


def test_folders_of_classes_alone_are_distilled_with_a_part_for_testing(inputs, tmp_path, capsys):
    """`--test` draws, `--size` fits, and verify does the same again."""
    folder, out = inputs / "images" / "train", str(tmp_path / "o.npz")
    few = ["--points", "12", "--size", "6"]
    assert main(["distill", str(folder), "--test", "0.25", *few, "--out", out]) == 0
    printed = capsys.readouterr()
    assert "accuracy on test" in printed.out and "images drawn as test images" in printed.err
    assert "60 of 60 images brought to 6 x 6 pixels" in printed.err and "images of 6 x 6" in printed.out
    assert main(["verify", out, str(folder), "--test", "0.25"]) == 0
    assert "0 of" in capsys.readouterr().out
    assert main(["verify", out, str(folder)]) == 1
    assert capsys.readouterr().out.startswith("not the data this set was made from")


def test_info_names_the_files_and_lines_that_points_started_from(inputs, distilled, tmp_path, capsys):
    assert main(["distill", str(inputs / "images"), "--out", str(tmp_path / "set.npz"), "--quiet"]) == 0
    saved = files.load(tmp_path / "set.npz")
    for row, name, point in zip(saved.sources, saved.source_names, saved.X, strict=True):
        with Image.open(inputs / "images" / name) as image:  # among samples of its class, the nearest
            away = np.abs(np.asarray(image).ravel() - point).max()
        assert name.startswith("train/digit ") and away < 255 and 0 <= row < 60
    assert f"samples {saved.sources[0]}, " in capsys.readouterr().out
    assert main(["info", str(distilled)]) == 0
    line = files.load(distilled).source_names[0]
    assert line == f"line {files.load(distilled).sources[0] + 2}" and f": {line}, line " in capsys.readouterr().out
    assert main(["distill", str(inputs / "digits.npz"), "--init", "noise", "--out", str(tmp_path / "noise.npz")]) == 0
    assert "started from           no samples on record" in capsys.readouterr().out


def test_verify_says_that_the_data_are_others_before_it_says_not_exact(inputs, distilled, tmp_path, capsys):
    lines = (inputs / "wine.csv").read_text().splitlines()
    for change, code in ((0, 0), (1, 1)):
        (tmp_path / "other.csv").write_text("\n".join(lines[: len(lines) - change]))
        assert main(["verify", str(distilled), str(tmp_path / "other.csv"), "--target", "class", "--quiet"]) == code
        printed = capsys.readouterr().out
        assert printed.startswith("not the data this set was made from: their checksum is another") == bool(change)


def test_texts_of_a_file_do_not_steer_the_terminal_and_messages_are_short(distilled, tmp_path, capsys):
    saved = files.load(distilled)
    names = ("a\x1b[2J", "b\nc", "\u202e" + 500 * "d")
    files.save(tmp_path / "odd.npz", saved._replace(class_names=names))
    assert main(["info", str(tmp_path / "odd.npz")]) == 0
    printed = capsys.readouterr().out
    assert printed.replace("\n", "").isprintable() and r"a\x1b[2J" in printed and max(map(len, printed.split("\n"))) < 300
    assert main(["info", str(tmp_path / ("x" * 200 + "\n\x1b") / ("y" * 200))]) == 2
    error = capsys.readouterr().err
    assert len(error) <= 300 and error.rstrip("\n").isprintable() and " ... " in error


@pytest.mark.parametrize("shape, points", [((1, 1), 40_000), pytest.param((200, 200), 1_000, marks=pytest.mark.slow), (None, 20_000)])
def test_a_picture_of_many_points_stays_small(shape, points, distilled, tmp_path, capsys):
    """40,000 points of one pixel, drawn at 96 x 96, would take 370 million; of 1,000 images the first are shown."""
    d = 2 if shape is None else shape[0] * shape[1]
    X = np.zeros((points, d), np.float32)
    X[:, 0] = np.arange(points)
    plain = files.load(distilled)._replace(X_S=X, Y_S=np.zeros((points, 3), np.float32), mean=np.zeros(d), scale=np.ones(d))
    plain = plain._replace(sources=None, source_names=None, source_classes=None)
    shades, said = sheet(plain._replace(image_shape=shape, scaling="none", table=None))
    assert 0 < shades.size < 1 << 27
    assert ("the first of each class: 209 of 1,000 points" in said) == (points == 1_000)


def test_show_writes_a_contact_sheet_and_says_what_its_shades_mean(inputs, distilled, tmp_path, capsys):
    assert main(["distill", str(inputs / "digits.npz"), "--points", "30", "--out", str(tmp_path / "d.npz")]) == 0
    capsys.readouterr()
    assert main(["show", str(tmp_path / "d.npz")]) == 0
    printed = capsys.readouterr().out
    assert "images of 8 x 8" in printed and "black is" in printed and "30 points of 64 values" in printed
    with Image.open(tmp_path / "d.png") as sheet:
        pixels = np.array(sheet)
    saved = files.load(tmp_path / "d.npz")
    low, high = saved.X_S.min(), saved.X_S.max()
    first = int(np.flatnonzero(saved.Y_S.argmax(axis=1) == 0)[0])
    left = 12 + Canvas(["0"]).width("0")  # behind the name of the class
    tile = pixels[6:102:12, left : left + 96 : 12, 0].astype(float)  # each value 12 x 12 pixels
    assert np.abs(low + tile * (high - low) / 255 - saved.X_S[first].reshape(8, 8)).max() < 0.6 * (high - low) / 255
    assert main(["show", str(distilled), "--out", str(tmp_path / "table.png")]) == 0
    assert (tmp_path / "table.png").stat().st_size > 0
    assert main(["show", str(distilled), "--out", str(tmp_path / "table.png")]) == 2


def test_show_draws_colour_images(tmp_path, capsys):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", X=rng.integers(0, 256, size=(40, 4, 4, 3), dtype=np.uint8), y=np.arange(40) % 3)
    assert main(["distill", str(tmp_path / "x.npz"), "--out", str(tmp_path / "out.npz")]) == 0
    assert main(["show", str(tmp_path / "out.npz")]) == 0
    with Image.open(tmp_path / "out.png") as sheet:
        assert np.ptp(np.array(sheet), axis=2).max() > 100


@pytest.mark.parametrize("value", [1.7e308, pytest.param(5e-324, marks=pytest.mark.slow)])
def test_the_largest_and_smallest_numbers_are_drawn_and_judged_without_a_warning(value, tmp_path, rng, capsys):
    np.savez(tmp_path / "data.npz", X=rng.normal(size=(9, 12)), y=rng.normal(size=9))
    for shape in ((3, 4), (1, 3, 4), None):  # grey, channels of which a mean is drawn, a table
        X_S = np.zeros((4, 12))
        X_S[0], X_S[1], X_S[2] = value, -value, value / 2
        saved = files.Saved(X_S, np.ones((4, 1)), 0.0, 1.0, False, np.zeros(12), np.ones(12), image_shape=shape)
        files.save(tmp_path / "a.npz", saved, overwrite=True)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert main(["show", str(tmp_path / "a.npz"), "--force"]) == 0
            assert main(["verify", str(tmp_path / "a.npz"), str(tmp_path / "data.npz"), "--quiet"]) in (1, 2)
        assert "Traceback" not in capsys.readouterr().err
        with Image.open(tmp_path / "a.png") as image:
            colours = {tuple(stop) for stop in STOPS[::2].tolist()}
            there = set(map(tuple, np.array(image).reshape(-1, 3).tolist()))
            assert colours <= there or (value == 5e-324 and shape == (1, 3, 4))  # a fourth of it is 0


def test_info_says_how_far_changes_of_the_set_move_its_model(tmp_path, capsys):
    """Retrained on changed features, with an intercept and without: never farther, and within a factor of 30."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 5)), rng.integers(0, 3, 40)
    for extra in ([], ["--no-intercept"]):
        np.savez(tmp_path / "data.npz", X=X, y=y)
        main([str(a) for a in ("distill", tmp_path / "data.npz", "--points", 6, *extra, "--out", tmp_path / f"{len(extra)}.npz")])
        capsys.readouterr()
        main(["info", str(tmp_path / f"{len(extra)}.npz")])
        line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("changes"))
        said = float(re.search(r"by up to (\S+) of its norm", line)[1])
        saved = files.load(tmp_path / f"{len(extra)}.npz")
        Phi_S, W = files.features(saved, saved.X_S), files.model(saved).W
        moved = []
        for _ in range(30):
            E = rng.normal(size=Phi_S.shape)
            E *= 1e-6 * np.linalg.norm(Phi_S - saved.fit_intercept * Phi_S.mean(0)) / np.linalg.norm(E)
            fit = Ridge(saved.lam_S, fit_intercept=saved.fit_intercept, solver="svd") if saved.lam_S else None
            fit = fit or LinearRegression(fit_intercept=saved.fit_intercept)
            moved.append(np.linalg.norm(fit.fit(Phi_S + E, saved.Y_S).coef_.T - W) / np.linalg.norm(W))
        assert max(moved) <= 1.1 * said <= 30 * max(moved)


def test_info_tells_versions_and_headers(distilled, capsys):
    assert main(["info"]) == 0
    assert f"ddref {__version__}, file format 2" in capsys.readouterr().out
    assert main(["info", str(distilled)]) == 0
    text = capsys.readouterr().out
    assert "class_0, class_1, class_2" in text and "each column by its mean" in text
    assert json.loads(text[text.index("{") :])["certificate"]["exact"] is True


def test_options_reach_the_estimator_and_the_file(inputs, tmp_path):
    out = tmp_path / "out.npz"
    line = ["distill", str(inputs / "digits.npz"), "--out", str(out), "--points", "25", "--lam", "1", "100", "--select",
            "validation", "--lam-s", "0.5", "--init", "noise", "--map", "network", "--no-intercept", "--seed", "7",
            "--dtype", "float32", "--scaling", "columns"]  # fmt: skip
    assert main(line) == 0
    saved = files.load(out)
    assert len(saved.X_S) == 25 and saved.lam in (1.0, 100.0) and saved.lam_S == 0.5 and not saved.fit_intercept
    assert saved.seed == 7 and saved.X_S.dtype == np.float32 and saved.scaling == "columns"
    assert type(saved.feature_map).__name__ == "Chain" and saved.image_shape == (8, 8)
    assert main([*line[:4], "--force", "--scaling", "none", "--lam", "5"]) == 0
    saved = files.load(out)
    assert (saved.lam, saved.scaling, saved.fit_intercept) == (5.0, "none", True)


def test_help_has_examples_and_no_command_prints_it(capsys):
    for arguments in (["--help"], ["distill", "--help"], ["verify", "-h"]):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 0
        text = capsys.readouterr().out
        assert "examples:" in text and "ddref distill wine.csv --target quality" in text and "exit codes" in text
        examples = text[text.index("examples:") : text.index("exit codes")].splitlines()
        started = [line for line in examples if "ddref " in line]  # each on a line of its own, to be copied
        assert len(started) == 12 and all(line.startswith("  ddref ") and line.count("ddref ") == 1 for line in started)
    assert main([]) == 2
    assert "COMMAND" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        main(["distil"])
    assert end.value.code == 2


# -- mistakes


def test_a_missing_file_a_wrong_column_and_no_target_are_named(inputs, tmp_path, capsys):
    out = ["--out", tmp_path / "o.npz"]
    assert "nothing.csv does not exist" in refused(capsys, "distill", tmp_path / "nothing.csv", *out)
    text = refused(capsys, "distill", inputs / "wine.csv", "--target", "colour", *out)
    assert "has no column 'colour'; it has 'alcohol', 'malic_acid'" in text
    assert "--target COLUMN" in refused(capsys, "distill", inputs / "wine.csv", *out)
    assert "--targets Y.npy" in refused(capsys, "distill", inputs / "X.npy", *out)
    assert "y2.npy does not exist" in refused(
        capsys, "distill", inputs / "X.npy", "--targets", tmp_path / "y2.npy", *out
    )
    (tmp_path / "x.mat").write_bytes(b"MATLAB")
    assert "a folder of images, or a file .npz" in refused(capsys, "distill", tmp_path / "x.mat", *out)
    assert not (tmp_path / "o.npz").exists()


TABLE = [["a", "b", "kind"], [1, 5, "x"], [2, 4, "y"], [3, 3, "x"], [5, 1, "y"]]


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda t: [*t[:2], [2, "nan", "y"], *t[3:]], "missing values: b 1 of 4 rows, the first in line 3"),
        (lambda t: [*t[:2], [2, "", "y"], *t[3:]], "missing values: b 1 of 4 rows, the first in line 3"),
        (lambda t: [*t[:2], [2, "-inf", "y"], *t[3:]], "column 'b', line 3: '-inf' among 3 numbers"),
        (lambda t: [*t[:2], [2, "red", "y"], *t[3:]], "column 'b', line 3: 'red' among 3 numbers"),
        (lambda t: [*t[:2], [2, 4, ""], *t[3:]], "line 3: the target 'kind' is missing"),
        (lambda t: [*t[:2], [2, "y"], *t[3:]], "line 3: 2 columns, where there should be 3"),
        (lambda t: [t[0], *[[a, b, "x"] for a, b, _ in t[1:]]], "at least 2 classes are needed, y has 1 class"),
        (lambda t: t[:1], "a line of names and no samples"),
        (lambda t: [], "is empty"),
        (lambda t: [["b", "b", "kind"], *t[1:]], "2 columns have 'b' (columns 0, 1, from 0)"),
        (lambda t: [[row[-1]] for row in t], "has one column only, 'kind'"),
        (lambda t: [t[0], *[[a, b, i] for i, (a, b, _) in enumerate(t[1:])]], "say --task regression or"),
    ],
    ids=lambda value: value if isinstance(value, str) else "table",
)
def test_a_table_with_a_mistake_is_refused_with_its_place(change, words, tmp_path, capsys):
    write_csv(tmp_path / "t.csv", change(TABLE))
    text = refused(capsys, "distill", tmp_path / "t.csv", "--target", "kind", "--out", tmp_path / "o.npz")
    assert words in text and not (tmp_path / "o.npz").exists()


def test_text_labels_are_classes_and_refused_for_regression(inputs, tmp_path, capsys):
    line = ["distill", inputs / "wine.csv", "--target", "class", "--out", tmp_path / "o.npz"]
    assert "the targets are texts such as 'class_0'" in refused(capsys, *line, "--task", "regression")


def test_a_constant_column_is_used_for_nothing_and_said(tmp_path, capsys):

    rows = [["a", "b", "same", "kind"], *[[*row[:2], 7, row[2]] for row in TABLE[1:] * 5]]
    write_csv(tmp_path / "t.csv", rows)
    assert main(["distill", str(tmp_path / "t.csv"), "--target", "kind", "--out", str(tmp_path / "o.npz")]) == 0
    assert "1 constant columns, which no model uses: same" in capsys.readouterr().err
    assert np.array_equal(files.load(tmp_path / "o.npz").X_S[:, 2], [7.0, 7.0])


def test_more_classes_than_features_need_no_more_points_than_the_rank_and_too_few_are_refused(tmp_path, capsys):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 2)), np.arange(60) % 6
    np.savez(tmp_path / "x.npz", X=X, y=y)
    assert main(["distill", str(tmp_path / "x.npz"), "--out", str(tmp_path / "o.npz")]) == 0
    assert files.load(tmp_path / "o.npz").X_S.shape == (3, 2)
    line = ["distill", tmp_path / "x.npz", "--out", tmp_path / "p.npz", "--points"]
    assert "n_points = 2 is too small: a model of rank 2 and an intercept needs at least 3" in refused(capsys, *line, 2)
    assert "only 60 samples" in refused(capsys, *line, 61)


@pytest.mark.parametrize(
    "arrays, words",
    [
        ({"X": np.ones((4, 2))}, "has the arrays 'X': X and y are needed"),
        ({"X": np.ones((4, 2)), "y": np.zeros(3)}, "y has shape (3,), one target for each of 4"),
        ({"X": np.array([["a"]]), "y": np.zeros(1)}, "X holds <U1, numbers are needed"),
        ({"X": np.full((4, 2), np.nan), "y": np.zeros(4)}, "X contains NaN or Inf, the first at [0, 0]"),
        ({"X": np.eye(4), "y": np.array([1, np.inf, 1, 1])}, "y contains NaN or Inf, the first at [1]"),
        ({"X": np.ones(4), "y": np.zeros(4)}, "X has shape (4,): rows are samples"),
        ({"X": np.eye(4), "y": np.array([0.0, 1.0, 0.0, 1.0])}, "whole numbers with 2 different values"),
        ({"X_train": np.eye(4), "y_train": np.arange(4) % 2, "X_test": np.ones((2, 3)), "y_test": np.ones(2)},
         "X_test has rows of another shape"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_arrays_with_a_mistake_are_refused(arrays, words, tmp_path, capsys):
    np.savez(tmp_path / "x.npz", **arrays)
    assert words in refused(capsys, "distill", tmp_path / "x.npz", "--out", tmp_path / "o.npz")


def test_arrays_of_any_kind_beside_x_and_y_are_not_looked_at(tmp_path, capsys):
    rng = np.random.default_rng(0)
    X, names = rng.normal(size=(24, 3)), np.array(["a", None, {}], dtype=object)
    np.savez(tmp_path / "data.npz", X=X, Y=X[:, 0] > 0, feature_names=names)
    assert main(["distill", str(tmp_path / "data.npz"), "--out", str(tmp_path / "o.npz")]) == 0
    assert (tmp_path / "o.npz").exists()


def test_truncated_foreign_and_oversized_files_are_refused(inputs, distilled, tmp_path, capsys):
    out = ["--out", tmp_path / "o.npz"]
    for name in ("digits.npz", "X.npy", "images.tar.gz"):
        targets = ["--targets", inputs / "y.npy"] * (name == "X.npy")
        content = (inputs / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
        assert name in refused(capsys, "distill", tmp_path / name, *targets, *out)
        (tmp_path / name).write_bytes(b"GIF89a" + content[6:])
        assert name in refused(capsys, "distill", tmp_path / name, *targets, *out)
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00a,b")
    assert "not a text file in UTF-8" in refused(capsys, "distill", tmp_path / "t.csv", "--target", "b", *out)
    limit = ["--max-bytes", "1000"]
    for words, line in {
        "max_bytes = 1,000; refused": [inputs / "digits.npz"],
        "holds more than max_bytes = 1,000": [inputs / "images.tar.gz"],
        "is larger than --max-bytes 1,000": [inputs / "wine.csv", "--target", "class"],
    }.items():
        assert words in refused(capsys, "distill", *line, *limit, *out)
    assert "is a distilled set, not data" in refused(capsys, "distill", distilled, *out)
    bomb = tmp_path / "bomb.npz"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("X.npy", bytes(1 << 24))
    for line in (["show", bomb], ["info", bomb], ["verify", bomb, inputs / "wine.csv"]):
        assert "bomb.npz: array 'X' is damaged" in refused(capsys, *line)


def test_a_distilled_file_that_does_not_fit_is_refused(inputs, distilled, tmp_path, capsys):
    assert "has 10 columns" in refused(capsys, "verify", distilled, inputs / "X.npy", "--targets", inputs / "y.npy")
    lines = (inputs / "wine.csv").read_text().replace("class_1", "merlot")
    (tmp_path / "w.csv").write_text(lines)
    text = refused(capsys, "verify", distilled, tmp_path / "w.csv", "--target", "class")
    assert "has the classes merlot, of which" in text and "class_0, class_1, class_2" in text
    content = distilled.read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[:-30])
    assert "damaged" in refused(capsys, "show", tmp_path / "cut.npz")


def test_outputs_are_checked_before_any_work(inputs, distilled, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(commands, "read", lambda *_: pytest.fail("the data were read"))
    line = ["distill", inputs / "digits.npz", "--out"]
    assert "pass --force to replace it" in refused(capsys, *line, distilled)
    assert "must end in .npz" in refused(capsys, *line, tmp_path / "o.bin")
    assert "make the folder first" in refused(capsys, *line, tmp_path / "no" / "o.npz")
    assert "numbers, or auto, are needed" in refused(capsys, *line, tmp_path / "o.npz", "--lam", "small")


@pytest.mark.slow
def test_one_mistake_of_each_kind_through_the_shell_shows_no_traceback(inputs, distilled, tmp_path):
    (tmp_path / "other.csv").write_text((inputs / "wine.csv").read_text().replace("14.23", "4.23"))
    assert shell("verify", distilled, tmp_path / "other.csv", "--target", "class").returncode == 1
    (tmp_path / "bad.npz").write_bytes(b"not a zip file")
    for arguments in (["distill", "nothing.csv", "--out", "o.npz"], ["info", "bad.npz"]):
        done = shell(*arguments, cwd=tmp_path)
        assert done.returncode == 2 and done.stdout == "" and "Traceback" not in done.stderr
        assert done.stderr.splitlines()[-1].startswith("ddref: error: ")
    done = shell("info", "bad.npz", "--debug", cwd=tmp_path)
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("where", ["guessed_task", "summary"])
def test_an_interruption_of_distill_leaves_nothing_or_all_and_exits_130(where, inputs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(commands, where, interrupt)
    out = tmp_path / "o.npz"
    assert main(["distill", str(inputs / "digits.npz"), "--out", str(out), "--quiet"]) == 130
    said = capsys.readouterr().err
    if where == "guessed_task":
        assert said == "ddref: interrupted; nothing was written\n" and list(tmp_path.iterdir()) == []
    else:  # the file is there already
        assert said == f"ddref: interrupted; {out} is complete\n" and files.load(out).certificate["exact"]


@pytest.mark.parametrize(
    "line, place",
    [
        (["distill", "X.npy", "--targets", "y.npy", "--quiet", "--out", "o.npz"], "ddref.npz._write_array"),
        (["verify", "wine.npz", "wine.csv", "--target", "class", "--quiet"], "ddref.recipe.certified"),
        (["predict", "wine.npz", "wine.csv", "--out", "p.csv"], "csv.writer"),
        (["show", "wine.npz", "--out", "w.png"], "PIL.Image.fromarray"),
        (["info", "wine.npz"], "ddref.files.load"),
        (["copy", "krr.fit"], "ddref.copying.copied"),
    ],
)
def test_an_interruption_of_each_command_is_one_line(line, place, inputs, distilled, monkeypatch, capsys):
    monkeypatch.chdir(inputs)
    before = sorted(inputs.iterdir())
    monkeypatch.setattr(place, interrupt)
    assert main(line) == 130
    assert capsys.readouterr() == ("", "ddref: interrupted; nothing was written\n")
    assert sorted(inputs.iterdir()) == before  # no part of a file


def test_an_interruption_before_the_command_has_begun_is_one_line_too(monkeypatch, capsys):
    monkeypatch.setattr("ddref.command.main", interrupt)
    assert importlib.import_module("ddref.__main__").main() == 130
    assert capsys.readouterr().err == "ddref: interrupted; nothing was written\n"


BARE = """
import sys
for name in ("sklearn", "pandas", "PIL", "torch", "pooch", "tqdm"):
    sys.modules[name] = None
import ddref
from ddref.command import main
codes = [main(line.split()) for line in (
    "distill d.npz --out o.npz", "verify s.npz d.npz", "predict t.npz t.csv --out p.csv", "show s.npz", "export s.npz x",
    "distill d.npz --out o.npz --map fourier")]
codes += [main(line.split()) for line in ("info s.npz", "predict s.npz d.npz --out q.csv", "copy krr.fit",
    "predict s.npz d.npz --out r.csv --device cpu")]
print("codes", codes)
for find in (lambda: ddref.DistilledRidge, lambda: ddref.kip.train, lambda: ddref.maps.small_cnn, lambda: ddref.maps.from_torch,
             lambda: ddref.nonsurjective.solve, lambda: ddref.datasets.digits(), lambda: ddref.datasets.image_folder("."),
             lambda: ddref.tables.read_frame("t.csv")):
    try:
        find()
    except ImportError as error:
        print("said", error)
"""


def test_with_numpy_alone_every_command_and_function_names_the_extra_to_install(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(24, 4)).round(3)
    np.savez(tmp_path / "d.npz", X=X.reshape(24, 2, 2), y=X[:, 0] > 0)
    write_csv(tmp_path / "t.csv", [["a", "b", "y"], *[[x, "u" if z > 0 else "v", x + z] for x, z, *_ in X.tolist()]])
    assert main(["distill", str(tmp_path / "d.npz"), "--out", str(tmp_path / "s.npz")]) == 0
    assert main(["distill", str(tmp_path / "t.csv"), "--target", "y", "--out", str(tmp_path / "t.npz")]) == 0
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(files.__file__))}
    done = subprocess.run([sys.executable, "-c", BARE], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=120)
    assert "codes [2, 2, 2, 2, 2, 2, 0, 0, 0, 2]" in done.stdout, done.stdout + done.stderr
    extras = [re.search(r"extra '(\w+)'|ddref\[(\w+)\]|$", line) for line in done.stderr.splitlines() if "error: " in line]
    assert [found[1] or found[2] for found in extras] == ["sklearn", "sklearn", "tables", "data", "data", "sklearn", "torch"]
    said = [line for line in done.stdout.splitlines() if line.startswith("said ")]
    named = [re.search(r"extra '(\w+)'|ddref\[(\w+)\]|$", line) for line in said]
    assert [found[1] or found[2] for found in named] == ["sklearn", *["torch"] * 4, "sklearn", "data", "tables"]


def test_progress_is_a_line_that_changes_on_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Progress(False) as progress:
        progress("reading images", 1, 1000)
        progress("reading images", 1000, 1000)
        progress.note("a note")
    text = sys.stderr.getvalue()
    assert "reading images 1 of 1,000" in text and "\r\x1b[K" in text and "1,000 of 1,000" in text and "a note" in text
