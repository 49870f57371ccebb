"""A principle or its opposite, in words.

Comes in: a principle and whether it is negated. Goes out: the text that a judge or a reward model
reads. Negation is SALMON's (Sun et al. 2023, arXiv 2310.05910, section 3.2): a model that must
follow the opposite too cannot treat all principles as one.
"""

from collections.abc import Iterable, Sequence

from stages.principles.constitution import Principle
from stages.runtime.errors import UserError, did_you_mean


def wording(principle: Principle, negated: bool = False) -> str:
    """Return the principle's `text`, or its `opposite` if negated.

    Raises:
        UserError: negated, and the principle has no `opposite`.
    """
    if not negated:
        return principle.text
    if not principle.opposite:
        raise UserError(
            f"the principle {principle.id!r} has no opposite wording",
            where=f"principle {principle.id!r}",
            fix="give it an `opposite:` in its constitution, or negate none (negation: 0)",
        )
    return principle.opposite


def refuse_unknown(negated: Iterable[str], principles: Sequence[Principle], where: str) -> None:
    """Check the ids of an option `negated`.

    Raises:
        UserError: one is not among the principles.
    """
    ids = [p.id for p in principles]
    for name in negated:
        if name not in ids:
            raise UserError(
                f"negated: there is no principle {name!r}{did_you_mean(name, ids)}",
                where=where,
                fix=f"choose from: {', '.join(ids)}",
            )
