"""The one exception a user is meant to read."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar


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


MOST_FAULTS = 200
"""So many are gathered; looking for more would take time, and nobody reads them."""


class Faults:
    """Gathers the faults of a file or a config, so that all of them are shown at once.

    faults = Faults()
    for step in steps:
        with faults.gather():
            check(step)
    faults.raise_any()

    Args:
        errors: those that are there already.
    """

    def __init__(self, errors: Iterable[UserError] = ()) -> None:
        self.errors: list[UserError] = []
        for error in errors:
            self.add(error)

    @contextlib.contextmanager
    def gather(self, where: str = "") -> Iterator[None]:
        """Keep a UserError that is raised inside a `with`, and go on after it.

        Args:
            where: of an error that names no place, or only a stage.
        """
        try:
            yield
        except UserError as error:
            if not error.where or error.where.startswith("stage "):
                error.where = where or error.where
            self.add(error)

    def add(self, error: UserError) -> None:
        """Keep an error; one that is made of several counts as those. Too many are raised."""
        self.errors += getattr(error, "errors", [error])
        if len(self.errors) > MOST_FAULTS:
            self.raise_any()

    def raise_any(self) -> None:
        """Raise what was gathered: the one error, or one that shows all of them.

        The same fault at several places is one error that names them.
        """
        alike: dict[tuple[str, str], list[UserError]] = {}
        for error in self.errors:
            alike.setdefault((error.what, error.fix), []).append(error)
        different = [_merge(errors) for errors in alike.values()]
        if len(different) == 1:
            raise different[0]
        if different:
            raise SeveralErrors(different)


def _merge(errors: list[UserError]) -> UserError:
    """One error for the same fault at several places, with what caused it first."""
    first = errors[0]
    places = dict.fromkeys(error.where for error in errors if error.where)
    error = UserError(first.what, where="; ".join(places), fix=first.fix)
    error.__cause__ = first.__cause__
    return error


SHOWN_FAULTS = 20


class SeveralErrors(UserError):
    """Several faults that were seen at once; the message shows the first ones."""

    def __init__(self, errors: list[UserError]):
        self.errors = errors
        super().__init__(f"{len(errors)} faults")

    def __str__(self) -> str:
        shown = self.errors[:SHOWN_FAULTS]
        lines = [f"{number}. {error}" for number, error in enumerate(shown, start=1)]
        if len(shown) < len(self.errors):
            lines.append(f"... and {len(self.errors) - len(shown)} more")
        return f"{self.what}:\n" + "\n".join(lines)


def cause_of(error: BaseException) -> BaseException | None:
    """Return the error that an error was raised because of, unless it hides that one."""
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


ErrorType = TypeVar("ErrorType", bound=BaseException)


def find_cause(error: BaseException | None, kind: type[ErrorType]) -> ErrorType | None:
    """Return the error of this kind that an error is, or was raised because of; else None."""
    while error is not None:
        if isinstance(error, kind):
            return error
        error = error.__cause__ or error.__context__
    return None


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


def did_you_mean(name: str, allowed: list[str], least: float = 0.5) -> str:
    """Return `. Did you mean 'x'?` for the most similar name in `allowed`, or "".

    Args:
        least: the similarity, up to 1, from which a name may be meant.
    """
    import difflib

    nearest = difflib.get_close_matches(name, allowed, n=1, cutoff=least)
    return f". Did you mean {nearest[0]!r}?" if nearest else ""
