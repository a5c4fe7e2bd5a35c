"""The README's Python runs as printed, and the figures quoted in prose are those that were measured."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def test_the_readmes_lines_run_and_give_an_exact_set(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    names = {}
    exec(code, names)
    assert names["X_S"].shape == (10, 64)
    assert "exact=True" in capsys.readouterr().out


def test_the_accuracy_that_is_quoted_is_the_one_measured():
    measured = json.loads((ROOT / "results" / "linear.json").read_text(encoding="utf-8"))["mnist"]
    quoted = f"{measured['accuracy']:.1%}".replace("%", " %")
    for page in ("README.md", "chapters/index.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert quoted in text, page
        assert f"{measured['images']:,} images" in text
    assert all(one["exact"] and one["accuracy"] == measured["accuracy"] for one in measured["sets"])


@pytest.mark.parametrize("name", ["linear", "path"])
def test_results_say_where_they_were_measured(name):
    stored = json.loads((ROOT / "results" / f"{name}.json").read_text(encoding="utf-8"))
    assert {"processor", "cores", "python", "numpy"} <= stored["machine"].keys()
