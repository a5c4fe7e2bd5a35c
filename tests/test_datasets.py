"""ddref.datasets: every download goes to a server on 127.0.0.1 that the test starts itself."""

import gzip
import hashlib
import importlib.util
import io
import os
import random
import socket
import struct
import subprocess
import sys
import tarfile
import threading
import tracemalloc
import zipfile
import zlib
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from ddref import datasets
from ddref.datasets import cifar as cifar_files
from ddref.datasets import official as official_files
from ddref.datasets import one_hot, samples, standardize, unstandardize

REPOSITORY = Path(__file__).resolve().parents[1]
SHAPES = ((6, 28, 28), (6,), (4, 28, 28), (4,))  # of the small stand-ins for the official files
FILES = tuple(official_files.OFFICIAL["mnist"])
IMAGES = FILES[0]


def idx(array, *, magic=None):
    magic = bytes((0, 0, 8, array.ndim)) if magic is None else magic
    return magic + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def small_files(seed):
    rng = np.random.default_rng(seed)
    arrays = [rng.integers(0, 256 if len(shape) == 3 else 10, shape).astype(np.uint8) for shape in SHAPES]
    return dict(zip(FILES, arrays, strict=True))


def saved_below(folder):
    return sorted(path.name for path in Path(folder).rglob("*") if path.is_file())


def put(folder, contents, *, ending=".gz", level=9):
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in contents.items():
        body = gzip.compress(content, level, mtime=0) if ending == ".gz" else content
        (folder / (file + ending)).write_bytes(body)


