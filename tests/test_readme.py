"""The README's Python runs as printed, and the figures quoted in prose are those that were measured."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from sklearn.linear_model import Ridge

from conftest import error

ROOT = Path(__file__).resolve().parent.parent


README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readmes_lines_run_and_give_an_exact_set(capsys):
    names = {}
    for code in re.findall(r"```python\n(.*?)```", README, re.S):
        exec(code, names)
        assert names["X_S"].shape == (10, 64)
        assert "exact=True" in capsys.readouterr().out
    small = Ridge(alpha=names["lam_S"]).fit(names["X_S"], names["Y_S"])
    assert error(small.coef_, names["model"].coef_) < 1e-9


def test_the_first_lines_install_the_package_and_run_it():
    """On the first screen: pip install, from where the package is, with extras that it has; then the five lines."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    start = "\n".join(README.splitlines()[:26])
    assert start.index("pip install") < start.index("```python") < start.index("measure.verify")
    extras = re.search(r'pip install "ddref\[([\w,]+)\] @ git\+(\S+)"', start)
    assert extras[2] == project["urls"]["Repository"]
    assert set(extras[1].split(",")) <= set(project["optional-dependencies"])
    code = re.search(r"```python\n(.*?)```", start, re.S)[1]
    assert len([line for line in code.splitlines() if line and "import" not in line]) == 5


def test_the_ten_points_that_are_quoted_are_those_measured():
    measured = json.loads((ROOT / "results" / "ten_points.json").read_text(encoding="utf-8"))
    for kind in ("linear", "fourier"):
        assert measured[kind]["exact"] and measured[kind]["points"] == 10 and measured[kind]["decisions_changed"] == 0
        quoted = f"{measured[kind]['accuracy']:.1%}".replace("%", " %")
        assert all(quoted in (ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "chapters/index.md"))
    assert f"{measured['fourier']['computing_seconds']:.0f} s of processor time" in " ".join(README.split())


def test_the_accuracy_that_is_quoted_is_the_one_measured():
    measured = json.loads((ROOT / "results" / "linear.json").read_text(encoding="utf-8"))["mnist"]
    quoted = f"{measured['accuracy']:.1%}".replace("%", " %")
    for page in ("README.md", "chapters/index.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert quoted in text, page
        assert f"{measured['images']:,} images" in text
    assert all(one["exact"] and one["accuracy"] == measured["accuracy"] for one in measured["sets"])


@pytest.mark.parametrize("name", ["linear", "path", "ten_points"])
def test_results_say_where_they_were_measured(name):
    stored = json.loads((ROOT / "results" / f"{name}.json").read_text(encoding="utf-8"))
    assert {"processor", "cores", "python", "numpy"} <= stored["machine"].keys()
