"""Stage `cluster`: proposals that say nearly the same become one candidate. No calls.

In: `proposals`; `encoder`, a sentence encoder, optional. Out: one Proposal for each cluster, the
one nearest to the cluster's centre, with the sources and the other wordings of all its members.

The second and third step of Inverse Constitutional AI (Findeis et al. 2024, arXiv 2406.06560):
embed, cluster by k-means, take one principle of each cluster. Its code draws that one at random;
here it is the same in every run. Without a number of clusters, texts are merged until their
average distance is above a bound (agglomerative clustering, average linkage, cosine distance), so
that a small bound only removes duplicates. Left out: a summary of a cluster that a model writes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.discovery.merging import merge
from stages.principles.encoder import encode
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.manifest import Table
from stages.runtime.models import Model
from stages.runtime.rows import Proposal
from stages.runtime.stage import Stage
from stages.runtime.typed_config import Count, Positive

STARTS = 10
"""Of k-means, which keeps the best."""
SHOWN_CLUSTERS = 40


@dataclass(frozen=True)
class Config:
    clusters: Count | None = None
    """How many clusters k-means makes, at most one a proposal; null: `distance` decides."""
    distance: Positive = 0.4
    """Without `clusters`: the average cosine distance up to which two groups are merged."""


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Cluster the proposals' texts; the order in which they come changes nothing.

    Raises:
        UserError: the encoder cannot be loaded.
    """
    proposals = sorted(inputs["proposals"].rows(Proposal), key=lambda row: row.id)
    encoder = inputs["encoder"].model() if "encoder" in inputs else None
    rows = []
    if proposals:
        texts = [row.text for row in proposals]
        vectors = encode(texts, encoder, context.store) if encoder else count_letters(texts)
        labels = assign_clusters(vectors, config, context.seed)
        members: dict[int, list[int]] = {}
        for place, label in enumerate(labels):
            members.setdefault(label, []).append(place)
        rows = [_candidate(proposals, vectors, places) for places in members.values()]
    rows.sort(key=lambda row: (-len(row.sources), row.id))
    metrics = {"proposals": len(proposals), "candidates": len(rows)}
    return Result(rows=rows, row_type=Proposal, metrics=metrics, tables=[_table(rows)])


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    inputs={"proposals": Proposal},
    optional={"encoder": Model},
    gives=Proposal,
)


def count_letters(texts: Sequence[str]) -> Any:
    """Return the TF-IDF vectors of texts over the letters of their words, three to five at a time.

    So a word is near its other forms. A text that shares nothing with others is near none, and two
    words for one thing are not near: that takes an encoder.

    Args:
        texts: at least one.

    Returns:
        An array of shape (texts, features), whose rows have the length 1.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True)
    return vectorizer.fit_transform(texts).toarray()


def assign_clusters(vectors: Any, config: Config, seed: int) -> list[int]:
    """Return the cluster of each row of an array of unit vectors."""
    from sklearn.cluster import AgglomerativeClustering, KMeans

    if len(vectors) == 1:
        return [0]
    if config.clusters is None:
        method = AgglomerativeClustering(
            n_clusters=None,
            distance_threshold=config.distance,
            metric="cosine",
            linkage="average",
        )
    else:
        different = len(np.unique(vectors, axis=0))
        count = min(config.clusters, different)
        method = KMeans(n_clusters=count, n_init=STARTS, random_state=seed)
    return [int(label) for label in method.fit_predict(vectors)]


def _candidate(proposals: Sequence[Proposal], vectors: Any, members: Sequence[int]) -> Proposal:
    """Return the member nearest to the centre, of equals the first by id, with all sources."""
    similarity = vectors[members] @ vectors[members].mean(axis=0)
    nearest = members[int(np.argmax(np.round(similarity, 9)))]
    others = [proposals[place] for place in members if place != nearest]
    return merge([proposals[nearest], *others])


def _table(rows: Sequence[Proposal]) -> Table:
    """Return the candidates that stand for the most examples, for the terminal and the report."""
    cells = []
    for row in rows[:SHOWN_CLUSTERS]:
        wordings = 1 + len(row.wordings)
        cells.append([row.text, str(wordings), str(len(row.sources))])
    return Table("Candidates", ["principle", "wordings", "written about"], cells)
