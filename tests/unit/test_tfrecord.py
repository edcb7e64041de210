"""TFRecord files and Examples written by others are read as they are; each kind of damage is found and named."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_files import example, write_records

from ivideo.data.sources.crc32c import crc32c, masked
from ivideo.data.sources.example import Damaged, Example
from ivideo.data.sources.tfrecord import records


def test_the_checksum_is_castagnolis() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(b"") == 0


@given(st.integers(0, 6000), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_long_and_short_buffers_have_the_same_checksum(length: int, seed: int) -> None:
    """The CRC of a buffer is what the CRC of its first part becomes, worked off byte by byte."""
    data = np.random.default_rng(seed).bytes(length)
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    assert crc32c(data) == register ^ 0xFFFFFFFF


def test_records_come_back_in_any_order(tmp_path: Path) -> None:
    payloads = [b"", b"one", os.urandom(5000), b"three" * 100]
    write_records(tmp_path / "a.tfrecord", payloads)
    held = records(tmp_path / "a.tfrecord")
    assert len(held) == 4
    assert held.damage is None
    for number in (3, 0, 2, 1):
        assert held.read(number, check=True) == payloads[number]
    with pytest.raises(ValueError, match=r"a\.tfrecord: record 4 cannot be read: it holds 4 records"):
        held.read(4)
    write_records(tmp_path / "a.tfrecord", payloads[:2])
    assert len(records(tmp_path / "a.tfrecord")) == 2, "a file that changes is gone through again"


def test_a_file_cut_anywhere_keeps_its_whole_records_and_says_so(tmp_path: Path) -> None:
    payloads = [b"a" * 40, b"b" * 40, b"c" * 40]
    path = tmp_path / "a.tfrecord"
    write_records(path, payloads)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        os.utime(path, ns=(length, length))
        held = records(path)
        whole = length // 56
        assert len(held) == whole
        assert (held.damage is None) == (length % 56 == 0 and length > 0)
        with pytest.raises(ValueError, match=r"a\.tfrecord: record \d cannot be read: .*(truncated|empty|holds)"):
            held.read(whole)


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecord"
    write_records(path, [b"payload" * 3, b"another"])
    content = path.read_bytes()
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        os.utime(path, ns=(bit, bit))
        held = records(path)
        with pytest.raises(ValueError, match=r"checksum|truncated|holds"):
            [held.read(number, check=True) for number in range(2)]


def test_a_record_that_claims_terabytes_is_not_read(tmp_path: Path) -> None:
    length = struct.pack("<Q", 10**13)
    (tmp_path / "a.tfrecord").write_bytes(length + struct.pack("<I", masked(length)) + b"short")
    held = records(tmp_path / "a.tfrecord")
    assert len(held) == 0
    assert held.damage is not None
    assert "claims 10000000000000 bytes" in held.damage


def test_an_example_holds_what_protobuf_wrote() -> None:
    integers = np.array([0, 1, -1, 127, 128, 2**62, -(2**63), 300], np.int64)
    floats = np.array([0.5, -1e30, 3], np.float32)
    read = Example(example({"a/b": [b"x", b"", b"y" * 300], "n": integers, "f": floats, "empty": []}))
    assert set(read) == {"a/b", "n", "f", "empty"}
    assert read.bytes_list("a/b") == [b"x", b"", b"y" * 300]
    assert read.numbers("n").tolist() == integers.tolist()
    assert read.numbers("f").tolist() == floats.tolist()
    assert read.bytes_list("empty") == []
    assert read.kind("f") == "floats"
    with pytest.raises(Damaged, match="'f' holds floats, expected bytes"):
        read.bytes_list("f")
    with pytest.raises(Damaged, match="'a/b' holds bytes, expected numbers"):
        read.numbers("a/b")


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=30))
@settings(max_examples=60, deadline=None)
def test_integers_of_any_size(values: list[int]) -> None:
    assert Example(example({"n": np.array(values, np.int64)})).numbers("n").tolist() == values


def test_numbers_that_are_not_packed() -> None:
    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    floats = field(2, b"".join(b"\x0d" + struct.pack("<f", value) for value in (1.5, -2.0)))
    integers = field(3, b"\x08\x07\x08\xac\x02")
    entries = [field(1, b"f") + field(2, floats), field(1, b"n") + field(2, integers)]
    read = Example(field(1, b"".join(field(1, entry) for entry in entries)))
    assert read.numbers("f").tolist() == [1.5, -2.0]
    assert read.numbers("n").tolist() == [7, 300]


@given(st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_noise_is_no_example_or_an_example_but_never_a_crash(noise: bytes) -> None:
    try:
        read = Example(noise)
        for name in read:
            read.numbers(name) if read.kind(name) != "bytes" else read.bytes_list(name)
    except Damaged:
        pass


def test_a_cut_example_is_damaged() -> None:
    whole = example({"image": [b"x" * 50], "f": np.ones(9, np.float32)})
    for length in range(1, len(whole)):
        with pytest.raises(Damaged):
            Example(whole[:length])
