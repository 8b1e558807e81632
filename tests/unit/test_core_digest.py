"""SHA-256 of files, kept between calls for as long as size and time of a file stay."""

import hashlib
import os

from mls.core.digest import KeptDigests


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_file_is_read_again_only_when_its_size_or_time_differs(tmp_path):
    file, store = tmp_path / "a.gguf", tmp_path / "deep" / "digests.json"
    file.write_bytes(b"one")
    assert KeptDigests(store).of([file, file]) == [sha256(b"one")] * 2
    state = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert KeptDigests(store).of([file]) == [sha256(b"one")]
    os.utime(file)
    assert KeptDigests(store).of([file]) == [sha256(b"two")]


def test_a_file_that_is_not_there_has_no_digest(tmp_path):
    file = tmp_path / "a.gguf"
    digests = KeptDigests(tmp_path / "digests.json")
    assert digests.of([file]) == [None]
    file.write_bytes(b"one")
    assert digests.of([file]) == [sha256(b"one")]
    file.unlink()
    assert digests.of([file]) == [None]


def test_a_damaged_store_is_made_anew(tmp_path):
    file, store = tmp_path / "a.gguf", tmp_path / "digests.json"
    file.write_bytes(b"one")
    for content in ("[", "[]", f'{{"{file}": 3}}', f'{{"{file}": [3, "x", null]}}'):
        store.write_text(content)
        assert KeptDigests(store).of([file]) == [sha256(b"one")]
        assert KeptDigests(store)._kept[str(file)][2] == sha256(b"one")
