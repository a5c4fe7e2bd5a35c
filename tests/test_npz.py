"""ddref.npz: a file is whole or not there, and nothing in it is believed."""

import io
import os
import struct
import subprocess
import sys
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ddref import npz
from ddref.npz import NpyFile, load_npy, load_npz, save_npz, shortened, whole_file

REPOSITORY = Path(__file__).resolve().parents[1]


def npy(A, **options):
    file = io.BytesIO()
    np.lib.format.write_array(file, A, **options)
    return file.getvalue()


def claiming(text, body=b"", version=(1, 0)):
    """An .npy file with this text as its header."""
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + size + text.encode("latin1") + body


def archive(path, members, method=zipfile.ZIP_DEFLATED):
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as found:
        warnings.simplefilter("ignore")  # a name that is there twice
        for name, content in members:
            found.writestr(name, content)
    return path


def refused(path, words, load=load_npz, **options):
    """Refused in one short line that begins with the file's name, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=words) as caught:
            load(path, **options)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "\n" not in text
    assert len(text) <= npz.LONG + len(f"{path}: ")


# ------------------------------------------------------------------------------ round trips

KINDS = ["f2", "f4", "f8", ">f8", "i1", "i8", ">i4", "u1", "u8", "?", "U3", ">U3"]
ANY = st.sampled_from(KINDS).flatmap(
    lambda kind: hnp.arrays(
        kind,
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
        elements=st.text(st.characters(exclude_categories=["Cs"]), max_size=3) if "U" in kind else None,
    )
)


@settings(max_examples=150, deadline=None)
@given(A=ANY, compress=st.booleans(), fortran=st.booleans())
def test_every_array_comes_back_bit_for_bit(A, compress, fortran, tmp_path_factory):
    A = np.asfortranarray(A) if fortran else A
    path = tmp_path_factory.mktemp("any") / "a.npz"
    save_npz(path, {"A": A, "folder/b": A[..., :0] if A.ndim else A}, compress=compress)
    again = load_npz(path)
    assert list(again) == ["A", "folder/b"]
    for found in (again["A"], np.load(path, allow_pickle=False)["A"]):
        assert found.shape == A.shape and found.dtype.newbyteorder("=") == A.dtype.newbyteorder("=")
        assert found.tobytes() == A.astype(found.dtype).tobytes()
    assert again["A"].dtype.isnative and again["A"].flags.writeable


def test_the_same_arrays_give_the_same_bytes(tmp_path, rng):
    A = rng.normal(size=(300, 70))
    written = []
    for i, same in enumerate((A, np.asfortranarray(A), np.repeat(A, 2, axis=1)[:, ::2])):
        save_npz(tmp_path / f"{i}.npz", {"A": same, "n": np.int64(3)})
        written.append((tmp_path / f"{i}.npz").read_bytes())
    assert written[0] == written[1] == written[2]
    code = "import sys, numpy as np; from ddref.npz import *; save_npz(sys.argv[2], load_npz(sys.argv[1]))"
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "0.npz"), str(tmp_path / "later.npz")],
        cwd=REPOSITORY, check=True, timeout=60,
    )  # fmt: skip
    assert (tmp_path / "later.npz").read_bytes() == written[0]


def test_what_numpy_writes_is_read(tmp_path, rng):
    arrays = {"A": np.asfortranarray(rng.normal(size=(4, 5))), "s": np.array("text"), "e": np.empty((0, 3), ">f4")}
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays)
        for name, A in load_npz(tmp_path / "a.npz").items():
            np.testing.assert_array_equal(A, arrays[name])
    np.save(tmp_path / "a.npy", arrays["A"])
    np.testing.assert_array_equal(load_npy(tmp_path / "a.npy"), arrays["A"])


def test_a_header_of_python_2_is_read_without_a_warning(tmp_path):
    text = "{'descr': '<f8', 'fortran_order': False, 'shape': (2L,), }\n"
    path = archive(tmp_path / "a.npz", [("A.npy", claiming(text, bytes(16)))])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(load_npz(path)["A"], [0, 0])


@pytest.mark.parametrize("compress", [False, True])
def test_a_large_array_is_in_memory_once(compress, tmp_path):
    A = np.zeros((1500, 2000))
    path = tmp_path / "a.npz"
    tracemalloc.start()
    save_npz(path, {"A": A}, compress=compress)
    writing = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    load_npz(path)
    reading = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert writing < 0.3 * A.nbytes and reading < 1.3 * A.nbytes
    assert (path.stat().st_size > A.nbytes) != compress


# ---------------------------------------------------------------------------------- writing


def test_a_file_is_what_it_was_until_the_new_one_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    save_npz(path, {"A": np.arange(3)})
    before = path.read_bytes()
    for bad in (np.array([None]), np.array([1j]), np.array([b"x"]), np.array(["\ud800"]), np.zeros(2, "f8,f8")):
        with pytest.raises(ValueError, match="array 'B' "):
            save_npz(path, {"A": np.arange(9), "B": bad})
        assert path.read_bytes() == before and os.listdir(tmp_path) == ["a.npz"]

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"), whole_file(path) as file:
        file.write(b"half")
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["a.npz"]


def test_a_process_killed_while_it_writes_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(b"old")
    code = (
        "import sys, os, signal\nfrom ddref.npz import whole_file\n"
        "with whole_file(sys.argv[1]) as file:\n    file.write(b'new'); file.flush(); os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], cwd=REPOSITORY, timeout=60)
    assert done.returncode != 0 and path.read_bytes() == b"old"
    assert all(name == "a.npz" or name.startswith(".a.npz.") and name.endswith(".part") for name in os.listdir(tmp_path))


# ------------------------------------------------------------------ reading without trust


def test_what_is_not_there_or_no_archive_is_named(tmp_path):
    for load in (load_npz, load_npy):
        with pytest.raises(FileNotFoundError, match="none.npz does not exist"):
            load(tmp_path / "none.npz")
        with pytest.raises(FileNotFoundError, match="is not a file"):
            load(tmp_path)
    for content, words in ((b"", "begins with nothing"), (b"\x89PNG", "89 50 4e 47"), (b"PK\x03\x04 no", "damaged, or not")):
        (tmp_path / "a.npz").write_bytes(content)
        refused(tmp_path / "a.npz", words)
        refused(tmp_path / "a.npz", "is damaged", load_npy)


OBJECTS = npy(np.array([{}, None]), allow_pickle=True)
MEMBERS = {
    "objects": ([("A.npy", OBJECTS)], "array 'A' holds object: only numbers and texts"),
    "complex": ([("A.npy", npy(np.ones(2, complex)))], "holds complex128"),
    "fields": ([("A.npy", npy(np.zeros(2, "f8,f8")))], "only numbers and texts"),
    "no .npy": ([("A.txt", npy(np.ones(1)))], "'A.txt': not one array of a name of its own"),
    "the same name twice": ([("A.npy", npy(np.ones(1)))] * 2, "not one array of a name of its own"),
    "a long name": ([("A" * 60_000, b"")], "not one array of a name of its own|A A|AA"),
    "a name of two lines": ([("A\n\nB.npy", OBJECTS)], r"array 'A\\n\\nB' holds object"),
    "nothing": ([("A.npy", b"")], "array 'A' is damaged"),
    "no magic": ([("A.npy", bytes(200))], "array 'A' is damaged"),
    "another version": ([("A.npy", claiming("{}", version=(9, 0)))], "array 'A' is damaged"),
    "a header without end": ([("A.npy", claiming("{" * 60_000))], "array 'A' is damaged"),
    "a huge header": ([("A.npy", claiming(" " * 40_000_000, version=(2, 0)))], "array 'A' is damaged"),
    "a header longer than the file": ([("A.npy", b"\x93NUMPY\x02\0\xff\xff\xff\x7f{")], "array 'A' is damaged"),
    "a header that warns": ([("A.npy", claiming(r"{'descr': '\d', 'fortran_order': 1 is 1}"))], "array 'A' is damaged"),
    "a dtype of one megabyte": ([("A.npy", claiming(repr({"descr": "f8," * 3000, "fortran_order": False, "shape": ()})))],
                                "array 'A' (is damaged|holds)"),
    "too little": ([("A.npy", npy(np.ones(9))[:-1])], r"71 bytes where \(9,\) of float64 need 72"),
    "too much": ([("A.npy", npy(np.ones(9)) + b"x")], r"73 bytes where \(9,\) of float64 need 72"),
    "a terabyte claimed": ([("A.npy", claiming(repr({"descr": "<f8", "fortran_order": False, "shape": (1 << 37,)})))],
                           "0 bytes where"),
    "a negative side": ([("A.npy", claiming(repr({"descr": "<f8", "fortran_order": False, "shape": (-1, -1)}), bytes(8)))],
                        "8 bytes where"),
    "letters of no bytes": ([("A.npy", claiming(repr({"descr": "<U0", "fortran_order": False, "shape": (1 << 60,)})))],
                            "only numbers and texts"),
    "sides too large beside none": (
        [("A.npy", claiming(repr({"descr": "<f8", "fortran_order": False, "shape": (0, 1 << 62, 1 << 62)})))], "damaged"),
    "no truth value": ([("A.npy", npy(np.array([2, 0], np.uint8)).replace(b"|u1", b"|b1"))], "a truth value is neither"),
    "no letter": ([("A.npy", npy(np.array([1 << 31], "<u4")).replace(b"<u4", b"<U1"))], "holds what is no letter"),
    "half a letter": ([("A.npy", npy(np.array([0xD800], ">u4")).replace(b">u4", b">U1"))], "holds what is no letter"),
    "zeros, zipped": ([("A.npy", bytes(1 << 24))], "more than 4096 arrays or max_bytes = 1,000,000; refused"),
    "many arrays": ([(f"{i}.npy", npy(np.ones(0))) for i in range(4097)], "4097 arrays of"),
}  # fmt: skip


@pytest.mark.parametrize("how", MEMBERS)
def test_a_hostile_member_is_refused_in_one_line(how, tmp_path):
    members, words = MEMBERS[how]
    path = archive(tmp_path / "a.npz", members)
    limit = 1_000_000 if "zeros" in how else 1 << 30
    refused(path, words, max_bytes=limit)


@pytest.mark.parametrize("how", [how for how in MEMBERS if how not in ("the same name twice", "a long name")])
def test_what_is_not_asked_for_is_not_looked_at(how, tmp_path):
    members = [("X.npy", npy(np.arange(3.0))), *MEMBERS[how][0]]
    path = archive(tmp_path / "a.npz", members)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = load_npz(path, only=("x", "Y"), max_bytes=1000)
    assert list(found) == ["X"] and found["X"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_method_that_npz_files_do_not_use_is_refused(method, tmp_path):
    path = archive(tmp_path / "a.npz", [("A.npy", npy(np.ones(3)))], method)
    refused(path, f"'A.npy' is compressed by method {method}")


def test_an_encrypted_member_is_refused(tmp_path):
    path = archive(tmp_path / "a.npz", [("A.npy", npy(np.ones(3)))])
    body = bytearray(path.read_bytes())
    body[body.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(body)
    refused(path, "'A.npy' is encrypted")


def test_a_size_that_the_archive_only_claims_is_refused(tmp_path):
    """The directory says 2 GiB, in the 64-bit format; the member holds 64 bytes more than its header."""
    header = claiming(repr({"descr": "<f8", "fortran_order": False, "shape": ((1 << 28) - 16,)}).ljust(118))
    assert len(header) == 128
    path = archive(tmp_path / "a.npz", [("A.npy", header + bytes(64))])
    body = path.read_bytes()
    at = body.index(b"PK\x01\x02")
    claimed = bytearray(body[at:])
    claimed[24:28] = b"\xff" * 4  # the size is in an extra field
    claimed[30:32] = struct.pack("<H", 12)
    name = 46 + len("A.npy")
    claimed[name:name] = struct.pack("<HHQ", 1, 8, 1 << 31)
    end = claimed.index(b"PK\x05\x06")
    claimed[end + 12 : end + 16] = struct.pack("<I", end)
    path.write_bytes(body[:at] + claimed)
    refused(path, "max_bytes")
    refused(path, "damaged|cut short", max_bytes=1 << 32)


def test_more_than_deflate_can_hold_is_refused_before_memory_is_asked_for(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", A=np.zeros(4))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = (1 << 29).to_bytes(4, "little")
    (tmp_path / "a.npz").write_bytes(content)
    refused(tmp_path / "a.npz", "bytes cannot hold 536,870,912")
    save_npz(tmp_path / "zeros.npz", {"A": np.zeros(1 << 20)})  # what deflate does hold
    assert not load_npz(tmp_path / "zeros.npz")["A"].any()


def test_a_file_cut_or_changed_anywhere_is_refused_or_the_same(tmp_path, rng):
    arrays = {"A": rng.normal(size=(20, 3)), "s": np.array(["cat", "dog"]), "t": np.array([True, False])}
    for compress in (False, True):
        path = tmp_path / f"{compress}.npz"
        save_npz(path, arrays, compress=compress)
        whole, loaded = path.read_bytes(), 0
        for end in np.linspace(0, len(whole) - 1, 40).astype(int):
            path.write_bytes(whole[:end])
            refused(path, ".")
        for place in rng.choice(len(whole), size=250, replace=False):
            broken = bytearray(whole)
            broken[place] ^= 1 << rng.integers(8)
            path.write_bytes(broken)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    again = load_npz(path)
            except ValueError as error:
                assert "\n" not in str(error) and len(str(error)) < 300
                continue
            loaded += 1  # dates and attributes of the archive, and the names of arrays
            assert [A.tobytes() for A in again.values()] == [A.tobytes() for A in arrays.values()]
        assert loaded < 125


def test_an_npy_file_is_read_within_its_limit(tmp_path):
    np.save(tmp_path / "a.npy", np.ones(1000))
    refused(tmp_path / "a.npy", "8,128 bytes, more than max_bytes = 8,000", load_npy, max_bytes=8000)
    np.save(tmp_path / "a.npy", np.array([{}]), allow_pickle=True)
    refused(tmp_path / "a.npy", "holds object: only numbers and texts", load_npy)


def test_messages_become_one_short_line():
    assert shortened("a\n  b\tc") == "a b c"
    assert len(shortened("word " * 1000)) == npz.LONG and shortened("word " * 1000).endswith(" ...")


def test_a_file_may_be_as_large_as_is_allowed_and_no_larger(tmp_path):
    save_npz(tmp_path / "a.npz", {"A": np.arange(1000.0)})
    size = len(npy(np.arange(1000.0)))
    assert load_npz(tmp_path / "a.npz", max_bytes=size)["A"].shape == (1000,)
    refused(tmp_path / "a.npz", f"max_bytes = {size - 1:,}; refused", max_bytes=size - 1)


# -- an array that stays in its file


@pytest.mark.parametrize("dtype", ["float32", ">f8", "int16", "bool"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_of_a_file_are_those_of_its_array(dtype, order, tmp_path, rng, monkeypatch):
    monkeypatch.setattr(npz, "FEW", 4)
    A = np.asarray(rng.integers(0, 2, (37, 3, 2)), dtype, order=order)
    np.save(tmp_path / "A.npy", A)
    file = NpyFile(tmp_path / "A.npy")
    assert len(file) == 37 and file.shape == A.shape and file.dtype == load_npy(tmp_path / "A.npy").dtype
    for rows in (slice(5, 9), slice(None), slice(30, 99), np.array([36, 0, 5, 5, 8, 1, 2, 3, 30]), np.array([7])):
        found = file[rows]
        assert np.array_equal(found, A[rows]) and found.dtype == file.dtype and found.flags.c_contiguous
        found[:] = 0  # a copy
    assert np.array_equal(file[:], A)


def test_a_file_whose_rows_cannot_be_read_is_refused(tmp_path):
    for name, A in {"texts": np.array(["a", "b"]), "number": np.array(3.0), "empty": np.zeros((0, 2))}.items():
        np.save(tmp_path / f"{name}.npy", A)
        refused(tmp_path / f"{name}.npy", "an array of numbers is needed, with rows", NpyFile)
    content = npy(np.ones((5, 2)))
    (tmp_path / "cut.npy").write_bytes(content[:-8])
    refused(tmp_path / "cut.npy", r"array 'cut.npy' is damaged: 72 bytes where \(5, 2\)", NpyFile)
    (tmp_path / "A.npy").write_bytes(npy(np.array([True, False]))[:-2] + b"\2\0")
    with pytest.raises(ValueError, match="A.npy: array 'rows' is damaged: a truth value is neither 0 nor 1"):
        NpyFile(tmp_path / "A.npy")[:]
    (tmp_path / "B.npy").write_bytes(content)
    file = NpyFile(tmp_path / "B.npy")
    (tmp_path / "B.npy").write_bytes(content[:-8])
    with pytest.raises(ValueError, match="B.npy has changed while it was read"):
        file[:1]
