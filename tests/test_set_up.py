"""What `make` tells uv before it installs (tools/set_up.py)."""

import re
import tomllib

import pytest

from tools import set_up

LISTING = """\
:env:.index-url='https://one.example/simple'
:env:.default-timeout='180'
global.index-url='https://two.example/simple'
global.find-links='/wheels /more'
install.find-links='/first'
wheel.find-links='/of-another-command'
"""


def test_settings_of_pip_are_read_with_its_precedence():
    found = set_up.pip_settings(LISTING)
    assert found == {"index-url": "https://one.example/simple", "default-timeout": "180", "find-links": "/first"}


def test_the_order_of_the_lines_does_not_matter():
    lines = ["global.index-url='b'", ":env:.index-url='a'"]
    assert set_up.pip_settings("\n".join(lines)) == set_up.pip_settings("\n".join(lines[::-1])) == {"index-url": "a"}


def test_uv_is_told_every_index_and_folder():
    arguments = set_up.uv_arguments({"index-url": "a", "extra-index-url": "b c", "find-links": "/d", "cert": "e"})
    pairs = list(zip(arguments[2::2], arguments[3::2], strict=True))
    assert pairs == [("--default-index", "a"), ("--extra-index-url", "b"), ("--extra-index-url", "c"),
                     ("--find-links", "/d")]  # fmt: skip


@pytest.mark.parametrize("uv_fails", [False, True])
def test_pip_installs_where_uv_cannot(monkeypatch, uv_fails):
    class Ran:
        returncode, stdout = int(uv_fails), ""

    asked = []
    monkeypatch.setattr(set_up.subprocess, "run", lambda command, **_: asked.append(command) or Ran)
    assert set_up.with_uv() is not uv_fails
    assert asked[0][3:5] == ["install", "--quiet"] and asked[0][5].startswith("uv==")
    assert uv_fails or asked[-1][1:4] == ["-m", "uv", "pip"]


def pins(path):
    lines = (set_up.ROOT / path).read_text(encoding="utf-8").splitlines()
    words = [line.split("#")[0].strip() for line in lines]
    return [word for word in words if word]


def test_binder_installs_the_package_with_versions_that_are_tested_on_an_allowed_python():
    own, *binder = pins("binder/requirements.txt")
    assert own == "." and set(binder) <= set(pins("requirements.txt"))
    project = tomllib.loads((set_up.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = (set_up.ROOT / "binder/runtime.txt").read_text(encoding="utf-8").strip()
    assert version == project["requires-python"].replace(">=", "python-")
    extras = [project["optional-dependencies"][name] for name in ("torch", "data", "sklearn", "tables")]
    needed = {re.split(r"[\[><=]", name)[0] for name in sum(extras, project["dependencies"])}
    assert needed | {"matplotlib", "jupyterlab", "jupyterlab-myst"} <= {pin.partition("==")[0] for pin in binder}
