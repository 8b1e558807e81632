"""A library that the dynamic loader lacks is named, with its Debian package."""

import ctypes

import pytest

from mls.core.libraries import advice, lacking


def test_the_loaders_own_words_are_understood():
    with pytest.raises(OSError) as error:
        ctypes.CDLL("libno-such_thing.so.7")
    assert lacking(str(error.value)) == ["libno-such_thing.so.7"]


def test_each_library_once_in_order():
    text = "".join(
        f"ImportError: {name}: cannot open shared object file: No such file or directory\n"
        for name in ("libgomp.so.1", "libz.so.1", "libgomp.so.1")
    )
    assert lacking(text) == ["libgomp.so.1", "libz.so.1"]
    assert lacking("ModuleNotFoundError: No module named 'xllamacpp'") == []


def test_packages_are_named_where_they_are_known():
    assert "sudo apt-get install libgomp1" in advice(["libgomp.so.1"])
    assert advice(["libfoo.so.3"]) == "install the system library libfoo.so.3"
