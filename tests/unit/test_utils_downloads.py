"""`get_file`: a file of the network or of this machine, downloaded once, checked, unpacked with suspicion."""

import bz2
import gzip
import hashlib
import http.server
import io
import lzma
import stat
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest

from lamina import config
from lamina.errors import FileFormatError, InvalidArgumentError
from lamina.files import archives
from lamina.files.download import DownloadError, HashError
from lamina.keras.utils import get_file

TEXT = b"Float like a butterfly, sting like a bee."


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.asked.append(self.path)
        body = self.server.files.get(self.path.partition("?")[0])
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        if self.server.lengths:
            self.send_header("Content-Length", str(len(body) + self.server.missing))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def web(monkeypatch, tmp_path):
    """A server of `files` (paths to bytes) that counts what was `asked`; the cache is a folder of the test's own."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "KERAS_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LAMINA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files, server.asked, server.lengths, server.missing = {}, [], True, 0
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def tar(members, mode="w:gz"):
    """Return a tar archive of `(name, bytes or a TarInfo)`."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, content in members:
            if isinstance(content, bytes):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                content.name = name
                archive.addfile(content)
    return out.getvalue()


def zipped(members, kind=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", kind) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


def entry(kind, linkname=""):
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, linkname
    return info


def link_in_zip(target):
    info = zipfile.ZipInfo("data/link")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info, target


def everything(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read(path):
    return Path(path).read_bytes()


# ---- one file


def test_a_file_is_downloaded_once_into_the_cache(web, tmp_path, capsys):
    web.files["/a/data.csv"] = TEXT
    path = get_file(origin=f"{web.url}/a/data.csv?version=1")
    assert path == str(tmp_path / "cache" / "datasets" / "data.csv")
    assert get_file(origin=f"{web.url}/a/data.csv?version=1") == path
    assert everything(tmp_path / "cache") == {"datasets/data.csv": TEXT}
    assert len(web.asked) == 1
    assert capsys.readouterr().err.count("Downloading data from") == 1


def test_where_it_goes_may_be_said(web, tmp_path, monkeypatch):
    web.files["/x"] = TEXT
    assert get_file("y", f"{web.url}/x", cache_dir=tmp_path / "mine", cache_subdir="sub") == str(
        tmp_path / "mine/sub/y"
    )
    assert get_file("y", f"{web.url}/x", cache_subdir=tmp_path / "whole") == str(tmp_path / "whole" / "y")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    assert get_file("y", f"{web.url}/x") == str(tmp_path / "home" / "datasets" / "y")


def test_another_hash_fetches_it_again_and_force_download_too(web):
    web.files["/x"] = TEXT
    path = get_file("x", f"{web.url}/x")
    web.files["/x"] = b"new"
    assert read(get_file("x", f"{web.url}/x")) == TEXT
    wanted = hashlib.sha256(b"new").hexdigest()
    assert read(get_file("x", f"{web.url}/x", file_hash=wanted.upper())) == b"new"
    web.files["/x"] = b"newer"
    assert read(get_file("x", f"{web.url}/x", force_download=True)) == b"newer"
    assert path == get_file("x", f"{web.url}/x", md5_hash=hashlib.md5(b"newer").hexdigest())
    assert len(web.asked) == 3


@pytest.mark.parametrize("arguments", [{"file_hash": "0" * 64}, {"file_hash": "0" * 32}, {"md5_hash": "0" * 32}])
def test_what_has_another_hash_is_refused_and_leaves_nothing(web, tmp_path, arguments):
    web.files["/x"] = TEXT
    with pytest.raises(HashError, match="Incomplete or corrupted file detected"):
        get_file("x", f"{web.url}/x", **arguments)
    assert everything(tmp_path / "cache") == {}


def test_a_download_that_fails_leaves_the_file_that_was_there(web):
    web.files["/x"] = TEXT
    path = get_file("x", f"{web.url}/x")
    del web.files["/x"]
    with pytest.raises(DownloadError, match="404"):
        get_file("x", f"{web.url}/x", force_download=True)
    web.files["/x"], web.missing = b"cut", 5
    with pytest.raises(DownloadError, match="ended after 3 of 8 bytes"):
        get_file("x", f"{web.url}/x", force_download=True)
    assert read(path) == TEXT


def test_a_server_need_not_say_how_long_a_file_is(web):
    web.files["/x"], web.lengths = TEXT, False
    assert read(get_file("x", f"{web.url}/x")) == TEXT


def test_a_file_of_this_machine_may_be_the_origin(web, tmp_path):
    (tmp_path / "here.txt").write_bytes(TEXT)
    assert read(get_file(origin=(tmp_path / "here.txt").as_uri())) == TEXT
    with pytest.raises(DownloadError, match="No such file"):
        get_file(origin=(tmp_path / "gone.txt").as_uri())


def test_without_interactive_logging_nothing_is_said(web, capsys):
    web.files["/x"] = TEXT
    config.disable_interactive_logging()
    try:
        get_file("x", f"{web.url}/x")
    finally:
        config.enable_interactive_logging()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, 'Please specify the "origin" argument'),
        ({"origin": "http://a/"}, "Can't parse the file name from the origin"),
        ({"origin": "http://a/%2e%2e"}, "Can't parse the file name from the origin"),
        ({"origin": "data.csv"}, "must be an address"),
        ({"origin": "gopher://a/b"}, "must be an address"),
        ({"origin": "http://a/b", "fname": "../b"}, "Paths are no longer accepted as the `fname` argument"),
        ({"origin": "http://a/b", "fname": ".."}, "Paths are no longer accepted"),
        ({"origin": "http://a/b", "file_hash": "12"}, "64 hexadecimal digits"),
        ({"origin": "http://a/b", "file_hash": "z" * 64}, "64 hexadecimal digits"),
        ({"origin": "http://a/b", "file_hash": "0" * 64, "hash_algorithm": "crc"}, "'sha256', 'md5' or 'auto'"),
        ({"origin": "http://a/b", "extract": True, "archive_format": "rar"}, "`archive_format` must be"),
    ],
)
def test_arguments_that_cannot_be_are_refused(web, arguments, text):
    with pytest.raises(InvalidArgumentError, match=text):
        get_file(**arguments)


