"""`until`: a step and what it is made of."""

import pytest

from stages import STAGES
from stages.guards.errors import UserError
from stages.runtime.pipeline.steps import read_steps, up_to
from tests.running import text_pipeline


@pytest.fixture
def steps(tmp_path):
    return read_steps(text_pipeline(tmp_path), STAGES)


def names(kept):
    return [step.name for step in kept]


def test_ancestors_alone_are_kept_in_order(steps):
    assert names(up_to(steps, None)) == names(steps)
    assert names(up_to(steps, ["judgements"])) == ["base", "requests", "answers", "judgements"]
    assert names(up_to(steps, ["revisions", "judgements"])) == [
        "base",
        "requests",
        "answers",
        "revisions",
        "judgements",
    ]


@pytest.mark.parametrize(
    ("until", "message"), [(["judgments"], "Did you mean 'judgements'"), ([], "no step is named")]
)
def test_unknown_steps_are_refused(steps, until, message):
    with pytest.raises(UserError, match=message):
        up_to(steps, until)
