"""A page in headless Chromium over its DevTools protocol: an image, and what the console said."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WHY_NOT = "needs Chromium: apt-get install chromium"
FLAGS = ("--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--hide-scrollbars")
FLAGS += ("--enable-unsafe-swiftshader", "--remote-debugging-port=0")
FLAGS += ("--disable-background-networking", "--no-first-run")


@dataclass
class Seen:
    """An image as PNG, errors of the console, and addresses outside this machine that were asked for."""

    png: bytes
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


class _Session:
    def __init__(self, address: str) -> None:
        from websockets.sync.client import connect

        self.socket = connect(address, max_size=None)
        self.count = 0
        self.events: list[dict] = []

    def call(self, method: str, **parameters) -> dict:
        self.count += 1
        message = {"id": self.count, "method": method, "params": parameters}
        self.socket.send(json.dumps(message))
        while True:
            answer = json.loads(self.socket.recv(timeout=60))
            if answer.get("id") == self.count:
                return answer["result"]
            self.events.append(answer)

    def listen(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                self.events.append(json.loads(self.socket.recv(timeout=left)))
            except TimeoutError:
                return


def _error(event: dict) -> str | None:
    given = event.get("params", {})
    if event.get("method") == "Runtime.exceptionThrown":
        return json.dumps(given["exceptionDetails"])
    if event.get("method") == "Log.entryAdded" and given["entry"]["level"] == "error":
        return given["entry"]["text"]
    if event.get("method") == "Runtime.consoleAPICalled" and given["type"] == "error":
        return json.dumps(given["args"])
    return None


@contextlib.contextmanager
def browser(url: str, folder: Path, size: tuple[int, int] = (960, 640)):
    """A `Page` that shows an address in a fresh Chromium, which ends with the block."""
    assert CHROMIUM is not None
    flags = (*FLAGS, f"--window-size={size[0]},{size[1]}", f"--user-data-dir={folder}")
    process = subprocess.Popen(
        [CHROMIUM, *flags, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        port_file = folder / "DevToolsActivePort"
        end = time.monotonic() + 30
        while not (port_file.exists() and port_file.read_text().strip()):
            assert process.poll() is None, "Chromium ended"
            assert time.monotonic() < end, "Chromium does not start"
            time.sleep(0.1)
        port = port_file.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
            pages = [t for t in json.load(answer) if t["type"] == "page"]
        session = _Session(pages[0]["webSocketDebuggerUrl"])
        for domain in ("Runtime", "Log", "Page", "Network"):
            session.call(f"{domain}.enable")
        session.call("Page.navigate", url=url)
        yield Page(session)
        session.socket.close()
    finally:
        process.terminate()
        process.wait(timeout=20)


class Page:
    """What a person does with a page: look, click on words, wait."""

    def __init__(self, session: _Session) -> None:
        self.session = session

    def look(self) -> bytes:
        """An image as PNG."""
        return base64.b64decode(self.session.call("Page.captureScreenshot", format="png")["data"])

    def wait(self, ready, seconds: float = 60.0) -> bytes:
        """Images until `ready(png)` is true or the time is over; the last one."""
        end, png = time.monotonic() + seconds, b""
        while time.monotonic() < end:
            self.session.listen(1.0)
            png = self.look()
            if ready(png):
                break
        return png

    def run(self, script: str):
        """The value of a JavaScript expression."""
        answer = self.session.call("Runtime.evaluate", expression=script, returnByValue=True)
        return answer["result"].get("value")

    def until(self, script: str, seconds: float = 60.0):
        """Wait for a JavaScript expression to be true; its value. Fails when the time is over."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if value := self.run(script):
                return value
            self.session.listen(0.2)
        raise AssertionError(f"never true in the browser: {script}")

    def click(self, text: str, selector: str = "button, [role=tab]") -> None:
        """Press the mouse on the element of these words."""
        find = (
            f"[...document.querySelectorAll({json.dumps(selector)})]"
            f".find(e => e.textContent.trim() === {json.dumps(text)})"
        )
        script = f"(() => {{ const e = {find}; if (!e) return null; e.scrollIntoView(); "
        script += "const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] })()"
        x, y = self.until(script)
        for kind, held in (("mouseMoved", 0), ("mousePressed", 1), ("mouseReleased", 0)):
            self.session.call(
                "Input.dispatchMouseEvent",
                type=kind,
                x=x,
                y=y,
                button="left" if kind != "mouseMoved" else "none",
                buttons=held,
                clickCount=1,
            )

    @property
    def errors(self) -> list[str]:
        """What the console said."""
        return [text for e in self.session.events if (text := _error(e))]

    @property
    def outside(self) -> list[str]:
        """Addresses beyond this machine that were asked for."""
        asked = [
            e["params"]["request"]["url"]
            for e in self.session.events
            if e.get("method") == "Network.requestWillBeSent"
        ]
        return [u for u in asked if u.startswith("http") and "://127.0.0.1" not in u]


def look_at_page(url: str, folder: Path, ready, seconds: float = 60.0) -> Seen:
    """Open a page and take images until `ready(png)` is true or the time is over."""
    with browser(url, folder) as page:
        png = page.wait(ready, seconds)
        return Seen(png, page.errors, page.outside)


def can_run() -> bool:
    return CHROMIUM is not None and os.name == "posix"
