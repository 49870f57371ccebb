"""All models of an ablation on one scale: Bradley and Terry (1952), by evalica, in Elo points.

In: games, (prompt, one model, other model, score of the one: 1 won, 0.5 tied, 0 lost). Out:
`Rating`s, as plain data.

Ties are half a win to each side. Elo's own update depends on the order of the games; Bradley and
Terry's strengths do not, and 400 / ln 10 times their logarithm are Elo points. Intervals resample
prompts, never games: the games of a prompt (both orders, all rivals) hang together. They say
nothing of other seeds, unless each seed's model has its own name.

A model that never lost has no finite strength (evalica then answers with equal ones). So every two
models that met get an imagined tie, which pulls ratings together a little: 9 wins of 9 become 9.5
of 10.

Left out: length control, and the scale's misfit where preferences are not transitive.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from stages.runtime.errors import UserError

Game = tuple[str, str, str, float]
POINTS = 400 / math.log(10)


@dataclass(frozen=True)
class Rating:
    """Elo points: 1000 for the anchor, or for the mean of all models. The interval is of the
    distance to that.
    """

    model: str
    elo: float
    low: float
    high: float
    wins: int
    ties: int
    losses: int
    n_prompts: int

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def ratings(
    games: Sequence[Game],
    anchor: str | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    imagined: float = 1.0,
) -> list[Rating]:
    """The strongest first.

    Args:
        imagined: ties that every two models which met are given.

    Raises:
        UserError: the games do not connect all models, or nobody is called as `anchor` is.
    """
    if not games:
        return []
    models = sorted({model for _, one, other, _ in games for model in (one, other)})
    place = {model: i for i, model in enumerate(models)}
    if anchor is not None and anchor not in place:
        raise UserError(f"no games of {anchor!r}", fix=f"name one of {', '.join(models)}")
    prompts = {prompt: i for i, prompt in enumerate(dict.fromkeys(game[0] for game in games))}
    counts = np.zeros((len(prompts), len(models), len(models)))  # [prompt, winner, loser]
    records = np.zeros((len(models), 3), dtype=int)  # won, tied, lost
    for prompt, one, other, score in games:
        a, b = place[one], place[other]
        counts[prompts[prompt], a, b] += 1.0 if score > 0.5 else 0.5 if score == 0.5 else 0.0
        counts[prompts[prompt], b, a] += 1.0 if score < 0.5 else 0.5 if score == 0.5 else 0.0
        records[a, 0 if score > 0.5 else 1 if score == 0.5 else 2] += 1
        records[b, 2 if score > 0.5 else 1 if score == 0.5 else 0] += 1
    met = counts.sum(axis=0) + counts.sum(axis=0).T > 0
    _check_connected(met, models)
    winners, losers = np.nonzero(met)
    at = None if anchor is None else place[anchor]

    def strengths(weights: Any) -> Any:
        points = POINTS * np.log(
            _bradley_terry(models, winners, losers, weights[winners, losers] + imagined / 2)
        )
        return 1000 + points - (points.mean() if at is None else points[at])

    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(prompts), np.full(len(prompts), 1 / len(prompts)), size=resamples)
    totals = np.tensordot(drawn.astype(float), counts, axes=1)
    sample = np.array([strengths(table) for table in totals])
    tail = 50 * (1 - confidence)
    lows, highs = np.percentile(sample, [tail, 100 - tail], axis=0)
    elo = strengths(counts.sum(axis=0))
    found = [
        Rating(
            m,
            float(elo[i]),
            float(lows[i]),
            float(highs[i]),
            int(won),
            int(tied),
            int(lost),
            len(prompts),
        )
        for (m, i), (won, tied, lost) in zip(place.items(), records, strict=True)
    ]
    return sorted(found, key=lambda rating: (-rating.elo, rating.model))


def _bradley_terry(models: list[str], winners: Any, losers: Any, weights: Any) -> Any:
    """Strengths in the order of `models`, from weighted wins."""
    import evalica

    names = np.array(models)
    won = [evalica.Winner.X] * len(winners)
    found = evalica.bradley_terry(
        names[winners], names[losers], won, weights=weights, tolerance=1e-9, limit=10_000
    )
    return found.scores.loc[models].to_numpy()


def _check_connected(met: Any, models: list[str]) -> None:
    from scipy.sparse.csgraph import connected_components

    parts, which = connected_components(met, directed=False)
    if parts > 1:
        apart = ", ".join(
            model for model, part in zip(models, which, strict=True) if part != which[0]
        )
        raise UserError(
            f"no chain of games connects {models[0]} with {apart}",
            fix="let all play against one model",
        )
