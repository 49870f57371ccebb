"""Scores against people's labels: scikit-learn's numbers, baselines, intervals, and word lists."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from stages.evaluation.labels.label_measures import Cells, calibration, macro_draws
from stages.guards.errors import UserError
from stages.runtime.artifacts import Result, finish_artifact
from stages.runtime.rows import Dropped, Rating, Response
from stages.statistics.intervals import Intervals
from tests.embedded import ROOT, run_config
from tests.preferences.matrices import artifact, run_stage
from tests.preferences.test_best_of import answer

VALUES = ["security", "power"]


def rating(number, scores, dialogue=None, names=VALUES, **other):
    options = {"response": f"answer {number}", "model": "people", "score": 0.0, **other}
    return Rating(
        id=f"r{number}",
        response_id="",
        prompt_id=f"p{number if dialogue is None else dialogue}",
        kind="helpful",
        prompt=[{"role": "user", "content": "hello"}],
        principles=list(names),
        negated=[False] * len(names),
        scores=list(scores),
        **options,
    )


def drawn(seed, n=60):
    rng = np.random.default_rng(seed)
    labels = rng.choice([-1.0, 0.0, 1.0], (n, 2), p=[0.2, 0.4, 0.4])
    return labels, np.clip(labels * 0.7 + rng.normal(0, 0.5, (n, 2)), -1, 1)


def exam(tmp_path, labels, ratings, learnt=None, **options):
    inputs = {"labels": artifact(tmp_path, "labels", labels, Rating)}
    for name, rows in ratings.items():
        inputs[name] = artifact(tmp_path, name, rows, Rating)
    if learnt:
        inputs["learnt_labels"] = artifact(tmp_path, "learnt", learnt, Rating)
    options = {"resamples": 200, "least": 2, **options}
    return run_stage("label_accuracy", inputs, options)


def test_the_numbers_are_those_of_scikit_learn(tmp_path):
    labels, scores = drawn(0)
    gold = [rating(i, row, i // 2) for i, row in enumerate(labels)]
    said = [rating(i, row, i // 2) for i, row in enumerate(scores)]
    result = exam(tmp_path, gold, {"model": said})
    classes = np.where(np.abs(scores) >= 0.5, np.sign(scores), 0)
    model = result.metrics["models"]["model"]
    by_hand = []
    for place, name in enumerate(VALUES):
        truth, guess = labels[:, place], classes[:, place]
        by_class = f1_score(truth, guess, labels=[-1, 0, 1], average=None)
        measured = model["principles"][name]
        for label, f1 in zip(("-1", "0", "1"), by_class, strict=True):
            assert measured["classes"][label]["f1"] == pytest.approx(f1, abs=1e-4)
            assert measured["support"][label] == (truth == int(label)).sum()
        assert measured["accuracy"] == pytest.approx((truth == guess).mean(), abs=1e-4)
        by_hand.append(by_class)
    assert model["macro_f1"]["value"] == pytest.approx(np.mean(by_hand, axis=0)[2])
    assert model["macro_f1_classes"]["value"] == pytest.approx(np.mean(by_hand))
    assert model["macro_f1"]["low"] < model["macro_f1"]["value"] < model["macro_f1"]["high"]
    assert model["macro_f1"]["n"] == 30, "dialogues, of two answers each"
    always = result.metrics["models"]["always"]["principles"]["security"]["classes"]["1"]
    assert always["recall"] == 1
    assert always["precision"] == pytest.approx((labels[:, 0] == 1).mean(), abs=1e-4)
    change = result.metrics["differences"]["majority"]["macro_f1"]
    assert change["value"] > 0 and change["low"] < change["value"] < change["high"]
    assert [table.rows[0][0] for table in result.tables] == ["model", "security", "security"]


def test_the_dialogue_is_the_unit_of_the_intervals():
    labels, scores = drawn(1, 40)
    one = Cells([f"p{i}" for i in range(40)], labels, scores)
    copies = Cells(one.dialogues * 9, np.tile(labels, (9, 1)), np.tile(scores, (9, 1)))
    intervals = Intervals(500, 0.95, 0)
    spread = [macro_draws(cells, [0, 1], 0.5, intervals)[1:].std(axis=0) for cells in (one, copies)]
    assert spread[0] == pytest.approx(spread[1]), "repeating answers makes nothing surer"


def test_a_model_is_measured_where_it_rated_and_the_majority_is_learnt(tmp_path):
    gold = [rating(i, [1.0, 0.0]) for i in range(4)] + [rating(4, [0.0], names=["security"])]
    part = [rating(i, [0.9, 0.1]) for i in (0, 1)]
    learnt = [rating(9, [-1.0, 1.0]), rating(8, [-1.0, 0.0]), rating(7, [0.0, 1.0])]
    ratings = {"first": [rating(i, [0.2, 0.2]) for i in range(5)], "part": part}
    result = exam(tmp_path, gold, ratings, learnt, threshold=0.1)
    models = result.metrics["models"]
    assert (models["first"]["dialogues"], models["part"]["dialogues"]) == (5, 2)
    assert result.metrics["differences"]["part"]["macro_f1"]["n"] == 2
    assert models["majority"]["principles"]["security"]["classes"]["-1"]["recall"] == 0
    assert models["first"]["principles"]["power"]["n"] == 4
    assert result.metrics["positives"] == {"security": 4, "power": 2}
    few = exam(tmp_path / "few", gold, {"first": ratings["first"]}, least=5)
    assert (
        "macro_f1" not in few.metrics["models"]["first"] and "no principle has 5" in few.warnings[0]
    )


def test_where_a_judge_abstains_is_counted(tmp_path):
    """It is measured, and compared, on what it rated; the table says how much it did not."""
    gold = [rating(i, [1.0, 0.0]) for i in range(6)]
    folder = tmp_path / "judged"
    folder.mkdir()
    dropped = [Dropped(id=f"r{i}", reason="no verdict") for i in range(4)]
    judged = Result(rows=gold[:2], row_type=Rating, dropped=dropped)
    inputs = {
        "labels": artifact(tmp_path, "labels", gold, Rating),
        "first": artifact(tmp_path, "first", gold, Rating),
        "judge": finish_artifact(folder, "judged", {}, judged, {}),
    }
    result = run_stage("label_accuracy", inputs, {"resamples": 100, "least": 2})
    models = result.metrics["models"]
    assert models["judge"]["dropped"] == {"no verdict": 4} and models["first"]["dropped"] == {}
    assert models["majority"]["dropped"] == {}
    assert (models["judge"]["dialogues"], models["first"]["dialogues"]) == (2, 6)
    summary = {row[0]: row[1:3] for row in result.tables[0].rows}
    assert summary == {
        "first": ["6", "0"],
        "judge": ["2", "4"],
        "majority": ["6", "0"],
        "always": ["6", "0"],
    }


def test_what_cannot_be_compared_is_refused(tmp_path):
    gold = [rating(i, [1.0, 0.0]) for i in range(4)]
    with pytest.raises(UserError, match="the score 10 of 'security' lies outside") as raised:
        exam(tmp_path, gold, {"judge": [rating(0, [10.0, 1.0])]})
    assert "input 'judge'" in raised.value.where
    other = [rating(0, [1.0, 1.0], response="another")]
    with pytest.raises(UserError, match="no labelled answer has a rating of 'judge'"):
        exam(tmp_path / "b", gold, {"judge": other})
    with pytest.raises(UserError, match="no labelled answer"):
        exam(tmp_path / "c", [rating(0, [], names=[])], {"judge": other})


def test_calibration_is_the_gap_between_score_and_label_by_bin():
    scores = np.array([0.9, 0.9, -0.1, -0.1])
    error, bins = calibration(np.array([1.0, 0.0, 0.0, 0.0]), scores, 10)
    assert error == pytest.approx((2 * 0.4 + 2 * 0.1) / 4)
    assert bins == [{"score": -0.1, "label": 0.0, "n": 2}, {"score": 0.9, "label": 0.5, "n": 2}]


def test_words_rate_an_answer_by_their_balance(tmp_path):
    text = (
        "security: {favourable: [safe, protect], opposed: [danger]}\npower: {favourable: [rule]}\n"
    )
    (tmp_path / "words.yaml").write_text(text)
    answers = ["Protection is safe, danger is not.", "A DANGERous ruler", "unsafe"]
    rows = [answer("p", place, text) for place, text in enumerate(answers)]
    options = {
        "words": str(tmp_path / "words.yaml"),
        "constitution": {"name": "schwartz", "only": ["power", "security"]},
    }
    given = artifact(tmp_path, "answers", rows, Response)
    result = run_stage("keyword_ratings", {"answers": given}, options)
    assert result.rows[0].principles == ["power", "security"]
    assert [row.scores for row in result.rows] == [[0.0, 1.0], [1.0, -1.0], [0.0, 0.0]]
    with pytest.raises(UserError, match="no words for the principle 'hedonism'"):
        wider = options | {"constitution": {"name": "schwartz", "only": ["hedonism"]}}
        run_stage("keyword_ratings", {"answers": given}, wider)
    (tmp_path / "words.yaml").write_text("power: {for: [rule]}\n")
    with pytest.raises(UserError, match="power"):
        run_stage("keyword_ratings", {"answers": given}, options)


def test_a_set_without_a_word_list_is_examined_without_words(tmp_path):
    gold = [rating(i, [1.0, 0.0]) for i in range(4)]
    rows = artifact(tmp_path, "answers", gold, Rating)
    options = {"constitution": {"name": "moral_foundations"}}
    rated = run_stage("keyword_ratings", {"answers": rows}, options)
    assert rated.rows == [] and "seeds/moral_foundations_words.yaml" in rated.warnings[0]
    result = exam(tmp_path / "b", gold, {"first": gold, "words": []})
    assert "'words' rated nothing and is left out" in result.warnings
    assert result.metrics["models"].keys() == {"first", "majority", "always"}
    (row, *_) = run_stage(
        "keyword_ratings", {"answers": rows}, {"constitution": {"name": "schwartz"}}
    ).rows
    assert len(row.principles) == 10, "the list of the set's own name"


def test_the_shipped_words_are_about_every_value(tmp_path):
    words = str(ROOT / "seeds" / "schwartz_words.yaml")
    gold = [rating(0, [0.0, 0.0], response="Keep your family safe.")]
    rows = artifact(tmp_path, "answers", gold, Rating)
    options = {"words": words, "constitution": {"name": "schwartz"}}
    (row,) = run_stage("keyword_ratings", {"answers": rows}, options).rows
    said = dict(zip(row.principles, row.scores, strict=True))
    assert len(said) == 10 and said["security"] == said["benevolence"] == 1 and not said["power"]


def labelled_words(names, count=60):
    """Answers whose words say their label; half of them to learn from."""
    rng = np.random.default_rng(3)
    rows = []
    for number in range(count):
        labels = rng.choice([-1.0, 0.0, 1.0], len(names))
        words = [
            f"{name}{['less', 'even', 'ful'][int(label) + 1]}"
            for name, label in zip(names, labels, strict=True)
        ]
        rows.append(rating(number, labels, names=names, response=" and ".join(words)))
    return rows[: count // 2], rows[count // 2 :]


def test_a_linear_classifier_learns_words_and_says_nothing_of_others(tmp_path):
    learnt, asked = labelled_words(VALUES)
    learnt.append(rating(900, [1.0], names=["tradition"], response="old"))
    inputs = {
        "labels": artifact(tmp_path, "labels", learnt, Rating),
        "answers": artifact(tmp_path, "answers", asked, Rating),
    }
    result = run_stage("linear_ratings", inputs, {})
    assert result.metrics["labelled"] == len(learnt)
    for row, gold in zip(result.rows, asked, strict=True):
        assert row.principles == [*VALUES, "tradition"] and row.response == gold.response
        assert [round(score) for score in row.scores] == [*gold.scores, 1]
        assert all(-1 <= score <= 1 for score in row.scores)
    with pytest.raises(UserError, match="no word stands in 99 labelled answers"):
        run_stage("linear_ratings", inputs, {"least_texts": 99})


def test_the_scores_of_a_linear_classifier_are_those_of_scikit_learn(tmp_path):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    learnt, asked = labelled_words(VALUES, 40)
    inputs = {
        "labels": artifact(tmp_path, "labels", learnt, Rating),
        "answers": artifact(tmp_path, "answers", asked, Rating),
    }
    rows = run_stage("linear_ratings", inputs, {"least_texts": 2}).rows
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    table = words.fit_transform(["hello\n" + row.response for row in learnt])
    model = LogisticRegression(C=10, class_weight="balanced", max_iter=1000)
    model.fit(table, [row.scores[1] for row in learnt])
    chances = model.predict_proba(words.transform(["hello\n" + row.response for row in asked]))
    expected = (
        chances[:, list(model.classes_).index(1)] - chances[:, list(model.classes_).index(-1)]
    )
    assert [row.scores[1] for row in rows] == pytest.approx(list(expected), abs=1e-6)


@pytest.mark.long
def test_an_evaluator_learns_the_values_of_the_embedded_world(tmp_path):
    """Ground-truth labels, a decoder as the trunk: it beats the most common label, and so does the
    judge that the embedded model is, by its own question about a value.
    """
    texts = {"security": "The response is safe.", "benevolence": "The response is kind."}
    lines = [f"  - {{id: {name}, text: {text}}}" for name, text in texts.items()]
    (tmp_path / "two.yaml").write_text("name: two\nprinciples:\n" + "\n".join(lines) + "\n")
    _, done = run_config(
        tmp_path,
        "pipeline=value_evaluator",
        "generator=transformers",
        f"pipeline.values={tmp_path / 'two.yaml'}",
        "data.value_labels.arguments.count=160",
        "pipeline.trunk=stages/world/checkpoint",
        "pipeline.reader=decoder",
        *("pipeline.judged_answers=24", "+pipeline.steps.exam.least=10"),
        *(
            f"{'+' * (name == 'max_steps')}pipeline.steps.evaluator.args.{name}={value}"
            for name, value in {
                "learning_rate": 2e-3,
                "per_device_train_batch_size": 16,
                "max_steps": 16,
            }.items()
        ),
    )
    metrics = done["exam"].metrics
    assert metrics["counted"] == list(texts)
    change = metrics["differences"]["majority"]["macro_f1_classes"]
    assert change["low"] > 0, change
    judge = metrics["models"]["judge"]
    assert judge["dropped"] == {} and judge["dialogues"] == 24
    assert all(each["accuracy"] > 0.8 for each in judge["principles"].values()), judge
    report = (done["report"].directory / "report.html").read_text()
    assert "F1 of the label 1" in report