def check(data, arrays):
    for found, file, kind in zip(data, FILES, (np.uint8, np.int64) * 2, strict=False):
        assert found.dtype == kind and found.flags.writeable
        np.testing.assert_array_equal(found, arrays[file])


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Arrays and idx contents of small stand-ins for the official files; no data folder, an empty cache."""
    tables, sets = {}, {}
    for seed, name in enumerate(official_files.OFFICIAL):
        sets[name] = small_files(seed)
        tables[name] = {
            file: official_files.IdxFile(hashlib.sha256(idx(array)).hexdigest(), array.shape)
            for file, array in sets[name].items()
        }
    monkeypatch.setattr(official_files, "OFFICIAL", tables)
    nowhere = (f"http://127.0.0.1:{closed_port()}",)
    monkeypatch.setattr(official_files, "SERVERS", dict.fromkeys(tables, nowhere))
    monkeypatch.delenv("DDREF_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1")
    return sets["mnist"], {file: idx(array) for file, array in sets["mnist"].items()}


def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """Answers GET from `answers`: path -> function of the request handler; remembers what was asked."""

    def __init__(self):
        self.answers, self.asked = {}, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                answer = outer.answers.get(self.path)
                if answer is None:
                    return self.send_error(404)
                try:
                    answer(self)
                except ConnectionError:  # the client hung up, as some tests want
                    pass

            def log_message(self, *args):
                pass

        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.httpd.daemon_threads = True
        self.thread = threading.Thread(target=self.httpd.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.httpd.server_port}"

    def serve(self, contents, folder=""):
        for file, content in contents.items():
            self.answers[f"{folder}/{file}.gz"] = send(gzip.compress(content))
        return self.url + folder

    def close(self):
        self.httpd.shutdown()
        self.httpd.server_close()
        self.thread.join()


def send(body, *, declared=True, **headers):
    """An answer of status 200; `declared` is its Content-Length: that of the body, none, or a number."""

    def answer(handler):
        handler.send_response(200)
        if declared:
            handler.send_header("Content-Length", str(len(body) if declared is True else declared))
        for key, value in headers.items():
            handler.send_header(key.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.fixture
def server():
    running = Server()
    yield running
    running.close()


# ------------------------------------------------------------------------------------------- small sets


def test_digits_are_scikit_learns_in_order_and_unscaled():
    from sklearn.datasets import load_digits

    theirs, ours = load_digits(), datasets.digits()
    assert ours.X_train.shape == (1437, 8, 8) and ours.X_test.shape == (360, 8, 8)
    assert ours.X_train.dtype == np.uint8 and ours.y_train.dtype == ours.y_test.dtype == np.int64
    np.testing.assert_array_equal(np.concatenate([ours.X_train, ours.X_test]), theirs.images)
    np.testing.assert_array_equal(np.concatenate([ours.y_train, ours.y_test]), theirs.target)
    assert ours.class_names == tuple(str(name) for name in theirs.target_names)


def test_the_sample_has_the_promised_shape_size_and_classes():
    data = datasets.fashion_sample()
    assert data.X_train.shape == (6000, 28, 28) and data.X_test.shape == (1000, 28, 28)
    assert data.X_train.dtype == data.X_test.dtype == np.uint8
    assert data.y_train.dtype == data.y_test.dtype == np.int64
    assert set(data.y_train) == set(data.y_test) == set(range(10)) and len(data.class_names) == 10
    assert samples.SAMPLE.stat().st_size < 4_000_000


def test_origin_and_licence_lie_beside_the_sample():
    folder = samples.SAMPLE.parent
    assert samples.SAMPLE_SHA256 in (folder / "ORIGIN.txt").read_text(encoding="utf-8")
    licence = (folder / "LICENSE.fashion-mnist.txt").read_text(encoding="utf-8")
    assert "The MIT License" in licence and "Zalando SE" in licence


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.makedirs, (str(self.path), 0o777, True)


@pytest.mark.parametrize("damage", ["flipped byte", "cut short", "one pixel", "a pickle", "field missing"])
def test_a_damaged_sample_is_refused(damage, monkeypatch, tmp_path):
    path = tmp_path / "sample.npz"
    body = bytearray(samples.SAMPLE.read_bytes())
    with np.load(samples.SAMPLE) as stored:
        arrays = {field: stored[field].copy() for field in stored}
    if damage == "flipped byte":
        body[len(body) // 2] ^= 1
        path.write_bytes(body)
    elif damage == "cut short":
        path.write_bytes(body[:-100])
    else:
        if damage == "one pixel":
            arrays["X_train"][0, 0, 0] ^= 1
        elif damage == "a pickle":
            arrays["y_test"] = np.array([Trap(tmp_path / "sprung")] * 1000)
        else:
            del arrays["y_test"]
        np.savez(path, **arrays)
    monkeypatch.setattr(samples, "SAMPLE", path)
    with pytest.raises(ValueError, match="sample.npz is damaged.*reinstall ddref"):
        datasets.fashion_sample()
    assert not (tmp_path / "sprung").exists()


def test_a_missing_sample_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(samples, "SAMPLE", tmp_path / "none.npz")
    with pytest.raises(FileNotFoundError, match=r"none\.npz is missing.*make_sample"):
        datasets.fashion_sample()


# ------------------------------------------------------------------------------- optional packages absent


def run_without(blocked, code):
    block = "".join(f"sys.modules[{name!r}] = None\n" for name in blocked)
    return subprocess.run(
        [sys.executable, "-c", f"import sys\n{block}{code}"],
        cwd=REPOSITORY,
        timeout=120,
        capture_output=True,
        text=True,
    )


def test_the_package_and_the_sample_need_no_optional_package():
    done = run_without(
        ("pooch", "tqdm", "requests", "sklearn", "scipy", "torch", "PIL"),
        "from ddref import datasets\nprint(datasets.fashion_sample().X_train.shape)",
    )
    assert done.returncode == 0 and done.stdout.strip() == "(6000, 28, 28)", done.stderr


def test_digits_without_scikit_learn_name_the_extra():
    done = run_without(("sklearn",), "from ddref import datasets\ndatasets.digits()")
    assert done.returncode == 1
    message = "ImportError: digits() needs scikit-learn: install scikit-learn, or ddref with its extra"
    assert f"{message} 'sklearn'" in done.stderr


def test_downloading_without_pooch_names_the_extra(small, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match="needs pooch: install pooch, or ddref with its extra 'data'"):
        datasets.load("mnist", tmp_path)
    assert saved_below(tmp_path) == []


# ------------------------------------------------------------------------------------ files on this machine


@pytest.mark.parametrize("ending, level", [(".gz", 1), (".gz", 9), ("", None)])
@pytest.mark.parametrize("subfolder", ["", "mnist"])
def test_files_in_root_are_read_compressed_in_any_way_or_not(small, tmp_path, ending, level, subfolder):
    arrays, contents = small
    put(tmp_path / "data" / subfolder, contents, ending=ending, level=level)
    data = datasets.load("mnist", tmp_path / "data", download=False)
    check(data, arrays)
    assert data.class_names == tuple("0123456789")
    check(datasets.load("mnist", str(tmp_path / "data")), arrays)


def test_the_folder_named_after_the_set_comes_before_root(small, tmp_path):
    arrays, contents = small
    put(tmp_path, {file: b"something else" for file in contents})
    put(tmp_path / "mnist", contents)
    check(datasets.load("mnist", tmp_path, download=False), arrays)


def test_root_comes_before_the_variable_and_the_variable_before_the_cache(small, monkeypatch, tmp_path):
    arrays, contents = small
    bad = {file: b"something else" for file in contents}
    root, data, cache = tmp_path / "root", tmp_path / "data", tmp_path / "cache" / "ddref" / "mnist"
    put(cache, contents)
    check(datasets.load("mnist", download=False), arrays)
    put(cache, bad)
    put(data / "mnist", contents)
    monkeypatch.setenv("DDREF_DATA", str(data))
    check(datasets.load("mnist", download=False), arrays)
    put(data / "mnist", bad)
    put(root, contents)
    check(datasets.load("mnist", root, download=False), arrays)


def test_a_file_missing_from_the_variables_folder_is_taken_from_the_cache(small, monkeypatch, tmp_path):
    arrays, contents = small
    put(tmp_path / "data", {IMAGES: contents[IMAGES]})
    put(tmp_path / "cache" / "ddref" / "mnist", {file: contents[file] for file in FILES[1:]})
    monkeypatch.setenv("DDREF_DATA", str(tmp_path / "data"))
    check(datasets.load("mnist", download=False), arrays)


def test_a_variable_that_names_no_folder_is_refused(small, monkeypatch, tmp_path):
    monkeypatch.setenv("DDREF_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="DDREF_DATA = .*nowhere is not a folder"):
        datasets.load("mnist")


def test_missing_files_without_download_are_named_with_the_folders_searched(small, tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{IMAGES}.*is in none of .*/mnist, .*put it there"):
        datasets.load("mnist", tmp_path, download=False)
    assert list(tmp_path.iterdir()) == []


def spoilt(content, how):
    """Bytes of a bad copy of an images file, and the message it must give."""
    zipped = gzip.compress(content)
    pixel = bytearray(content)
    pixel[-1] ^= 1
    bodies = {
        "empty": b"",
        "a web page": b"<!DOCTYPE html>",
        "floats": idx(np.zeros((5, 28, 28), np.uint8), magic=bytes((0, 0, 13, 3))),
        "labels": idx(np.zeros(6, np.uint8)),
        "header cut": content[:9],
        "other dimensions": idx(np.zeros((5, 28, 28), np.uint8)),
        "huge dimensions": content[:4] + b"\xff" * 12 + content[16:],
        "cut": content[:-7],
        "one pixel": gzip.compress(bytes(pixel)),
        "too long": content + b"\0",
        "gzip too long": gzip.compress(content + b"\0"),
    }
    if how in bodies:  # the checksum is the one check, the message has the sizes
        body = bodies[how]
        unpacked = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        size = f"{len(unpacked):,}" if "too long" not in how else "more than 4,720"
        return body, (
            f"not the official file: {size} bytes after decompression with SHA-256 "
            f"{hashlib.sha256(unpacked).hexdigest()}; 4,720 with {hashlib.sha256(content).hexdigest()} are expected"
        )
    return {
        "gzip cut": (zipped[:-200], "damaged gzip file"),
        "gzip trailer cut": (zipped[:-3], "damaged gzip file"),
        "gzip header only": (zipped[:10], "damaged gzip file"),
        "gzip crc": (zipped[:-8] + b"\0\0\0\0" + zipped[-4:], "damaged gzip file.*CRC"),
        "gzip with rubbish after it": (zipped + b"rubbish", "damaged gzip file"),
    }[how]


BAD = ["empty", "a web page", "floats", "labels", "header cut", "other dimensions", "huge dimensions", "cut", "too long",
       "one pixel", "gzip too long", "gzip cut", "gzip trailer cut", "gzip header only", "gzip crc",
       "gzip with rubbish after it"]  # fmt: skip


@pytest.mark.parametrize("how", BAD)
def test_a_bad_file_is_refused_with_its_name_the_reason_and_the_way_out(small, tmp_path, how):
    _, contents = small
    put(tmp_path, contents)
    body, reason = spoilt(contents[IMAGES], how)
    (tmp_path / f"{IMAGES}.gz").write_bytes(body)
    with pytest.raises(ValueError, match=rf"{IMAGES}\.gz: .*{reason}.*delete or replace this file"):
        datasets.load("mnist", tmp_path)
    assert (tmp_path / f"{IMAGES}.gz").read_bytes() == body  # never removed or replaced unasked


def test_a_change_of_one_byte_is_refused_or_without_effect(small, tmp_path):
    arrays, contents = small
    put(tmp_path, contents)
    path = tmp_path / f"{IMAGES}.gz"
    good, draw, refusals = path.read_bytes(), random.Random(0), 0
    for _ in range(120):
        body = bytearray(good)
        body[draw.randrange(len(good))] ^= draw.randrange(1, 256)
        path.write_bytes(body)
        try:
            check(datasets.load("mnist", tmp_path), arrays)  # a time stamp, or padding between blocks
        except ValueError as err:
            assert "delete or replace this file" in str(err)
            refusals += 1
    assert refusals > 110


def test_the_files_of_another_set_are_recognised(small, tmp_path):
    fashion = small_files(1)
    put(tmp_path, {file: idx(array) for file, array in fashion.items()})
    with pytest.raises(ValueError, match=rf"not the official file \(this is {IMAGES} of fashion-mnist\)"):
        datasets.load("mnist", tmp_path)


def test_a_gzip_bomb_is_not_unpacked(small, tmp_path):
    _, contents = small
    put(tmp_path, contents)
    put(tmp_path, {IMAGES: contents[IMAGES][:16] + bytes(60_000_000)}, level=1)
    tracemalloc.start()
    with pytest.raises(ValueError, match="more than 4,720 bytes after decompression"):
        datasets.load("mnist", tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000


@pytest.mark.parametrize("name", ["MNIST", "cifar-10", "", None])
def test_an_unknown_name_is_refused_with_the_choices(name):
    with pytest.raises(ValueError, match="unknown data set .*choose 'mnist' or 'fashion-mnist'"):
        datasets.load(name)


# ---------------------------------------------------------------------------------------------- downloads


def test_a_download_is_verified_saved_and_not_repeated(small, server, tmp_path):
    arrays, contents = small
    url = server.serve(contents)
    check(datasets.load("mnist", tmp_path, base_url=url), arrays)
    assert saved_below(tmp_path) == sorted(f"{file}.gz" for file in FILES)
    assert server.asked == [f"/{file}.gz" for file in FILES]
    check(datasets.load("mnist", tmp_path, base_url=url + "/"), arrays)
    assert len(server.asked) == 4


def test_without_root_a_download_goes_to_the_cache_not_to_the_variables_folder(small, server, monkeypatch, tmp_path):
    arrays, contents = small
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("DDREF_DATA", str(tmp_path / "data"))
    check(datasets.load("mnist", base_url=server.serve(contents)), arrays)
    assert saved_below(tmp_path / "data") == []
    assert saved_below(tmp_path / "cache" / "ddref" / "mnist") == sorted(f"{file}.gz" for file in FILES)


def test_only_the_missing_file_is_downloaded(small, server, tmp_path):
    arrays, contents = small
    put(tmp_path, {file: contents[file] for file in FILES[1:]})
    check(datasets.load("mnist", tmp_path, base_url=server.serve(contents)), arrays)
    assert server.asked == [f"/{IMAGES}.gz"]


def test_the_known_servers_are_tried_in_turn(small, server, monkeypatch, tmp_path):
    arrays, contents = small
    good = server.serve(contents, "/good")
    server.serve({IMAGES: contents[IMAGES][:-1] + b"\0"}, "/wrong")
    monkeypatch.setitem(official_files.SERVERS, "mnist", (server.url + "/wrong", server.url + "/empty", good))
    check(datasets.load("mnist", tmp_path), arrays)
    assert server.asked[:3] == [f"/{folder}/{IMAGES}.gz" for folder in ("wrong", "empty", "good")]


def test_a_server_that_calls_the_gzip_an_encoding_is_understood(small, server, tmp_path):
    arrays, contents = small
    url = server.serve(contents)
    server.answers[f"/{IMAGES}.gz"] = send(gzip.compress(contents[IMAGES]), Content_Encoding="gzip")
    check(datasets.load("mnist", tmp_path, base_url=url), arrays)
    assert saved_below(tmp_path) == sorted([IMAGES, *(f"{file}.gz" for file in FILES[1:])])
    check(datasets.load("mnist", tmp_path, download=False), arrays)


def refused(server, tmp_path, reason, url=None):
    """The download fails for `reason`, names file and address, and leaves no file."""
    with pytest.raises(
        OSError,
        match=rf"(?s)could not download {IMAGES}.*http://127.0.0.1.*{reason}"
        ".*pass base_url= another server, or put the official file in",
    ):
        datasets.load("mnist", tmp_path, base_url=url or server.url)
    assert saved_below(tmp_path) == []


@pytest.mark.parametrize("how", BAD)
def test_a_bad_answer_is_refused_and_nothing_is_saved(small, server, tmp_path, how):
    body, reason = spoilt(small[1][IMAGES], how)
    server.answers[f"/{IMAGES}.gz"] = send(body)
    refused(server, tmp_path, reason)


def test_a_body_shorter_than_announced_is_refused(small, server, tmp_path):
    body = gzip.compress(small[1][IMAGES])
    server.answers[f"/{IMAGES}.gz"] = send(body[: len(body) // 2], declared=len(body))
    refused(server, tmp_path, "IncompleteRead")


def test_a_body_cut_without_announcement_is_refused(small, server, tmp_path):
    body = gzip.compress(small[1][IMAGES])
    server.answers[f"/{IMAGES}.gz"] = send(body[: len(body) // 2], declared=False)
    refused(server, tmp_path, "damaged gzip file")


def test_a_file_absent_from_the_server_is_refused(small, server, tmp_path):
    refused(server, tmp_path, "404")


def test_a_server_that_cannot_be_reached_is_named(small, server, tmp_path):
    refused(server, tmp_path, "refused", url=f"http://127.0.0.1:{closed_port()}")


def test_an_endless_answer_is_stopped(small, server, tmp_path):
    sent = []

    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        for _ in range(1000):  # 1 GB, were it not stopped
            handler.wfile.write(bytes(1 << 20))
            sent.append(1)

    server.answers[f"/{IMAGES}.gz"] = endless
    refused(server, tmp_path, "sends more than 1,053,296 bytes; stopped")
    assert len(sent) < 100


def test_a_bomb_from_a_server_is_not_unpacked(small, server, tmp_path):
    content = small[1][IMAGES]
    server.answers[f"/{IMAGES}.gz"] = send(gzip.compress(content[:16] + bytes(60_000_000), 1))
    tracemalloc.start()
    refused(server, tmp_path, "more than 4,720 bytes after decompression")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000  # the bomb as sent takes 0.3 MB


def test_a_folder_that_cannot_be_made_is_named(small, server, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OSError, match="cannot create .*file.mnist for the download.*root="):
        datasets.load("mnist", tmp_path / "file", base_url=server.serve(small[1]))
    assert server.asked == []


@pytest.mark.parametrize("base_url", ["ftp://127.0.0.1/", "127.0.0.1", "", 3])
def test_an_address_that_is_not_http_is_refused(small, tmp_path, base_url):
    with pytest.raises(ValueError, match="must begin with http:// or https://"):
        datasets.load("mnist", tmp_path, base_url=base_url)


@pytest.mark.skipif(importlib.util.find_spec("tqdm") is None, reason="tqdm is not installed")
def test_a_progress_bar_is_shown(small, server, tmp_path, capsys):
    datasets.load("mnist", tmp_path, base_url=server.serve(small[1]))
    assert capsys.readouterr().err.count("100%") >= 4


def test_downloads_work_without_tqdm(small, server, monkeypatch, tmp_path, capsys):
    import pooch.downloaders

    monkeypatch.setattr(pooch.downloaders, "tqdm", None)  # what pooch sets when tqdm is not installed
    check(datasets.load("mnist", tmp_path, base_url=server.serve(small[1])), small[0])
    assert "100%" not in capsys.readouterr().err


CHILD = """
import os, sys, time
from ddref import datasets
from ddref.datasets import official
root, url, stop, *table = sys.argv[1:]
files = list(official.OFFICIAL["mnist"])
shapes = ((6, 28, 28), (6,), (4, 28, 28), (4,))
official.OFFICIAL["mnist"] = {f: official.IdxFile(s, n) for f, s, n in zip(files, table, shapes)}
if stop == "before the rename":
    def wait(part, path):
        print("written", flush=True)
        time.sleep(60)
    os.replace = wait
