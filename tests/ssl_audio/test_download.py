import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from ssl_audio.__main__ import app
from ssl_audio.download import CHUNK_BYTES, NUM_TRIES, RECORDS, SERVER, download
from ssl_audio.errors import UserError

SPEECH, SONG = RECORDS["ravdess"][1]
CONTENT = {SPEECH: bytes(range(256)) * 5000, SONG: b"song" * 30_000}


class Publisher(ThreadingHTTPServer):
    """Serves a record and its files; ``cuts`` says after how many bytes each answer breaks off."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked = []
        self.cuts = []
        self.ranges = True
        self.status = {}
        self.md5 = {name: hashlib.md5(content).hexdigest() for name, content in CONTENT.items()}
        self.record = None

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}/"

    def describe(self):
        files = [
            {
                "key": name,
                "size": len(content),
                "checksum": f"md5:{self.md5[name]}",
                "links": {"self": f"{self.address}files/{name}"},
            }
            for name, content in CONTENT.items()
        ]
        other = {"key": "Video_Speech_Actor_01.zip", "size": 1, "checksum": "md5:0", "links": {}}
        return json.dumps({"files": [other, *files]}).encode()


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        server, path, asked = self.server, self.path, self.headers.get("Range")
        server.asked.append((path, asked))
        if path in server.status:
            self.send_error(server.status[path])
            return
        if path == "/api/records/1188976":
            self.reply(200, server.record or server.describe())
            return
        content = CONTENT[path.rpartition("/")[2]]
        if asked and server.ranges:
            first = int(asked.removeprefix("bytes=").rstrip("-"))
            span = f"bytes {first}-{len(content) - 1}/{len(content)}"
            self.reply(206, content[first:], {"Content-Range": span})
        else:
            self.reply(200, content)

    def reply(self, status, body, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        is_file = self.path.startswith("/files/")
        cut = self.server.cuts.pop(0) if is_file and self.server.cuts else len(body)
        self.wfile.write(body[:cut])

    def log_message(self, *_):
        pass


@pytest.fixture
def publisher():
    with Publisher() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def fetch(publisher, output):
    return download("ravdess", output, publisher.address, pause_seconds=0.0)


def ranges_of(publisher, name):
    return [asked for path, asked in publisher.asked if path.endswith(name)]


def test_both_zips_arrive_whole_and_are_not_fetched_twice(publisher, tmp_path):
    out = tmp_path / "a" / "b"
    assert fetch(publisher, out) == [out / SPEECH, out / SONG]
    for name, content in CONTENT.items():
        assert (out / name).read_bytes() == content
    assert sorted(path.name for path in out.iterdir()) == sorted(CONTENT)
    publisher.asked.clear()
    fetch(publisher, out)
    assert publisher.asked == [("/api/records/1188976", None)]


def test_an_interrupted_download_goes_on_where_it_stopped(publisher, tmp_path):
    publisher.cuts = [CHUNK_BYTES, 2 * CHUNK_BYTES + 9]
    fetch(publisher, tmp_path)
    assert (tmp_path / SPEECH).read_bytes() == CONTENT[SPEECH]
    assert ranges_of(publisher, SPEECH) == [
        *(None, f"bytes={CHUNK_BYTES}-"),
        f"bytes={3 * CHUNK_BYTES}-",
    ]


def test_the_next_call_goes_on_after_a_stop(publisher, tmp_path):
    publisher.cuts = [CHUNK_BYTES, *[0] * NUM_TRIES]
    with pytest.raises(UserError, match=r"5 tries got no further .*65536 of 1280000 bytes are"):
        fetch(publisher, tmp_path)
    partial = tmp_path / f"{SPEECH}.partial"
    assert partial.read_bytes() == CONTENT[SPEECH][:CHUNK_BYTES]
    publisher.asked.clear()
    fetch(publisher, tmp_path)
    assert ranges_of(publisher, SPEECH) == [f"bytes={CHUNK_BYTES}-"]
    assert (tmp_path / SPEECH).read_bytes() == CONTENT[SPEECH] and not partial.exists()


def test_a_server_without_ranges_begins_anew(publisher, tmp_path):
    publisher.ranges, publisher.cuts = False, [CHUNK_BYTES]
    fetch(publisher, tmp_path)
    assert ranges_of(publisher, SPEECH) == [None, f"bytes={CHUNK_BYTES}-"]
    assert (tmp_path / SPEECH).read_bytes() == CONTENT[SPEECH]


def test_a_server_without_ranges_that_always_breaks_off_is_given_up(publisher, tmp_path):
    publisher.ranges, publisher.cuts = False, [2 * CHUNK_BYTES, CHUNK_BYTES] * 3
    with pytest.raises(UserError, match="tries got no further"):
        fetch(publisher, tmp_path)


def test_a_wrong_md5_is_refused_and_nothing_stays(publisher, tmp_path):
    publisher.md5[SONG] = "0" * 32
    with pytest.raises(UserError, match=r"expected 120000 bytes with MD5 0{32}, got others"):
        fetch(publisher, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [SPEECH]


def test_a_partial_file_of_other_bytes_is_found_out(publisher, tmp_path):
    partial = tmp_path / f"{SPEECH}.partial"
    partial.write_bytes(b"other" * 100)
    with pytest.raises(UserError, match="MD5"):
        fetch(publisher, tmp_path)
    assert not partial.exists()
    partial.write_bytes(bytes(len(CONTENT[SPEECH]) + 1))
    fetch(publisher, tmp_path)
    assert (tmp_path / SPEECH).read_bytes() == CONTENT[SPEECH]


def test_another_file_of_that_name_is_left_alone(publisher, tmp_path):
    (tmp_path / SPEECH).write_bytes(b"mine")
    with pytest.raises(UserError, match="is not the published file: move it away"):
        fetch(publisher, tmp_path)
    assert (tmp_path / SPEECH).read_bytes() == b"mine"


@pytest.mark.parametrize("path", ["/api/records/1188976", f"/files/{SPEECH}"])
def test_what_is_not_there_is_asked_for_once(path, publisher, tmp_path):
    publisher.status[path] = 404
    with pytest.raises(UserError, match="can't be read: 404 Not Found"):
        fetch(publisher, tmp_path)
    assert [asked for asked, _ in publisher.asked].count(path) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_server_in_trouble_is_asked_again(publisher, tmp_path):
    publisher.status[f"/files/{SPEECH}"] = 503
    with pytest.raises(UserError, match=r"5 tries got no further \(503 Service Unavailable\)"):
        fetch(publisher, tmp_path)
    assert len(ranges_of(publisher, SPEECH)) == NUM_TRIES


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (b"<html>", "expected a record in JSON"),
        (b'{"files": []}', "can't find 'Audio_Speech_Actors_01-24.zip' there"),
        (b"[]", "expected size, md5 checksum and link"),
        (
            json.dumps({"files": [{"key": SPEECH, "checksum": "crc:1"}]}).encode(),
            "an md5 among 'crc:1'",
        ),
    ],
)
def test_other_records_are_refused(record, message, publisher, tmp_path):
    publisher.record = record
    with pytest.raises(UserError, match=message) as caught:
        fetch(publisher, tmp_path)
    assert "\n" not in str(caught.value)


def test_no_server(tmp_path):
    with pytest.raises(UserError, match="no connection"):
        download("ravdess", tmp_path, "http://127.0.0.1:9/", pause_seconds=0.0)
    with pytest.raises(UserError, match="can't download 'iemocap': choose one of ravdess"):
        download("iemocap", tmp_path)


def test_command(publisher, tmp_path):
    options = ["--output", str(tmp_path / "zips"), "--server", publisher.address]
    result = CliRunner().invoke(app, ["download", "ravdess", *options])
    assert result.exit_code == 0, result.output
    assert f"{SPEECH}: 1.3 MB, whole" in result.output
    assert f"next: python -m ssl_audio prepare ravdess {tmp_path / 'zips'}" in result.output
    help_text = " ".join(CliRunner().invoke(app, ["download", "--help"]).output.split())
    assert SERVER in help_text