# ---- archives

FILES = [("data/a.txt", b"one"), ("data/deep/b.txt", b"two" * 1000), ("c", b"")]
PACKED = {
    "tar": tar(FILES, "w"),
    "tar.gz": tar(FILES),
    "tar.bz2": tar(FILES, "w:bz2"),
    "tar.xz": tar(FILES, "w:xz"),
    "zip": zipped(FILES),
    "folders": tar([("data", entry(tarfile.DIRTYPE)), ("./data/deep/", entry(tarfile.DIRTYPE)), *FILES]),
}


@pytest.mark.parametrize("kind", PACKED)
def test_an_archive_is_unpacked_once(web, tmp_path, kind):
    web.files["/x"] = PACKED[kind]
    for _ in range(2):
        path = get_file("set", f"{web.url}/x", extract=True)
    assert path == str(tmp_path / "cache" / "datasets" / "set")
    assert everything(tmp_path / "cache" / "datasets") == {
        "set_archive": PACKED[kind],
        **{f"set/{name}": content for name, content in FILES},
    }
    assert len(web.asked) == 1


@pytest.mark.parametrize(
    ("arguments", "folder", "archive"),
    [
        ({"fname": "set.tar.gz", "untar": True}, "set_extracted", "set.tar.gz"),
        ({"fname": "set", "untar": True}, "set", "set_archive"),
        ({"extract": True}, "x.tgz", "x.tgz_archive"),
    ],
)
def test_names_are_those_that_keras_gives(web, tmp_path, arguments, folder, archive):
    web.files["/x.tgz"] = PACKED["tar.gz"]
    assert get_file(origin=f"{web.url}/x.tgz", **arguments) == str(tmp_path / "cache" / "datasets" / folder)
    assert {path.name for path in (tmp_path / "cache" / "datasets").iterdir()} == {folder, archive}


def test_a_new_archive_is_put_over_the_old_files_and_keeps_others(web, tmp_path):
    web.files["/x"] = PACKED["zip"]
    get_file("set", f"{web.url}/x", extract=True)
    folder = tmp_path / "cache" / "datasets" / "set"
    (folder / "own").write_bytes(b"mine")
    web.files["/x"] = tar([("data/a.txt", b"ONE")])
    get_file("set", f"{web.url}/x", extract=True, force_download=True)
    assert everything(folder) == {**dict(FILES), "data/a.txt": b"ONE", "own": b"mine"}


def test_a_folder_that_is_missing_is_unpacked_from_the_archive_that_is_there(web, tmp_path):
    web.files["/x"] = PACKED["zip"]
    first = get_file("set", f"{web.url}/x", extract=True)
    archives.shutil.rmtree(first)
    assert everything(tmp_path / "cache" / "datasets" / "set") == {}
    get_file("set", f"{web.url}/x", extract=True)
    assert everything(tmp_path / "cache" / "datasets" / "set") == dict(FILES)
    assert len(web.asked) == 1


