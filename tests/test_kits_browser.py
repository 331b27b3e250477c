"""The page of the browser kit, by itself and in Chromium; the server, and how the runtime comes."""

import base64
import hashlib
import http.client
import http.server
import io
import json
import re
import shutil
import subprocess
import tarfile
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import darkconv as dc
from darkconv.assets import digits10_pictures, load_digits10
from darkconv.cli import main
from darkconv.core.names import Names
from darkconv.evaluation.classifiers import scores_of
from darkconv.exporting.kits import browser
from darkconv.exporting.serving import serving
from darkconv.pictures.crop import centre_crop
from darkconv.pictures.picture import read_picture
from darkconv.zoo import package as packages
from darkconv.zoo.package import ORT_WEB, fetch_package
from environments import EnvironmentMissingError
from networks import network, random_model
from runtimes import RUNTIMES

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

STAND_IN = Path(__file__).parent / "data" / "ort_web"
"""Files by the names of the runtime's."""
SECONDS = 120
BODY = "[convolutional]\nfilters=16\nsize=1\n[yolo]\nclasses=3\nnum=2\nanchors=2,3,4,1\n"


def handed_over(folder, name):
    """The bytes that the page's scripts hand over under a name."""
    page, found = (folder / "index.html").read_text(), b""
    for script in re.findall(r'<script src="([^"]+)"></script>', page):
        if re.fullmatch(rf"{name}(-\d+)?\.js", script):
            lines = (folder / script).read_text().splitlines()
            parts = [re.fullmatch(rf'kit\.add\("{name}", "([\w+/=]*)"\);', line) for line in lines]
            found += b"".join(base64.b64decode(part[1]) for part in parts)
    return found


# --- The page


@pytest.mark.parametrize("largest", [browser.LARGEST, 3000])
def test_the_scripts_hold_the_model_and_the_runtime(tmp_path, monkeypatch, largest):
    monkeypatch.setattr(browser, "LARGEST", largest)
    monkeypatch.setattr(browser, "PIECE", 300)
    folder = tmp_path / "kit"
    done = dc.export(load_digits10(), folder, kit="browser", ort_web=STAND_IN)
    assert done.files[0].name == "model.js"
    assert (folder / "model-1.js").exists() == (largest == 3000)
    model = onnx.load_from_string(handed_over(folder, "model"))
    onnx.checker.check_model(model)
    assert [output.name for output in model.graph.output] == ["boxes", "scores"]
    assert handed_over(folder, "loader") == (STAND_IN / "dist" / browser.LOADER).read_bytes()
    assert handed_over(folder, "program") == (STAND_IN / "dist" / browser.PROGRAM).read_bytes()
    script = (folder / browser.SCRIPT).read_bytes()
    assert script == (STAND_IN / "dist" / browser.SCRIPT).read_bytes()
    assert not (folder / "model.onnx").exists()
    assert "onnxruntime-web 0.0.1" in (folder / "README.md").read_text()
    licence = (folder / "LICENSE-onnxruntime.txt").read_text()
    assert "MIT License" in licence
    assert browser.SCRIPT in licence


def test_names_cannot_become_part_of_the_page(tmp_path):
    names = Names(("</script><b>", 'a"b', "ü\u2028x"), hidden=[1])
    model = replace(random_model(network(BODY, (3, 6, 10))), names=names)
    options = {"resize": "letterbox", "nms": 0.3, "threshold": 0.6}
    dc.export(model, tmp_path / "kit", kit="browser", ort_web=STAND_IN, **options)
    page = (tmp_path / "kit" / "index.html").read_text()
    assert page.count("</script>") == page.count("<script")
    told = json.loads(re.search(r"^  told: (\{.*\}),$", page, re.MULTILINE)[1])
    assert told == {
        "width": 10, "height": 6, "letterbox": True, "names": list(names), "hidden": [1],
        "nms": 0.3, "finds": True,
    }  # fmt: skip
    assert 'value="0.6"' in page
    assert not re.search(r"https?://", page)


def test_the_runtime_has_to_be_there(tmp_path):
    model = random_model(network(BODY, (3, 6, 10)))
    with pytest.raises(dc.DarkconvError, match="needs onnxruntime-web's files") as told:
        dc.export(model, tmp_path / "kit", kit="browser")
    assert "darkconv fetch onnxruntime-web" in told.value.hint
    (tmp_path / "empty").mkdir()
    with pytest.raises(dc.DarkconvError, match="empty: has no files of onnxruntime-web"):
        dc.export(model, tmp_path / "kit", kit="browser", ort_web=tmp_path / "empty")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
    with pytest.raises(dc.DarkconvError, match="ort_web is no option of the kit opencv"):
        dc.export(model, tmp_path / "kit", kit="opencv", ort_web=STAND_IN)
    with pytest.raises(dc.DarkconvError, match="ort_web is about the kit browser"):
        dc.export(model, tmp_path / "net.onnx", ort_web=STAND_IN)
    shutil.copytree(STAND_IN, tmp_path / "node_modules" / "onnxruntime-web")
    assert browser.find_runtime(tmp_path).is_relative_to(tmp_path / "node_modules")


