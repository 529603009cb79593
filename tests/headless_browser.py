"""A page in headless Chromium over its DevTools protocol: a picture, and what the console said."""

import base64
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
FLAGS += ("--enable-unsafe-swiftshader", "--window-size=960,640", "--remote-debugging-port=0")
FLAGS += ("--disable-background-networking", "--no-first-run")


@dataclass
class Seen:
    """A picture as PNG, errors of the console, and addresses outside this machine that were asked for."""

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


def look_at_page(url: str, folder: Path, ready, seconds: float = 60.0) -> Seen:
    """Open a page and take pictures until `ready(png)` is true or the time is over."""
    assert CHROMIUM is not None
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
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
        end, png = time.monotonic() + seconds, b""
        while time.monotonic() < end:
            session.listen(1.0)
            png = base64.b64decode(session.call("Page.captureScreenshot", format="png")["data"])
            if ready(png):
                break
        session.socket.close()
    finally:
        process.terminate()
        process.wait(timeout=20)
    asked = [
        e["params"]["request"]["url"]
        for e in session.events
        if e.get("method") == "Network.requestWillBeSent"
    ]
    outside = [u for u in asked if u.startswith("http") and "://127.0.0.1" not in u]
    return Seen(png, [text for e in session.events if (text := _error(e))], outside)


def can_run() -> bool:
    return CHROMIUM is not None and os.name == "posix"
