"""ddref.datasets: every download goes to a server on 127.0.0.1 that the test starts itself."""

import gzip
import hashlib
import importlib.util
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import tracemalloc
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from ddref import datasets
from ddref.datasets import one_hot, standardize, unstandardize

REPOSITORY = Path(__file__).resolve().parents[1]
SHAPES = ((6, 28, 28), (6,), (4, 28, 28), (4,))  # of the small stand-ins for the official files
FILES = tuple(datasets._OFFICIAL["mnist"])
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
    for seed, name in enumerate(datasets._OFFICIAL):
        sets[name] = small_files(seed)
        tables[name] = {
            file: datasets._File(hashlib.sha256(idx(array)).hexdigest(), array.shape)
            for file, array in sets[name].items()
        }
    monkeypatch.setattr(datasets, "_OFFICIAL", tables)
    nowhere = (f"http://127.0.0.1:{closed_port()}",)
    monkeypatch.setattr(datasets, "_SERVERS", dict.fromkeys(tables, nowhere))
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
    assert datasets._SAMPLE.stat().st_size < 4_000_000


def test_origin_and_licence_lie_beside_the_sample():
    folder = datasets._SAMPLE.parent
    assert datasets._SAMPLE_SHA256 in (folder / "ORIGIN.txt").read_text(encoding="utf-8")
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
    body = bytearray(datasets._SAMPLE.read_bytes())
    with np.load(datasets._SAMPLE) as stored:
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
    monkeypatch.setattr(datasets, "_SAMPLE", path)
    with pytest.raises(ValueError, match="sample.npz is damaged.*reinstall ddref"):
        datasets.fashion_sample()
    assert not (tmp_path / "sprung").exists()


def test_a_missing_sample_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets, "_SAMPLE", tmp_path / "none.npz")
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


