"""Stage `with_thoughts`: put the thoughts back before the answers, so that a training learns both.

In: `responses` (Response rows). Out: the same rows, whose text holds the thoughts between the
model's marks. What judges and rewards read is the step before it, where the thoughts stand apart.

Deliberative alignment (Guan et al. 2024, arXiv 2412.16339): the model learns the reasoning about
the principles that it wrote while it read them, from prompts that no longer hold them; no judge
reads that reasoning.
"""

from dataclasses import dataclass, replace

from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.rows import Response
from stages.runtime.stage import Stage


@dataclass(frozen=True)
class Config:
    """No options: the marks are those of `model.thought_marks`."""


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Join every row's thoughts and answer; rows without thoughts stay, and are counted."""
    opening, closing = context.engines.thought_marks[0]
    rows = []
    thinking = 0
    for row in inputs["responses"].rows(Response):
        if row.thoughts:
            thinking += 1
            text = f"{opening}\n{row.thoughts.strip()}\n{closing}\n\n{row.response}"
            row = replace(row, response=text, thoughts="")
        rows.append(row)
    warnings = []
    if rows and not thinking:
        warnings.append("no answer has thoughts, so only the answers can be learnt")
    metrics = {"with_thoughts": thinking}
    return Result(rows=rows, row_type=Response, metrics=metrics, warnings=warnings)


STAGE = Stage(version=1, config=Config, run=run, inputs={"responses": Response}, gives=Response)