# --- In Chromium


@pytest.fixture(scope="module")
def chromium():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("no Chromium to run the page in")


@pytest.fixture(scope="module")
def runtime():
    try:
        return RUNTIMES["onnxruntime-web"].environment.made()
    except EnvironmentMissingError as error:
        pytest.skip(str(error))


class Listener(http.server.BaseHTTPRequestHandler):
    """Takes what a page tells."""

    def do_POST(self):
        self.server.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


ASKING = """<script>
(async () => {{
  const answer = {{}};
  try {{
    const bytes = Uint8Array.from(atob("{picture}"), letter => letter.charCodeAt(0));
    answer.found = await lookAtFile(new File([bytes], "picture.png"));
    answer.threads = ort.env.wasm.numThreads;
    answer.drawn = screen.canvas.toDataURL();
  }} catch (error) {{
    answer.error = String(error);
  }}
  answer.said = find("said").textContent;
  await fetch("{address}", {{ method: "POST", mode: "no-cors", body: JSON.stringify(answer) }});
}})();
</script></html>"""
"""Put behind the page's own scripts: has it look at a picture, and tells what it found."""


@contextmanager
def listening():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        server.told = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()  # or it asks the closed socket again and again, for ever


def open_page(chromium, server, address, profile):
    """What a page tells in a browser that may read no file but those that pages may."""
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
    process = subprocess.Popen(
        [chromium, *flags.split(), f"--user-data-dir={profile}", address],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        end = time.monotonic() + SECONDS
        while not server.told and process.poll() is None and time.monotonic() < end:
            time.sleep(0.1)
    finally:
        process.terminate()
        process.wait()
    assert server.told, "the page tells nothing"
    return server.told.pop()


def look_at(chromium, folder, picture, way, profile):
    """What a kit's page tells of a picture."""
    with listening() as server, serving(folder, port=0) as (address, answer):
        threading.Thread(target=answer, daemon=True).start()
        encoded = base64.b64encode(picture.read_bytes()).decode()
        asking = ASKING.format(picture=encoded, address=f"http://127.0.0.1:{server.server_port}")
        page = (folder / "index.html").read_text()
        (folder / "asked.html").write_text(page.replace("</html>", asking))
        start = folder.as_uri() if way == "file" else address
        return open_page(chromium, server, f"{start}/asked.html", profile)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(90, 37), (33, 61), (40, 24)])
def test_the_page_of_a_classifier_lists_the_best_classes(chromium, runtime, tmp_path, size):
    pytest.importorskip("torch")
    body = "[convolutional]\nfilters=16\nsize=5\nstride=3\nactivation=leaky\n"
    body += "[convolutional]\nfilters=6\n[avgpool]\n[softmax]\n"
    model = random_model(network(body, (3, 24, 40)), names=["a", "b", "c", "d", "e", "f g"])
    dc.export(model, tmp_path / "kit", kit="browser", ort_web=runtime)
    with Image.open(digits10_pictures()[11]) as picture:
        picture.convert("RGB").resize(size).save(tmp_path / "picture.png")
    told = look_at(chromium, tmp_path / "kit", tmp_path / "picture.png", "file", tmp_path / "p")
    assert "error" not in told, told
    crop = centre_crop(read_picture(tmp_path / "picture.png"), (40, 24))
    scores = scores_of(model)(crop[None])[0]
    best = np.argsort(-scores)[:5]
    assert [one["name"] for one in told["found"]] == [model.names[i] for i in best]
    for one, i in zip(told["found"], best, strict=True):
        assert one["score"] == pytest.approx(scores[i], abs=1e-4)
    assert told["said"].startswith(f"{model.names[best[0]]} found in ")
    assert "the best classes are listed below" in (tmp_path / "kit" / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["file", "server"])
