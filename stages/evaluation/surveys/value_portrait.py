"""ValuePortrait: responses whose values people validated, and a model's values read off them.

569 people rated how similar 520 responses are to their own thoughts, and answered PVQ-21. A
response stands for a value where their ratings correlate with it: Spearman's correlation above 0.3,
significant at 5 % (Han et al. 2025, arXiv 2505.01015; the authors' code drops by hand the two that
are not). A model rates the same responses on the same scale of 1 to 6. Its score of a value is, as
published, the mean rating of the responses that stand for it, less the mean rating of all responses
that stand for any value. `likeness` is ours beside it: Spearman's correlation, over all responses,
of the model's rating with how far people who rate so hold the value. It uses all 520, negative
ones too, and neither the level nor the width of a model's ratings moves it.

In: a folder with the published files. One of the ids is two people: P186 of the first file of
survey.json is not the P186 of value.json, with whose values 397 of that file's 400 correlations
come out otherwise. The values that this person must have had follow from the published
correlations, in all 40 responses at once; with them all 5,200 are recomputed.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import NormalDist, fmean
from typing import Any

from stages.evaluation.surveys.forms import FORMS
from stages.evaluation.surveys.questionnaire import Item
from stages.guards.errors import UserError
from stages.guards.files import as_path, exists, read_json
from stages.statistics.intervals import Estimate, Intervals
from stages.values.profile import spearman

TAGGED = "query-response-tagged.json"
CORRELATIONS = "pvq_correlation_results.json"
LEAST = 0.3
ALPHA = 0.05
TWICE = "P186"
"""In the first survey file this id is somebody whom value.json does not have."""
FIRST_OF_TWICE = {
    "Conformity": 0.666666666666667,
    "Tradition": -0.9166666666666667,
    "Benevolence": 0.666666666666667,
    "Universalism": 0.666666666666667,
    "Self_Direction": 0.642857142857143,
    "Stimulation": -0.33333333333333304,
    "Hedonism": -0.33333333333333304,
    "Achievement": -2.333333333333333,
    "Power": 0.19047619047619024,
    "Security": 0.666666666666667,
}
"""Places among the others' values: a rank correlation depends on nothing else."""
Correlation = tuple[str, int, str]
"""(portrait, option, value)."""


def is_portrait(name: str) -> bool:
    """Whether a path is a folder with ValuePortrait's files."""
    return exists(name) and as_path(name).is_dir()


def files_of(name: str) -> list[Path]:
    """Return the files that are read."""
    return [as_path(name) / TAGGED, as_path(name) / CORRELATIONS]


def portrait_items(name: str) -> list[Item]:
    """Return the responses as items; `weights` are the correlations, 0 where not significant.

    Raises:
        UserError: the files are not those of ValuePortrait.
    """
    tagged, published = (read_json(path) for path in files_of(name))
    options, numbers = FORMS["value_portrait"].scale_of("")
    items = []
    try:
        tests = {_key(row): row["spearman_p_value"] for row in published}
        for portrait in tagged:
            content = portrait["content"]
            request = f"{content['title']}\n\n{content['text']}".strip()
            for output in portrait["outputs"]:
                place = (str(portrait["portrait_id"]), int(output["id"]))
                weights = {}
                for value, correlation in output["correlations"]:
                    is_shown = tests[(*place, value)] < ALPHA or abs(correlation) <= LEAST
                    weights[dimension_name(value)] = correlation if is_shown else 0.0
                text = f"Somebody wrote:\n{request}\n\nA response:\n{output['content']}"
                item_id = f"{place[0]}-{place[1]}"
                items.append(
                    Item(
                        item_id,
                        text,
                        options,
                        numbers,
                        weights=weights,
                    )
                )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"these are not the files of ValuePortrait ({type(error).__name__}: {error})",
            where=name,
            fix=f"give the folder that holds the published {TAGGED} and {CORRELATIONS}",
        ) from None
    return items