def test_the_module_and_the_sample_need_numpy_alone():
    done = run_without(
        ("pooch", "tqdm", "requests", "sklearn", "scipy", "torch", "array_api_compat"),
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
    other = np.zeros((5, 28, 28), np.uint8)
    return {
        "empty": (b"", "begins with nothing"),
        "a web page": (b"<!DOCTYPE html>", "not an idx file of 3 dimensions: it begins with 3c 21 44 4f"),
        "floats": (idx(other, magic=bytes((0, 0, 13, 3))), "begins with 00 00 0d 03, expected 00 00 08 03"),
        "labels": (idx(np.zeros(6, np.uint8)), "begins with 00 00 08 01, expected 00 00 08 03"),
        "header cut": (content[:9], "cut short: 9 bytes, fewer than the 16 of its header"),
        "other dimensions": (idx(other), r"dimensions \(5, 28, 28\), expected \(6, 28, 28\)"),
        "huge dimensions": (content[:4] + b"\xff" * 12 + content[16:], r"dimensions \(4294967295, 429"),
        "cut": (content[:-7], "cut short at 4,713 bytes: 4,720 bytes expected"),
        "too long": (content + b"\0", "too long: 4,720 bytes expected"),
        "gzip too long": (gzip.compress(content + b"\0"), "too long: 4,720 bytes expected"),
        "gzip cut": (zipped[:-200], "damaged gzip file"),
        "gzip trailer cut": (zipped[:-3], "damaged gzip file"),
        "gzip header only": (zipped[:10], "damaged gzip file"),
        "gzip crc": (zipped[:-8] + b"\0\0\0\0" + zipped[-4:], "damaged gzip file.*CRC"),
        "gzip with rubbish after it": (zipped + b"rubbish", "damaged gzip file"),
        "one pixel": (
            gzip.compress(bytes(pixel)),
            f"wrong checksum: SHA-256 after decompression {hashlib.sha256(pixel).hexdigest()}, "
            f"expected {hashlib.sha256(content).hexdigest()}",
        ),
    }[how]


BAD = [
    "empty",
    "a web page",
    "floats",
    "labels",
    "header cut",
    "other dimensions",
    "huge dimensions",
    "cut",
    "too long",
    "gzip too long",
    "gzip cut",
    "gzip trailer cut",
    "gzip header only",
    "gzip crc",
    "gzip with rubbish after it",
    "one pixel",
]


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
    with pytest.raises(ValueError, match=rf"wrong checksum.*\(this is {IMAGES} of fashion-mnist\)"):
        datasets.load("mnist", tmp_path)


def test_a_gzip_bomb_is_not_unpacked(small, tmp_path):
    _, contents = small
    put(tmp_path, contents)
    put(tmp_path, {IMAGES: contents[IMAGES][:16] + bytes(60_000_000)}, level=1)
    tracemalloc.start()
    with pytest.raises(ValueError, match="too long: 4,720 bytes expected"):
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
    monkeypatch.setitem(datasets._SERVERS, "mnist", (server.url + "/wrong", server.url + "/empty", good))
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
        match=rf"(?s)could not download {IMAGES} of mnist.*http://127.0.0.1.*{reason}"
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
    refused(server, tmp_path, "sends more than 1,053,280 bytes; stopped")
    assert len(sent) < 100


def test_a_bomb_from_a_server_is_not_unpacked(small, server, tmp_path):
    content = small[1][IMAGES]
    server.answers[f"/{IMAGES}.gz"] = send(gzip.compress(content[:16] + bytes(60_000_000), 1))
    tracemalloc.start()
    refused(server, tmp_path, "too long: 4,720 bytes expected")
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
root, url, stop, *table = sys.argv[1:]
files = list(datasets._OFFICIAL["mnist"])
shapes = ((6, 28, 28), (6,), (4, 28, 28), (4,))
datasets._OFFICIAL["mnist"] = {f: datasets._File(s, n) for f, s, n in zip(files, table, shapes)}
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


def test_a_process_killed_before_the_rename_leaves_no_final_file_and_the_next_call_tidies_up(small, server, tmp_path):
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
    assert saved_below(tmp_path) == sorted(f"{file}.gz" for file in FILES)


def test_a_disk_error_while_saving_leaves_nothing_and_is_reported(small, server, monkeypatch, tmp_path):
    def full(part, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        datasets.load("mnist", tmp_path, base_url=server.serve(small[1]))
    assert saved_below(tmp_path) == []


def test_another_process_that_saves_the_same_file_first_does_no_harm(small, server, monkeypatch, tmp_path):
    arrays, contents = small
    replace = os.replace

    def overtaken(part, path):  # the other one saves and tidies up before us
        replace(part, path)
        replace(part, path)

    monkeypatch.setattr(os, "replace", overtaken)
    check(datasets.load("mnist", tmp_path, base_url=server.serve(contents)), arrays)
    assert saved_below(tmp_path) == sorted(f"{file}.gz" for file in FILES)


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
def official():
    if not os.environ.get("DDREF_DATA"):
        pytest.skip("DDREF_DATA is not set: no folder with the official MNIST and Fashion-MNIST files")
    return {name: datasets.load(name, download=False) for name in ("mnist", "fashion-mnist")}


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
    with np.load(output) as again, np.load(datasets._SAMPLE) as shipped:
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
    (lambda: standardize(IMAGE, max_value=0), ValueError, "max_value = 0 must be positive and finite"),
    (lambda: standardize(IMAGE, max_value=np.inf), ValueError, "max_value = inf must be positive"),
    (lambda: standardize(IMAGE, max_value="255"), TypeError, "max_value must be a number, got '255'"),
    (lambda: standardize(IMAGE, max_value=True), TypeError, "max_value must be a number, got True"),
    (lambda: standardize(IMAGE, dtype=np.float16), TypeError, "dtype must be numpy.float32 or"),
    (lambda: standardize(IMAGE, dtype=None), TypeError, "dtype must be .* got None"),
    (lambda: standardize(IMAGE, dtype="tall"), TypeError, "dtype must be .* got 'tall'"),
]
UNSTANDARDIZE = [
    (lambda: unstandardize(IMAGE, SCALED), TypeError, "X must be an array of floats, got uint8"),
    (lambda: unstandardize([[0.0, 1.0]], SCALED), TypeError, "X must be an array of floats, got list"),
    (lambda: unstandardize(ROWS, (0, 1)), TypeError, "like must be what standardize.. returned, got tuple"),
    (lambda: unstandardize(ROWS[0], SCALED), ValueError, r"X has shape \(2,\), expected \(m, 2\)"),
    (lambda: unstandardize(ROWS[:0], SCALED), ValueError, r"shape \(0, 2\), expected \(m, 2\) with m >= 1"),
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
    (lambda: one_hot(np.array([0]), 0), ValueError, "contains 0, but k = 0"),
    (lambda: one_hot(np.array([0]), 2.0), TypeError, "k must be an integer, got 2.0"),
    (lambda: one_hot(np.array([0]), True), TypeError, "k must be an integer, got True"),
    (lambda: one_hot(np.array([0]), dtype=int), TypeError, "dtype must be numpy.float32 or"),
]


@pytest.mark.parametrize("call, error, message", STANDARDIZE + UNSTANDARDIZE + ONE_HOT)
def test_bad_input_is_refused_with_the_numbers(call, error, message):
    with pytest.raises(error, match=message):
        call()
