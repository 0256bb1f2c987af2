"""A real Chromium that opens a file, told what to do through a pipe (its own DevTools protocol)."""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import installed

#: For one answer; a browser that has died closes its pipe and is noticed at once.
_ANSWER_S = 60.0
#: It reads from descriptor 3 and writes to 4, which may be others' here.
_AT_ITS_PLACES = """import os, sys
for at, given in ((60, sys.argv[1]), (61, sys.argv[2])):
    os.dup2(int(given), at)
os.dup2(60, 3)
os.dup2(61, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
_SCHEMES_OF_ITS_OWN = ("file:", "data:", "blob:", "about:")


class Page:
    """One page. What it asks for, and what it complains of, is noted.

    Attributes
    ----------
    requests : list of str
        URLs of all that it has asked for, itself first.
    complaints : list of str
        Exceptions, errors and warnings of its console.
    """

    def __init__(self, to: int, of: int) -> None:
        self._to, self._of, self._read, self._last = to, of, b"", 0
        self.requests: list[str] = []
        self.complaints: list[str] = []
        target = self._ask("Target.createTarget", {"url": "about:blank"}, "")["targetId"]
        how = {"targetId": target, "flatten": True}
        self._session = self._ask("Target.attachToTarget", how, "")["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Do something, and what the browser answers."""
        return self._ask(method, params, self._session)

    def open(self, file: Path, width: int = 1100, height: int = 900) -> None:
        """Show a file, and wait until all of its figures are drawn."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        self.ask("Page.navigate", url=file.as_uri())
        self.wait("document.documentElement?.dataset.drawn === 'all'")

    def value(self, expression: str) -> Any:
        """What an expression is in the page. (DevTools may evaluate; the page itself may not.)"""
        answer = self.ask(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def wait(self, expression: str) -> None:
        """Until an expression is true in the page."""
        end = time.monotonic() + _ANSWER_S
        while not self.value(expression):
            if time.monotonic() > end:
                raise AssertionError(f"never true: {expression}; {self.complaints}")
            time.sleep(0.02)

    def look(self, *, dark: bool = False, media: str = "") -> None:
        """Be on a light or dark display, or on paper ("print")."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def picture(self, file: Path, whole: bool = True) -> None:
        """Write what is seen to a PNG."""
        answer = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(answer["data"]))

    def pdf(self, file: Path) -> None:
        """Print to a file."""
        answer = self.ask("Page.printToPDF", printBackground=True, preferCSSPageSize=True)
        file.write_bytes(base64.b64decode(answer["data"]))

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """Move, press, release or turn the wheel of a mouse."""
        self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    @property
    def fetched(self) -> list[str]:
        """What it has asked others for."""
        return [url for url in self.requests if not url.startswith(_SCHEMES_OF_ITS_OWN)]

    def _ask(self, method: str, params: dict[str, Any], session: str) -> dict[str, Any]:
        self._last += 1
        number = self._last
        message = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data) :]
        end = time.monotonic() + _ANSWER_S
        while True:
            answer = self._next(end)
            if answer.get("id") == number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                found: dict[str, Any] = answer["result"]
                return found
            self._note(answer)

    def _next(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._of], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise AssertionError(f"the browser did not answer in {_ANSWER_S} s")
            more = os.read(self._of, 1 << 20)
            if not more:
                raise AssertionError("the browser has ended")
            self._read += more
        message, _, self._read = self._read.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Runtime.exceptionThrown":
                self.complaints.append(str(params["exceptionDetails"]))
            # How fast a card without a card draws is no fault of a page.
            case "Log.entryAdded" if params["entry"]["source"] == "rendering":
                pass
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.complaints.append(str(params["entry"]))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.complaints.append(str(params["args"]))


@contextmanager
def opened(folder: Path) -> Iterator[Page]:
    """A browser, for as long as this lasts; the test is left out where there is none."""
    installed.need("chromium")
    to_read, to = os.pipe()
    of, of_write = os.pipe()
    words = [
        installed.which("chromium") or "chromium",
        *("--headless=new", "--remote-debugging-pipe", "--disable-gpu", "--no-first-run"),
        # Structures are drawn by WebGL, here without a card.
        "--enable-unsafe-swiftshader",
        *("--disable-dev-shm-usage", "--hide-scrollbars", "--disable-background-networking"),
        f"--user-data-dir={folder / 'browser'}",
        # Who runs tests as root can have no sandbox.
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
    ]

    command = [sys.executable, "-c", _AT_ITS_PLACES, str(to_read), str(of_write), *words]
    process = subprocess.Popen(
        command,
        pass_fds=(to_read, of_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_read)
    os.close(of_write)
    try:
        yield Page(to, of)
    finally:
        process.kill()
        process.wait()
        os.close(to)
        os.close(of)
