from __future__ import annotations

import gzip
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepost.schema.compression import pack, unpack


@given(st.binary(max_size=5000))
def test_what_was_packed_comes_back(body):
    assert unpack(pack(body), max_bytes=len(body)) == body


def test_the_same_body_is_packed_to_the_same_bytes():
    assert pack(b"demand" * 1000) == pack(b"demand" * 1000)


def test_a_bomb_is_refused_before_it_takes_the_memory():
    bomb = pack(b"\0" * 200_000_000)
    assert len(bomb) < 200_000
    tracemalloc.start()
    with pytest.raises(ValueError, match="more than 1000000 bytes"):
        unpack(bomb, max_bytes=1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_one_byte_too_many_is_refused():
    assert unpack(pack(b"12345"), max_bytes=5) == b"12345"
    with pytest.raises(ValueError, match="more than 4 bytes"):
        unpack(pack(b"12345"), max_bytes=4)


@pytest.mark.parametrize("body", [b"", b"{}", pack(b"12345")[:-1], pack(b"1") + b"x", pack(b"1") + pack(b"2")])
def test_what_is_cut_or_no_gzip_is_refused(body):
    with pytest.raises(ValueError, match="gzip"):
        unpack(body, max_bytes=100)


def test_a_damaged_body_is_refused():
    body = bytearray(gzip.compress(b"12345" * 100))
    body[-6] ^= 1  # its checksum
    with pytest.raises(ValueError, match="not gzip"):
        unpack(bytes(body), max_bytes=1000)
