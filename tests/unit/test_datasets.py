import hashlib
import http.server
import re
import socket
import subprocess
import sys
import threading
import zipfile

import numpy as np
import pytest

from lamina.datasets import mnist
from lamina.errors import FileFormatError, InvalidArgumentError
from lamina.files import download
from lamina.files.download import DownloadError, Source, fetch

CONTENT = np.random.default_rng(0).integers(0, 256, 700_000, dtype=np.uint8).tobytes()
NAMES = ("x_train", "y_train", "x_test", "y_test")


class Server(http.server.ThreadingHTTPServer):
    """Serves `content`; `ranges`, `cut` (bytes after which it hangs up, once each) and `status` shape its answers."""

    def __init__(self, content=CONTENT, *, ranges=True, cuts=(), status=(), shift=0):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.ranges, self.cuts, self.statuses, self.shift = (
            content,
            ranges,
            list(cuts),
            list(status),
            shift,
        )
        self.asked = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/file.bin"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.asked.append(wanted)
        if server.statuses:
            self.send_error(server.statuses.pop(0))
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and server.ranges else 0
        if start >= len(server.content):
            self.send_error(416)
            return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            last = len(server.content) - 1
            self.send_header("Content-Range", f"bytes {start + server.shift}-{last}/{len(server.content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.cuts.pop(0)] if server.cuts else body)


@pytest.fixture
def serve(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    running = []

    def start(*args, **options):
        server = Server(*args, **options)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((server, thread))
        return server

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def no_home(monkeypatch, tmp_path):
    monkeypatch.setenv("LAMINA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LAMINA_DATA", raising=False)
    return tmp_path


def source(server, content=CONTENT):
    return Source(server.url, hashlib.sha256(content).hexdigest(), len(content))


def digits(rows=6, **changed):
    rng = np.random.default_rng(1)
    arrays = {
        "x_train": rng.integers(0, 256, (rows, 28, 28), dtype=np.uint8),
        "y_train": np.arange(rows, dtype=np.uint8) % 10,
        "x_test": rng.integers(0, 256, (3, 28, 28), dtype=np.uint8),
        "y_test": np.arange(3, dtype=np.uint8),
    }
    return {name: array for name, array in (arrays | changed).items() if array is not None}


# The download


def test_a_download_puts_the_whole_file_in_place_and_nothing_else(serve, tmp_path):
    server, seen = serve(), []
    target = fetch(source(server), tmp_path / "new" / "file.bin", report=lambda done, size: seen.append((done, size)))
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["file.bin"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert len(seen) > 1


def test_a_file_that_is_there_is_not_downloaded_again(serve, tmp_path):
    server, target = serve(), tmp_path / "file.bin"
    target.write_bytes(CONTENT)
    fetch(source(server), target)
    assert server.asked == []


def test_a_file_with_another_hash_is_replaced(serve, tmp_path):
    server, target = serve(), tmp_path / "file.bin"
    target.write_bytes(b"old")
    fetch(source(server), target)
    assert target.read_bytes() == CONTENT


def test_a_download_that_an_earlier_process_began_is_gone_on_with(serve, tmp_path):
    server = serve()
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:300_000])
    target = fetch(source(server), tmp_path / "file.bin")
    assert server.asked == ["bytes=300000-"]
    assert target.read_bytes() == CONTENT


def test_a_part_that_is_already_whole_needs_no_request(serve, tmp_path):
    server = serve()
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    assert fetch(source(server), tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.asked == []


def test_a_connection_that_breaks_off_is_gone_on_with(serve, tmp_path):
    server = serve(cuts=[300_000, 100_000])
    target = fetch(source(server), tmp_path / "file.bin", pause=0)
    assert target.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=300000-", "bytes=400000-"]


def test_a_server_without_ranges_sends_the_file_from_its_start(serve, tmp_path):
    server = serve(ranges=False)
    (tmp_path / "file.bin.part").write_bytes(b"x" * 300_000)
    assert fetch(source(server), tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.asked == ["bytes=300000-"]


@pytest.mark.parametrize("length", [300_000, len(CONTENT), len(CONTENT) + 5])
def test_a_part_of_another_file_is_thrown_away_and_the_file_comes_whole(serve, tmp_path, length):
    server = serve()
    (tmp_path / "file.bin.part").write_bytes(b"x" * length)
    assert fetch(source(server), tmp_path / "file.bin").read_bytes() == CONTENT


def test_an_answer_for_another_range_is_refused(serve, tmp_path):
    server = serve(shift=7)
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:300_000])
    with pytest.raises(DownloadError, match="another range"):
        fetch(source(server), tmp_path / "file.bin", pause=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("sent", "expected"),
    [(b"x" * len(CONTENT), "another file: SHA-256"), (CONTENT + b"tail", "more than the 700,000 bytes")],
    ids=["other bytes", "more bytes"],
)
def test_a_file_that_is_not_the_pinned_one_never_gets_its_name(serve, tmp_path, sent, expected):
    server = serve(sent)
    with pytest.raises(DownloadError, match=expected):
        fetch(source(server), tmp_path / "file.bin", pause=0)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_ends_early_is_an_error_and_what_came_is_kept(serve, tmp_path):
    server = serve(cuts=[100_000] * 4)
    with pytest.raises(DownloadError, match="ended after 400,000 of 700,000 bytes"):
        fetch(source(server), tmp_path / "file.bin", pause=0)
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin.part"]
    assert (tmp_path / "file.bin.part").read_bytes() == CONTENT[:400_000]


def test_a_server_in_trouble_is_asked_again(serve, tmp_path):
    server = serve(status=[503, 500])
    assert fetch(source(server), tmp_path / "file.bin", pause=0).read_bytes() == CONTENT


def test_a_file_that_the_server_does_not_have_is_asked_for_once(serve, tmp_path):
    server = serve(status=[404])
    with pytest.raises(DownloadError, match="the server answered 404"):
        fetch(source(server), tmp_path / "file.bin", pause=0)
    assert len(server.asked) == 1


def test_a_server_with_a_shorter_file_is_an_error(serve, tmp_path):
    server = serve(CONTENT[:1000])
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
    with pytest.raises(DownloadError, match="ended after 1,000 of 700,000 bytes"):
        fetch(source(server), tmp_path / "file.bin", pause=0)


def test_nobody_listening_says_how_to_get_the_file_by_hand(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/file.bin"
        with pytest.raises(DownloadError) as caught:
            fetch(Source(url, "0" * 64, 10), tmp_path / "file.bin", pause=0)
    text = str(caught.value)
    assert url in text
    assert f"put it at {tmp_path / 'file.bin'}" in text
    assert "0" * 64 in text


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DownloadError, match="cannot be made"):
        fetch(Source("http://127.0.0.1:9/x", "0" * 64, 10), tmp_path / "file" / "x", pause=0)


def test_two_threads_that_want_one_file_download_it_once(serve, tmp_path):
    server = serve()
    threads = [threading.Thread(target=fetch, args=(source(server), tmp_path / "file.bin")) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert len(server.asked) == 1


# The digits


@pytest.mark.parametrize("path", [None, "sample"])
def test_the_sample_has_the_same_number_of_each_digit(no_home, path):
    (x_train, y_train), (x_test, y_test) = mnist.load_data(path)
    assert (x_train.shape, x_test.shape) == ((10_000, 28, 28), (2_000, 28, 28))
    assert {array.dtype for array in (x_train, y_train, x_test, y_test)} == {np.dtype("uint8")}
    assert np.bincount(y_train).tolist() == [1000] * 10
    assert np.bincount(y_test).tolist() == [200] * 10
    assert (x_train.min(), x_train.max()) == (0, 255)


def test_no_digit_of_the_sample_is_in_both_of_its_parts():
    (x_train, _), (x_test, _) = mnist.load_data("sample")
    assert not {row.tobytes() for row in x_train} & {row.tobytes() for row in x_test}


def test_the_sample_ships_with_its_licence():
    import importlib.resources

    text = (importlib.resources.files("lamina") / "data" / "mnist12k.LICENSE.md").read_text()
    assert "Attribution-ShareAlike 3.0" in text
    assert "Burges" in text


def test_a_path_names_a_file_or_the_folder_that_holds_it(no_home):
    arrays = digits()
    np.savez_compressed(no_home / "mnist.npz", **arrays)
    for path in (no_home, str(no_home / "mnist.npz")):
        (x_train, y_train), (x_test, y_test) = mnist.load_data(path)
        for found, name in zip((x_train, y_train, x_test, y_test), NAMES, strict=True):
            np.testing.assert_array_equal(found, arrays[name])


@pytest.mark.parametrize("path", [None, "full", "mnist.npz"])
def test_the_folder_lamina_data_is_looked_into_first(no_home, monkeypatch, path):
    monkeypatch.setenv("LAMINA_DATA", str(no_home / "own"))
    (no_home / "own").mkdir()
    np.savez(no_home / "own" / "mnist.npz", **digits(rows=8))
    assert len(mnist.load_data(path)[0][0]) == 8
    assert len(mnist.load_data("sample")[0][0]) == 10_000


def test_without_its_file_lamina_data_changes_nothing(no_home, monkeypatch):
    monkeypatch.setenv("LAMINA_DATA", str(no_home))
    assert len(mnist.load_data()[0][0]) == 10_000


def test_lamina_data_must_be_a_folder(no_home, monkeypatch):
    np.savez(no_home / "mnist.npz", **digits())
    monkeypatch.setenv("LAMINA_DATA", str(no_home / "mnist.npz"))
    with pytest.raises(InvalidArgumentError, match="must name a folder"):
        mnist.load_data()


def test_a_file_in_the_working_folder_wins_over_the_name_of_keras(no_home, monkeypatch):
    np.savez(no_home / "mnist.npz", **digits(rows=4))
    monkeypatch.chdir(no_home)
    assert len(mnist.load_data("mnist.npz")[0][0]) == 4


@pytest.fixture
def pinned(serve, monkeypatch, no_home):
    """A server with a small file in the place of MNIST, and the pins of that file."""
    arrays = digits(rows=10)
    np.savez_compressed(no_home / "served.npz", **arrays)
    content = (no_home / "served.npz").read_bytes()
    server = serve(content)
    monkeypatch.setattr(mnist, "SOURCE", source(server, content))
    joined = b"".join(arrays[name].tobytes() for name in NAMES)
    monkeypatch.setattr(mnist, "CONTENT", hashlib.sha256(joined).hexdigest())
    return server


def test_the_full_set_is_downloaded_once_into_the_cache(pinned, no_home, capsys):
    assert len(mnist.load_data("full")[0][0]) == 10
    assert str(no_home / "cache" / "data" / "mnist.npz") in capsys.readouterr().err
    assert len(mnist.load_data("full")[0][0]) == 10
    assert len(pinned.asked) == 1


def test_the_full_set_is_downloaded_into_lamina_data_where_that_is_set(pinned, no_home, monkeypatch):
    monkeypatch.setenv("LAMINA_DATA", str(no_home / "own"))
    mnist.load_data("full")
    assert (no_home / "own" / "mnist.npz").is_file()


def test_a_cached_file_with_other_digits_is_not_taken_for_mnist(pinned, no_home):
    (no_home / "cache" / "data").mkdir(parents=True)
    np.savez(no_home / "cache" / "data" / "mnist.npz", **digits(rows=10, y_test=np.array([3, 4, 5], np.uint8)))
    with pytest.raises(FileFormatError, match=r"does not hold the 60,000 \+ 10,000 digits"):
        mnist.load_data("full")


def test_the_pins_are_those_of_the_file_that_keras_loads():
    import inspect

    import keras

    text = inspect.getsource(keras.datasets.mnist.load_data)
    assert mnist.SOURCE.sha256 in text
    assert mnist.SOURCE.url.rsplit("/", 1)[0] in text


def test_a_missing_file_names_the_ways_to_get_digits(no_home):
    with pytest.raises(InvalidArgumentError, match=r'load_data\("full"\)'):
        mnist.load_data(no_home / "nothing.npz")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"y_test": None}, "lacks y_test; it has"),
        ({"x_train": np.zeros((6, 28, 28), np.float32)}, "x_train must be uint8 of shape"),
        ({"x_train": np.zeros((6, 784), np.uint8)}, "x_train must be uint8 of shape"),
        ({"x_test": np.zeros((3, 28, 27), np.uint8)}, "x_test must be uint8 of shape"),
        ({"y_train": np.zeros(5, np.uint8)}, r"y_train must be uint8 of shape \(6,\)"),
        ({"y_train": np.zeros(6, np.int64)}, "y_train must be uint8"),
        ({"y_test": np.array([0, 1, 10], np.uint8)}, "labels from 0 to 9"),
        ({"x_test": np.zeros((0, 28, 28), np.uint8), "y_test": np.zeros(0, np.uint8)}, "labels from 0 to 9"),
        ({"y_test": np.array([object()] * 3)}, "cannot be read as an .npz file"),
    ],
)
def test_a_file_of_something_else_says_what_is_wrong_with_it(tmp_path, changed, expected):
    np.savez(tmp_path / "mnist.npz", **digits(**changed))
    with pytest.raises(FileFormatError, match=expected):
        mnist.load_data(tmp_path)


def test_damaged_files_are_refused(tmp_path):
    file = tmp_path / "mnist.npz"
    np.savez_compressed(file, **digits())
    whole = file.read_bytes()
    with zipfile.ZipFile(file) as archive:
        middle = archive.getinfo("x_train.npy").header_offset + 200
    damaged = whole[:middle] + bytes(byte ^ 255 for byte in whole[middle : middle + 64]) + whole[middle + 64 :]
    for content in (b"", b"text", whole[:2000], damaged):
        file.write_bytes(content)
        with pytest.raises(FileFormatError, match="is not a file of digits"):
            mnist.load_data(file)


def test_one_array_is_not_an_archive(tmp_path):
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(FileFormatError, match="one array"):
        mnist.load_data(tmp_path / "one.npy")


def test_digits_are_loaded_without_jax():
    code = "import sys; from lamina.datasets import mnist; mnist.load_data('sample'); print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert download.sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
