"""The built package has all of its folders and files, and works where nothing else of this clone is."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
BUILD = "import sys, setuptools.build_meta as b; print(getattr(b, 'build_' + sys.argv[1])(sys.argv[2]))"
WITHOUT_CLONE = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE")}


def shipped():
    """The files of ddref/, as git has or would add them."""
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for folder, folders, files in os.walk(ROOT / "ddref"):
        for name in ignored(folder, [*folders, *files]):
            (folders if name in folders else files).remove(name)
        yield from ((Path(folder) / name).relative_to(ROOT).as_posix() for name in files)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The source archive, built from a copy of the clone, and the wheel, built from that archive."""
    folder = tmp_path_factory.mktemp("build")
    clone = folder / "clone"
    shutil.copytree(ROOT / "ddref", clone / "ddref", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone)
    said = []

    def build(kind, source):
        command = [sys.executable, "-c", BUILD, kind, str(folder)]
        done = subprocess.run(command, cwd=source, env=WITHOUT_CLONE, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout + done.stderr)
        return folder / done.stdout.splitlines()[-1]

    archive = build("sdist", clone)
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "unpacked", filter="data")
    wheel = build("wheel", next((folder / "unpacked").iterdir()))
    return archive, wheel, "\n".join(said)


def test_building_warns_of_nothing(built):
    lines = [line for line in built[2].splitlines() if re.search("warning|deprecat", line, re.IGNORECASE)]
    assert lines == []


def test_archive_and_wheel_have_every_file_of_the_package(built):
    archive, wheel, _ = built
    with tarfile.open(archive) as tar:
        in_archive = {name.partition("/")[2] for name in tar.getnames()}
    in_wheel = set(zipfile.ZipFile(wheel).namelist())
    assert set(shipped()) <= in_archive and {"LICENSE", "README.md"} <= in_archive
    assert {name for name in in_wheel if ".dist-info/" not in name} == set(shipped())


@pytest.fixture(scope="module")
def empty(built, tmp_path_factory):
    """The programs of a new environment with the wheel alone, beside the packages that are installed here."""
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder / "venv", with_pip=False, symlinks=os.name != "nt")
    programs = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    python = next(path for path in programs.iterdir() if path.stem == "python")
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", "--quiet"]
    done = subprocess.run([*install, str(built[1])], env=WITHOUT_CLONE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    site = next((folder / "venv").rglob("site-packages"))
    (site / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (folder / "here").mkdir()
    return python, folder / "here"


def run(command, folder):
    done = subprocess.run(command, cwd=folder, env=WITHOUT_CLONE, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_readmes_lines_run_from_an_empty_folder(empty):
    python, folder = empty
    code = "\n".join(re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S))
    out = run([python, "-c", code + "\nimport ddref; print(ddref.__file__)"], folder)
    assert "exact=True" in out and str(python.parent.parent) in out


def test_the_command_runs_from_an_empty_folder(empty):
    python, folder = empty
    ddref = next(path for path in python.parent.iterdir() if path.stem == "ddref")
    assert "distill" in run([ddref, "--help"], folder)
    (folder / "nearest.py").write_text(run([ddref, "copy", "nearest.nearest", "--numpy"], folder))
    run([python, "-c", "import nearest; nearest.nearest"], folder)
    assert "usage: ddref" in run([python, "-m", "ddref", "--help"], folder)


def test_the_shipped_data_are_read_from_the_installed_package(empty):
    python, folder = empty
    run([python, "-c", "from ddref import datasets; datasets.fashion_sample()"], folder)
