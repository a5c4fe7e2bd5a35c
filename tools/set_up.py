"""Install requirements.txt and this package into the environment that runs this file (`make` calls it).

uv installs in about ten seconds what takes pip a minute or two. It does not read pip's settings, so it is told them:
index, extra indexes, folders of wheels, certificate. Where uv cannot be had, or fails, pip does the work.
"""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WHAT = ["-r", "requirements.txt", "-e", "."]
FLAGS = {"index-url": "--default-index", "extra-index-url": "--extra-index-url", "find-links": "--find-links"}
SECTIONS = ["global", "install", ":env:"]  # of `pip config list`, a later one wins


def pip(*arguments, **options):
    return subprocess.run([sys.executable, "-m", "pip", *arguments], cwd=ROOT, text=True, **options)


def pip_settings(listing):
    """The lines of `pip config list` as a dictionary; of several settings of a key the one that pip would use."""
    lines = re.findall(r"^([^.\n]+)\.([\w-]+)=(.+)$", listing, flags=re.MULTILINE)
    ordered = (line for wanted in SECTIONS for line in lines if line[0] == wanted)
    return {key: str(ast.literal_eval(value)) for _, key, value in ordered}


def uv_arguments(settings):
    """pip's settings in the words of uv. Several indexes are one pool of versions, as they are to pip."""
    arguments = ["--index-strategy", "unsafe-best-match"]
    for key, flag in FLAGS.items():
        for value in settings.get(key, "").split():
            arguments += [flag, value]
    return arguments


def with_uv():
    """True if uv installed everything."""
    pin = re.search(r"^uv==[\w.]+", (ROOT / "requirements.txt").read_text(encoding="utf-8"), flags=re.MULTILINE)
    if pip("install", "--quiet", pin[0], stderr=subprocess.DEVNULL).returncode:
        return False
    settings = pip_settings(pip("config", "list", capture_output=True).stdout)
    environment = dict(os.environ)
    if "cert" in settings:
        environment.setdefault("SSL_CERT_FILE", settings["cert"])
    command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", sys.executable]
    return not subprocess.run([*command, *uv_arguments(settings), *WHAT], cwd=ROOT, env=environment).returncode


if __name__ == "__main__":
    if not with_uv():
        print("uv did not install the packages; pip will", flush=True)
        sys.exit(pip("install", "--quiet", "--no-compile", *WHAT).returncode)
