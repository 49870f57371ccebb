"""The answers of one policy with their values: what is measured of each, by request.

In: Rating rows with a score for each value, and an `Aim`. Out: for each request the mean over its
answers of a distance, of each dimension's score, and of the signs that answers leave something out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from stages.guards.errors import UserError
from stages.runtime.rows import Dropped, Message, Rating
from stages.statistics.intervals import by_prompt
from stages.text.refusals import refuses
from stages.training.online.hacking.tripwires import repetition
from stages.values.aim import Aim
from stages.values.distance import silent_share

NO_PROFILE = "no score for each dimension"


@dataclass(frozen=True)
class RatedAnswers:
    """Answers that have a profile."""

    aim: Aim
    rows: list[Rating]
    profiles: list[list[float]]
    """One for each row, in the order of the theory's dimensions."""

    def by_request(self, values: Iterable[float | None]) -> dict[str, float]:
        """Return the mean of the answers to each request.

        Args:
            values: one for each answer; None is left out.
        """
        requests = [row.prompt_id for row in self.rows]
        return by_prompt(zip(requests, values, strict=True))

    def texts(self) -> list[tuple[list[Message], str]]:
        """Return the request and the text of each answer."""
        return [(row.prompt, row.response) for row in self.rows]

    def own_targets(self) -> list[list[float]]:
        """Return the target of each answer, by the kind of its request."""
        return [self.aim.target_of(row.kind) for row in self.rows]

    def distances(self, targets: Sequence[Sequence[float]]) -> dict[str, float]:
        """Return how far the answers to each request are from the targets.

        Args:
            targets: one for all answers, or one for each.
        """
        far = self.aim.far(self.profiles, targets)
        return self.by_request(far.tolist())

    def profile(self) -> dict[str, dict[str, float]]:
        """Return the mean score by dimension and request."""
        columns = zip(*self.profiles, strict=True)
        dimensions = self.aim.theory.dimensions
        return {
            name: self.by_request(column) for name, column in zip(dimensions, columns, strict=True)
        }

    def mean_profile(self) -> list[float]:
        """Return the mean profile of all answers."""
        return [fmean(column) for column in zip(*self.profiles, strict=True)]

    def words(self) -> dict[str, float]:
        """Return the mean number of words of an answer, by request."""
        return self.by_request(len(row.response.split()) for row in self.rows)

    def signs(self) -> dict[str, dict[str, float]]:
        """Return, by request, shares that show what answers leave out, and that they repeat."""
        silent = silent_share(self.profiles, self.aim.threshold)
        texts = [row.response for row in self.rows]
        return {
            "silent dimensions": self.by_request(silent.tolist()),
            "refusals": self.by_request(map(refuses, texts)),
            "repetition": self.by_request(map(repetition, texts)),
        }


def read_answers(
    rows: Sequence[Rating], aim: Aim, where: str, dropped: list[Dropped]
) -> RatedAnswers:
    """Return the answers that have a score for each dimension.

    Args:
        where: for messages.
        dropped: gets the others.

    Raises:
        UserError: there are none.
    """
    answers = RatedAnswers(aim, [], [])
    for row in rows:
        profile = aim.read(row, where)
        if profile is None:
            dropped.append(Dropped(id=row.id, reason=NO_PROFILE))
        else:
            answers.rows.append(row)
            answers.profiles.append(profile)
    if not answers.rows:
        raise UserError(
            "no answer has a score for each dimension",
            where=where,
            fix="give it a `score` step with `each: true` and the same constitution",
        )
    return answers
