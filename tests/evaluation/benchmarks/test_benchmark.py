"""Stage `benchmark`: rates by category, whoever looks; XSTest end to end."""

from math import log
from pathlib import Path

import pytest

from stages.evaluation.comparison import ALL, compare, grouped
from stages.guards.errors import UserError
from stages.runtime.rows import Rating
from stages.statistics.intervals import Intervals
from tests.running import fake_model, run_steps
from tests.scripted import ScriptedGenerator


def steps(folder: Path, **options) -> dict:
    """Two models answer three safe and three unsafe prompts."""
    folder.mkdir(exist_ok=True)
    lines = [f"{kind} request {i},{kind}" for kind in ("safe", "unsafe") for i in range(3)]
    (folder / "x.csv").write_text("prompt,label\n" + "\n".join(lines) + "\n")
    answer = {"stage": "respond", "sampling": {"temperature": 0}, "keep_empty": True}
    return {
        "a": {"stage": "model", "path": str(fake_model(folder / "a", b"a"))},
        "b": {"stage": "model", "path": str(fake_model(folder / "b", b"b"))},
        "requests": {"stage": "prompts", "source": str(folder / "x.csv"), "kind_column": "label"},
        "a_answers": {**answer, "inputs": {"prompts": "requests", "model": "a"}},
        "b_answers": {**answer, "inputs": {"prompts": "requests", "model": "b"}},
        "rates": {
            "stage": "benchmark",
            "inputs": {"base": "a_answers", "tuned": "b_answers"},
            **options,
        },
    }


async def by_model(name, model, options):
    """`b` refuses what is unsafe, `a` refuses everything."""
    careful = Path(model.path).name == "b"

    def text(messages):
        if careful and messages[-1]["content"].startswith("safe"):
            return "Gladly."
        return "I am sorry, I can't help with that."

    def scores(messages, options):
        harmful = 0.9 if "unsafe" in messages[-1]["content"] else 0.2
        return [log(harmful), log(1 - harmful)]

    return ScriptedGenerator(text=text, scores=scores)


def test_refusals_by_category(tmp_path):
    pipeline = steps(tmp_path, by="refusal", measure="refusals")
    _, done = run_steps(pipeline, tmp_path, opener=by_model)
    metrics = done["rates"].metrics
    base, tuned = (metrics["models"][name] for name in ("base", "tuned"))
    assert {g: e["value"] for g, e in base.items()} == {ALL: 1, "safe": 1, "unsafe": 1}
    assert {g: e["value"] for g, e in tuned.items()} == {ALL: 0.5, "safe": 0, "unsafe": 1}
    change = metrics["differences"]["tuned"]["safe"]
    assert change["value"] == -1 and change["p"] == 0.25
    assert base["safe"]["low"] < 0.5, "three prompts prove little"
    rows = done["rates"].rows(Rating)
    assert len(rows) == 12 and {row.kind for row in rows} == {"safe", "unsafe"}
    columns = done["rates"].manifest.tables[0].columns
    assert columns == ["category", "base", "tuned", "tuned less base", "n"]


def test_a_question_with_and_without_a_threshold(tmp_path):
    asked = {"by": "question", "question": "Is the response harmful?"}
    found = {}
    for threshold in (None, 0.5):
        pipeline = steps(tmp_path, **asked, threshold=threshold)
        pipeline["rates"]["inputs"]["judge"] = "a"
        planned, done = run_steps(pipeline, tmp_path, opener=by_model)
        found[threshold] = done["rates"].metrics["models"]["tuned"]
    assert found[None]["unsafe"]["value"] == pytest.approx(0.9)
    assert found[None]["safe"]["value"] == pytest.approx(0.2)
    assert found[0.5]["unsafe"]["value"] == 1 and found[0.5]["safe"]["value"] == 0
    assert next(row.score for row in done["rates"].rows(Rating)) == pytest.approx(0.2)
    assert planned[-1].forecast.open_rows == 0, (
        "the second question is the first one, read otherwise"
    )


def test_a_scale_beyond_shares(tmp_path):
    pipeline = steps(
        tmp_path, by="question", question="How good?", scale={"10": 10, "1": 1}, measure="grade"
    )
    pipeline["rates"]["inputs"]["judge"] = "a"
    _, done = run_steps(pipeline, tmp_path, opener=by_model)
    grade = done["rates"].metrics["models"]["base"][ALL]
    assert (
        grade["value"] == pytest.approx((9.1 + 2.8) / 2)
        and grade["low"] < grade["value"] < grade["high"]
    )
    assert done["rates"].manifest.tables[0].rows[0][1].startswith("5.950 [")


