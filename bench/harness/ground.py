"""What every run stands on: a fresh Redis, a fresh database, and the two mocks, the same for every contender."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from . import settings
from .outside import Erp, WhatsApp
from .processes import Process
from .servers import Postgres, Redis

@dataclass
class Folders:
    """Where things are."""

    checkout: Path
    binaries: Path
    # Data of the servers; gone at the end.
    data: Path
    logs: Path


class Ground:
    """Use as a context: at its end everything that runs on it is stopped, the last first."""

    def __init__(self, folders: Folders, postgres: Postgres, customers: int, *, mock: dict[str, str] | None = None):
        self.folders = folders
        self.postgres = postgres
        self.customers = customers
        self._mock = mock or {}
        self._exit = contextlib.ExitStack()
        self.processes: dict[str, Process] = {}

    def __enter__(self):
        with contextlib.ExitStack() as exit_stack:
            self._exit = exit_stack
            self.redis = Redis(self.folders.data, self.folders.logs)
            self.keep(self.redis.process)
            self.keep(self.postgres.start())
            self.erp = Erp(self, self.customers)
            self.whatsapp = WhatsApp(self, self._mock)
            self._exit = exit_stack.pop_all()
        return self

    def __exit__(self, *_):
        self._exit.close()

    def keep(self, process: Process) -> Process:
        """Counts it in, and stops it at the end."""
        self.processes[process.name] = process
        self._exit.callback(process.stop)
        return process

    def start(self, name: str, command: list[str], environment: dict[str, str], *, talks: bool = False) -> Process:
        return self.keep(Process(name, command, environment, self.folders.logs, talks=talks))

    def binary(self, name: str) -> str:
        return str(self.folders.binaries / name)

    def roots(self) -> dict[str, int]:
        """The pid of every program by its name, as the accounting wants it."""
        return {name: process.pid for name, process in self.processes.items()}

    def outside(self) -> dict[str, str]:
        """How a contender reaches the mocks."""
        return {
            "ERP_BASE_URL": self.erp.url,
            "ERP_API_KEY": settings.ERP_KEY,
            "ERP_PAGE_SIZE": str(settings.PAGE_SIZE),
            "WHATSAPP_BASE_URL": self.whatsapp.url,
            "WHATSAPP_ACCESS_TOKEN": settings.ACCESS_TOKEN,
        }