@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_the_page_finds_the_boxes_of_detect(chromium, runtime, tmp_path, way, resize):
    model, picture, folder = load_digits10(), digits10_pictures()[11], tmp_path / "kit"
    dc.export(model, folder, kit="browser", ort_web=runtime, resize=resize)
    told = look_at(chromium, folder, picture, way, tmp_path / "profile")
    assert "error" not in told, told
    assert told["said"].startswith(f"{len(told['found'])} found in ")
    expected = dc.detect(model, picture, resize=resize, nms_kind="sort")
    assert [one["name"] for one in told["found"]] == [one.name for one in expected]
    assert len(expected) > 3
    for one, other in zip(told["found"], expected, strict=True):
        assert one["score"] == pytest.approx(other.score, abs=1e-3)
        np.testing.assert_allclose(one["box"], other.box, atol=0.1)
    assert (told["threads"] > 1) <= (way == "server")
    drawn = Image.open(io.BytesIO(base64.b64decode(told["drawn"].partition(",")[2])))
    with Image.open(picture) as plain:
        assert drawn.size == plain.size
        assert np.abs(np.subtract(drawn.convert("RGB"), plain.convert("RGB"), dtype=int)).max() > 99


# --- The server


@pytest.fixture
def served(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "page.html").write_text("a page")
    (tmp_path / "site" / "a.mjs").write_text("1")
    (tmp_path / "secret.txt").write_text("a secret")
    (tmp_path / "site" / "link").symlink_to(tmp_path / "secret.txt")
    with serving(tmp_path / "site", port=0) as (address, answer):
        threading.Thread(target=answer, daemon=True).start()
        yield address


def ask(address, path, **headers):
    connection = http.client.HTTPConnection(address.partition("://")[2], timeout=20)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), answer.headers


def test_pages_of_the_folder_are_served_to_this_machine(served):
    assert served.startswith("http://127.0.0.1:")
    status, text, headers = ask(served, "/page.html")
    assert (status, text) == (200, "a page")
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert ask(served, "/a.mjs")[2]["Content-Type"] == "text/javascript"


@pytest.mark.parametrize("path", ["/../secret.txt", "/%2e%2e/secret.txt", "/link", "/none.html"])
def test_nothing_else_is_served(served, path):
    assert ask(served, path)[0] == 404


def test_a_page_of_elsewhere_whose_name_leads_here_is_refused(served):
    port = served.rpartition(":")[2]
    assert ask(served, "/page.html", Host=f"evil.example:{port}")[0] == 403
    assert ask(served, "/page.html", Host=f"localhost:{port}")[0] == 200


def test_a_port_that_is_taken_is_said(served, tmp_path):
    port = served.rpartition(":")[2]
    done = CliRunner().invoke(main, ["serve", str(tmp_path), "--port", port])
    assert done.exit_code == 1
    assert f"port {port}: " in done.stderr
    assert "--port 0" in done.stderr
    with pytest.raises(dc.DarkconvError, match="is no folder"), serving(tmp_path / "none"):
        pass


# --- The runtime's files


@pytest.fixture
def published(tmp_path, monkeypatch):
    """An archive such as npm has, and the package that it is of."""
    path = tmp_path / "archive.tgz"
    with tarfile.open(path, "w:gz") as file:
        for name in ORT_WEB.files:
            file.add(STAND_IN / name, f"package/{name}")
    digest = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    known = replace(ORT_WEB, size=path.stat().st_size, sha512=digest)
    monkeypatch.setattr("darkconv.cli.fetch.ORT_WEB", known)
    return path, known


def test_fetch_brings_what_the_page_needs(published, tmp_path):
    pytest.importorskip("requests")
    path, known = published
    words = ["fetch", "onnxruntime-web", "-o", str(tmp_path / "here"), "--url", path.as_uri()]
    done = CliRunner().invoke(main, [*words, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["version"] == known.version
    folder = tmp_path / "here" / "onnxruntime-web"
    assert {one.relative_to(folder).as_posix() for one in folder.rglob("*.*")} == set(known.files)
    assert [one.name for one in folder.parent.iterdir()] == ["onnxruntime-web"]
    assert browser.find_runtime(folder.parent) == browser.find_runtime(folder) == folder / "dist"
    path.unlink()
    assert CliRunner().invoke(main, words).exit_code == 0  # it is there already


def test_fetch_refuses_another_archive_and_leaves_nothing(published, tmp_path):
    pytest.importorskip("requests")
    path, known = published
    other = replace(known, sha512="another")
    with pytest.raises(dc.DarkconvError, match="is not onnxruntime-web 1.30.0 as it was published"):
        fetch_package(other, tmp_path / "here", address=path.as_uri())
    assert list((tmp_path / "here").iterdir()) == []
    (tmp_path / "here" / "onnxruntime-web").mkdir()
    with pytest.raises(dc.DarkconvError, match="is there already, without the files"):
        fetch_package(known, tmp_path / "here", address=path.as_uri())
    assert packages.ORT_WEB.address.endswith("/onnxruntime-web/-/onnxruntime-web-1.30.0.tgz")
