"""The main functions give the same results wherever they run: modes of NumPy and PyTorch, without `assert`, with a
decimal comma, in threads, forked, spawned. What they are is in everything.py."""

import ast
import io
import locale
import os
import re
import shutil
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
import everything  # noqa: E402
from environment_worker import in_a_new_process, seen  # noqa: E402

from ddref import npz  # noqa: E402
from ddref.datasets import pictures  # noqa: E402
from ddref.nonsurjective.linearised import AutogradAt  # noqa: E402

FILES = sorted((Path(__file__).resolve().parent.parent / "ddref").rglob("*.py"))
INSTALLED = ("de_DE.UTF-8", "de_DE", "fr_FR.UTF-8", "es_ES.UTF-8", "German_Germany.1252")


def different(found, expected):
    """The names of results that are not those expected, up to rounding."""
    names = [name for name in expected if name != "refusals" and not alike(found.get(name, []), expected[name])]
    return names + [name for name, said in expected["refusals"].items() if found["refusals"].get(name) != said]


def alike(found, expected):
    pairs = zip(found, expected, strict=False)
    return len(found) == len(expected) and all(
        A.dtype == B.dtype and A.shape == B.shape and np.allclose(A, B, rtol=1e-9, atol=1e-11, equal_nan=True)
        for A, B in pairs
    )


@pytest.fixture(scope="module")
def expected():
    found = everything.results()
    assert found["refusals"].keys() == everything.WRONG.keys()
    assert all(found[name] for name in found)
    return found


def test_results_that_differ_and_refusals_that_are_not_made_are_found(expected):
    assert different(everything.results(), expected) == []
    one, other = list(expected)[:2]
    wrong = expected | {one: [(1 + 1e-7) * A for A in expected[one]], other: []}
    assert different(wrong | {"refusals": {}}, expected) == [one, other, *everything.WRONG]
    assert different(expected | {one: [A.astype(np.float32) for A in expected[one]]}, expected) == [one]


# -- modes of NumPy and PyTorch


def test_where_numpy_raises_at_every_rounding_to_zero_or_infinity(expected):
    with np.errstate(all="raise"):
        assert different(everything.results(), expected) == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_under_either_default_dtype_of_pytorch(expected, dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        assert different(everything.results(), expected) == []
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_where_pytorch_keeps_no_gradients(expected, mode):
    """Training and the solver, which need them, switch them on."""
    with mode():
        one = torch.ones(1)
        if not torch.func.jvp(torch.sin, (one,), (one,))[1]:  # so does the solver say, and refuses
            pytest.skip(f"PyTorch {torch.__version__} gives no derivatives here, not even forward ones")
        assert different(everything.results(), expected) == []


def test_with_deterministic_algorithms_alone(expected):
    torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms(True), without what it imports
    try:
        assert torch.are_deterministic_algorithms_enabled()
        assert different(everything.results(), expected) == []
    finally:
        torch.set_deterministic_debug_mode("default")


# -- a decimal comma


@pytest.fixture
def comma(tmp_path, monkeypatch):
    """A locale with a decimal comma: one that is installed, or one that is made here."""
    before = locale.setlocale(locale.LC_ALL)
    for name in INSTALLED:
        try:
            yield locale.setlocale(locale.LC_ALL, name)
            break
        except locale.Error:
            continue
    else:
        if not shutil.which("localedef"):
            pytest.skip("no locale with a decimal comma on this machine, nor localedef to make one")
        (tmp_path / "source").write_text('LC_NUMERIC\ndecimal_point ","\nthousands_sep "."\nEND LC_NUMERIC\n')
        # it exits with 1, for warnings of all that is not defined
        subprocess.run(["localedef", "-c", "-i", "source", "-f", "UTF-8", "./comma"], cwd=tmp_path, capture_output=True)
        monkeypatch.setenv("LOCPATH", str(tmp_path))
        yield locale.setlocale(locale.LC_NUMERIC, "comma")
    locale.setlocale(locale.LC_ALL, before)


def test_with_a_decimal_comma(expected, comma):
    assert f"{0.5:n}" == "0,5"
    assert different(everything.results(), expected) == []


def test_nothing_in_the_package_asks_for_the_locale():
    """Where there is none with a decimal comma, this is what keeps numbers as they are."""
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"import locale|from locale|:[<>^+ ,#0-9.]*n\}", text), path


# -- without assert; threads and processes


def test_no_check_is_an_assert():
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert not found and not names & {"__debug__", "__doc__"}, (path, found)


@pytest.fixture
def fast_switches():
    """Threads take turns a hundred thousand times a second."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.slow
def test_eight_threads_at_once_get_what_one_gets(expected, fast_switches):
    barrier = Barrier(8)

    def run(_):
        barrier.wait()
        return different(everything.results(), expected)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(run, range(8))) == [[]] * 8


def test_reading_in_threads_leaves_the_warnings_of_all_others(fast_switches, tmp_path):
    filters, arrays = list(warnings.filters), {str(i): np.ones(i) for i in range(20)}
    npz.save_npz(tmp_path / "a.npz", arrays)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(npz.load_npz, [tmp_path / "a.npz"] * 200):
            assert found.keys() == arrays.keys()
    assert list(warnings.filters) == filters


def test_decoding_pictures_in_threads_leaves_the_warnings_of_all_others(fast_switches):
    PIL, file, filters = pictures.pillow(), io.BytesIO(), list(warnings.filters)
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    PIL.Image.fromarray(pixels).save(file, "PNG")
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: pictures.decoded(PIL, file.getvalue(), "a.png", 1000), range(200)):
            assert np.array_equal(found.array, pixels)
    assert list(warnings.filters) == filters


def test_forward_differentiation_in_threads_is_that_of_one(fast_switches):
    """Of the products with Jacobians too large to be kept, which the functions above do without."""
    X, _, _ = map(torch.tensor, everything.data())
    at = AutogradAt(lambda X: torch.tanh(X @ X.mT), X, len(X))
    expected = at.push(X)
    with ThreadPoolExecutor(8) as pool:
        assert all(torch.equal(found, expected) for found in pool.map(at.push, [X] * 100))


@pytest.mark.slow
def test_processes_without_asserts_spawned_and_forked_get_the_same(expected, monkeypatch):
    """The spawned one is without docstrings, too; eight threads import the package in it; it forks the other."""
    monkeypatch.setenv("PYTHONOPTIMIZE", "2")
    debug, docstring, imported_once, found = in_a_new_process("spawn", seen)
    assert not debug and docstring is None and imported_once
    assert "fork" in found or os.name == "nt"
    assert {way: different(one, expected) for way, one in found.items()} == dict.fromkeys(found, [])
