"""The Redis and the Postgres of a run: their own ports and folders, settings as in deploy/dev/servers.sh."""

import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from .processes import Failed, Process, free_port, wait_until

START_WITHIN_S = 30
# No bound of memory, so that no contender is refused a write; a queue must never forget one.
REDIS_SETTINGS = ["--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction"]
POSTGRES_SETTINGS = ["shared_buffers=256MB", "max_wal_size=2GB", "max_connections=200"]


class Redis:
    """A Redis that begins empty."""

    def __init__(self, folder: Path, logs: Path):
        data = folder / "redis"
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir()
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/"
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(data)]
        self.process = Process("redis", command + REDIS_SETTINGS, {}, logs)
        wait_until("starting Redis", START_WITHIN_S, self._answers)

    def _answers(self) -> bool:
        self.process.require_running()
        try:
            return self.command("PING") == "+PONG"
        except OSError:
            return False

    def command(self, *words: str) -> str:
        """One command whose answer is a line or a text."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall((" ".join(words) + "\r\n").encode())
            with connection.makefile("rb") as answer:
                first = answer.readline().decode().strip()
                if first.startswith("$"):
                    return answer.read(int(first[1:])).decode()
                return first

    def info(self, name: str) -> str:
        found = re.search(rf"^{name}:(.*?)\r?$", self.command("INFO"), re.MULTILINE)
        if not found:
            raise Failed(f"Redis does not tell {name}")
        return found[1]

    def peak_bytes(self) -> int:
        return int(self.info("used_memory_peak"))

    def version(self) -> str:
        return self.info("redis_version")


def _postgres_bin() -> Path:
    folders = [folder for folder in Path("/usr/lib/postgresql").glob("*/bin") if (folder / "initdb").exists()]
    if folders:
        return max(folders, key=lambda folder: float(folder.parent.name))
    if found := shutil.which("initdb"):
        return Path(os.path.realpath(found)).parent
    raise Failed("PostgreSQL is not installed: run deploy/dev/bootstrap.sh")


class Postgres:
    """A cluster for the whole benchmark. Each run starts its server and has an empty database."""

    def __init__(self, folder: Path, logs: Path):
        self._logs = logs
        self._bin = _postgres_bin()
        # Postgres refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        self._data = folder / "postgres"
        self._data.mkdir(mode=0o700)
        if self._user:
            shutil.chown(self._data, self._user)
        as_user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups", "--"] if self._user else []
        made = subprocess.run(
            [*as_user, self._bin / "initdb", "-D", self._data, "--username", "campaign", "--encoding", "UTF8",
             "--locale", "C.UTF-8", "--auth", "trust"], cwd="/", capture_output=True, text=True)
        if made.returncode != 0:
            raise Failed(f"initdb failed: {made.stderr}")

    def start(self, port: int | None = None) -> Process:
        self.port = port or free_port()
        settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", *POSTGRES_SETTINGS]
        command = [str(self._bin / "postgres"), "-D", str(self._data), "-p", str(self.port)]
        for setting in settings:
            command += ["-c", setting]
        # SIGINT is the "fast" shutdown: sessions end, everything committed stays.
        self.process = Process("postgres", command, {}, self._logs, user=self._user, stop_signal=signal.SIGINT)
        wait_until("starting Postgres", START_WITHIN_S, self._answers)
        self.run("DROP DATABASE IF EXISTS bench", "CREATE DATABASE bench")
        return self.process

    @property
    def url(self) -> str:
        return f"postgres://campaign:campaign@127.0.0.1:{self.port}/bench"

    def _answers(self) -> bool:
        self.process.require_running()
        return self._psql("postgres", "SELECT 1").returncode == 0

    def _psql(self, database: str, *statements: str) -> subprocess.CompletedProcess[str]:
        command = [self._bin / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1",
                   "-p", str(self.port), "-U", "campaign", "-d", database]
        for statement in statements:
            command += ["-c", statement]
        return subprocess.run(command, capture_output=True, text=True, cwd="/")

    def run(self, *statements: str, database: str = "postgres") -> str:
        done = self._psql(database, *statements)
        if done.returncode != 0:
            raise Failed(f"Postgres refused {statements}: {done.stderr}")
        return done.stdout.strip()

    def version(self) -> str:
        return subprocess.run([self._bin / "postgres", "--version"], capture_output=True, text=True).stdout.strip()