GOOD = ("data/a.txt", b"one")
HOSTILE = {
    "a path above": (tar([GOOD, ("../evil", b"x")]), "leads out"),
    "a path above, deep": (tar([GOOD, ("data/../../evil", b"x")]), "leads out"),
    "an absolute path": (tar([GOOD, ("/tmp/evil-of-lamina", b"x")]), "leads out"),
    "a path of Windows": (zipped([GOOD, ("..\\evil", b"x")]), "leads out"),
    "a drive": (zipped([GOOD, ("C:evil", b"x")]), "leads out"),
    "a path above in a zip": (zipped([GOOD, ("../evil", b"x")]), "leads out"),
    "a link": (tar([GOOD, ("data/link", entry(tarfile.SYMTYPE, "/etc"))]), "is a link"),
    "a link and a file through it": (
        tar([("l", entry(tarfile.SYMTYPE, "..")), ("l/evil", b"x")]),
        "is a link",
    ),
    "a hard link": (tar([GOOD, ("data/link", entry(tarfile.LNKTYPE, "/etc/passwd"))]), "is a link"),
    "a link in a zip": (zipped([GOOD, link_in_zip("/etc/passwd")]), "is a link"),
    "a pipe": (tar([GOOD, ("data/pipe", entry(tarfile.FIFOTYPE))]), "is a device"),
    "a device": (tar([GOOD, ("data/null", entry(tarfile.CHRTYPE))]), "is a device"),
    "a file that is a folder": (tar([("a", b"x"), ("a/b", b"x")]), "a file and a folder at once"),
    "damage": (PACKED["tar.gz"][:-40], "damaged|no tar"),
    "a damaged member": (zipped(FILES, zipfile.ZIP_STORED).replace(b"one", b"two"), "damaged"),
    "no archive": (b"<html>404</html>", "Could not extract archive"),
    "nothing": (b"", "Could not extract archive"),
    "a packed text": (gzip.compress(b"text" * 1000), "Could not extract archive"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_or_damaged_archive_is_refused_whole(web, tmp_path, case):
    content, text = HOSTILE[case]
    web.files["/x"] = content
    with pytest.raises(FileFormatError, match=text):
        get_file("set", f"{web.url}/x", extract=True)
    assert everything(tmp_path) == {"cache/datasets/set_archive": content}
    assert [path.name for path in (tmp_path / "cache" / "datasets").iterdir()] == ["set_archive"]


def test_an_archive_of_another_kind_than_asked_for_is_refused(web):
    web.files["/x"] = PACKED["zip"]
    with pytest.raises(FileFormatError, match="no tar file"):
        get_file("set", f"{web.url}/x", untar=True)
    with pytest.raises(FileFormatError, match="Could not extract archive"):
        get_file("set", f"{web.url}/x", extract=True, archive_format=None)


BOMBS = {
    "gz": lambda data: gzip.compress(data),
    "bz2": lambda data: bz2.compress(data),
    "xz": lambda data: lzma.compress(data),
}


@pytest.mark.parametrize("kind", [*BOMBS, "zip"])
def test_what_unfolds_into_too_much_is_refused(web, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(archives, "_FLOOR", 1 << 20)
    monkeypatch.setattr(archives, "_READ_LIMIT", 1 << 20)
    zeros = bytes(24 << 20)
    web.files["/x"] = zipped([("zeros", zeros)]) if kind == "zip" else BOMBS[kind](tar([("zeros", zeros)], "w"))
    with pytest.raises(FileFormatError, match="decompression bomb"):
        get_file("set", f"{web.url}/x", extract=True)
    assert [path.name for path in (tmp_path / "cache" / "datasets").iterdir()] == ["set_archive"]


def test_a_header_without_end_is_refused_before_it_is_read(web, monkeypatch):
    monkeypatch.setattr(archives, "_READ_LIMIT", 1 << 20)
    info = tarfile.TarInfo("long")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 8 << 20
    web.files["/x"] = gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(9 << 20))
    with pytest.raises(FileFormatError, match="decompression bomb"):
        get_file("set", f"{web.url}/x", extract=True)


def test_too_many_members_are_refused(web, monkeypatch):
    monkeypatch.setattr(archives, "_MEMBERS", 2)
    web.files["/x"] = PACKED["zip"]
    with pytest.raises(FileFormatError, match="more than 2 files"):
        get_file("set", f"{web.url}/x", extract=True)
