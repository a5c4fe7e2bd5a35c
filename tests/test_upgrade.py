"""What the first edition (0.1) wrote is read as before, and its import paths say where things are now.

`tests/first_edition/` holds files that version 0.1.0 saved, and in `models.npz` the models that it trained on them.
"""

import importlib
from pathlib import Path

import numpy as np
import pytest

from conftest import error
from ddref import files
from ddref.statistics import Statistics

FOLDER = Path(__file__).parent / "first_edition"
SETS = "table columns float32 network fourier flow chain convolutional".split()
MOVED = {
    "ddref.conv": "ddref.maps",
    "ddref.fourier": "ddref.maps.fourier",
    "ddref.distributed": "ddref.statistics",
}


@pytest.fixture(scope="module")
def models():
    with np.load(FOLDER / "models.npz", allow_pickle=False) as stored:
        return dict(stored)


@pytest.mark.parametrize("name", SETS)
def test_a_file_of_the_first_edition_gives_the_same_model(name, models, tmp_path):
    if name == "convolutional":
        pytest.importorskip("torch")
    saved = files.load(FOLDER / f"{name}.npz")
    W, b = files.model(saved)
    condition = saved.certificate["condition"]
    assert error(W, models[f"{name}_W"]) < 50 * condition * 2.0**-52
    assert np.abs(b - models[f"{name}_b"]).max() < 1e-10
    files.save(tmp_path / "again.npz", saved)  # and is written again as the present format
    assert np.array_equal(files.model(files.load(tmp_path / "again.npz")).W, W)


def test_statistics_of_the_first_edition_are_read(models):
    sums = Statistics.load(FOLDER / "statistics.stats")
    assert sums.n == 55 and error(sums.solve(0.7), models["statistics"]) < 1e-13


def test_a_state_of_kip_of_the_first_edition_is_read(models):
    pytest.importorskip("torch")
    from ddref import kip

    state = kip.load(FOLDER / "kip.state")
    assert state.seed == 4 and np.array_equal(state.X_S.numpy(), models["kip_X"])


@pytest.mark.parametrize("old, new", MOVED.items())
def test_an_old_import_path_names_the_new_one(old, new):
    with pytest.raises(ImportError, match=rf"{new}\b"):
        importlib.import_module(old)
