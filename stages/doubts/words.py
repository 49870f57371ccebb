"""Principles in words that a model of a closed vocabulary has never seen.

Such a model states its words in a file `lexicon.txt` of its folder: a first line `# the model's
name`, then a word a line, in lower case. In: a model and principles. Out: warnings, as in `Result`,
or as a plan gives them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.principles import lint
from stages.principles.constitution import Principle
from stages.principles.select import select
from stages.runtime.models import Model
from stages.runtime.rows import Proposal
from stages.runtime.stage import Expected


def doubt_words(model: Model, principles: Sequence[Principle | Proposal]) -> list[str]:
    """Return a warning that names the words of principles which a model has never seen.

    There is none about a model without a lexicon: nobody knows what it has read.
    """
    lexicon = Path(model.path) / lint.LEXICON.name
    return lint.doubt_words(lexicon, principles) if lexicon.is_file() else []


def foresee_words(config: Any, inputs: Mapping[str, Expected]) -> list[str]:
    """Return the same in a plan, for a stage whose `judge`, or else `model`, reads principles."""
    reader = inputs.get("judge") or inputs.get("model")
    model = reader.find_model() if reader and config.constitution else None
    return doubt_words(model, select(config.constitution).principles) if model else []
