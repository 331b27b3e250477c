"""`darkconv fetch`: from a small server of this machine, and from files; never from outside."""

import hashlib
import http.server
import json
import re
import shlex
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from darkconv.assets import digits10_folder
from darkconv.cli import main
from darkconv.core.model import Header
from darkconv.core.network import build_network
from darkconv.darknet.bundled import bundled_cfg
from darkconv.darknet.cfg import read_cfg
from darkconv.darknet.data import read_names
from darkconv.darknet.dialect import choose_dialect
from darkconv.darknet.weights import file_size
from darkconv.errors import MissingDependencyError
from darkconv.loading import load
from darkconv.zoo import download
from darkconv.zoo.models import COCO, MODELS, ClassList, Published

pytest.importorskip("requests")

CFG = digits10_folder() / "digits10.cfg"
CONTENT = (digits10_folder() / "digits10.weights").read_bytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PAGE = b"<!DOCTYPE html><html><body>Quota exceeded</body></html>" * 40
HALF = len(CONTENT) // 2


class Server(http.server.ThreadingHTTPServer):
    """Serves one file, as well or as badly as its attributes say."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.statuses = []  # of the next answers, before a good one
        self.breaks_at = []  # how many bytes the next answers hold, of those they announce
        self.has_ranges = True
        self.has_length = True
        self.gate = None  # before the second half
        self.requests = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/digits10.weights"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.requests.append((self.path, asked, self.headers.get("User-Agent")))
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/page")
            self.end_headers()
        elif server.statuses:
            self.send_error(server.statuses.pop(0))
        else:
            self.send_body(PAGE if self.path == "/page" else server.content, asked)

    def send_body(self, body, asked):
        server = self.server
        if asked and server.has_ranges:
            at = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {at}-{len(body) - 1}/{len(body)}")
            body = body[at:]
        else:
            self.send_response(200)
        if server.has_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.gate and not asked:
            self.wfile.write(body[:HALF])
            server.gate.wait(60)
            return
        self.wfile.write(body[: server.breaks_at.pop(0)] if server.breaks_at else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def at_home(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(download, "PAUSE", 0.0)
    monkeypatch.setattr(download, "CHUNK", 1000)


def publish(monkeypatch, *addresses, **facts):
    digits = ClassList("digits", 10, None)
    model = Published("digits10", facts.pop("classes", digits), addresses, **facts)
    monkeypatch.setitem(MODELS, "digits10", model)
    monkeypatch.setattr("darkconv.zoo.models.bundled_cfg", lambda name: CFG)


@pytest.fixture
def published(monkeypatch, server):
    publish(monkeypatch, server.url, sha256=SHA256)
    return server


def run(*line, status=0):
    result = CliRunner().invoke(main, ["fetch", *map(str, line)])
    assert result.exit_code == status, result.output
    return result


def files(folder="."):
    return sorted(path.name for path in Path(folder).iterdir())


def ranges(server):
    return [asked for _, asked, _ in server.requests]


# what comes


def test_cfg_and_weights_come(published):
    result = run("digits10", "-o", "models/new")
    assert files("models/new") == ["digits10.cfg", "digits10.weights"]
    assert Path("models/new/digits10.weights").read_bytes() == CONTENT
    assert Path("models/new/digits10.cfg").read_bytes() == CFG.read_bytes()
    assert f"632,200 bytes\nSHA-256 {SHA256}, as published\n" in result.stdout
    assert "fetching digits10.weights: 632 kB of 632 kB" in result.stderr
    assert "no names of the digits classes" in result.stderr
    load("models/new/digits10.cfg", "models/new/digits10.weights")


def test_the_next_command_converts_what_came(published):
    pytest.importorskip("onnx")
    line = run("digits10", "-o", "my models").stderr.splitlines()[-1]
    files = "'my models/digits10.cfg' 'my models/digits10.weights' -o 'my models/digits10.onnx'"
    assert line == f"next: darkconv convert {files}"
    result = CliRunner().invoke(main, shlex.split(line)[2:])
    assert result.exit_code == 0, result.output
    assert Path("my models/digits10.onnx").exists()


def test_names_come_where_there_is_a_list(monkeypatch, server):
    publish(monkeypatch, server.url, classes=COCO)
    found = json.loads(run("digits10", "--json").stdout)
    assert len(read_names(found["names"]).names) == 80
    assert found["written"] == ["digits10.weights", "digits10.cfg", "digits10.names"]
    assert (found["bytes"], found["sha256"]) == (len(CONTENT), SHA256)
    assert found["address"] == server.url


def test_the_program_says_who_it_is(published):
    run("digits10")
    assert published.requests[0][2].startswith("darkconv/")


@pytest.mark.parametrize("name", ["digits10.weights", "with a blank.weights"])
def test_files_are_copied(published, tmp_path, name):
    source = tmp_path / "elsewhere" / name
    source.parent.mkdir()
    source.write_bytes(CONTENT)
    run("digits10", "-o", "here", "--url", source.as_uri())
    assert files("here") == ["digits10.cfg", "digits10.weights"]
    assert not published.requests


def test_what_is_there_is_left_alone(published):
    run("digits10")
    before = Path("digits10.weights").stat().st_mtime_ns
    result = run("digits10")
    assert "digits10.weights is there already: 632,200 bytes" in result.stdout
    assert "wrote" not in result.stderr
    assert json.loads(run("digits10", "--json").stdout)["address"] is None
    assert Path("digits10.weights").stat().st_mtime_ns == before
    assert len(published.requests) == 1


def test_a_missing_cfg_is_written_beside_weights_that_are_there(published):
    Path("digits10.weights").write_bytes(CONTENT)
    assert "wrote digits10.cfg\n" in run("digits10").stderr
    assert not published.requests


def test_force_replaces_what_is_there(published):
    Path("digits10.weights").write_bytes(CONTENT[:-4] + b"\0\0\0\0")
    Path("digits10.cfg").write_bytes(b"# mine\n" + CFG.read_bytes())
    result = run("digits10")
    assert "digits10.weights: not the published file, whose SHA-256 is" in result.stderr
    assert "digits10.cfg: kept as it is" in result.stderr
    run("digits10", "--overwrite")
    assert Path("digits10.weights").read_bytes() == CONTENT
    assert Path("digits10.cfg").read_bytes() == CFG.read_bytes()


def test_force_keeps_the_old_file_until_the_new_one_is_whole(published):
    old = CONTENT[:-4] + b"\0\0\0\0"
    Path("digits10.weights").write_bytes(old)
    published.breaks_at = [HALF, 5000, 5000]
    run("digits10", "--overwrite", status=1)
    assert Path("digits10.weights").read_bytes() == old


def test_another_file_of_that_name_is_not_replaced(published):
    Path("digits10.weights").write_bytes(CONTENT[:-400])
    stderr = run("digits10", status=1).stderr
    assert "digits10.weights: ends in layer" in stderr
    assert "--overwrite replaces it" in stderr
    assert files() == ["digits10.weights"]


# what breaks off


def test_a_download_that_breaks_off_goes_on(published):
    published.breaks_at = [HALF, 5000]
    run("digits10")
    first = HALF // 1000 * 1000 - download.OVERLAP
    second = first + 5000 - download.OVERLAP
    assert ranges(published) == [None, f"bytes={first}-", f"bytes={second}-"]
    assert files() == ["digits10.cfg", "digits10.weights"]
    assert Path("digits10.weights").read_bytes() == CONTENT


def test_the_next_run_goes_on(published):
    published.breaks_at = [HALF, 5000, 5000]
    stderr = run("digits10", status=1).stderr
    assert "(3 tries)" in stderr
    assert "hint: the same command goes on behind the" in stderr
    assert files() == ["digits10.weights.part"]
    published.requests.clear()
    assert "fetching digits10.weights: 632 kB of 632 kB" in run("digits10").stderr
    assert all(asked is not None for asked in ranges(published))
    assert files() == ["digits10.cfg", "digits10.weights"]
    assert Path("digits10.weights").read_bytes() == CONTENT


def test_a_whole_part_needs_no_server(published):
    Path("digits10.weights.part").write_bytes(CONTENT)
    run("digits10")
    assert not published.requests
    assert files() == ["digits10.cfg", "digits10.weights"]


def test_a_server_without_ranges_starts_anew(published):
    published.has_ranges = False
    published.breaks_at = [HALF]
    run("digits10")
    assert len(published.requests) == 2
    assert Path("digits10.weights").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "part",
    [CONTENT[:100], PAGE, CONTENT + b"\0" * 4, CONTENT[: HALF - 4] + b"\1\2\3\4"],
    ids=["too short", "a page", "too long", "of another file"],
)
def test_a_part_that_does_not_fit_is_dropped(published, part):
    Path("digits10.weights.part").write_bytes(part)
    run("digits10")
    assert Path("digits10.weights").read_bytes() == CONTENT
    assert files() == ["digits10.cfg", "digits10.weights"]


def test_connections_that_end_early_without_a_length_are_noticed(published):
    published.has_length = False
    published.breaks_at = [HALF]
    run("digits10")
    assert Path("digits10.weights").read_bytes() == CONTENT
    assert len(published.requests) == 2


def test_a_killed_run_leaves_the_part(published, tmp_path):
    published.gate = threading.Event()
    script = (
        "import sys, darkconv.zoo.models as models\n"
        "from pathlib import Path\n"
        "from darkconv.cli import main\n"
        "from darkconv.zoo.models import IMAGENET, MODELS, Published\n"
        "cfg, url = sys.argv[1:]\n"
        "MODELS['digits10'] = Published('digits10', IMAGENET, (url,))\n"
        "models.bundled_cfg = lambda name: Path(cfg)\n"
        "main(['fetch', 'digits10', '-o', 'models'])\n"
    )
    command = [sys.executable, "-c", script, str(CFG), published.url]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    part = tmp_path / "models" / "digits10.weights.part"
    while not (part.exists() and part.stat().st_size):
        assert process.poll() is None, "it ended before the server did"
        time.sleep(0.02)
    process.kill()
    process.wait()
    published.gate.set()
    assert [file for file in files("models") if not file.startswith(".")] == [part.name]
    assert CONTENT.startswith(part.read_bytes())
    run("digits10", "-o", "models")
    assert ranges(published)[-1] is not None
    assert files("models") == ["digits10.cfg", "digits10.weights"]


# what is wrong


def test_a_page_is_told_from_weights(published):
    address = published.url.replace("digits10.weights", "moved")
    stderr = run("digits10", "--url", address, status=1).stderr
    assert f"error: {address}: is an HTML page, not a weights file\n  hint: the download" in stderr
    assert len(published.requests) == 2
    assert files() == []


def test_another_size_is_told_before_anything_comes(published):
    published.content = CONTENT[:-400]
    stderr = run("digits10", status=1).stderr
    assert f"{published.url}: ends in layer" in stderr
    assert "expected 632200 bytes for" in stderr
    assert "found 631800" in stderr
    assert files() == []


def test_bytes_beyond_the_size_stop_the_download(published):
    published.has_length = False
    published.content = CONTENT + bytes(1 << 20)
    stderr = run("digits10", status=1).stderr
    assert "goes on behind what the cfg requires: expected 632200 bytes" in stderr
    assert files() == []


def test_another_file_of_the_same_size_is_refused(published):
    published.content = CONTENT[:-4] + b"\0\0\0\0"
    stderr = run("digits10", status=1).stderr
    assert f"{published.url}: is not the file that was published: expected SHA-256" in stderr
    assert files() == []
    result = run("digits10", "--url", published.url)
    assert "not the published file" in result.stderr
    assert "as published" not in result.stdout


def test_missing_files_are_told_at_once(published):
    published.statuses = [404]
    stderr = run("digits10", status=1).stderr
    assert f"error: {published.url}: the server answers 404 Not Found" in stderr
    assert "hint: --url takes the weights from another address" in stderr
    assert len(published.requests) == 1


def test_a_busy_server_is_asked_again(published):
    published.statuses = [503, 429]
    run("digits10")
    assert len(published.requests) == 3


def test_a_busy_server_is_given_up(published):
    published.statuses = [503] * 3
    assert (
        "the server answers 503 Service Unavailable (3 tries)" in run("digits10", status=1).stderr
    )


def test_a_server_that_is_not_there(published):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/digits10.weights"
    stderr = run("digits10", "--url", address, status=1).stderr
    assert f"error: {address}: Connection refused (3 tries)" in stderr


def test_a_server_that_does_not_answer(published, monkeypatch):
    asked_enough = threading.Event()
    monkeypatch.setattr(download, "TIMEOUT", (60.0, 0.05))
    monkeypatch.setattr(Handler, "do_GET", lambda self: asked_enough.wait())
    stderr = run("digits10", status=1).stderr
    asked_enough.set()
    assert re.search(r"has not answered for 0 seconds \(3 tries\)", stderr)


def test_the_next_address_is_tried(monkeypatch, server):
    server.statuses = [404]
    publish(monkeypatch, f"{server.url}?first", f"{server.url}?second", sha256=SHA256)
    result = run("digits10")
    assert "?first: the server answers 404 Not Found; trying http" in result.stderr
    assert [path[-6:] for path, *_ in server.requests] == ["?first", "second"]


def test_all_addresses_are_told(monkeypatch, server):
    server.statuses = [404, 403]
    publish(monkeypatch, f"{server.url}?first", f"{server.url}?second")
    lines = run("digits10", status=1).stderr.splitlines()
    assert "error: digits10: no address gives its weights" in lines
    assert f"  {server.url}?first: the server answers 404 Not Found" in lines
    assert f"  {server.url}?second: the server answers 403 Forbidden" in lines


def test_a_disk_that_does_not_take_it_is_told_once(monkeypatch, server):
    publish(monkeypatch, f"{server.url}?first", f"{server.url}?second")
    Path("digits10.weights.part").mkdir()
    stderr = run("digits10", status=1).stderr
    assert "error: digits10.weights.part: cannot write: Is a directory\n" in stderr
    assert "trying" not in stderr
    Path("file").touch()
    assert "file/x: cannot make the folder" in run("digits10", "-o", "file/x", status=1).stderr


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("file:///nowhere/x.weights", "file:///nowhere/x.weights: cannot read: No such file"),
        ("ftp://host/x.weights", "ftp://host/x.weights: expected http://, https:// or file://"),
        ("x.weights", "x.weights: expected http://, https:// or file://"),
        ("", "expected http://, https:// or file://"),
        ("http://", "http://: Invalid URL"),
    ],
)
def test_addresses_that_lead_nowhere(published, address, message):
    assert message in run("digits10", "--url", address, status=1).stderr
    assert files() == []


def test_files_of_another_kind_are_not_copied(published, tmp_path):
    stderr = run("digits10", "-o", "new", "--url", CFG.as_uri(), status=1).stderr
    assert "is a cfg, not a weights file" in stderr
    assert files("new") == []


def test_a_model_without_an_address_names_its_page():
    stderr = run("enet-coco", status=1).stderr
    assert "hint: fetch them by hand from https://drive.google.com/" in stderr


def test_names_are_completed():
    complete = ShellComplete(main, {}, "darkconv", "_X").get_completions
    found = [item.value for item in complete(["fetch"], "yolov4")]
    assert found == ["yolov4", "yolov4-tiny", "yolov4-csp"]


def test_unknown_names_are_told_with_near_ones():
    assert "hint: did you mean yolov3 or" in run("yolo3", status=1).stderr
    assert "hint: `darkconv fetch` lists them" in run("squid", status=1).stderr
    assert "Missing argument 'NAME'" in run("--url", "file:///x", status=2).stderr


def test_a_missing_requests_is_named_with_its_extra(published, monkeypatch):
    monkeypatch.setitem(sys.modules, "requests", None)
    stderr = run("digits10", status=1).stderr
    assert "fetch needs requests, which is not installed" in stderr
    assert "hint: pip install 'darkconv[fetch]'" in stderr
    with pytest.raises(MissingDependencyError):
        CliRunner().invoke(main, ["fetch", "digits10", "--debug"], catch_exceptions=False)


# what is published


def test_the_list_names_all_bundled_networks():
    cfgs = bundled_cfg("yolov3").parent
    assert {path.stem for path in cfgs.glob("*.cfg")} == set(MODELS)
    lines = run().stdout.splitlines()
    assert len(lines) == len(MODELS) + 1
    assert "yolov3 80 COCO 248 MB data.pjreddie.com" in [" ".join(line.split()) for line in lines]
    found = json.loads(run("--json").stdout)
    assert [model["name"] for model in found] == list(MODELS)
    yolov4 = next(model for model in found if model["name"] == "yolov4")
    assert (yolov4["bytes"], yolov4["classes"]) == (257_717_640, 80)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_facts_fit_the_bundled_cfg(model):
    config = read_cfg(bundled_cfg(model.name))
    network = build_network(config, choose_dialect(config, None))
    assert model.classes.count == max(
        head.spec.num_classes(head.in_shapes)
        if hasattr(head.spec, "num_classes")
        else head.out_shape.size
        for head in network.heads
    )
    if model.size:
        headers = (Header(0, 1, 0), Header(0, 2, 0))
        assert model.size in [file_size(network, header) for header in headers]
    assert bool(model.page) != bool(model.addresses)
    assert all(re.fullmatch(r"https://\S+\.weights", address) for address in model.addresses)
    assert model.sha256 is None or re.fullmatch("[0-9a-f]{64}", model.sha256)


@pytest.mark.parametrize(
    "classes", dict.fromkeys(model.classes for model in MODELS.values()), ids=lambda c: c.data_set
)
def test_lists_of_names_have_as_many_as_there_are_classes(classes, tmp_path):
    text = classes.names()
    if text is None:
        assert classes.file is None
        return
    (tmp_path / "x.names").write_bytes(text)
    assert len(set(read_names(tmp_path / "x.names").names)) == classes.count