datasets.load("mnist", root, base_url=url)
"""


def start_child(root, url, stop, contents):
    table = [hashlib.sha256(contents[file]).hexdigest() for file in FILES]
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(root), url, stop, *table],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def test_a_process_killed_half_way_through_a_download_leaves_nothing(small, server, tmp_path):
    arrays, contents = small
    half_sent, over = threading.Event(), threading.Event()

    def stall(handler):
        body = gzip.compress(contents[IMAGES])
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 2])
        handler.wfile.flush()
        half_sent.set()
        over.wait(60)

    url = server.serve(contents)
    server.answers[f"/{IMAGES}.gz"] = stall
    child = start_child(tmp_path, url, "half-way", contents)
    try:
        assert half_sent.wait(60)
        assert child.poll() is None  # it is waiting for the second half
    finally:
        child.kill()
        child.communicate()
        over.set()
    assert child.returncode != 0
    assert saved_below(tmp_path) == []
    check(datasets.load("mnist", tmp_path, base_url=server.serve(contents)), arrays)
    assert saved_below(tmp_path) == sorted(f"{file}.gz" for file in FILES)


def test_a_process_killed_before_the_rename_leaves_no_file_of_that_name(small, server, tmp_path):
    """What it leaves is hidden, and never read: the next call downloads again."""
    arrays, contents = small
    url = server.serve(contents)
    child = start_child(tmp_path, url, "before the rename", contents)
    try:
        assert child.stdout.readline().strip() == "written"
    finally:
        child.kill()
        child.communicate()
    (left,) = saved_below(tmp_path)
    assert left.startswith(".") and left.endswith(".part")
    check(datasets.load("mnist", tmp_path, base_url=url), arrays)
    assert saved_below(tmp_path) == sorted([left, *(f"{file}.gz" for file in FILES)])


def test_a_disk_error_while_saving_leaves_nothing_and_is_reported(small, server, monkeypatch, tmp_path):
    def full(part, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        datasets.load("mnist", tmp_path, base_url=server.serve(small[1]))
    assert saved_below(tmp_path) == []


def test_eight_threads_may_download_at_once(small, server, tmp_path):
    arrays, contents = small
    url, found = server.serve(contents), []
    threads = [
        threading.Thread(target=lambda: found.append(datasets.load("mnist", tmp_path, base_url=url))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    for data in found:
        check(data, arrays)
    assert saved_below(tmp_path) == sorted(f"{file}.gz" for file in FILES)


# -------------------------------------------------------------------------------------- the official files


@pytest.fixture(scope="module")
def official(data_root):
    return {name: datasets.load(name, data_root, download=False) for name in ("mnist", "fashion-mnist")}


# Mean and standard deviation of the training pixels as published in many places (PyTorch's examples: 0.1307,
# 0.3081 and 0.2860, 0.3530), and the number of training images in each class of MNIST.
PUBLISHED = {"mnist": (0.1307, 0.3081), "fashion-mnist": (0.2860, 0.3530)}
MNIST_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_official_sets_load(official, name):
    data = official[name]
    assert data.X_train.shape == (60000, 28, 28) and data.X_test.shape == (10000, 28, 28)
    assert data.X_train.dtype == np.uint8 and data.y_train.dtype == np.int64 and len(data.class_names) == 10
    assert list(np.bincount(data.y_train)) == (MNIST_COUNTS if name == "mnist" else [6000] * 10)
    scaled = standardize(data.X_train, dtype=np.float32)
    assert (round(scaled.mean, 4), round(scaled.std, 4)) == PUBLISHED[name]


def test_the_sample_is_the_beginning_of_the_official_set(official):
    full, sample = official["fashion-mnist"], datasets.fashion_sample()
    np.testing.assert_array_equal(sample.X_train, full.X_train[:6000])
    np.testing.assert_array_equal(sample.y_train, full.y_train[:6000])
    np.testing.assert_array_equal(sample.X_test, full.X_test[:1000])
    np.testing.assert_array_equal(sample.y_test, full.y_test[:1000])
    assert sample.class_names == full.class_names


def make_sample(*arguments, env):
    return subprocess.run(
        [sys.executable, "tools/make_sample.py", *arguments],
        cwd=REPOSITORY,
        timeout=120,
        capture_output=True,
        text=True,
        env={**env, "PYTHONPATH": str(REPOSITORY)},
    )


def test_the_script_makes_the_shipped_sample_again(official, tmp_path):
    output = tmp_path / "again.npz"
    done = make_sample(os.environ["DDREF_DATA"], "--output", str(output), env=os.environ)
    assert done.returncode == 0, done.stderr
    with np.load(output) as again, np.load(samples.SAMPLE) as shipped:
        assert list(again) == list(shipped)
        for field in again:
            assert again[field].dtype == shipped[field].dtype
            np.testing.assert_array_equal(again[field], shipped[field])


def test_the_script_without_a_folder_says_what_it_needs():
    env = {key: value for key, value in os.environ.items() if key != "DDREF_DATA"}
    done = make_sample(env=env)
    assert done.returncode == 2
    assert "name the folder of the Fashion-MNIST files, or set DDREF_DATA" in done.stderr


def test_the_script_downloads_nothing_and_writes_nothing_from_an_empty_folder(tmp_path):
    (tmp_path / "data").mkdir()
    done = make_sample(str(tmp_path / "data"), "--output", str(tmp_path / "new.npz"), env=os.environ)
    assert done.returncode == 1 and f"FileNotFoundError: {IMAGES}" in done.stderr
    assert saved_below(tmp_path) == []


# ---------------------------------------------------------------------------------- images in a folder or tar file


def image_bytes(array, kind="PNG", **options):
    Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    body = io.BytesIO()
    (array if isinstance(array, Image.Image) else Image.fromarray(array)).save(body, kind, **options)
    return body.getvalue()


def small_images(seed=0, shape=(5, 4, 3)):
    """Name -> array: classes b and a, two training images and one test image each."""
    rng = np.random.default_rng(seed)
    names = [f"{split}/{name}/{i}.png" for name in "ba" for split, i in (("train", 1), ("train", 0), ("test", 0))]
    return {name: rng.integers(0, 256, shape).astype(np.uint8) for name in names}


def as_folder(folder, contents):
    for name, body in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(body)
    return folder


def as_tar(path, contents, *, mode="w", **attributes):
    """A tar file; a value that is a TarInfo goes in as it is."""
    with tarfile.open(path, mode) as tar:
        for name, body in contents.items():
            member = body if isinstance(body, tarfile.TarInfo) else tarfile.TarInfo(name)
            if body is not member:
                member.size = len(body)
            tar.addfile(member, io.BytesIO(body) if body is not member else None)
    return path


def as_zip(path, contents):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in contents.items():
            archive.writestr(name, body)
    return path


CONTAINERS = {
    "folder": lambda place, contents: as_folder(place / "data", contents),
    "tar": lambda place, contents: as_tar(place / "data.tar", contents),
    "tar.gz": lambda place, contents: as_tar(place / "data.tar.gz", contents, mode="w:gz"),
    "tar.bz2": lambda place, contents: as_tar(place / "data.any", contents, mode="w:bz2"),
    "tar.xz": lambda place, contents: as_tar(place / "data.tar.xz", contents, mode="w:xz"),
    "zip": lambda place, contents: as_zip(place / "data.zip", contents),
    "outer folder": lambda place, contents: as_tar(
        place / "data.tar", {f"./outer/{name}": body for name, body in contents.items()}
    ),
}


@pytest.fixture(params=CONTAINERS)
def container(request, tmp_path):
    return lambda contents: CONTAINERS[request.param](tmp_path, contents)


def test_a_folder_of_images_in_sorted_order(container):
    arrays = small_images()
    contents = {name: image_bytes(array) for name, array in arrays.items()}
    contents |= {"train/.DS_Store": b"", "train/a/.x.png": b"no image", "test/b/Thumbs.db": b"", "README.txt": b"hello"}
    contents |= {"train/Thumbs.db": b"beside the classes", "test/desktop.ini": b""}
    data = datasets.image_folder(container(contents))
    assert data.class_names == ("a", "b")
    for found, names in ((data.X_train, ["a/0", "a/1", "b/0", "b/1"]), (data.X_test, ["a/0", "b/0"])):
        split = "train" if found is data.X_train else "test"
        assert found.dtype == np.uint8 and found.flags.writeable
        np.testing.assert_array_equal(found, [arrays[f"{split}/{name}.png"] for name in names])
    assert data.y_train.dtype == data.y_test.dtype == np.int64
    np.testing.assert_array_equal(data.y_train, [0, 0, 1, 1])
    np.testing.assert_array_equal(data.y_test, [0, 1])


def test_grey_images_stay_grey_until_one_has_colour(tmp_path):
    arrays = small_images(shape=(5, 4))
    contents = {name: image_bytes(array) for name, array in arrays.items()}
    grey = datasets.image_folder(as_folder(tmp_path / "grey", contents))
    assert grey.X_train.shape == (4, 5, 4) and grey.X_test.shape == (2, 5, 4)
    colour = np.arange(60, dtype=np.uint8).reshape(5, 4, 3)
    contents["test/b/0.png"] = image_bytes(colour)
    mixed = datasets.image_folder(as_folder(tmp_path / "mixed", contents))
    assert mixed.X_train.shape == (4, 5, 4, 3) and mixed.X_test.shape == (2, 5, 4, 3)
    np.testing.assert_array_equal(mixed.X_test[1], colour)
    for channel in range(3):
        np.testing.assert_array_equal(mixed.X_train[..., channel], grey.X_train)


def test_jpeg_palette_and_black_and_white_files_are_read(tmp_path):
    from PIL import Image

    flat = np.full((8, 8, 3), 200, np.uint8)
    palette = Image.fromarray(flat).quantize(4)
    assert palette.mode == "P"
    contents = {
        "train/a/x.JPG": image_bytes(flat, "JPEG", quality=95),
        "train/b/x.jpeg": image_bytes(palette),  # a PNG under the name of a JPEG
        "test/a/x.PNG": image_bytes(Image.fromarray(flat[..., 0] > 100)),
    }
    data = datasets.image_folder(as_folder(tmp_path, contents))
    np.testing.assert_allclose(data.X_train.astype(int), 200, atol=2)
    assert (data.X_test == 255).all() and data.X_test.shape == (1, 8, 8, 3)


def bad_images():
    """What is wrong -> name and content of a file to put in, and the message it must give."""
    from PIL import Image

    good = small_images()["train/a/0.png"]
    png = image_bytes(good)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    header = png[:16] + struct.pack(">II", 60_000, 60_000) + png[24:29]
    header += struct.pack(">I", zlib.crc32(header[12:29]))
    return {
        "another size": (image_bytes(noise), r"test/b/9\.png: 64 x 64 pixels, where train/a/0\.png has 5 x 4; bring"),
        "not an image": (b"hello", r"test/b/9\.png: not a PNG, JPEG, WebP or BMP image"),
        "nothing": (b"", r"test/b/9\.png: not a PNG, JPEG, WebP or BMP image"),
        "another format": (image_bytes(good, "GIF"), r"test/b/9\.png: not a PNG, JPEG, WebP or BMP image"),
        "cut short": (png[:-30], r"test/b/9\.png: "),
        "four colours of ink": (image_bytes(Image.fromarray(good).convert("CMYK"), "JPEG"), "mode CMYK: grey, RGB, transp"),
        "several frames": (
            image_bytes(Image.fromarray(good), save_all=True, append_images=[Image.fromarray(255 - good)]),
            r"test/b/9\.png: 2 frames",
        ),
        "a bomb": (header + png[33:], r"test/b/9\.png: (60000 x 60000 p|Image size \(3600000000 pixels\) exc)"),
    }  # fmt: skip


def png_of_16_bits(height, width):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    pixels = zlib.compress(bytes(1 + 6 * width) * height)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


BAD_IMAGES = ["another size", "not an image", "nothing", "another format", "cut short", "four colours of ink",
              "several frames", "a bomb"]  # fmt: skip


@pytest.mark.parametrize("how", BAD_IMAGES)
@pytest.mark.parametrize("kind", ["folder", "tar.gz"])
def test_a_bad_image_is_refused_by_name(how, kind, tmp_path):
    contents = {name: image_bytes(array) for name, array in small_images().items()}
    datasets.image_folder(CONTAINERS[kind](tmp_path, contents))
    body, message = bad_images()[how]
    path = CONTAINERS[kind](tmp_path, {**contents, "test/b/9.png": body})
    with pytest.raises(ValueError, match=message):
        datasets.image_folder(path)


def photo(array, orientation=None, others=()):
    """A JPEG of one colour a quarter, with an orientation tag; or of several pictures, as phones write."""
    from PIL import Image

    image = Image.fromarray(np.kron(array, np.ones((16, 16, 1), np.uint8)))
    options = {"quality": 95, "subsampling": 0}
    if orientation:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = orientation
    if others:
        options |= {"save_all": True, "append_images": [Image.fromarray(np.full((32, 32, 3), grey, np.uint8)) for grey in others]}
    return image_bytes(image, "MPO" if others else "JPEG", **options)


QUARTERS = np.array([[[250, 5, 5], [5, 250, 5]], [[5, 5, 250], [250, 250, 5]], [[5, 5, 5], [250, 250, 250]]], np.uint8)


def test_photos_are_turned_upright(container):
    """Orientation tags 1, 3, 6, 8: as stored, upside down, to be turned right, to be turned left."""
    stored = {1: QUARTERS, 3: np.rot90(QUARTERS, 2), 6: np.rot90(QUARTERS), 8: np.rot90(QUARTERS, -1)}
    contents = {f"train/a/{tag}.jpg": photo(array, tag) for tag, array in stored.items()}
    contents |= {"train/b/0.jpg": photo(QUARTERS), "test/a/0.jpg": photo(QUARTERS)}
    data = datasets.image_folder(container(contents))
    assert data.X_train.shape == (5, 48, 32, 3)
    found = data.X_train.reshape(5, 3, 16, 2, 16, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(found, np.broadcast_to(QUARTERS, (5, 3, 2, 3)), atol=8)
    assert data.notes == ("3 of 6 images turned upright as their tag says",)
    contents["train/a/6.jpg"] = contents["train/a/8.jpg"] = contents["train/a/3.jpg"] = photo(QUARTERS, 9)  # no such tag
    assert datasets.image_folder(container(contents)).notes == ()


def test_a_photo_with_the_wrong_side_up_is_of_another_size(tmp_path):
    contents = {"train/a/0.jpg": photo(QUARTERS), "train/b/0.jpg": photo(QUARTERS, 6), "test/a/0.jpg": photo(QUARTERS)}
    with pytest.raises(ValueError, match=r"train/b/0\.jpg: 32 x 48 pixels, where train/a/0\.jpg has 48 x 32"):
        datasets.image_folder(as_folder(tmp_path, contents))


def test_of_the_pictures_that_a_phone_puts_into_one_file_the_first_is_read(tmp_path):
    contents = dict.fromkeys(("train/a/0.jpg", "train/b/0.jpg", "test/a/0.jpg"), photo(QUARTERS[:2]))
    contents["train/b/0.jpg"] = photo(QUARTERS[:2], others=(9, 99))
    data = datasets.image_folder(as_folder(tmp_path, contents))
    np.testing.assert_allclose(data.X_train[1].astype(int), data.X_train[0], atol=8)


def test_a_jpeg_cut_short_is_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    body = image_bytes(noise, "JPEG")
    contents = {"train/a/0.jpg": body, "train/b/0.jpg": body, "test/a/0.jpg": body[: len(body) // 2]}
    with pytest.raises(ValueError, match=r"test/a/0\.jpg: .*truncated"):
        datasets.image_folder(as_folder(tmp_path, contents))


LAYOUTS = [
    ({}, FileNotFoundError, r"has no images train/<class>/\*\.png"),
    ({"test/a/0.png": 1}, FileNotFoundError, "has no images train/<class>/"),
    ({"test/a/0.png": 1, "test/b/0.png": 1}, FileNotFoundError, "has no images train/<class>/"),
    ({"a/0.png": 1}, ValueError, "has 1 class, 'a': at least 2 are needed"),
    ({"a/0.png": 1, "b/0.png": 1, "0.png": 1}, ValueError, r"0\.png: expected <class>/<image>, with folders one l"),
    ({"a/0.png": 1, "b/c/0.png": 1}, ValueError, r"b/c/0\.png: expected <class>/<image>, with folders one level deep"),
    ({"a/0.png": 1, "b/0.png": 1, "b/x.txt": 1}, ValueError, r"b/x\.txt: not one of \.png, .*; move it out of b/"),
    ({"train/a/0.png": 1, "test/a/0.png": 1}, ValueError, "has 1 class, 'a': at least 2 are needed"),
    ({"train/a/0.png": 1, "train/b/0.png": 1, "test/c/0.png": 1}, ValueError, "test/ has the class 'c', of which"),
    ({"train/a/0.png": 1, "train/0.png": 1}, ValueError, r"0\.png: expected train/<class>/<image>"),
    ({"train/a/b/0.png": 1}, ValueError, r"0\.png: expected train/<class>/<image>, with folders one level deep"),
    ({"train/a/0.gif": 1}, ValueError, r"0\.gif: not one of \.png, \.jpg, \.jpeg, \.webp, \.bmp; move it out of train/"),
]  # fmt: skip


@pytest.mark.parametrize("names, kind_of_error, message", LAYOUTS)
def test_another_layout_is_refused(container, names, kind_of_error, message):
    body = image_bytes(np.zeros((2, 2), np.uint8))
    path = container({"LICENCE": b"free", **dict.fromkeys(names, body)})
    with pytest.raises(kind_of_error, match=message):
        datasets.image_folder(path)


def test_a_class_without_images_and_a_path_to_nothing_are_refused(tmp_path):
    folder = as_folder(tmp_path / "data", {name: image_bytes(array) for name, array in small_images().items()})
    (folder / "train" / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: a class without images"):
        datasets.image_folder(folder)
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        datasets.image_folder(tmp_path / "nowhere")


@pytest.mark.parametrize("what", ["image", "class", "split"])
def test_a_link_in_a_folder_is_refused(tmp_path, what):
    folder = as_folder(tmp_path / "data", {name: image_bytes(array) for name, array in small_images().items()})
    link, target = {
        "image": ("train/a/9.png", "train/a/0.png"),
        "class": ("train/c", "train/a"),
        "split": ("test", "train"),
    }[what]
    if what == "split":
        (folder / "test").rename(tmp_path / "elsewhere")
    (folder / link).symlink_to(folder / target)
    with pytest.raises(ValueError, match=f"{link}: a link; put the images themselves there"):
        datasets.image_folder(folder)


def test_every_byte_of_a_png_is_checked(tmp_path):
    """Readers check some checksums: a changed byte of a text beside the pixels, or of their sum, may pass."""
    from PIL import Image, PngImagePlugin

    about = PngImagePlugin.PngInfo()
    about.add_text("Comment", "made by hand")
    body = image_bytes(Image.fromarray(small_images()["train/a/0.png"]), pnginfo=about)
    contents = {name: image_bytes(array) for name, array in small_images().items()}
    folder = as_folder(tmp_path, {**contents, "test/b/9.png": body})
    datasets.image_folder(folder)
    for place in range(len(body)):
        damaged = bytearray(body)
        damaged[place] ^= 1
        (folder / "test/b/9.png").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"test/b/9\.png: "):
            datasets.image_folder(folder)


def flat_images(per_class=5):
    """Name -> array: classes b and a without train/ and test/."""
    rng = np.random.default_rng(1)
    return {f"{name}/{i}.png": rng.integers(0, 256, (5, 4)).astype(np.uint8) for name in "ba" for i in range(per_class)}


def test_folders_of_classes_alone_are_training_images_and_a_part_can_be_drawn(container):
    arrays = flat_images()
    contents = {name: image_bytes(array) for name, array in arrays.items()}
    contents |= {"labels.csv": b"x", "README.md": b"hello", "Thumbs.db": b"", "__MACOSX/a/._0.png": b"x"}
    path = container(contents)
    data = datasets.image_folder(path)
    np.testing.assert_array_equal(data.X_train, [arrays[f"{name}/{i}.png"] for name in "ab" for i in range(5)])
    np.testing.assert_array_equal(data.y_train, [0] * 5 + [1] * 5)
    assert len(data.X_test) == len(data.y_test) == 0 and data.notes == ()
    drawn = datasets.image_folder(path, test=0.4, seed=3)
    assert drawn.notes == ("4 of 10 images drawn as test images",)
    np.testing.assert_array_equal(drawn.y_test, [0, 0, 1, 1])
    both = np.concatenate([drawn.X_train, drawn.X_test]).reshape(10, -1).tolist()
    assert sorted(both) == sorted(data.X_train.reshape(10, -1).tolist())
    again, other = (datasets.image_folder(path, test=0.4, seed=seed) for seed in (3, 4))
    assert np.array_equal(again.X_test, drawn.X_test) and not np.array_equal(other.X_test, drawn.X_test)


def test_what_is_to_be_drawn_is_judged(tmp_path):
    contents = {name: image_bytes(array) for name, array in flat_images(2).items()}
    path = as_folder(tmp_path / "flat", contents)
    for test, message in ((0.0, "between 0 and 1"), (1, "between 0 and 1"), (0.8, "class 'a' has 2 images: with 2 drawn")):
        with pytest.raises(ValueError, match=message):
            datasets.image_folder(path, test=test)
    split = as_folder(tmp_path / "split", {name: image_bytes(array) for name, array in small_images().items()})
    with pytest.raises(ValueError, match=r"has test images: leave test \(--test\) out"):
        datasets.image_folder(split, test=0.5)


def test_val_stands_in_for_test_and_beside_it_is_left_with_a_word(container, tmp_path):
    arrays = small_images()
    contents = {name.replace("test", "val"): image_bytes(array) for name, array in arrays.items()}
    data = datasets.image_folder(container(contents))
    assert len(data.X_test) == 2 and data.notes == ()
    contents["test/a/0.png"] = contents["val/a/0.png"]
    data = datasets.image_folder(as_folder(tmp_path / "both", contents))
    assert len(data.X_test) == 1 and data.notes == ("val/ is not looked at: the test images are those of test/",)


@pytest.mark.parametrize("size, shape", [(4, (4, 4)), ((6, 3), (6, 3))])
def test_images_of_different_sizes_are_brought_to_one_when_asked(tmp_path, size, shape):
    """Red, green and blue thirds: a square keeps the centre, so that green fills the middle."""
    stripes = np.repeat(np.eye(3, dtype=np.uint8) * 255, 8, axis=0)[None].repeat(8, axis=0)
    contents = {"a/0.png": image_bytes(stripes), "b/0.png": image_bytes(np.full((*shape, 3), 9, np.uint8))}
    path = as_folder(tmp_path / "wide", contents)
    with pytest.raises(ValueError, match=r"b/0\.png: .* pixels, where a/0\.png has 8 x 24; .* or pass size \(--size 32\)"):
        datasets.image_folder(path)
    data = datasets.image_folder(path, size=size)
    assert data.X_train.shape == (2, *shape, 3)
    assert data.notes == (f"1 of 2 images brought to {shape[0]} x {shape[1]} pixels, longer sides cut",)
    assert (data.X_train[0, :, shape[1] // 2, 1] > 200).all() and (data.X_train[1] == 9).all()
    for bad in (0, -3, 1 << 20):
        with pytest.raises(ValueError, match="must be a number of pixels"):
            datasets.image_folder(path, size=bad)


def test_transparency_sixteen_bits_and_webp_are_read_and_counted(tmp_path):
    from PIL import Image

    half = np.full((5, 4, 4), 100, np.uint8)
    half[:, :2, 3], half[:, 2:, 3] = 0, 255  # the first show what is behind
    deep = (np.arange(20, dtype=np.uint16).reshape(5, 4) * 3000).astype(np.uint16)
    palette = Image.fromarray(np.full((5, 4, 3), 50, np.uint8)).quantize(4)
    contents = {
        "a/0.png": image_bytes(half),
        "a/1.png": image_bytes(palette, transparency=palette.getpixel((0, 0))),
        "a/2.png": png_of_16_bits(5, 4),
        "b/0.png": image_bytes(deep),
        "b/1.webp": image_bytes(np.full((5, 4, 3), 77, np.uint8), "WEBP", lossless=True),
        "b/2.bmp": image_bytes(np.full((5, 4, 3), 78, np.uint8), "BMP"),
    }
    data = datasets.image_folder(as_folder(tmp_path, contents))
    assert (data.X_train[0, :, :2] == 255).all() and (data.X_train[0, :, 2:] == 100).all()
    assert (data.X_train[1] == 255).all() and (data.X_train[2] == 0).all()
    np.testing.assert_array_equal(data.X_train[3], np.repeat((deep >> 8)[..., None], 3, axis=2))
    assert (data.X_train[4] == 77).all() and (data.X_train[5] == 78).all()
    assert data.notes == (
        "2 of 6 images transparent, put on white", "2 of 6 images of 16 bits, cut to 8"
    )  # fmt: skip


@pytest.mark.parametrize(
    "name, message", [("../a/0.png", "leads out of the archive"), ("/a/0.png", "leads out of the archive")]
)
def test_a_hostile_zip_file_is_refused(tmp_path, name, message):
    good = {key: image_bytes(array) for key, array in flat_images(1).items()}
    path = as_zip(tmp_path / "data.zip", {**good, name: b"x"})
    with pytest.raises(ValueError, match=message):
        datasets.image_folder(path)
    with pytest.raises(ValueError, match="holds more than max_bytes = 100; refused"):
        datasets.image_folder(as_zip(tmp_path / "large.zip", good), max_bytes=100)
    damaged = bytearray((tmp_path / "large.zip").read_bytes())
    damaged[60] ^= 255
    (tmp_path / "large.zip").write_bytes(damaged)
    with pytest.raises(ValueError, match=r"large\.zip: .*; an intact zip file is needed"):
        datasets.image_folder(tmp_path / "large.zip")


def test_without_pillow_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(
        ImportError, match="image_folder.. needs Pillow: install pillow, or ddref with its extra 'data'"
    ):
        datasets.image_folder(tmp_path)


def special(kind, name="train/a/9.png", link="/etc/passwd"):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


MEMBERS = [
    ({"../train/a/9.png": b"x"}, "the name '../train/a/9.png' leads out of the archive"),
    ({"train/a/../../../9.png": b"x"}, "leads out of the archive"),
    ({"train\\..\\..\\9.png": b"x"}, "leads out of the archive"),
    ({"/train/a/9.png": b"x"}, "the name '/train/a/9.png' leads out of the archive"),
    ({"": special(tarfile.SYMTYPE)}, r"train/a/9\.png is a link or a special file"),
    ({"": special(tarfile.LNKTYPE, link="train/a/0.png")}, r"train/a/9\.png is a link or a special file"),
    ({"": special(tarfile.FIFOTYPE)}, "is a link or a special file"),
    ({"": special(tarfile.CHRTYPE, name="dev")}, "dev is a link or a special file"),
    ({"./train/a/0.png": b"x"}, r"\./train/a/0\.png is there twice|train/a/0\.png is there twice"),
    ({"other/train/a/9.png": b"x"}, "train and test are in several folders: '', 'other'"),
]


@pytest.mark.parametrize("extra, message", MEMBERS)
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_hostile_tar_file_is_refused_and_nothing_is_written(tmp_path, mode, extra, message):
    contents = {name: image_bytes(array) for name, array in small_images().items()}
    path = as_tar(tmp_path / "data.tar", {**contents, **extra}, mode=mode)
    with pytest.raises(ValueError, match=rf"data\.tar: .*{message}"):
        datasets.image_folder(path)
    assert saved_below(tmp_path) == ["data.tar"]


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_a_tar_file_cut_anywhere_or_changed_is_refused(tmp_path, kind):
    contents = {name: image_bytes(array) for name, array in small_images().items()}
    path = CONTAINERS[kind](tmp_path, contents)
    body = path.read_bytes()
    end = 12 * 512 if kind == "tar" else len(body) - 1  # a plain tar file ends in padding
    for cut in {0, 1, 100, *(n for n in (512, 1024, 1500, 3072, 3584) if n < end), end // 3, end // 2, end - 1, end}:
        path.write_bytes(body[:cut])
        with pytest.raises(ValueError, match="data.*an intact tar file is needed"):
            datasets.image_folder(path)
    draw, refusals = random.Random(0), 0
    good = datasets.image_folder(CONTAINERS[kind](tmp_path, contents))
    for _ in range(60):
        changed = bytearray(body)
        changed[draw.randrange(len(body) if kind != "tar" else end)] ^= draw.randrange(1, 256)
        path.write_bytes(changed)
        try:  # plain tar files have no checksum over what they hold, and PNG none over its padding
            found = datasets.image_folder(path)
            assert found.X_train.shape == good.X_train.shape or kind == "tar"
        except (ValueError, FileNotFoundError):
            refusals += 1
    assert refusals > 15


@pytest.mark.parametrize("text", [b"hello", b"PK\x03\x04" + bytes(600), b"\x1f\x8bhello", b"BZhello", b"\xfd7hello"])
def test_a_file_that_is_no_tar_file_is_refused(tmp_path, text):
    (tmp_path / "data.zip").write_bytes(text)
    with pytest.raises(ValueError, match=r"data\.zip: .*an intact tar file is needed"):
        datasets.image_folder(tmp_path / "data.zip")


@pytest.mark.parametrize("bomb", ["ignored file", "image", "name"])
def test_a_tar_bomb_is_not_unpacked(tmp_path, bomb):
    contents = {name: image_bytes(array) for name, array in small_images().items()}
    big = bytes(80_000_000)
    if bomb == "name":
        member = tarfile.TarInfo("x" * 80_000_000)
        contents["name"] = member
    else:
        contents[{"ignored file": "zeros.bin", "image": "train/a/9.png"}[bomb]] = big
    path = as_tar(tmp_path / "data.tar.gz", contents, mode="w:gz")
    assert path.stat().st_size < 1_000_000
    del big, contents
    tracemalloc.start()
    words = "a name of 80,000,.* bytes; refused" if bomb == "name" else "holds more than max_bytes = 1,000,000; refused"
    with pytest.raises(ValueError, match=words):
        datasets.image_folder(path, max_bytes=1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_images_too_large_together_are_refused_before_they_are_decoded(tmp_path):
    path = as_folder(tmp_path, dict.fromkeys(small_images(), image_bytes(np.zeros((3000, 3000, 3), np.uint8))))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"train/a/0\.png: 3000 x 3000 pixels: were all images as large.*max_bytes"):
        datasets.image_folder(path, max_bytes=6 * 27_000_000 - 1)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("split", ["train/", ""])
def test_training_images_have_one_name_with_an_outer_folder_and_without(split, tmp_path):
    picture = image_bytes(np.zeros((4, 4), np.uint8))
    contents = {f"{split}{kind}/{i}.png": picture for kind in ("cat", "dog") for i in range(2)}
    if split:
        contents["test/cat/9.png"] = picture
    expected = tuple(name for name in contents if "test" not in name)
    outer = {f"photos/{name}": content for name, content in contents.items()}
    for source in (as_folder(tmp_path / "a", contents), as_tar(tmp_path / "b.tar", outer), as_folder(tmp_path / "c", outer)):
        assert datasets.image_folder(source).files == expected


def test_the_real_images_are_read_from_tar_file_and_folder_alike(data_root, tmp_path):
    """Every class of the CIFAR-10 images in the data folder, the first 20 and 10 of each."""
    source = data_root / "cifar10-jpeg.tar.gz"
    if not source.is_file():
        pytest.skip(f"{source.name} is not in DDREF_DATA")
    contents = {}
    with tarfile.open(source) as tar:
        for member in tar:
            if member.isfile() and int(Path(member.name).stem) < (20 if "/train/" in member.name else 10):
                contents[member.name] = tar.extractfile(member).read()
    packed = datasets.image_folder(as_tar(tmp_path / "part.tar.gz", contents, mode="w:gz"))
    folder = as_folder(tmp_path, contents) / "cifar10-jpeg"
    unpacked = datasets.image_folder(folder)
    for one, other in zip(packed, unpacked, strict=True):
        np.testing.assert_array_equal(one, other)
    assert packed.X_train.shape == (200, 32, 32, 3) and packed.X_test.shape == (100, 32, 32, 3)
    assert packed.class_names == (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    )
    assert list(np.bincount(packed.y_train)) == [20] * 10
    assert 90 < packed.X_train.mean() < 150 and packed.X_train.std() > 40


# ---------------------------------------------------------------------------------------------------- CIFAR


def cifar_archive(name, archive):
    """Arrays and archive of a small set in the official format, its records written one by one."""
    classes = int(name.removeprefix("cifar-"))
    rng, contents, arrays = np.random.default_rng(len(name)), {}, []
    for files, n in zip((archive.train, archive.test), (10, 4), strict=True):
        X, y = rng.integers(0, 256, (n, 32, 32, 3)).astype(np.uint8), rng.integers(0, classes, n)
        arrays += [X, y]
        for i, file in enumerate(files):
            body, part = b"", n // len(files)
            for image, label in zip(X[i * part : (i + 1) * part], y[i * part : (i + 1) * part], strict=True):
                coarse = bytes([label % 20]) if archive.labels == 2 else b""
                planes = b"".join(image[:, :, channel].tobytes() for channel in range(3))
                body += coarse + bytes([label]) + planes
            contents[f"{archive.folder}/{file}"] = body
    names = [f"class_{i}" for i in range(classes)]
    contents[f"{archive.folder}/{archive.names}"] = ("\n".join(names) + "\n\n").encode()
    contents[f"{archive.folder}/readme.html"] = b"<html>"
    return arrays, contents, tuple(names)


LOADERS = {"cifar-10": datasets.cifar10, "cifar-100": datasets.cifar100}


@pytest.fixture(params=LOADERS)
def cifar(request, monkeypatch, tmp_path):
    """Loader, arrays, contents, class names, and a function that packs contents as the official archive."""
    name, files = request.param, {}
    archive = cifar_files.CIFAR[name]
    arrays, contents, names = cifar_archive(name, archive)

    def pack(contents, folder=tmp_path, known=True):
        folder.mkdir(parents=True, exist_ok=True)
        path = as_tar(folder / archive.file, contents, mode="w:gz")
        if known:
            files["md5"] = hashlib.md5(path.read_bytes()).hexdigest()
            monkeypatch.setitem(cifar_files.CIFAR, name, archive._replace(md5=files["md5"]))
        return path

    monkeypatch.delenv("DDREF_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1")
    monkeypatch.setattr(cifar_files, "SERVER", f"http://127.0.0.1:{closed_port()}")
    return LOADERS[name], arrays, contents, names, pack


def test_the_official_checksums_of_cifar():
    found = [(archive.file, archive.md5) for archive in cifar_files.CIFAR.values()]
    assert found == [
        ("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"),
        ("cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8"),
    ]
    assert not any("pickle" in line for line in Path(cifar_files.__file__).read_text().splitlines() if "import" in line)


def test_cifar_is_read_from_the_binary_archive(cifar, tmp_path, monkeypatch):
    loader, arrays, contents, names, pack = cifar
    path = pack(contents)

    def check_all(data):
        for found, expected in zip(data, arrays, strict=False):
            np.testing.assert_array_equal(found, expected)
            assert found.flags.writeable
        assert data.X_train.dtype == np.uint8 and data.y_train.dtype == np.int64 and data.class_names == names

    check_all(loader(tmp_path, download=False))
    name = "cifar-10" if len(names) == 10 else "cifar-100"
    (tmp_path / "data" / name).mkdir(parents=True)
    path.rename(tmp_path / "data" / name / path.name)
    monkeypatch.setenv("DDREF_DATA", str(tmp_path / "data"))
    check_all(loader(download=False))


def test_an_archive_of_another_checksum_is_refused_unread(cifar, tmp_path, monkeypatch):
    loader, _, contents, _, pack = cifar
    path = pack(contents, known=False)
    monkeypatch.setattr(tarfile, "open", lambda *arguments, **options: pytest.fail("read"))
    body = path.read_bytes()
    with pytest.raises(ValueError, match=r"binary\.tar\.gz: wrong checksum: MD5 \w+, expected \w+; delete or replace"):
        loader(tmp_path)
    assert path.read_bytes() == body


def test_cifar_is_downloaded_verified_saved_and_not_repeated(cifar, server, tmp_path):
    loader, arrays, contents, _, pack = cifar
    path = pack(contents, tmp_path / "served")
    server.answers[f"/{path.name}"] = send(path.read_bytes())
    for _ in range(2):
        data = loader(tmp_path / "root", base_url=server.url)
        np.testing.assert_array_equal(data.X_test, arrays[2])
    assert server.asked == [f"/{path.name}"] and saved_below(tmp_path / "root") == [path.name]
    server.answers[f"/{path.name}"] = send(path.read_bytes()[:-1] + b"x")
    with pytest.raises(OSError, match=r"(?s)could not download .*wrong checksum.*put the official file in"):
        loader(tmp_path / "second", base_url=server.url)
    assert saved_below(tmp_path / "second") == []
    with pytest.raises(OSError, match="(?s)could not download .*http://127.0.0.1.*refused"):
        loader(tmp_path / "third")


def test_a_missing_cifar_archive_without_download_is_named(cifar, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"binary\.tar\.gz is in none of .*/cifar-\d+, .*put it there"):
        cifar[0](tmp_path, download=False)


# ---------------------------------------------------------------------------------- standardize, one_hot


def test_standardize_by_hand():
    """Pixels/255 are 0, 0.2, 0.4, 1: mean 0.4, variance (0.16 + 0.04 + 0 + 0.36)/4 = 0.14."""
    train = np.array([[0, 51], [102, 255]], np.uint8)
    test = np.array([[102, 0]], np.uint8)
    result = standardize(train, test)
    assert result.mean == pytest.approx(0.4, rel=1e-15) and result.std == pytest.approx(0.14**0.5, rel=1e-15)
    expected = np.array([[-0.4, -0.2], [0.0, 0.6]]) / 0.14**0.5
    np.testing.assert_allclose(result.X_train, expected, rtol=0, atol=1e-15)
    np.testing.assert_allclose(result.X_test, [[0.0, -0.4 / 0.14**0.5]], rtol=0, atol=1e-15)
    assert result.shape == (2,) and result.max_value == 255.0


def test_standardize_agrees_with_exact_arithmetic():
    images = np.random.default_rng(0).integers(0, 256, (50, 7, 5)).astype(np.uint8)
    before = images.copy()
    pixels = [Fraction(int(pixel), 255) for pixel in images.ravel()]
    mean = sum(pixels) / len(pixels)
    variance = sum((pixel - mean) ** 2 for pixel in pixels) / len(pixels)
    result = standardize(images)
    assert result.mean == pytest.approx(float(mean), rel=1e-14)
    assert result.std == pytest.approx(float(variance) ** 0.5, rel=1e-14)
    assert result.X_train.shape == (50, 35) and result.X_train.dtype == np.float64
    row = [float((pixel - mean) / Fraction(float(variance) ** 0.5)) for pixel in pixels[35:70]]
    np.testing.assert_allclose(result.X_train[1], row, rtol=1e-13)
    np.testing.assert_array_equal(images, before)


def test_the_scaling_is_the_training_images_alone():
    rng = np.random.default_rng(1)
    train, test = rng.integers(0, 100, (20, 4, 4)), rng.integers(100, 256, (9, 4, 4))
    alone, both = standardize(train), standardize(train, test)
    assert alone.X_test is None and (alone.mean, alone.std) == (both.mean, both.std)
    np.testing.assert_array_equal(alone.X_train, both.X_train)
    assert abs(both.X_train.mean()) < 1e-14 and abs(both.X_train.std() - 1) < 1e-14
    assert both.X_test.mean() > 1 and both.X_test.shape == (9, 16)


def test_the_largest_pixel_value_cancels_in_the_rows():
    data = datasets.digits()
    by16, by255 = (standardize(data.X_train, max_value=top) for top in (16, 255))
    np.testing.assert_allclose(by16.X_train, by255.X_train, rtol=1e-12)
    assert by16.mean / by255.mean == pytest.approx(255 / 16)
    back = unstandardize(by16.X_train, by16)
    np.testing.assert_allclose(back, data.X_train, rtol=0, atol=8 * 16 * np.finfo(float).eps)


def test_float32_rows_are_the_float64_rows_rounded():
    data = datasets.digits()
    double = standardize(data.X_train, data.X_test)
    single = standardize(data.X_train, data.X_test, dtype="float32")
    assert single.X_train.dtype == single.X_test.dtype == np.float32
    np.testing.assert_array_equal(single.X_train, double.X_train.astype(np.float32))
    np.testing.assert_array_equal(single.X_test, double.X_test.astype(np.float32))
    assert (single.mean, single.std) == (double.mean, double.std)


def test_float_and_big_endian_images_are_accepted_and_unchanged():
    images = np.random.default_rng(2).random((5, 3))
    before = images.copy()
    result = standardize(images, max_value=1)
    np.testing.assert_array_equal(images, before)
    expected = (images - images.mean()) / images.std()
    np.testing.assert_allclose(result.X_train, expected, rtol=1e-13, atol=1e-15)
    swapped = standardize(images.astype(">f8"), max_value=1)
    np.testing.assert_array_equal(swapped.X_train, result.X_train)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_unstandardize_undoes_standardize_and_clips_nothing(library):
    data = datasets.fashion_sample()
    scaled = standardize(data.X_train[:50])
    X = scaled.X_train
    if library == "torch":
        X = pytest.importorskip("torch", reason="torch is not installed").asarray(X)
    images = unstandardize(X, scaled)
    assert type(images) is type(X) and tuple(images.shape) == (50, 28, 28) and images.dtype == X.dtype
    bound = 8 * 255 * np.finfo(float).eps  # a few roundings of numbers up to 255
    np.testing.assert_allclose(np.asarray(images), data.X_train[:50], rtol=0, atol=bound)
    far = unstandardize(100 * X[:1], scaled)
    assert float(far.min()) < -1000 and float(far.max()) > 10_000


def test_one_hot_by_hand():
    Y = one_hot(np.array([2, 0, 1, 2], np.uint8), 4)
    np.testing.assert_array_equal(Y, [[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]])
    assert Y.dtype == np.float64
    small = one_hot(np.array([1, 0]), dtype=np.float32)
    assert small.dtype == np.float32 and small.shape == (2, 2)
    y = datasets.fashion_sample().y_train
    np.testing.assert_array_equal(one_hot(y).argmax(axis=1), y)
    assert (one_hot(y).sum(axis=1) == 1).all()


IMAGE = np.array([[0, 255], [255, 0]], np.uint8)
SCALED = standardize(IMAGE)
ROWS = SCALED.X_train
STANDARDIZE = [
    (lambda: standardize([[0, 255]]), TypeError, "X_train must be a NumPy array, got list"),
    (lambda: standardize(IMAGE > 0), TypeError, "X_train must hold real numbers, got bool"),
    (lambda: standardize(IMAGE * 1j), TypeError, "X_train must hold real numbers, got complex128"),
    (lambda: standardize(IMAGE[0]), ValueError, r"X_train has shape \(2,\), expected \(n, \.\.\.\)"),
    (lambda: standardize(IMAGE[:0]), ValueError, r"X_train has shape \(0, 2\)"),
    (lambda: standardize(IMAGE[:, :0]), ValueError, r"shape \(2, 0\), expected .*at least one pixel"),
    (lambda: standardize(IMAGE * np.nan), ValueError, "X_train contains NaN or Inf"),
    (lambda: standardize(IMAGE, np.full((1, 2), np.inf)), ValueError, "X_test contains NaN or Inf"),
    (lambda: standardize(IMAGE * 2.0), ValueError, "pixels from 0.0 to 510.0, outside 0 to max_value = 255:"),
    (lambda: standardize(IMAGE - 1.0), ValueError, "X_train has pixels from -1.0 to 254.0"),
    (lambda: standardize(IMAGE, IMAGE * 2.0), ValueError, "X_test has pixels from 0.0 to 510.0"),
    (lambda: standardize(IMAGE, max_value=16), ValueError, "outside 0 to max_value = 16:"),
    (lambda: standardize(IMAGE, IMAGE[:, :1]), ValueError, r"X_test holds images of shape \(1,\)"),
    (lambda: standardize(IMAGE, IMAGE[:0]), ValueError, r"X_test has shape \(0, 2\)"),
    (lambda: standardize(np.full((9, 7), 77)), ValueError, "all pixels of X_train are 77"),
    (lambda: standardize(np.full((9, 7), 0.1)), ValueError, "all pixels of X_train are 0.1"),
    (lambda: standardize(IMAGE, max_value=0), ValueError, "outside 0 to max_value = 0:"),
    (lambda: standardize(IMAGE * 0, max_value=0), ValueError, "outside 0 to max_value = 0:"),
    (lambda: standardize(IMAGE, max_value=-1), ValueError, "max_value = -1.0 must be finite and not negative"),
    (lambda: standardize(IMAGE, max_value=np.inf), ValueError, "max_value = inf must be finite"),
    (lambda: standardize(IMAGE, max_value=None), TypeError, "max_value must be a number, got NoneType"),
    (lambda: standardize(IMAGE, dtype=np.float16), TypeError, "dtype must be numpy.float32 or"),
    (lambda: standardize(IMAGE, dtype=None), TypeError, "dtype must be .* got None"),
    (lambda: standardize(IMAGE, dtype="tall"), TypeError, "dtype must be .* got 'tall'"),
]
UNSTANDARDIZE = [
    (lambda: unstandardize(IMAGE, SCALED), TypeError, "X has dtype uint8"),
    (lambda: unstandardize([[0.0, 1.0]], SCALED), TypeError, "NumPy or PyTorch arrays .* got X: builtins.list"),
    (lambda: unstandardize(ROWS, (0, 1)), TypeError, "like must be what standardize.. returned, got tuple"),
    (lambda: unstandardize(ROWS[0], SCALED), ValueError, r"X must have 2 dimensions, .* its shape is \(2,\)"),
    (lambda: unstandardize(ROWS[:0], SCALED), ValueError, r"X is empty: its shape is \(0, 2\)"),
    (lambda: unstandardize(ROWS[:, :1], SCALED), ValueError, r"X has shape \(2, 1\), expected \(m, 2\)"),
    (lambda: unstandardize(ROWS * np.nan, SCALED), ValueError, "X contains NaN or Inf"),
    (lambda: unstandardize(ROWS * np.inf, SCALED), ValueError, "X contains NaN or Inf"),
]
ONE_HOT = [
    (lambda: one_hot([0, 1]), TypeError, "classes must be a NumPy array, got list"),
    (lambda: one_hot(np.array([0.0, 1.0])), TypeError, "classes must hold integers, got float64"),
    (lambda: one_hot(np.array([True])), TypeError, "classes must hold integers, got bool"),
    (lambda: one_hot(np.zeros(0, int)), ValueError, r"classes has shape \(0,\), expected \(n,\) with n >= 1"),
    (lambda: one_hot(np.zeros((2, 2), int)), ValueError, r"classes has shape \(2, 2\), expected \(n,\)"),
    (lambda: one_hot(np.array([0, -3])), ValueError, "classes contains -3: classes count from 0"),
    (lambda: one_hot(np.array([7]), 5), ValueError, "contains 7, but k = 5 allows 0 to 4: pass k >= 8"),
    (lambda: one_hot(np.array([0]), 0), ValueError, "k = 0 must be at least 1"),
    (lambda: one_hot(np.array([0]), 2.0), TypeError, "k must be an integer, got 2.0"),
    (lambda: one_hot(np.array([0]), dtype=int), TypeError, "dtype must be numpy.float32 or"),
]


@pytest.mark.parametrize("call, error, message", STANDARDIZE + UNSTANDARDIZE + ONE_HOT)
def test_bad_input_is_refused_with_the_numbers(call, error, message):
    with pytest.raises(error, match=message):
        call()
