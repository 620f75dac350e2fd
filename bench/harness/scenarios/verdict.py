"""What a scenario finds, and the bound that it must keep."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..ground import Folders
from ..servers import Postgres


@dataclass
class Verdict:
    what: str
    found: str
    bound: str
    is_met: bool

    @property
    def sign(self) -> str:
        return "met" if self.is_met else "NOT MET"


@dataclass
class Scenario:
    """`run` takes where things are, the Postgres, and whether it is to be quick."""

    name: str
    title: str
    run: Callable[[Folders, Postgres, bool], Iterator[Verdict]]
