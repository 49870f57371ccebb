"""Stage `profile_pairs`: preferences under value profiles that are written as text. No calls.

In: any inputs of Rating rows with a score from -1 to 1 for each value, several answers to a request
(`score` with a value evaluator and `each: true`, `function_ratings`, or people's labels). Out: Pair
rows. For each request `passes` profiles are drawn; under each, the answer nearest to the profile is
preferred to the farthest, and the pair's principle is the profile's text:

    Values: achievement +1, security -0.5, others 0.

A `reward_model` that learns from them reads a profile in place of a rule, so that one model serves
many targets: a new one is a new text. It is SALMON's idea (Sun et al. 2023, arXiv 2310.05910) with
profiles for principles. The reward term `values` shows it the target in the same words.

Profiles are drawn by a hash of the request: one to `most` dimensions, each 1 or a half with either
sign. The constitution's named targets are no source of them: they stay new to the model. A profile
to which all answers are equally near is dropped and counted.
"""

import random
from dataclasses import dataclass
from typing import Any

from stages.guards.errors import UserError
from stages.runtime.artifacts import Artifact, Result, advise_on_missing
from stages.runtime.context import Context
from stages.runtime.rows import Dropped, Pair, Rating
from stages.runtime.stage import Stage
from stages.runtime.store import derive_seed
from stages.runtime.typed_config import Count, Few, NotNegative
from stages.values.aim import Aim, aim_identity, check_aim, profile_text

SIZES = (1.0, -1.0, 0.5, -0.5)
"""What a drawn profile wants of a dimension."""


@dataclass(frozen=True, kw_only=True)
class Config(Aim):
    """The options of a distance; with a target, pairs are under it alone."""

    passes: Few = 4
    """How many profiles are drawn for each request."""
    most: Count = 3
    """The most dimensions of a drawn profile; the others have 0."""
    min_gap: NotNegative = 0.25
    """Make a pair only where the two distances differ by more than this."""


def check(config: Config) -> None:
    """Refuse what `check_aim` refuses; a target is not needed."""
    if config.target is not None or config.targets:
        check_aim(config)


def identity(config: Config) -> dict[str, Any]:
    """The theory, and the target if there is one."""
    if config.target or config.targets:
        return aim_identity(config)
    return {"dimensions": config.theory.dimensions, "dimension_of": config.dimension_of}


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Pair the nearest and the farthest answer under each profile.

    Raises:
        UserError: there are no ratings, a score is not between -1 and 1, or no two answers differ.
    """
    where = f"step {context.step!r}"
    groups: dict[str, list[tuple[Rating, list[float]]]] = {}
    dropped = []
    for name, artifact in inputs.items():
        for row in artifact.rows(Rating):
            profile = config.read(row, f"{where}, input {name!r}")
            if profile is None:
                dropped.append(Dropped(id=row.id, reason="no score for each dimension"))
            else:
                groups.setdefault(row.prompt_id, []).append((row, profile))
    pairs = []
    for request, group in groups.items():
        targets = _targets(config, group[0][0].kind, request, context.seed)
        for number, target in enumerate(targets):
            far = config.far([profile for _, profile in group], [target])
            best, worst = int(far.argmin()), int(far.argmax())
            gap = float(far[worst] - far[best])
            if gap <= config.min_gap:
                dropped.append(Dropped(id=request, reason="the answers are equally near"))
                continue
            text = profile_text(config.theory.dimensions, target)
            pairs.append(_pair(group[best][0], group[worst][0], text, gap, number))
    if not pairs:
        raise UserError(
            "no request has two answers of which one is nearer to a profile",
            where=where,
            fix=advise_on_missing(inputs, "give several answers to each request, or lower min_gap"),
        )
    metrics = {"requests": len(groups), "profiles": len({pair.principles[0] for pair in pairs})}
    return Result(rows=pairs, row_type=Pair, dropped=dropped, metrics=metrics)


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    optional={"*": Rating},
    least=1,
    gives=Pair,
    check=check,
    identity=identity,
    meant_to_drop=("the answers are equally near",),
)


def _targets(config: Config, kind: str, request: str, seed: int) -> list[list[float]]:
    """Return the profiles under which the answers to a request are compared."""
    if config.target is not None or config.targets:
        return [config.target_of(kind)]
    rng = random.Random(derive_seed(seed, request, "profile"))
    number = len(config.theory.dimensions)
    return [_draw(number, min(config.most, number), rng) for _ in range(config.passes)]


def _draw(number: int, most: int, rng: random.Random) -> list[float]:
    places = rng.sample(range(number), rng.randint(1, most))
    target = [0.0] * number
    for place in places:
        target[place] = rng.choice(SIZES)
    return target


def _pair(best: Rating, worst: Rating, text: str, gap: float, number: int) -> Pair:
    return Pair(
        id=f"{best.prompt_id}-{number}",
        prompt_id=best.prompt_id,
        chosen_id=best.response_id,
        rejected_id=worst.response_id,
        kind=best.kind,
        prompt=best.prompt,
        chosen=best.response,
        rejected=worst.response,
        label=1.0,
        margin=gap,
        principles=[text],
        negated=[False],
        chosen_finish_reason=best.finish_reason,
        rejected_finish_reason=worst.finish_reason,
    )
