"""All models of an ablation on one scale: Bradley and Terry (1952), by evalica, in Elo points.

In: games, (prompt, first model, second model, score of the first: 1 won, 0.5 tied, 0 lost). Out:
`Rating`s, as plain data.

Ties are half a win to each side. Elo's own update depends on the order of the games; Bradley and
Terry's strengths do not, and 400 / ln 10 times their logarithm are Elo points. Intervals resample
prompts, not games: the games of a prompt (both orders, all rivals) are not independent. They do not
include other seeds, unless each seed's model has its own name.

A model that never lost has no finite strength (evalica then returns equal strengths). So every two
models that met get an imagined tie, which moves ratings a little closer: 9 wins of 9 become 9.5 of
10.

Left out: length control, and a measure of how badly the scale fits preferences that are not
transitive.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.guards.errors import UserError
from stages.statistics.intervals import Estimate

Game = tuple[str, str, str, float]
POINTS = 400 / math.log(10)


@dataclass(frozen=True)
class Rating:
    """Elo points: 1000 for the anchor, or for the mean of all models.

    The interval is of the distance to that value.
    """

    model: str
    elo: float
    low: float
    high: float
    wins: int
    ties: int
    losses: int
    n_prompts: int


def ratings(
    games: Sequence[Game],
    anchor: str | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    imagined: float = 1.0,
) -> list[Rating]:
    """All models' ratings, the strongest first.

    Args:
        anchor: the model that gets 1000 points; None: the mean of all models.
        imagined: the number of ties added for every two models that met.

    Raises:
        UserError: the games do not connect all models, or no model has the name `anchor`.
    """
    if not games:
        return []
    table = _tabulate(games)
    if anchor is not None and anchor not in table.models:
        fix = f"name one of {', '.join(table.models)}"
        raise UserError(f"no games of {anchor!r}", fix=fix)
    totals = table.counts.sum(axis=0)
    met = totals + totals.T > 0
    _check_connected(met, table.models)
    winners, losers = np.nonzero(met)

    def elo_of(wins: Any) -> Any:
        weights = wins[winners, losers] + imagined / 2
        points = POINTS * np.log(
            _bradley_terry(
                table.models,
                winners,
                losers,
                weights,
            )
        )
        zero = points.mean() if anchor is None else points[table.models.index(anchor)]
        return 1000 + points - zero

    prompts = len(table.counts)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(
        prompts,
        np.full(prompts, 1 / prompts),
        size=resamples,
    )
    resampled = np.tensordot(
        drawn.astype(float),
        table.counts,
        axes=1,
    )
    tail = 50 * (1 - confidence)
    sample = [elo_of(wins) for wins in resampled]
    lows, highs = np.percentile(
        sample,
        [tail, 100 - tail],
        axis=0,
    )
    columns = (elo_of(totals).tolist(), lows.tolist(), highs.tolist(), table.records.tolist())
    results = []
    for model, elo, low, high, record in zip(
        table.models,
        *columns,
        strict=True,
    ):
        wins, ties, losses = record
        results.append(
            Rating(
                model,
                elo,
                low,
                high,
                wins,
                ties,
                losses,
                prompts,
            )
        )
    return sorted(results, key=lambda rating: (-rating.elo, rating.model))


def strengths(
    wins: Mapping[tuple[str, str], float],
    imagined: float = 1.0,
) -> dict[str, float]:
    """Return natural-log strengths, the mean of all being 0, from wins that may be shares.

    Args:
        wins: by (winner, loser); a probability of 0.7 counts as 0.7 of a win.
        imagined: the number of ties added for every two that met.

    Raises:
        UserError: no chain of comparisons connects all.
    """
    names = sorted({name for pair in wins for name in pair})
    if not names:
        return {}
    place = {name: i for i, name in enumerate(names)}
    table = np.zeros((len(names), len(names)))
    for (winner, loser), share in wins.items():
        table[place[winner], place[loser]] += share
    met = table + table.T > 0
    _check_connected(met, names)
    winners, losers = np.nonzero(met)
    weights = table[winners, losers] + imagined / 2
    logs = np.log(
        _bradley_terry(
            names,
            winners,
            losers,
            weights,
        )
    )
    return dict(
        zip(
            names,
            (logs - logs.mean()).tolist(),
            strict=True,
        )
    )


Contest = tuple[str, str, str, float, float]
"""(item, first, second, the first one's share of the win, how much the contest counts)."""


def priorities(
    contests: Sequence[Contest],
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    imagined: float = 1.0,
) -> dict[str, Estimate]:
    """Return natural-log strengths from shares of wins, the highest first, their mean being 0.

    Only those are ranked that a chain of contests connects with most others. Intervals resample
    items: contests of one item are not independent.

    Args:
        imagined: the number of ties added for every two that met.
    """
    names = sorted({name for _, first, second, _, _ in contests for name in (first, second)})
    if not names:
        return {}
    place = {name: i for i, name in enumerate(names)}
    row = {item: i for i, item in enumerate(dict.fromkeys(contest[0] for contest in contests))}
    counts = np.zeros((len(row), len(names), len(names)))
    for item, first, second, share, weight in contests:
        a, b = place[first], place[second]
        counts[row[item], a, b] += weight * share
        counts[row[item], b, a] += weight * (1 - share)
    chosen = _largest_part(counts.sum(axis=0))
    counts = counts[:, chosen][:, :, chosen]
    names = [names[i] for i in chosen]
    met = counts.sum(axis=0)
    winners, losers = np.nonzero(met + met.T > 0)

    def logs_of(wins: Any) -> Any:
        weights = wins[winners, losers] + imagined / 2
        logs = np.log(
            _bradley_terry(
                names,
                winners,
                losers,
                weights,
            )
        )
        return logs - logs.mean()

    drawn = np.random.default_rng(seed).multinomial(
        len(row),
        np.full(len(row), 1 / len(row)),
        size=resamples,
    )
    sample = [logs_of(wins) for wins in np.tensordot(drawn.astype(float), counts, axes=1)]
    tail = 50 * (1 - confidence)
    lows, highs = np.percentile(
        sample,
        [tail, 100 - tail],
        axis=0,
    ).tolist()
    items = (counts.sum(axis=2) + counts.sum(axis=1) > 0).sum(axis=0).tolist()
    columns = (names, logs_of(met).tolist(), lows, highs, items)
    results = {}
    for name, value, low, high, number in sorted(zip(*columns, strict=True), key=lambda c: -c[1]):
        results[name] = Estimate(
            value,
            low,
            high,
            number,
        )
    return results


def _largest_part(totals: Any) -> list[int]:
    """Return the places of those in the largest group that contests connect."""
    from scipy.sparse.csgraph import connected_components

    _, component = connected_components(totals + totals.T > 0, directed=False)
    largest = np.bincount(component).argmax()
    return np.flatnonzero(component == largest).tolist()


@dataclass(frozen=True)
class Table:
    """The counts of games.

    Args:
        counts: [prompt, winner, loser]; a tie is half a win of each.
        records: [model, won, tied or lost].
    """

    models: list[str]
    counts: Any
    records: Any


def _tabulate(games: Sequence[Game]) -> Table:
    models = sorted({model for _, first, second, _ in games for model in (first, second)})
    place = {model: i for i, model in enumerate(models)}
    row = {prompt: i for i, prompt in enumerate(dict.fromkeys(game[0] for game in games))}
    counts = np.zeros((len(row), len(models), len(models)))
    records = np.zeros((len(models), 3), dtype=int)
    for prompt, first, second, score in games:
        a, b = place[first], place[second]
        if score == 0.5:
            counts[row[prompt], a, b] += 0.5
            counts[row[prompt], b, a] += 0.5
            records[[a, b], 1] += 1
        else:
            winner, loser = (a, b) if score > 0.5 else (b, a)
            counts[row[prompt], winner, loser] += 1.0
            records[winner, 0] += 1
            records[loser, 2] += 1
    return Table(
        models,
        counts,
        records,
    )


def _bradley_terry(
    models: list[str],
    winners: Any,
    losers: Any,
    weights: Any,
) -> Any:
    """Strengths in the order of `models`, from weighted wins."""
    import evalica

    names = np.array(models)
    won = [evalica.Winner.X] * len(winners)
    fit = evalica.bradley_terry(
        names[winners],
        names[losers],
        won,
        weights=weights,
        tolerance=1e-9,
        limit=10_000,
    )
    return fit.scores.loc[models].to_numpy()


def _check_connected(
    met: Any,
    models: list[str],
) -> None:
    from scipy.sparse.csgraph import connected_components

    parts, component = connected_components(met, directed=False)
    if parts == 1:
        return
    apart = []
    for model, part in zip(
        models,
        component,
        strict=True,
    ):
        if part != component[0]:
            apart.append(model)
    raise UserError(
        f"no chain of games connects {models[0]} with {', '.join(apart)}",
        fix="let all models play against one model",
    )
