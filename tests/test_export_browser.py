"""The GLB before strangers: Khronos' validator, and three.js in a browser, both from npm."""

import functools
import http.server
import io
import json
import shutil
import subprocess
import threading
from pathlib import Path

import headless_browser
import numpy as np
import pytest
from small_scene import generated

from hoijax.bodies import load_body
from hoijax.exporters.clip import clip_from_result
from hoijax.results.result import load_result

PACKAGES = ("gltf-validator@2.0.0-dev.3.10", "three@0.180.0")
VALIDATE = """
const fs = require('fs'), validator = require('gltf-validator');
validator.validateBytes(new Uint8Array(fs.readFileSync(process.argv[1])))
  .then(report => console.log(JSON.stringify(report)));
"""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> Path:
    """A folder with the npm packages; skips where there is no npm or no registry."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("needs node and npm: apt-get install npm")
    folder = tmp_path_factory.mktemp("npm")
    command = [npm, "install", "--no-audit", "--no-fund", "--no-save", "--silent", *PACKAGES]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    if ran.returncode:
        pytest.skip(f"npm cannot fetch {', '.join(PACKAGES)}: {ran.stderr[-200:]}")
    return folder / "node_modules"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return generated(tmp_path_factory)[0]


def test_khronos_finds_nothing(packages, folder):
    ran = subprocess.run(
        ["node", "-e", VALIDATE, folder / "scene.glb"],
        cwd=packages.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    report = json.loads(ran.stdout)
    assert report["info"]["animationCount"] == 1
    assert (report["issues"]["numErrors"], report["issues"]["numWarnings"]) == (0, 0), report


@pytest.fixture(scope="module")
def address(packages, folder, tmp_path_factory):
    """A server of this machine with the page, three.js and the GLB."""
    root = tmp_path_factory.mktemp("player")
    shutil.copy(Path(__file__).with_name("glb_player.html"), root / "index.html")
    shutil.copy(folder / "scene.glb", root)
    (root / "three").symlink_to(packages / "three")
    (root / "favicon.ico").touch()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

    handler = functools.partial(Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/index.html"
        server.shutdown()
        thread.join()


def pixels(png: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)[:480, :640]


@pytest.mark.skipif(not headless_browser.can_run(), reason=headless_browser.WHY_NOT)
def test_it_plays_in_a_browser(address, folder, tmp_path):
    """Body and object are seen, they move, and three.js puts bones where we had the joints."""
    result = load_result(folder)
    clip = clip_from_result(result, load_body(result.body_name))
    last = (result.frame_count - 1) / result.fps
    with headless_browser.browser(address, tmp_path) as page:
        page.until("window.hoijax && hoijax.skins > 0")
        assert page.run("hoijax.clips") == [pytest.approx(last, abs=1e-3)]
        for frame in (0, result.frame_count // 2):
            ((pelvis, wrist),) = page.run(f"hoijax.at({frame / result.fps})")
            joints = clip.people[0].Ts_world_joint[frame, :, :3, 3]
            np.testing.assert_allclose([pelvis, wrist], joints[[0, 21]], atol=1e-3)
        first = pixels(page.look())
        page.run(f"hoijax.at({0.95 * last})")
        later = pixels(page.look())
        assert page.errors == []
        assert page.outside == []
    r, g, b = np.moveaxis(later, -1, 0)
    assert ((b - r > 8) & (r < 235)).sum() > 1500  # the bluish skin
    assert ((r - b > 4) & (r >= g)).sum() > 500  # the box of grey clay, which is warm
    assert (np.abs(first - later).sum(axis=-1) > 60).sum() > 800  # and they moved
