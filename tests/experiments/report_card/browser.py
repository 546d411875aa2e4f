"""Chromium, driven over its DevTools protocol on a pair of pipes: the standard library suffices.

`BROWSER=/path/to/chromium` says which; else the first of `NAMES` on the path.
"""

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-extensions", "--disable-quic", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
# Keys that are not a letter: code, and the text that they enter.
_KEYS = {"Enter": (13, "\r"), " ": (32, " "), "Tab": (9, ""), "Escape": (27, "")} | {
    name: (37 + place, "")
    for place, name in enumerate(["ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown"])
}
_PATIENCE = 60.0  # seconds


def found() -> str | None:
    """A browser of this machine."""
    names = [os.environ["BROWSER"]] if "BROWSER" in os.environ else NAMES
    return next(filter(None, map(shutil.which, names)), None)


class Browser:
    """One page of one browser.

    Attributes:
      complaints: errors that the page has thrown or written on the console.
      requests: addresses that the page has asked for.
    """

    def __init__(self, program: str, profile: Path):
        read_here, write_there = map(_high, os.pipe())
        read_there, write_here = map(_high, os.pipe())
        # The protocol's pipes are 3 and 4; only a shell sets these without a fork of ours.
        redirect = f'exec "$@" 3</dev/fd/{read_there} 4>/dev/fd/{write_there}'
        self._process = subprocess.Popen(
            ["sh", "-c", redirect, "sh", program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(read_there, write_there),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(read_there)
        os.close(write_there)
        self._read, self._write, self._rest = read_here, write_here, b""
        self._number, self._session = 0, None
        self.complaints: list[str] = []
        self.requests: list[str] = []
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(t["targetId"] for t in targets if t["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=page, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """Ends the browser."""
        with contextlib.suppress(OSError, TimeoutError):
            self._session = None
            self.call("Browser.close")
        os.close(self._read)
        os.close(self._write)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the protocol, and what it returns."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        while True:
            answer = self._message()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self._note(answer)

    def _message(self) -> dict[str, Any]:
        end = time.monotonic() + _PATIENCE
        while b"\0" not in self._rest:
            left = max(0.0, end - time.monotonic())
            if not select.select([self._read], [], [], left)[0]:
                raise TimeoutError("the browser does not answer")
            data = os.read(self._read, 1 << 20)
            if not data:
                raise ConnectionError("the browser is gone")
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        kind, found = event.get("method"), event.get("params", {})
        if kind == "Runtime.exceptionThrown":
            self.complaints.append(str(found["exceptionDetails"]))
        elif kind == "Runtime.consoleAPICalled" and found["type"] in (
            "error",
            "warning",
        ):
            self.complaints.append(str(found["args"]))
        elif kind == "Log.entryAdded" and found["entry"]["level"] in (
            "error",
            "warning",
        ):
            self.complaints.append(found["entry"]["text"])
        elif kind == "Page.javascriptDialogOpening":
            self.complaints.append(f"dialog: {found['message']}")
        elif kind == "Network.requestWillBeSent":
            self.requests.append(found["request"]["url"])

    def open(self, path: Path, fragment: str = "") -> None:
        """Loads a file anew and forgets complaints and requests."""
        self.call("Page.navigate", url="about:blank")
        self.complaints, self.requests = [], []
        self.call("Page.navigate", url=f"{path.as_uri()}{fragment}")
        self.wait("document.readyState === 'complete' && location.protocol === 'file:'")

    def view(self, width: int, height: int = 800, dark: bool = False) -> None:
        """The size of the window and what the reader prefers."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 500,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def value(self, expression: str) -> Any:
        """What an expression is in the page; a promise is waited for."""
        found = self.call(
            "Runtime.evaluate",
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
        )
        if "exceptionDetails" in found:
            raise AssertionError(f"{expression}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def wait(self, expression: str) -> None:
        """Until an expression is true."""
        end = time.monotonic() + _PATIENCE
        while not self.value(expression):
            if time.monotonic() > end:
                raise AssertionError(f"never true: {expression}")
            time.sleep(0.02)

    def press(self, *keys: str) -> None:
        """Presses keys, one after the other."""
        for key in keys:
            code, text = _KEYS.get(key, (ord(key[0].upper()), key))
            shared = {"key": key, "code": key, "windowsVirtualKeyCode": code}
            self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **shared)
            self.call("Input.dispatchKeyEvent", type="keyUp", **shared)

    def click(self, element: str) -> None:
        """A click of the mouse in the middle of what an expression names."""
        box = self.value(
            f"(() => {{ const e = {element}; e.scrollIntoView({{block: 'nearest'}});"
            "const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call(
                "Input.dispatchMouseEvent",
                type=kind, x=box[0], y=box[1], button="left", clickCount=1,
            )  # fmt: skip

    def picture(self, path: Path) -> None:
        """What is seen, as a PNG file."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


def _high(descriptor: int) -> int:
    """The same end of a pipe under a number that is neither 3 nor 4."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return moved
