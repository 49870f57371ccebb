"""Whether the judge of an evaluation also made what its policies learnt from."""

import shutil

import pytest

from stages.evaluation.instrument.decision import EVEN_ODDS
from stages.evaluation.instrument.use import describe_judge, has_trained
from stages.runtime.artifacts import Result
from stages.runtime.rows import Response
from tests.evaluation import fakes


def policy(tmp_path, trained, name="tuned"):
    """Answers of a model that was trained by a step."""
    rows = [fakes.response("p0", "tea")]
    result = Result(rows=rows, row_type=Response)
    return fakes.artifact(tmp_path, name, result, inputs={"model": trained})


@pytest.mark.parametrize("stage", ["judge", "rate"])
def test_a_judge_whose_labels_were_learnt(tmp_path, stage):
    judge, other = fakes.model(tmp_path), fakes.model(tmp_path, "other")
    matrix = fakes.artifact(tmp_path, "matrix", Result(), stage=stage, inputs={"model": judge})
    pairs = fakes.artifact(tmp_path, "pairs", Result(), inputs={"judgements": matrix})
    trained = fakes.artifact(tmp_path, "dpo", Result(), stage="dpo", inputs={"pairs": pairs})
    answers = policy(tmp_path, trained)
    assert has_trained(judge.model().content, [answers]) is True
    assert has_trained(other.model().content, [answers]) is False
    facts = describe_judge({"judge": judge}, [answers], [], EVEN_ODDS)
    assert facts["trained"] is True and facts["examination"] is None and facts["answers"] is None
    shutil.rmtree(pairs.directory)
    assert has_trained(judge.model().content, [answers]) is None, "nobody knows"


@pytest.mark.parametrize("key", ["rewards", "costs"])
def test_a_judge_that_rewarded_online(tmp_path, key):
    judge, other = fakes.model(tmp_path), fakes.model(tmp_path, "other")
    options = {key: {"by_judge": {"term": "judge", "model": "critic"}, "length": {"term": "words"}}}
    inputs = {"critic": judge, "model": other}
    trained = fakes.artifact(tmp_path, "ppo", Result(), stage="ppo", inputs=inputs, options=options)
    answers = policy(tmp_path, trained)
    assert has_trained(judge.model().content, [answers]) is True
    assert has_trained(other.model().content, [answers]) is False, "it was trained, and judged not"
