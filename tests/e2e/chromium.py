"""A headless Chromium, driven by its own protocol (DevTools) over one web socket."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-extensions", "--hide-scrollbars"),
    *("--disable-dev-shm-usage", "--remote-debugging-port=0", "--proxy-server=direct://", "--mute-audio"),
)
START_S = 30.0
ANSWER_S = 30.0
POLL_S = 0.05


class Tab:
    """One page of the browser, and what it complained about."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._number = socket, 0
        self.complaints: list[str] = []
        self.events: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask for something; what comes in between is noted."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=ANSWER_S))
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        method, parameters = message.get("method", ""), message.get("params", {})
        self.events.append(method)
        if method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(parameters["exceptionDetails"])[:500])
        if method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(parameters["args"])[:500])
        if method == "Page.javascriptDialogOpening":
            self.complaints.append(f"a dialog opened: {parameters['message']}")
            self._socket.send(
                json.dumps({"id": 0, "method": "Page.handleJavaScriptDialog", "params": {"accept": True}})
            )

    def open(self, url: str) -> None:
        """Go to an address, and wait until it is there whole."""
        self.events.clear()
        self.call("Page.navigate", url=url)
        self.until(lambda: "Page.loadEventFired" in self.events, f"{url} to load")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:500])
        return answer["result"].get("value")

    def until(self, holds: Callable[[], Any], what: str, patience_s: float = ANSWER_S) -> None:
        """Wait for something.

        Raises:
            TimeoutError: it does not come.
        """
        ends = time.monotonic() + patience_s
        while not holds():
            if time.monotonic() > ends:
                raise TimeoutError(f"waited {patience_s:.0f} s for {what}")
            self.evaluate("0")  # takes in what the browser had to say
            time.sleep(POLL_S)

    def size(self, width: int, height: int) -> None:
        """Make the window so large."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def prefer(self, **features: str) -> None:
        """Set what the system prefers: prefers_color_scheme="dark"."""
        media = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=media)

    def scripts(self, are_run: bool) -> None:
        """Let pages that are opened from now on run scripts, or not."""
        self.call("Emulation.setScriptExecutionDisabled", value=not are_run)

    def press(self, key: str, code: int) -> None:
        """Press a key and let it go."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def screenshot(self, path: Path, whole: bool = True) -> None:
        """Write what the page looks like."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 12_000), "scale": 1}
        more = {"clip": clip, "captureBeyondViewport": True} if whole else {}
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png", **more)["data"]))

    def accessibility(self) -> list[dict[str, Any]]:
        """What a screen reader is told: role, name and properties of each node that is not ignored."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            {
                "role": node["role"]["value"],
                "name": node.get("name", {}).get("value", ""),
                **{entry["name"]: entry["value"].get("value") for entry in node.get("properties", [])},
            }
            for node in nodes
            if not node["ignored"]
        ]


@contextmanager
def browser(profile: Path) -> Iterator[Tab]:
    """A browser with a new profile and one tab; it ends with the block."""
    if CHROMIUM is None:
        raise FileNotFoundError("no chromium")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with connect(_socket_url(profile, process), max_size=None, proxy=None) as socket:
            yield Tab(socket)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _socket_url(profile: Path, process: subprocess.Popen[bytes]) -> str:
    """Where the one tab listens."""
    ends = time.monotonic() + START_S
    file = profile / "DevToolsActivePort"
    while time.monotonic() < ends and process.poll() is None:
        if file.exists() and len(lines := file.read_text().splitlines()) == 2:
            with connect(f"ws://127.0.0.1:{lines[0]}{lines[1]}", proxy=None) as socket:
                target = _tab(socket)
            if target is not None:
                return f"ws://127.0.0.1:{lines[0]}/devtools/page/{target}"
        time.sleep(POLL_S)
    raise TimeoutError(f"chromium did not start within {START_S:.0f} s")


def _tab(socket: ClientConnection) -> str | None:
    socket.send(json.dumps({"id": 1, "method": "Target.getTargets"}))
    targets = json.loads(socket.recv(timeout=ANSWER_S))["result"]["targetInfos"]
    return next((str(target["targetId"]) for target in targets if target["type"] == "page"), None)
