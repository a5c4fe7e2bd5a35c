"""ddref.statistics on large data: shards that survive, processes that add up, what is said when one is lost, Dask."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import distributed_workers as workers
import numpy as np
import pytest

from conftest import error, numpy64
from ddref import krr
from ddref.measure import tolerance
from ddref.statistics import (
    Processes,
    Statistics,
    accumulate_shards,
    from_dask,
    row_shards,
)
from ddref.statistics.__main__ import main
from ddref.statistics.store import ChangedData

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
    summed = []
    total = accumulate_shards(counted(shards, read), lambda X: summed.extend(X[:, 0]) or X, folder="run")
    assert read == list(X[:, 0]) and summed == list(X[80:, 0])  # all is read, for the checksums
    assert len(files()) == 11
    assert all(os.stat(f"run/{name}").st_mtime_ns == stamp for name, stamp in stamps.items())
    assert total.n == N and error(total.G, X.T @ X) < 1e-14 and error(total.B, X.T @ Y) < 1e-13
    total = Statistics(D, 2).update(X, Y)
    assert accumulate_shards(shards, lambda X: 1 / 0, folder="run", total=total).n == 2 * N


def test_an_interruption_of_the_command_is_one_line_and_keeps_finished_shards(data, monkeypatch, capsys):
    calls = []

    def halves(X):
        calls.append(1)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return workers.halves(X)

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stopped:
        patch.setattr(workers, "interrupted", halves, raising=False)
        main(command(phi="interrupted"))
    said = capsys.readouterr().err
    assert stopped.value.code == 130 and len(said.splitlines()) == 1
    assert said.startswith("ddref.statistics: interrupted; finished shards are kept in run")
    kept = files()
    assert 0 < len(kept) < 11 and not os.path.exists("model.npz") and not list(Path(".").glob(".*.part"))


def test_files_of_a_shard_that_do_not_fit_are_refused_with_the_way_out(data):
    X, Y = data
    shards = row_shards(X, Y, rows=100)
    accumulate_shards(shards, folder="run", run="first map")
    with pytest.raises(ValueError, match="rows-0-100.npz holds .*'first map rows-0-100 .*delete this file"):
        accumulate_shards(shards, folder="run", run="second map")
    Path("run/rows-100-200.npz").write_bytes(Path("run/rows-100-200.npz").read_bytes()[:-100])
    with pytest.raises(ValueError, match="rows-100-200.npz does not hold statistics.*delete this file"):
        accumulate_shards(shards, folder="run", run="first map")
    os.remove("run/rows-100-200.npz")
    assert error(accumulate_shards(shards, folder="run", run="first map").G, X.T @ X) < 1e-14
    os.replace("run/rows-0-100.npz", "run/rows-100-200.npz")  # under another name it would be counted twice
    with pytest.raises(ValueError, match="not 'first map rows-100-200'"):
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


# -- a shard knows its data


def edited(path, change):
    """Change an array file in place: the same size, and its times as they were."""
    stat = os.stat(path)
    A = np.load(path)
    change(A)
    np.save(path, A)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert os.stat(path).st_size == stat.st_size


def times():
    return {name: os.stat(f"run/{name}").st_mtime_ns for name in files()}


def test_a_corrected_row_is_noticed_and_its_shard_alone_summed_again(data, capsys):
    main(command())
    for path, row in (("Y.npy", 105), ("X.npy", 0), ("X.npy", 209)):
        before = times()

        def correct(A, row=row):
            A[row] = -A[row]

        edited(path, correct)
        W = main(command("--batch", "9"))  # the size of batches does not matter
        X, Y = np.load("X.npy"), np.load("Y.npy")
        assert error(W, oracle(X, Y)) < 1e-12
        start = row // 20 * 20
        name = f"rows-{start}-{min(start + 20, N)}.npz"
        assert [name for name, time in times().items() if time != before[name]] == [name]
        said = capsys.readouterr().err
        assert said.count("ddref.statistics:") == 1 and f"run/{name}: the data of this shard have changed" in said


def test_a_touch_loses_no_work_and_data_may_grow(data, capsys):
    X, Y = data
    main(command())
    before = times()
    for path in ("X.npy", "Y.npy"):
        np.save(path, np.load(path))  # another file, of another time
    main(command())
    assert times() == before
    np.save("X.npy", np.vstack([X, X[:30]]))
    np.save("Y.npy", np.vstack([Y, Y[:30]]))
    assert error(main(command()), oracle(np.vstack([X, X[:30]]), np.vstack([Y, Y[:30]]))) < 1e-12
    assert {name: time for name, time in times().items() if name in before} == before
    assert capsys.readouterr().err == ""


def test_shards_without_a_checksum_are_summed_again(data):
    X, Y = data
    shards = row_shards(X, Y, rows=100)
    Path("run").mkdir()
    (Statistics(D, 2).update(X, Y)).save("run/rows-0-100.npz", note=" rows-0-100")  # as the first edition did
    with pytest.warns(ChangedData, match="rows-0-100.npz: the data of this shard have changed, or"):
        assert accumulate_shards(shards, folder="run").n == N
    with pytest.raises(TypeError, match="shard a, .*X holds objects"):
        accumulate_shards({"a": lambda: [(np.array([{}]), Y[:1])]}, folder="run")


def test_a_feature_map_that_has_changed_is_noticed_whatever_happened_to_the_data(data):
    workers.FACTOR = 1.0
    try:
        main(command(phi="times_factor"))
        edited("X.npy", lambda A: np.negative(A, out=A))
        main(command(phi="times_factor"))
        workers.FACTOR = 1.001
        with pytest.raises(SystemExit, match="the feature map has changed since the shards in run were summed"):
            main(command(phi="times_factor"))
    finally:
        workers.FACTOR = 1.0


# -- the command, in one process


@pytest.mark.parametrize("phi", ["halves", "tensors"])
def test_the_command_trains_the_model(data, capsys, phi):
    if phi == "tensors":
        pytest.importorskip("torch")
    W = main(command("--statistics", "sums.npz", phi=phi))
    assert error(W, oracle(*data)) < 1e-12
    assert ("torch" in str(type(W))) == (phi == "tensors")
    with np.load("model.npz", allow_pickle=False) as stored:
        assert np.array_equal(stored["W"], numpy64(W)) and stored["lam"] == 0.5 and stored["n"] == N
    assert error(Statistics.load("sums.npz").solve(0.5), oracle(*data)) < 1e-12
    assert "210 samples in 11 shards, 1 process(es)" in capsys.readouterr().out


def test_the_command_chooses_lam_by_held_out_shards_or_without(data, capsys):
    X, Y = data
    Phi, lams = workers.halves(X), [1e-2, 1.0, 30.0, 1e3]
    main(command("--hold-out", "0.25", lam=map(str, lams)))
    held = np.concatenate([np.arange(60, 80), np.arange(140, 160)])  # every fourth of 11 shards
    kept = np.setdiff1d(np.arange(N), held)
    loss = [np.mean(np.sum((Phi[held] @ krr.fit(Phi[kept], Y[kept], lam) - Y[held]) ** 2, axis=1)) for lam in lams]
    with np.load("model.npz") as stored:
        assert stored["scores"] == pytest.approx(loss, rel=1e-10) and stored["lam"] == lams[np.argmin(loss)]
        assert error(stored["W"], oracle(X, Y, lams[np.argmin(loss)])) < 1e-12
    assert "chosen from 4 by held-out loss" in capsys.readouterr().out
    main(command(lam=map(str, lams)))  # the shards of the first call serve again
    assert "chosen from 4 by generalised cross-validation" in capsys.readouterr().out


def test_classes_and_images_are_taken_as_they_come(rng, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images, classes = rng.normal(size=(50, 3, 2)), rng.integers(0, 3, 50)
    np.save("X.npy", images)
    np.save("Y.npy", classes)
    W = main(["X.npy", "Y.npy", "--classes", "3", "--lam", "2", "--shards", "run", "--out", "W.npz"])
    assert error(W, krr.fit(images.reshape(50, 6), np.eye(3)[classes], 2.0)) < 1e-12
    np.save("Y.npy", images[:, 0, 0])  # one regression target
    W = main(["X.npy", "Y.npy", "--lam", "2", "--shards", "other", "--out", "W.npz"])
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
        (["--shards", "done", "--phi", "distributed_workers:tensors"], None, "done belongs to another run"),
        (["--shards", "done"], lambda X: np.save("X.npy", X.astype("float32")), "another run"),
        (["--shards", "done"], lambda X: Path("done/run.npz").write_text("x"), "done/run.npz: not an .npz file"),
        ([], lambda X: Path("X.npy").write_text("x"), "X.npy is not a NumPy array|X.npy does not hold"),
        ([], lambda X: np.save("X.npy", np.array([{}])), "X.npy is not a NumPy array"),
        ([], lambda X: np.savez("X", X=X) or os.replace("X.npz", "X.npy"), "X.npy does not hold one array"),
        ([], lambda X: os.remove("X.npy"), "No such file"),
        ([], lambda X: np.save("X.npy", np.full_like(X, np.nan)), "Phi contains NaN"),
    ],
)
def test_the_command_says_in_one_sentence_what_is_wrong(data, arguments, change, message):
    main(command(shards="done"))
    if change is not None:
        change(data[0])
    with pytest.raises(SystemExit, match=f"ddref.statistics: .*(?:{message})"):
        main(command(*arguments))
    with pytest.raises((ValueError, TypeError, OSError)):
        main(command(*arguments, "--traceback"))


def test_pixels_need_a_feature_map(data):
    np.save("X.npy", np.zeros((N, 2, 2), dtype="uint8"))
    with pytest.raises(SystemExit, match="X holds uint8: pass --phi MODULE:FUNCTION"):
        main(["X.npy", "Y.npy", "--lam", "1", "--shards", "run", "--out", "W.npz"])


# -- several processes

torch = pytest.importorskip("torch")
needs_gloo = pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()) or sys.platform == "win32",
    reason="this build of PyTorch has no gloo",
)


@needs_gloo
@pytest.mark.parametrize("count", [2, 3])
def test_several_processes_train_the_model_of_one(data, count):
    expected = main(command(shards="alone"))
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
        assert said == "ValueError: the processes differ: p from 3 to 4"
    for said in workers.run("differ_in_bounds", 2, tmp_path):
        assert said == "ValueError: the processes differ: clip from 1 to 2"


@needs_gloo
def test_a_process_that_does_not_come_is_named(tmp_path):
    said = workers.run("stay_away", 3, tmp_path)
    assert said[0].startswith("ConnectionError: process 0 of 3 stops, the processes did not come together")
    assert "anks 1 " in said[0], said
    assert "Finished shards are kept: the same command goes on from them" in said[0]
    assert all(text.startswith("ConnectionError") for text in said[1:])


@needs_gloo
def test_a_killed_process_is_reported_and_the_run_goes_on_from_its_shards(data):
    Path("die").touch()
    said = workers.run("train", 3, ".", *command("--timeout", "5", phi="kills_process_1"))
    assert said[1] == f"ended by -{signal.SIGKILL.value}"
    for text in (said[0], said[2]):
        assert text.startswith("SystemExit: ddref.statistics: process") and "the same command goes on" in text
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
def test_a_process_that_fails_says_why_and_ends_the_others(data):
    said = workers.run("train", 2, ".", *command("--batch", "17", "--timeout", "5", phi="fails_in_process_1"))
    assert "shard rows-20-40, batches 1 to 2: Phi contains NaN or Inf" in said[1]
    assert said[0].startswith("SystemExit: ddref.statistics: process 0 of 2 stops")


def torchrun(*options):
    here = os.pathsep.join([str(Path(__file__).parent), str(Path(krr.__file__).parent.parent)])
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", *options, "-m",
         "ddref.statistics", *command(phi="kills_process_1")],
        env={**os.environ, "PYTHONPATH": here, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip


@pytest.mark.slow
@needs_gloo
def test_torchrun_runs_the_command_and_a_killed_run_is_finished_by_one_process(data):
    Path("die").touch()
    done = torchrun()
    assert done.returncode != 0 and "(SIGKILL)" in done.stderr
    kept = len(files())
    assert 2 <= kept < 11
    W = main(command(phi="kills_process_1"))
    assert len(files()) == 11 and error(W, oracle(*data)) < tolerance(10, "float64")


@needs_gloo
@pytest.mark.slow
def test_torchrun_starts_all_processes_again_when_one_is_killed(data):
    Path("die").write_text("once")
    done = torchrun("--max-restarts=2")
    assert done.returncode == 0 and not Path("die").exists(), done.stderr
    with np.load("model.npz") as stored:
        assert stored["n"] == N and error(stored["W"], oracle(*data)) < tolerance(10, "float64")


# -- Dask


def blocks_of(X, Y, rows=20):
    da = pytest.importorskip("dask.array")
    return da.from_array(X, chunks=(rows, 2)), da.from_array(Y, chunks=(3 * rows, 2))


def test_blocks_of_dask_add_up(data):
    X, Y = data
    one = Statistics(D, 2).update(X, Y)
    dask = pytest.importorskip("dask")
    delayed = [dask.delayed(X[:70]), dask.delayed(X[70:])], [dask.delayed(Y[:70]), dask.delayed(Y[70:])]
    for A, T in (blocks_of(X, Y), delayed):
        with dask.config.set(scheduler="synchronous"):
            s = from_dask(A, T)
        assert s.n == N and error(s.G, one.G) < 1e-12 and error(s.B, one.B) < 1e-12
    with pytest.raises(ValueError, match="X has 2 blocks and Y has 1: the same rows"):
        from_dask(delayed[0], delayed[1][:1])
    with pytest.raises(ValueError, match="X has 11 blocks"):
        from_dask(blocks_of(X, Y)[0], blocks_of(X, Y[:-1])[1])


@pytest.mark.slow
def test_a_killed_worker_of_dask_loses_and_doubles_nothing(data, monkeypatch):
    distributed = pytest.importorskip("distributed")
    X, Y = data
    here = os.pathsep.join([str(Path(__file__).parent), str(Path(krr.__file__).parent.parent)])
    monkeypatch.setenv("PYTHONPATH", here)
    Path("die").touch()
    one = Statistics(D + 2, 2).update(workers.halves(X), Y)
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
                                 local_directory=str(Path.cwd())) as cluster,
        distributed.Client(cluster) as client,
    ):  # fmt: skip
        before = set(client.scheduler_info()["workers"])
        s = from_dask(*blocks_of(X, Y), workers.kills_a_worker)
        assert not Path("die").exists()  # it happened
        assert set(client.scheduler_info()["workers"]) != before
    assert s.n == N and abs(s.yy - one.yy) < 1e-12 * one.yy
    assert error(s.G, one.G) < 1e-12 and error(s.B, one.B) < 1e-12
    assert error(s.solve(0.5), oracle(X, Y)) < 1e-12
