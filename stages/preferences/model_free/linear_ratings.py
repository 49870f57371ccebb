"""Stage `linear_ratings`: answers rated by a linear classifier of their words. No language model.

In: `labels`, Rating rows with a label from -1 to 1 for each principle, and any other inputs of
Response, Revision or Rating rows. Out: one Rating for each of the other rows, with a score for each
principle that has labels: P(1) - P(-1) of a logistic regression on the TF-IDF of single words and
pairs of words of request and answer. Classes weigh alike, however rare they are.

It is what a neural classifier of the same labels must beat (`label_accuracy`); linear models on
words are the baseline of the shared task on human values (Kiesel et al. 2023, ValueEval, SemEval
2023 task 4). A principle all of whose labels are equal gets that label.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from stages.guards.errors import UserError
from stages.preferences.judging.rating import answers_to_rate, rating_of
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.rows import Rating, Response, Revision, request_text
from stages.runtime.stage import Stage
from stages.runtime.typed_config import Count, Positive

LABELS = "labels"
MOST_ITERATIONS = 1000


@dataclass(frozen=True)
class Config:
    least_texts: Count = 3
    """A word, or a pair of words, counts if at least so many texts hold it."""
    inverse_regularisation: Positive = 10.0
    """C of the logistic regression: a large one fits the labels more closely."""


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Learn the labels and rate every other row.

    Raises:
        UserError: no label, or no word that enough texts hold.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    where = f"step {context.step!r}"
    learnt = [row for row in inputs[LABELS].rows(Rating) if len(row.scores) == len(row.principles)]
    rows = answers_to_rate(inputs, but=[LABELS])
    words = TfidfVectorizer(
        ngram_range=(1, 2),
        min_df=config.least_texts,
        sublinear_tf=True,
    )
    try:
        learnt_words = words.fit_transform([_text(row) for row in learnt])
    except ValueError:
        raise UserError(
            f"no word stands in {config.least_texts} labelled answers",
            where=f"{where}, input {LABELS!r}",
            fix="give more labelled answers, each with a score for each of its principles",
        ) from None
    asked_words = words.transform([_text(row) for row in rows])
    names = list(dict.fromkeys(name for row in learnt for name in row.principles))
    columns = []
    for name in names:
        places = [place for place, row in enumerate(learnt) if name in row.principles]
        labels = [_label(learnt[place], name) for place in places]
        columns.append(_scores(learnt_words[places], labels, asked_words, config))
    ratings = []
    for row, scores in zip(rows, zip(*columns, strict=True), strict=True):
        ratings.append(rating_of(row, fmean(scores), names, scores=list(scores), model="words"))
    metrics = {"labelled": len(learnt), "words": len(words.vocabulary_)}
    return Result(rows=ratings, row_type=Rating, metrics=metrics)


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    inputs={LABELS: Rating},
    optional={"*": Response | Revision | Rating},
    least=1,
    gives=Rating,
)


def _text(row: Response | Revision | Rating) -> str:
    return f"{request_text(row.prompt)}\n{row.response}"


def _label(row: Rating, name: str) -> int:
    return round(row.scores[row.principles.index(name)])


def _scores(learnt: Any, labels: Sequence[int], asked: Any, config: Config) -> list[float]:
    """P(1) - P(-1) of every text.

    Args:
        learnt: TF-IDF, shape (labels, words).
        asked: TF-IDF, shape (texts, words).
    """
    from sklearn.linear_model import LogisticRegression

    if len(set(labels)) == 1:
        return [float(labels[0])] * asked.shape[0]
    model = LogisticRegression(
        C=config.inverse_regularisation,
        class_weight="balanced",
        max_iter=MOST_ITERATIONS,
    )
    model.fit(learnt, labels)
    chances = model.predict_proba(asked)
    return [float(score) for score in chances @ model.classes_]