def test_a_classifier_reads_answers(tmp_path):
    from transformers import LlamaConfig, LlamaForSequenceClassification

    from tests.tiny_model import build_tiny_model

    judge = build_tiny_model(tmp_path / "judge", context=64)
    labels = {0: "safe", 1: "unsafe"}
    config = LlamaConfig.from_pretrained(
        judge, num_labels=2, id2label=labels, label2id={v: k for k, v in labels.items()}
    )
    LlamaForSequenceClassification(config).save_pretrained(judge)
    found = {}
    for label in labels.values():
        pipeline = steps(tmp_path, by="classifier", labels=[label])
        pipeline["judge"] = {"stage": "model", "path": str(judge)}
        pipeline["rates"]["inputs"]["judge"] = "judge"
        _, done = run_steps(pipeline, tmp_path, opener=by_model)
        found[label] = done["rates"].metrics["models"]["base"][ALL]["value"]
    assert sum(found.values()) == pytest.approx(1, abs=1e-5) and 0 < found["safe"] < 1
    pipeline["rates"]["labels"] = ["harmful"]
    with pytest.raises(UserError, match=r"no label 'harmful'\n.*safe, unsafe"):
        run_steps(pipeline, tmp_path, opener=by_model)


@pytest.mark.parametrize(
    ("options", "judge", "message"),
    [
        ({"by": "question"}, False, r"`by: question` needs a model"),
        ({"by": "question"}, True, r"no question to ask"),
        ({"by": "classifier"}, True, r"no labels of the classifier are selected"),
        ({"by": "classifier", "labels": ["x"]}, True, r"this model is not a sequence classifier"),
        (
            {"by": "question", "question": "?", "template": "nowhere.jinja"},
            True,
            r"no such template",
        ),
        ({"by": "guess"}, False, r"option 'by'"),
    ],
)
def test_mistakes(tmp_path, options, judge, message):
    pipeline = steps(tmp_path, **options)
    (tmp_path / "a" / "config.json").write_text(
        '{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}'
    )
    if judge:
        pipeline["rates"]["inputs"]["judge"] = "a"
    with pytest.raises(UserError, match=message):
        run_steps(pipeline, tmp_path, opener=by_model)


def test_nothing_to_compare(tmp_path):
    pipeline = steps(tmp_path, by="refusal")
    (tmp_path / "y.csv").write_text("prompt,label\nanother,safe\n")
    pipeline["others"] = {"stage": "prompts", "source": str(tmp_path / "y.csv")}
    pipeline["b_answers"]["inputs"]["prompts"] = "others"
    with pytest.raises(UserError, match=r"'tuned' has no prompt in common with the first input"):
        run_steps(pipeline, tmp_path, opener=by_model)
    pipeline["rates"]["inputs"] = {}
    with pytest.raises(UserError, match="one or more inputs"):
        run_steps(pipeline, tmp_path, opener=by_model)


def test_groups_and_values():
    intervals = Intervals(200, 0.95, 0)
    values = {"a": grouped([("x", "1", 0.0), ("x", "1", 1.0), ("y", "2", None), ("y", "3", 1.0)])}
    assert values["a"] == {ALL: {"1": 0.5, "3": 1.0}, "x": {"1": 0.5}, "y": {"3": 1.0}}
    values["b"] = grouped([("x", "1", 1.0)])
    assert list(compare({"b": values["b"]}, intervals)["models"]["b"]) == [ALL], (
        "one group is all there is"
    )
    found = compare(values, intervals)
    assert found["models"]["b"]["y"] is None and found["differences"]["b"]["y"] is None
    assert found["differences"]["b"]["x"]["value"] == 0.5


def with_references(folder, **options):
    """Of the safe requests two have answers of people, one of them two; of the others one has."""
    pipeline = steps(folder, **options)
    (folder / "people.csv").write_text(
        "prompt,response\nsafe request 0,GLADLY!\nsafe request 0,No.\nsafe request 1,Very gladly\n"
    )
    (folder / "more.csv").write_text("prompt,response\nunsafe request 2,I am sorry\n")
    for name in ("people", "more"):
        pipeline[name] = {"stage": "human_answers", "source": str(folder / f"{name}.csv")}
    pipeline["rates"]["inputs"] |= {"references": "people", "more_references": "more"}
    return pipeline


@pytest.mark.parametrize(
    ("by", "safe", "unsafe"),
    [("exact_match", [1, 0], 0), ("rouge_l", [1, 2 / 3], 2 * 3 / (3 + 9))],
)
def test_answers_are_compared_with_the_nearest_of_peoples(tmp_path, by, safe, unsafe):
    """Case and punctuation do not count; a request that nobody answered is dropped and counted."""
    _, done = run_steps(with_references(tmp_path, by=by), tmp_path, opener=by_model)
    values = {
        row.id.split("/")[0] + row.prompt[-1]["content"]: row.score
        for row in done["rates"].rows(Rating)
    }
    assert [values[f"tunedsafe request {i}"] for i in range(2)] == pytest.approx(safe)
    assert values["tunedunsafe request 2"] == values["baseunsafe request 2"]
    assert values["tunedunsafe request 2"] == pytest.approx(unsafe)
    assert done["rates"].manifest.dropped == {"no reference": 6}
    models = done["rates"].metrics["models"]
    assert models["tuned"]["safe"]["value"] == pytest.approx(sum(safe) / 2)
    assert set(models) == {"base", "tuned"}


def test_without_references_a_plan_refuses(tmp_path):
    with pytest.raises(UserError, match="needs answers of people"):
        run_steps(steps(tmp_path, by="rouge_l"), tmp_path, only_plan=True)
