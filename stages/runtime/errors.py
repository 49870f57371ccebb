"""The one exception a user is meant to read."""

from collections.abc import Iterable
from typing import Any


class UserError(Exception):
    """A user's mistake: what is wrong, where, and how to fix it.

    run.py prints the message without a traceback and exits with code 2. Every other exception is a
    bug in Credo: its traceback goes to the run's log, and the exit code is 1.

    Args:
        what: the fault in one sentence, without a full stop.
        where: a file with a line (`constitutions/hhh.yaml:12`), a step (`step 'sft'`) or a row id.
        fix: what to do, as an instruction, without a full stop.
    """

    def __init__(self, what: str, *, where: str = "", fix: str = ""):
        self.what, self.where, self.fix = what, where, fix
        super().__init__(what)

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f"\n  Fix: {self.fix}" if self.fix else ""
        return f"{place}{self.what}{advice}"


def refuse_unknown(names: Iterable[Any], allowed: Iterable[str], what: str, where: str) -> None:
    """Refuse names that are not among the `allowed` ones.

    Args:
        what: the start of the message, up to the name: "there is no principle".

    Raises:
        UserError: a name is not allowed; the message gives the most similar name and all names.
    """
    choices = list(allowed)
    for name in names:
        if name not in choices:
            raise UserError(
                f"{what} {name!r}{did_you_mean(str(name), choices)}",
                where=where,
                fix=f"choose from: {', '.join(choices) or 'nothing'}",
            )


def did_you_mean(name: str, allowed: list[str]) -> str:
    """Return `. Did you mean 'x'?` for the most similar name in `allowed`, or ""."""
    import difflib

    nearest = difflib.get_close_matches(name, allowed, n=1, cutoff=0.5)
    return f". Did you mean {nearest[0]!r}?" if nearest else ""
