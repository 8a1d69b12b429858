"""What can go wrong, each with the exit code that a headless run ends with."""

from __future__ import annotations

from collections.abc import Sequence


class MultimapError(Exception):
    """A failure that multimap can explain: what must hold, what was found, what to do."""

    exit_code = 10


class InputError(MultimapError):
    """The input cannot be used as it is; trying again changes nothing."""

    exit_code = 20


class SchemaError(InputError):
    """A Dataset does not have what a boundary asks for; lists every fault at once."""

    def __init__(self, where: str, faults: Sequence[str]) -> None:
        self.where = where
        self.faults = tuple(faults)
        super().__init__(f"{where}: " + "; ".join(self.faults))

    def __reduce__(self) -> tuple[type[SchemaError], tuple[str, tuple[str, ...]]]:
        """Errors of workers arrive by pickle, which knows the message only."""
        return type(self), (self.where, self.faults)


class RecipeError(InputError):
    """A recipe or a run table holds an unknown name or a value of the wrong kind."""


class ExcludedError(MultimapError):
    """A person has excluded this session, or holds it back; not a failure."""

    exit_code = 21


class HeldError(ExcludedError):
    """A person holds this session back until something about it is cleared."""


class StorageError(MultimapError):
    """The store could not be read or written; worth another try."""

    exit_code = 30


class ClusterError(MultimapError):
    """The cluster lost its workers or never had any."""

    exit_code = 75


class PreemptedError(MultimapError):
    """A run was asked to end before it was done; it saved what it had and goes on when started again."""

    exit_code = 75
