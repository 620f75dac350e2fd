"""Processes that the benchmark starts: each in a session of its own, and none outlives the benchmark."""

import os
import queue
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

STOP_WITHIN_S = 20
LOG_LINES_SHOWN = 20


class Failed(Exception):
    """Something that the benchmark needs did not do its work; says what and where to look."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until(what: str, within_s: float, condition, every_s: float = 0.05):
    """Repeats `condition` until it gives something true, and gives it back."""
    deadline = time.monotonic() + within_s
    while True:
        if found := condition():
            return found
        if time.monotonic() >= deadline:
            raise Failed(f"{what} took longer than {within_s} s")
        time.sleep(every_s)


class Process:
    """One program. `talks` is for programs that are told to begin and tell how far they are."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str], logs: Path, *,
                 user: str | None = None, stop_signal: int = signal.SIGTERM, talks: bool = False):
        self.name = name
        self.log = logs / f"{name}.log"
        self._stop_signal = stop_signal
        # The signal comes when the benchmark dies without having said goodbye.
        wrapped = ["setpriv", "--pdeathsig", signal.Signals(stop_signal).name.removeprefix("SIG")]
        if user:
            wrapped += ["--reuid", user, "--regid", user, "--init-groups"]
        base = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*wrapped, "--", *command], env=base | environment, cwd="/", start_new_session=True, stderr=log,
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL, stdout=subprocess.PIPE if talks else log,
                text=talks,
            )
        self.pid = self._process.pid
        self._lines: queue.Queue[str | None] = queue.Queue()
        if talks:
            threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self._process.stdout:
            self._lines.put(line.strip())
        self._lines.put(None)

    def say(self, line: str):
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def hear(self, within_s: float) -> str:
        """The next line that it says."""
        try:
            line = self._lines.get(timeout=within_s)
        except queue.Empty:
            raise Failed(f"{self.name} said nothing for {within_s} s; {self._end_of_log()}") from None
        if line is None:
            raise Failed(f"{self.name} ended; {self._end_of_log()}")
        return line

    def heard(self) -> list[str]:
        """What it has said since, without waiting."""
        lines = []
        while not self._lines.empty():
            line = self._lines.get_nowait()
            if line is None:
                raise Failed(f"{self.name} ended; {self._end_of_log()}")
            lines.append(line)
        return lines

    def require_running(self):
        if self._process.poll() is not None:
            raise Failed(f"{self.name} ended with {self._process.returncode}; {self._end_of_log()}")

    def stop(self):
        if self._process.poll() is not None:
            return
        self._process.send_signal(self._stop_signal)
        try:
            self._process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _end_of_log(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        return "\n".join([f"the end of {self.log}:", *lines])
