"""Reader: a way to read bytes, what must hold of them, and good bytes to begin with."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random

from darkconv.errors import DarkconvError
from untrusted.mutation import OF_BYTES

LONGEST_MESSAGE = 1000
MOST_CHANGES = 4


@dataclass(frozen=True)
class Reader:
    """Something that reads bytes.

    Attributes:
        name: of what it reads.
        check: reads bytes, with a folder for files; raises DarkconvError where they are refused,
            AssertionError where what was read is wrong.
        make_seeds: bytes to begin with, of which the first are accepted.
        changes: to seeds, functions (data, random) -> data.
        prepare: puts files into the folder that the bytes refer to.
    """

    name: str
    check: Callable[[bytes, Path], None]
    make_seeds: Callable[[], list[bytes]]
    changes: tuple[Callable[[bytes, Random], bytes], ...] = OF_BYTES
    prepare: Callable[[Path], None] = lambda folder: None

    def __str__(self) -> str:
        return self.name

    @cached_property
    def seeds(self) -> list[bytes]:
        return self.make_seeds()

    def draw(self, random: Random) -> bytes:
        """A seed with some damage."""
        return self.damage(random.choice(self.seeds), random)

    def damage(self, data: bytes, random: Random) -> bytes:
        """Bytes with one change or a few."""
        for _ in range(random.randint(1, MOST_CHANGES)):
            data = random.choice(self.changes)(data, random)
        return data

    def accepts(self, data: bytes, folder: Path) -> bool:
        """Read bytes: whether they are accepted; whatever is no DarkconvError escapes."""
        try:
            self.check(data, folder)
        except DarkconvError as error:
            check_message(str(error))
            return False
        return True


def check_message(text: str) -> None:
    """What a user is told is short, and does nothing to the terminal that shows it."""
    assert 0 < len(text) <= LONGEST_MESSAGE, ascii(text)
    assert all(line.isprintable() for line in text.split("\n")), ascii(text)
