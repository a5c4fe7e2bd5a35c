"""ddref.distributed: shards that survive, processes that add up, and what is said when one is lost."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import distributed_workers as workers
import numpy as np
import pytest

from conftest import error, numpy64
from ddref import distributed, krr
from ddref.distributed import Processes, accumulate_shards, row_shards
from ddref.measure import tolerance
from ddref.statistics import Statistics

N, D = 210, 4


@pytest.fixture
def data(rng, tmp_path, monkeypatch):
    """Inputs and targets in files, as the command wants them, and the folder they are in."""
    X, Y = rng.normal(size=(N, D)), rng.normal(size=(N, 2))
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "Y.npy", Y)
    monkeypatch.chdir(tmp_path)
    return X, Y


def command(*more, lam=("0.5",), phi="halves", shards="run"):
    return [
        "X.npy", "Y.npy", "--lam", *lam, "--shards", shards, "--out", "model.npz", "--rows", "20", "--batch", "7",
        "--phi", f"distributed_workers:{phi}", "--quiet", *more,
    ]  # fmt: skip


def oracle(X, Y, lam=0.5):
    Phi = workers.halves(X)
    return np.linalg.solve(Phi.T @ Phi + lam * np.eye(Phi.shape[1]), Phi.T @ Y)


def files(folder="run"):
    return sorted(path.name for path in Path(folder).iterdir() if path.name != "run.npz")


# -- shards, in one process


def counted(shards, read):
    """The shards, with every sample that is read noted."""

    def shard(name):
        def batches():
            for X, Y in shards[name]():
                read.extend(X[:, 0])
                yield X, Y

        return batches

    return {name: shard(name) for name in shards}


@pytest.mark.parametrize("rows, batch", [(1, 1), (7, 3), (64, 64), (210, 50), (1000, 1000)])
def test_shards_cover_every_row_once(data, rows, batch):
    X, Y = data
    read = []
    total = accumulate_shards(counted(row_shards(X, Y, rows=rows, batch=batch), read))
    assert read == list(X[:, 0])
    assert total.n == N and error(total.G, X.T @ X) < 1e-14 and error(total.B, X.T @ Y) < 1e-13


def test_a_stopped_run_loses_the_shard_in_hand_and_doubles_nothing(data):
    X, Y = data
    shards, read = row_shards(X, Y, rows=20, batch=7), []  # three batches a shard

    def stops_at(batch):
        calls = []

        def phi(X):
            calls.append(1)
            if len(calls) == batch:
                raise KeyboardInterrupt
            return X

        return phi

    for batch in (14, 2):  # the second batch of the fifth shard, also when the first four come from their files
        with pytest.raises(KeyboardInterrupt):
            accumulate_shards(shards, stops_at(batch), folder="run")
        assert files() == [f"rows-{i}-{i + 20}.npz" for i in (0, 20, 40, 60)]
    stamps = {name: os.stat(f"run/{name}").st_mtime_ns for name in files()}
    total = accumulate_shards(counted(shards, read), folder="run")
    assert read == list(X[80:, 0]) and len(files()) == 11
    assert all(os.stat(f"run/{name}").st_mtime_ns == stamp for name, stamp in stamps.items())
    assert total.n == N and error(total.G, X.T @ X) < 1e-14 and error(total.B, X.T @ Y) < 1e-13
    again = accumulate_shards(counted(shards, read), folder="run", total=Statistics(D, 2).update(X, Y))
    assert read == list(X[80:, 0]) and again.n == 2 * N


def test_files_of_a_shard_that_do_not_fit_are_refused_with_the_way_out(data):
    X, Y = data
    shards = row_shards(X, Y, rows=100)
    accumulate_shards(shards, folder="run", run="first map")
    with pytest.raises(ValueError, match="rows-0-100.npz holds .*'first map rows-0-100'.*delete this file"):
        accumulate_shards(shards, folder="run", run="second map")
    Path("run/rows-100-200.npz").write_bytes(Path("run/rows-100-200.npz").read_bytes()[:-100])
    with pytest.raises(ValueError, match="rows-100-200.npz does not hold statistics.*delete this file"):
        accumulate_shards(shards, folder="run", run="first map")
    os.remove("run/rows-100-200.npz")
    assert error(accumulate_shards(shards, folder="run", run="first map").G, X.T @ X) < 1e-14
    os.replace("run/rows-0-100.npz", "run/rows-100-200.npz")  # under another name it would be counted twice
    with pytest.raises(ValueError, match="not of 'first map rows-100-200'"):
        accumulate_shards(shards, folder="run", run="first map")


def test_bad_shards_are_named(data):
    X, Y = data
    broken = X.copy()
    broken[130] = np.nan
    with pytest.raises(ValueError, match="shard rows-120-140, batches 1 to 3: Phi contains NaN"):
        accumulate_shards(row_shards(broken, Y, rows=20, batch=7))
    with pytest.raises(ValueError, match="the shard 'a/b' cannot name a file"):
        accumulate_shards({"a/b": list})
    with pytest.raises(ValueError, match="process 0 has none of the 0 shards: pass total="):
        accumulate_shards({})
    with pytest.raises(ValueError, match="X has 210 rows and Y has 209"):
        row_shards(X, Y[1:])
    with pytest.raises(ValueError, match="X has no rows"):
        row_shards(X[:0], Y[:0])
    for option in ("rows", "batch"):
        with pytest.raises(ValueError, match=f"{option} = 0 must be at least 1"):
            row_shards(X, Y, **{option: 0})
    for timeout in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="timeout = .* positive"):
            Processes(timeout=timeout)


def test_a_progress_bar_is_drawn_where_tqdm_is_installed(data, capsys, monkeypatch):
    pytest.importorskip("tqdm")
    accumulate_shards(row_shards(*data, rows=100), bar=True)
    drawn = capsys.readouterr().err
    assert "3/3" in drawn and "210 samples" in drawn
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert accumulate_shards(row_shards(*data, rows=100), bar=True).n == N
    assert capsys.readouterr().err == ""


# -- the command, in one process


@pytest.mark.parametrize("phi", ["halves", "tensors"])
def test_the_command_trains_the_model(data, capsys, phi):
    if phi == "tensors":
        pytest.importorskip("torch")
    W = distributed.main(command("--statistics", "sums.npz", phi=phi))
    assert error(W, oracle(*data)) < 1e-12
    assert ("torch" in str(type(W))) == (phi == "tensors")
    with np.load("model.npz", allow_pickle=False) as stored:
        assert np.array_equal(stored["W"], numpy64(W)) and stored["lam"] == 0.5 and stored["n"] == N
    assert error(Statistics.load("sums.npz").solve(0.5), oracle(*data)) < 1e-12
    assert "210 samples in 11 shards, 1 process(es)" in capsys.readouterr().out


def test_the_command_chooses_lam_by_held_out_shards_or_without(data, capsys):
    X, Y = data
    Phi, lams = workers.halves(X), [1e-2, 1.0, 30.0, 1e3]
    distributed.main(command("--hold-out", "0.25", lam=map(str, lams)))
    held = np.concatenate([np.arange(60, 80), np.arange(140, 160)])  # every fourth of 11 shards
    kept = np.setdiff1d(np.arange(N), held)
    loss = [np.mean(np.sum((Phi[held] @ krr.fit(Phi[kept], Y[kept], lam) - Y[held]) ** 2, axis=1)) for lam in lams]
    with np.load("model.npz") as stored:
        assert stored["scores"] == pytest.approx(loss, rel=1e-10) and stored["lam"] == lams[np.argmin(loss)]
        assert error(stored["W"], oracle(X, Y, lams[np.argmin(loss)])) < 1e-12
    assert "chosen from 4 by held-out loss" in capsys.readouterr().out
    distributed.main(command(lam=map(str, lams)))  # the shards of the first call serve again
    assert "chosen from 4 by generalised cross-validation" in capsys.readouterr().out


def test_classes_and_images_are_taken_as_they_come(rng, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images, classes = rng.normal(size=(50, 3, 2)), rng.integers(0, 3, 50)
    np.save("X.npy", images)
    np.save("Y.npy", classes)
    W = distributed.main(["X.npy", "Y.npy", "--classes", "3", "--lam", "2", "--shards", "run", "--out", "W.npz"])
    assert error(W, krr.fit(images.reshape(50, 6), np.eye(3)[classes], 2.0)) < 1e-12
    np.save("Y.npy", images[:, 0, 0])  # one regression target
    W = distributed.main(["X.npy", "Y.npy", "--lam", "2", "--shards", "other", "--out", "W.npz"])
    assert error(W, krr.fit(images.reshape(50, 6), images[:, 0, :1], 2.0)) < 1e-12


@pytest.mark.parametrize(
    "arguments, change, message",
    [
        (["--phi", "nothing:at_all"], None, "--phi nothing:at_all: give MODULE:FUNCTION"),
        (["--phi", "distributed_workers:none"], None, "--phi distributed_workers:none"),
        (["--phi", "distributed_workers"], None, "give MODULE:FUNCTION"),
        (["--hold-out", "0.7"], None, "--hold-out 0.7 must be more than 0 and at most 0.5"),
        (["--hold-out", "0.5", "--rows", "1000"], None, "of 1 shard.* is none: pass a smaller --rows"),
        (["--lam", "-1"], None, "lam = -1.0 must be finite and not negative"),
        (["--classes", "3"], None, "with classes= the targets must be integers"),
        (["--rows", "0"], None, "rows = 0 must be at least 1"),
        (["--timeout", "0"], None, "timeout = 0.0"),
        (["--shards", "done"], lambda X: np.save("X.npy", X[:-1]), "X has 209 rows and Y has 210"),
        (["--shards", "done"], lambda X: np.save("X.npy", X + 1), "data or the feature map have changed"),
        (["--shards", "done", "--phi", "distributed_workers:tensors"], None, "done belongs to another run"),
        (["--shards", "done"], lambda X: np.save("X.npy", X.astype("float32")), "another run"),
        (["--shards", "done"], lambda X: Path("done/run.npz").write_text("x"), "done/run.npz is damaged"),
        ([], lambda X: Path("X.npy").write_text("x"), "X.npy is not a NumPy array|X.npy does not hold"),
        ([], lambda X: np.save("X.npy", np.array([{}])), "X.npy is not a NumPy array"),
        ([], lambda X: np.savez(open("X.npy", "wb"), X=X), "X.npy does not hold one array"),
        ([], lambda X: os.remove("X.npy"), "No such file"),
        ([], lambda X: np.save("X.npy", np.full_like(X, np.nan)), "Phi contains NaN"),
    ],
)
def test_the_command_says_in_one_sentence_what_is_wrong(data, arguments, change, message):
    distributed.main(command(shards="done"))
    if change is not None:
        change(data[0])
    with pytest.raises(SystemExit, match=f"ddref.distributed: .*(?:{message})"):
        distributed.main(command(*arguments))
    with pytest.raises((ValueError, TypeError, OSError)):
        distributed.main(command(*arguments, "--traceback"))


def test_pixels_need_a_feature_map(data):
    np.save("X.npy", np.zeros((N, 2, 2), dtype="uint8"))
    with pytest.raises(SystemExit, match="X holds uint8: pass --phi MODULE:FUNCTION"):
        distributed.main(["X.npy", "Y.npy", "--lam", "1", "--shards", "run", "--out", "W.npz"])


# -- several processes

torch = pytest.importorskip("torch")
needs_gloo = pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()) or sys.platform == "win32",
    reason="this build of PyTorch has no gloo",
)


@needs_gloo
@pytest.mark.parametrize("count", [2, 3])
def test_several_processes_train_the_model_of_one(data, count):
    expected = distributed.main(command(shards="alone"))
    assert workers.run("train", count, ".", *command()) == ["ok"] * count
    models = [np.load(f"W-{rank}.npy") for rank in range(count)]
    assert error(models[0], expected) < 1e-12 and error(models[0], oracle(*data)) < 1e-12
    assert all(np.array_equal(models[0], W) for W in models)
    assert len(files()) == 11
    with np.load("model.npz") as stored:
        assert stored["n"] == N and np.array_equal(stored["W"], models[0])


@needs_gloo
@pytest.mark.parametrize("count, tensors", [(2, False), (3, True)])
def test_one_all_reduce_gives_every_process_the_sums_of_all(rng, tmp_path, count, tensors):
    Phi, Y = rng.normal(size=(60, 5)), rng.normal(size=(60, 2))
    np.save(tmp_path / "Phi.npy", Phi)
    np.save(tmp_path / "Y.npy", Y)
    assert workers.run("reduce", count, tmp_path, 60, tensors) == ["ok"] * count
    for rank in range(count):
        with np.load(tmp_path / f"sums-{rank}.npz") as found:
            assert found["n"] == 60 and abs(found["yy"] - np.sum(Y**2)) < 1e-12 * np.sum(Y**2)
            assert abs(found["cancellation"] - 1) < 1e-12
            assert error(found["G"], Phi.T @ Phi) < 1e-12 and error(found["B"], Phi.T @ Y) < 1e-12
        assert np.array_equal(np.load(tmp_path / f"shared-{rank}.npy"), np.zeros(3))


@needs_gloo
def test_processes_that_do_not_fit_together_are_told(tmp_path):
    for said in workers.run("differ", 2, tmp_path):
        assert said == "ValueError: the processes differ: p from 3 to 4, k from 1 to 1"


@needs_gloo
def test_a_silent_process_is_named_and_a_slow_one_waited_for(tmp_path):
    first, _ = workers.run("fall_silent", 2, tmp_path)
    assert first.startswith("Lost: process 0 of 2 stops: process 1 has given no sign of life for 1 s. Finished shards")
    assert workers.run("slow", 2, tmp_path) == ["ok", "ok"]


@needs_gloo
def test_a_killed_process_is_reported_and_the_run_goes_on_from_its_shards(data):
    Path("die").touch()
    said = workers.run("train", 3, ".", *command("--timeout", "2", phi="kills_process_1"))
    assert said[1] == f"ended by -{signal.SIGKILL.value}"
    for text in (said[0], said[2]):
        assert text.startswith("SystemExit: ddref.distributed: process") and "the same command goes on" in text
    assert not Path("model.npz").exists()
    before = {name: os.stat(f"run/{name}").st_mtime_ns for name in files()}
    assert 2 <= len(before) < 11  # finished shards are kept, and not all are finished
    os.remove("die")
    for path in Path().glob("said-*"):
        path.unlink()
    assert workers.run("train", 2, ".", *command(phi="kills_process_1")) == ["ok"] * 2  # two processes instead of three
    assert len(files()) == 11 and all(os.stat(f"run/{name}").st_mtime_ns == time for name, time in before.items())
    assert error(np.load("W-0.npy"), oracle(*data)) < 1e-12
    with np.load("model.npz") as stored:
        assert stored["n"] == N


@needs_gloo
def test_a_process_that_fails_tells_the_others_why(data):
    said = workers.run("train", 2, ".", *command("--batch", "17", phi="fails_in_process_1"))
    assert "shard rows-20-40, batches 1 to 2: Phi contains NaN or Inf" in said[1]
    assert "process 1 failed, ValueError: shard rows-20-40, batches 1 to 2: Phi contains NaN" in said[0]


@needs_gloo
def test_torchrun_runs_the_command_and_a_killed_run_is_finished_by_one_process(data):
    Path("die").touch()
    here = os.pathsep.join([str(Path(__file__).parent), str(Path(distributed.__file__).parent.parent)])
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m",
         "ddref.distributed", *command(phi="kills_process_1")],
        env={**os.environ, "PYTHONPATH": here, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode != 0 and "(SIGKILL)" in done.stderr
    assert "Finished shards are kept: the same command goes on from them" in done.stderr
    kept = len(files())
    assert 2 <= kept < 11
    W = distributed.main(command(phi="kills_process_1"))
    assert len(files()) == 11 and error(W, oracle(*data)) < tolerance(10, "float64")