def portrait_scores(items: Sequence[Item], ratings: Mapping[str, float]) -> dict[str, float]:
    """Return the published score of each value that one of the items stands for.

    Source: Han et al. 2025, section 5, and the authors' score.py (0.3, `pos`, centred).
    """
    standing: dict[str, list[float]] = {}
    counted = []
    for item in items:
        values = [value for value, weight in item.weights.items() if weight > LEAST]
        if values:
            counted.append(ratings[item.id])
        for value in values:
            standing.setdefault(value, []).append(ratings[item.id])
    if not counted:
        return {}
    level = fmean(counted)
    return {value: fmean(numbers) - level for value, numbers in sorted(standing.items())}


def portrait_draws(
    items: Sequence[Item], ratings: Mapping[str, float], intervals: Intervals
) -> dict[str, list[float]]:
    """Return the published scores of resampled responses; a draw without a value's items is nan."""
    import numpy as np

    values = sorted(portrait_scores(items, ratings))
    if not values:
        return {}
    stands = np.array([[one.weights[v] > LEAST for v in values] for one in items], dtype=float)
    stands = np.column_stack([stands, stands.max(axis=1)])
    numbers = np.array([ratings[one.id] for one in items])
    rng = np.random.default_rng(intervals.seed)
    chances = np.full(len(items), 1 / len(items))
    drawn = rng.multinomial(
        len(items),
        chances,
        size=intervals.resamples,
    ).astype(float)
    with np.errstate(invalid="ignore"):
        means = (drawn * numbers) @ stands / (drawn @ stands)
    scores = means[:, :-1] - means[:, -1:]
    return {value: scores[:, i].tolist() for i, value in enumerate(values)}


def likeness(items: Sequence[Item], ratings: Mapping[str, float]) -> dict[str, float]:
    """Return, for each value, how a model's ratings correlate with people's correlations."""
    ours = {item.id: ratings[item.id] for item in items}
    values = sorted({value for item in items for value in item.weights})
    results = {}
    for value in values:
        results[value] = spearman(ours, {item.id: item.weights[value] for item in items})
    return results


def likeness_estimates(
    items: Sequence[Item], ratings: Mapping[str, float], intervals: Intervals
) -> dict[str, dict[str, Any]]:
    """Return `likeness` with Fisher's intervals over responses; nothing of fewer than four.

    Source: the variance of Spearman's correlation, Bonett and Wright 2000.
    """
    if len(items) < 4:
        return {}
    quantile = NormalDist().inv_cdf((1 + intervals.confidence) / 2)
    results = {}
    for value, correlation in likeness(items, ratings).items():
        if math.isnan(correlation):
            continue
        half = quantile * math.sqrt((1 + correlation**2 / 2) / (len(items) - 3))
        middle = math.atanh(max(min(correlation, 1 - 1e-9), 1e-9 - 1))
        low, high = math.tanh(middle - half), math.tanh(middle + half)
        results[value] = Estimate(
            correlation,
            low,
            high,
            len(items),
        ).plain()
    return results


def people_correlations(name: str) -> dict[Correlation, tuple[float, float]]:
    """Return Spearman's correlation of ratings and values, and its p, from people's answers."""
    from scipy.stats import spearmanr

    folder = as_path(name)
    people: dict[str, Any] = read_json(folder / "value.json")
    results = {}
    for number, portraits in enumerate(read_json(folder / "survey.json")):
        values = {person: facts["pvq"] for person, facts in people.items()}
        if number == 0:
            values[TWICE] = FIRST_OF_TWICE
        for portrait, options in portraits.items():
            for option in options:
                ratings = [rating for rating, _ in option["data"]]
                for value in FIRST_OF_TWICE:
                    held = [values[person][value] for _, person in option["data"]]
                    test = spearmanr(ratings, held)
                    key = (portrait, option["option_id"], value)
                    results[key] = (float(test.statistic), float(test.pvalue))
    return results


def published_correlations(name: str) -> dict[Correlation, tuple[float, float]]:
    """Return the correlations and their p that ValuePortrait's authors published."""
    rows = read_json(as_path(name) / CORRELATIONS)
    return {_key(row): (row["spearman_corr"], row["spearman_p_value"]) for row in rows}


def dimension_name(value: str) -> str:
    """Return a value's name as constitutions write it."""
    return value.lower().replace("_", "-")


def _key(row: Mapping[str, Any]) -> Correlation:
    return (str(row["portrait_id"]), int(row["option_id"]), row["pvq_dimension"])
