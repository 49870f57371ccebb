"""Stage `multiple_choice`: any layout of a file, answers that do not depend on places, and what
tells of a bias.
"""

import json
import zipfile
from math import exp, log
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.evaluation.benchmarks.choice_files import (
    Columns,
    Question,
    check_columns,
    read_questions,
)
from stages.evaluation.benchmarks.multiple_choice import likeness, orders_of
from stages.guards.errors import UserError
from stages.runtime.rows import Answer
from tests.running import fake_model, run_steps
from tests.scripted import ScriptedGenerator

DATA = Path(__file__).resolve().parents[3] / ".." / "shared" / "data"
HHH = DATA / "anthropic_cai" / "438HHHEvaluations.jsonl"
BBQ = DATA / "bbq" / "Religion.jsonl.gz"
TRUSTLLM = DATA / "trustllm" / "dataset.zip"
BIAS = (0.6, 0.3, 0.1)  # what a place is worth to a model that looks at nothing else


def write_questions(folder: Path, *records: dict, name: str = "q.jsonl") -> str:
    (folder / name).write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(folder / name)


def read_options(messages) -> dict[str, str]:
    """The options as they were shown, by letter."""
    lines = (
        line.split(". ", 1) for line in messages[-1]["content"].splitlines() if line[1:3] == ". "
    )
    return dict(lines)


def believer(worth, places=BIAS):
    """A model whose probability of an option is its worth times that of its place."""

    def scores(messages, letters):
        options = read_options(messages)
        weights = [worth.get(options[letter], 1.0) * places[i] for i, letter in enumerate(letters)]
        return [log(w / sum(weights)) for w in weights]

    return ScriptedGenerator(scores=scores)


def pipeline(folder: Path, source: str, **options) -> dict:
    return {
        "base": {"stage": "model", "path": str(fake_model(folder / "model"))},
        "asked": {
            "stage": "multiple_choice",
            "inputs": {"base": "base"},
            "source": source,
            **options,
        },
    }


QUESTIONS = [
    {
        "question": f"Question {i}?",
        "choices": ["red", "green", "blue"],
        "answer": i % 3,
        "topic": f"t{i % 2}",
    }
    for i in range(12)
]


def test_other_names_for_the_options(tmp_path):
    """Where a model's letters are not one token each, figures may be; what has more options than
    names is dropped.
    """
    four = QUESTIONS[0] | {"question": "Four?", "choices": ["red", "green", "blue", "pink"]}
    source = write_questions(tmp_path, *QUESTIONS, four)
    prefers_green = believer({"green": 9.0})
    steps = pipeline(tmp_path, source, letters="123")
    _, done = run_steps(steps, tmp_path, prefers_green)
    rows = done["asked"].rows(Answer)
    assert len(rows) == 12
    assert [row.right for row in rows] == [float(i % 3 == 1) for i in range(12)]
    reasons = [row.reason for row in done["asked"].dropped()]
    assert reasons == ["more options than `letters`"]
    with pytest.raises(UserError, match="'1' does not name two options"):
        run_steps(pipeline(tmp_path, source, letters="1"), tmp_path, prefers_green)
    with pytest.raises(UserError, match="every question has more options"):
        run_steps(pipeline(tmp_path, source, letters="12"), tmp_path, prefers_green)
    with pytest.raises(UserError, match="each in its own way"):
        run_steps(pipeline(tmp_path, source, letters="1231"), tmp_path, prefers_green)


def test_all_orders_remove_a_multiplicative_bias(tmp_path):
    """green is a little better, the first place twice as good as the second: one order is led
    astray, all are not.
    """
    source = write_questions(tmp_path, *({**q, "answer": "green"} for q in QUESTIONS))
    found = {}
    for orders in (1, None):
        steps = pipeline(tmp_path, source, orders=orders, group="topic")
        _, done = run_steps(steps, tmp_path, believer({"green": 1.5}))
        found[orders] = done["asked"].metrics
    assert (
        found[None]["models"]["base"]["all"]["value"]
        == 1
        > found[1]["models"]["base"]["all"]["value"]
    )
    assert set(found[None]["models"]["base"]) == {"all", "t0", "t1"}
    row = done["asked"].rows(Answer)[0]
    chances = [exp(value) for value in row.logprobs]
    assert chances[1] / chances[0] == pytest.approx(1.5) and chances[2] / chances[
        0
    ] == pytest.approx(1)
    positions = found[None]["positions"]["base"]
    assert (
        positions["flips"] == 1
        and positions["first_place"] == pytest.approx(1)
        and positions["places"] == {"A": 1}
    )
    assert positions["accuracy_single"] == pytest.approx(1 / 3) and abs(positions["kappa"]) < 1e-9


def test_a_model_that_sees_only_places_is_at_chance(tmp_path):
    _, done = run_steps(
        pipeline(tmp_path, write_questions(tmp_path, *QUESTIONS)),
        tmp_path,
        believer({}, (0.5, 0.25, 0.25)),
    )
    rows = done["asked"].rows(Answer)
    assert all(max(row.logprobs) - min(row.logprobs) < 1e-9 for row in rows), (
        "no option is likelier than another"
    )


@given(st.integers(2, 26), st.integers(0, 5), st.text(max_size=3))
def test_each_option_stands_in_each_place_once(count, seed, name):
    question = Question(name, "", [str(i) for i in range(count)], [], "")
    orders = orders_of(question, None, seed)
    assert all(sorted(order) == list(range(count)) for order in orders)
    assert all(sorted(column) == list(range(count)) for column in zip(*orders, strict=True))


LAYOUTS = {
    "a list and a number": ({"question": "q", "choices": ["x", "y"], "answer": 1}, {}),
    "a list and a number from one": (
        {"question": "q", "choices": ["x", "y"], "answer": 2},
        {"first": 1},
    ),
    "a list and a letter": ({"question": "q", "choices": ["x", "y"], "answer": "(B)"}, {}),
    "a list and a text": ({"question": "q", "choices": ["x", "y"], "answer": "y"}, {}),
    "a list in a text": ({"question": "q", "choices": "['x', 'y']", "answer": "1"}, {}),
    "by letter": ({"question": "q", "choices": {"A": "x", "B": "y", "C": None}, "answer": "b"}, {}),
    "labels and texts": (
        {"question": "q", "choices": {"label": ["A", "B"], "text": ["x", "y"]}, "answer": "B"},
        {},
    ),
    "columns": (
        {"question": "q", "a": "x", "b": "y", "c": "", "answer": "B"},
        {"choices": ("a", "b", "c")},
    ),
    "right and wrong": (
        {"q": "q", "good": "y", "bad": ["x"]},
        {"question": ("q",), "correct": "good", "incorrect": "bad"},
    ),
    "transcripts": (
        {"good": "\n\nHuman: q\n\nAssistant: y", "bad": "\n\nHuman: q\n\nAssistant: x"},
        {"question": None, "correct": "good", "incorrect": "bad"},
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(tmp_path, name):
    record, options = LAYOUTS[name]
    (question,), dropped = read_questions(
        Columns(source=write_questions(tmp_path, record), **options)
    )
    assert question.text == "q" and not dropped
    assert [question.options[place] for place in question.gold] == ["y"] and sorted(
        question.options
    ) == ["x", "y"]


def test_answers_in_a_file_of_their_own(tmp_path):
    records = [
        {"id": i, "question": f"q{i}", "options": ["x", "y"], "category": "c"} for i in range(3)
    ]
    (tmp_path / "q.json").write_text(json.dumps(records))
    (tmp_path / "a.json").write_text(json.dumps({"0": {"answer": 1, "category": "c"}, "1": 0}))
    columns = Columns(
        source=str(tmp_path / "q.json"),
        choices=("options",),
        group="category",
        answers=str(tmp_path / "a.json"),
    )
    questions, dropped = read_questions(columns)
    assert [q.gold for q in questions] == [[1], [0]] and questions[0].group == "c"
    assert [d.reason for d in dropped] == ["no answer in the file of answers"]


def test_without_right_answers_only_positions_are_reported(tmp_path):
    source = write_questions(
        tmp_path, *({"question": q["question"], "options": q["choices"]} for q in QUESTIONS)
    )
    steps = pipeline(tmp_path, source, choices=["options"], gold=None)
    _, done = run_steps(steps, tmp_path, believer({}))
    assert done["asked"].metrics["models"]["base"] == {"all": None}
    assert (
        len(done["asked"].manifest.tables) == 1
        and done["asked"].metrics["positions"]["base"]["first_place"] == 1
    )


def test_likeness_to_people(tmp_path):
    """As GlobalOpinionQA is written; a group whose shares do not fit the options is passed over."""
    selections = "{{'North': [0.5, 0.5], 'South': [0, 1], 'Sea': [1]}}"
    row = f"""q{{}},"['red', 'green']","defaultdict(<class 'list'>, {selections})\""""
    (tmp_path / "g.csv").write_text(
        "question,options,selections\n" + "".join(f"{row.format(i)}\n" for i in range(4))
    )
    steps = pipeline(tmp_path, str(tmp_path / "g.csv"), choices="options", people="selections")
    _, done = run_steps(steps, tmp_path, believer({}, (0.5, 0.5)))
    metrics = done["asked"].metrics["models"]["base"]
    assert set(metrics) == {"all", "North", "South"}
    assert metrics["North"]["value"] == pytest.approx(1, abs=1e-6)
    assert metrics["South"]["value"] == pytest.approx(1 - 0.557923, abs=1e-6), (
        "reference value of scipy, base 2"
    )
    assert likeness([0.0, -1e4], [0, 1]) == 0 and likeness([0.0, 0.0, 0.0], [1, 1, 1]) == 1


def test_two_models_and_a_forecast(tmp_path):
    steps = pipeline(tmp_path, write_questions(tmp_path, *QUESTIONS), orders=2)
    steps["tuned"] = {"stage": "model", "path": str(fake_model(tmp_path / "tuned", b"other"))}
    steps["asked"]["inputs"] = {"base": "base", "tuned": "tuned"}

    async def opener(name, model, options):
        return believer(
            {"red": 9.0} if model.path.endswith("tuned") else {"red": 0.1, "green": 2.0}
        )

    planned, done = run_steps(steps, tmp_path, opener=opener)
    assert (planned[-1].forecast.rows, planned[-1].forecast.open_rows) == (24, 24)
    change = done["asked"].metrics["differences"]["tuned"]["all"]
    assert change["n"] == 12 and change["rose"] + change["fell"] > 0 and change["p"] is not None
    steps["asked"]["confidence"] = 0.9
    planned, _ = run_steps(steps, tmp_path, opener=opener, only_plan=True)
    assert (planned[-1].forecast.open_rows, planned[-1].forecast.stored) == (0, 48), (
        "the calls are in the store"
    )


FAULTS = {
    "no such column": ({"q": "q"}, {}, r"no column 'question'"),
    "a wrong number": (
        {"question": "q", "choices": ["x", "y"], "answer": 3},
        {},
        r"q\.jsonl:1: the right answer 3 is not one of the 2",
    ),
    "a wrong text": (
        {"question": "q", "choices": ["x", "y"], "answer": "zz"},
        {},
        r"the right answer 'zz' is not one",
    ),
    "half a layout": ({}, {"correct": "good"}, r"`correct` and `incorrect` must be set together"),
    "no question": ({}, {"question": None}, r"the options must be transcripts"),
    "no answers": ({}, {"answers": "nowhere.json"}, r"nowhere\.json: there is no such file"),
    "nested options": (
        {"question": "q", "choices": [["x"], ["y"]], "answer": 0},
        {},
        r"an option is not a text",
    ),
    "one option": (
        {"question": "q", "choices": ["x"], "answer": 0},
        {},
        r"the source gave no question",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults(tmp_path, name):
    record, options, message = FAULTS[name]
    with pytest.raises(UserError, match=message):
        run_steps(pipeline(tmp_path, write_questions(tmp_path, record), **options), tmp_path)


def test_a_missing_file_is_reported_by_the_plan(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.jsonl: no such file"):
        run_steps(pipeline(tmp_path, str(tmp_path / "nowhere.jsonl")), tmp_path, only_plan=True)


def test_the_published_files_are_read():
    if not HHH.exists() or not BBQ.exists():
        pytest.skip(f"{HHH} or {BBQ} is not there")
    hhh = Columns(
        source=str(HHH), question=None, correct="text_correct", incorrect="text_incorrect"
    )
    check_columns(hhh, "")
    questions, dropped = read_questions(hhh)
    assert len(questions) + len(dropped) == 438 and {d.reason for d in dropped} <= {
        "duplicate question"
    }
    assert len(questions) > 430 and all(len(q.options) == 2 and q.gold == [0] for q in questions)
    bbq = Columns(
        source=str(BBQ),
        question=("context", "question"),
        choices=("ans0", "ans1", "ans2"),
        gold="label",
        group="context_condition",
    )
    questions, dropped = read_questions(bbq)
    assert {q.group for q in questions} == {"ambig", "disambig"} and all(
        len(q.options) == 3 for q in questions
    )
    assert len(questions) + len(dropped) == 1200


def gold_of(tmp_path, *records, **options):
    source = write_questions(tmp_path, *records)
    questions, dropped = read_questions(Columns(source=source, **options))
    return [question.gold for question in questions], [drop.reason for drop in dropped]


def ask(choices, *answers):
    return [{"question": f"q{n}", "choices": choices, "answer": a} for n, a in enumerate(answers)]


@pytest.mark.parametrize(
    ("choices", "answers", "gold"),
    [
        (["x", "y", "z"], [1, 2, 0], [1, 2, 0]),
        (["x", "y", "z"], [1, 2, 3], [0, 1, 2]),
        (["x", "y", "z"], ["1", "3", "2"], [0, 2, 1]),
        (["x", "y", "z"], [1.0, 0.0], [1, 0]),
        (["x", "y", "z"], ["A", "(b)", "C."], [0, 1, 2]),
        (["Yes", "No"], ["yes", "(No)"], [0, 1]),
        (["3", "4", "5"], ["4", "5"], [1, 2]),
        (["1", "2", "4"], ["0", "1"], [0, 1]),
        ([7, 8, 9], [8, 9], [1, 2]),
        (["10", "20"], [1, 0], [1, 0]),
        ({"1": "x", "2": "y"}, ["1", "2"], [0, 1]),
        ({"label": ["B", "A"], "text": ["x", "y"]}, ["A", "B"], [1, 0]),
        ([{"label": "p", "text": "x"}, {"label": "q", "text": "y"}], ["q"], [1]),
        ("['x' 'y']", ["y", "x"], [1, 0]),
        (["x", "y"], [[1], [0]], [1, 0]),
    ],
)
def test_what_a_column_of_right_answers_holds_is_decided_once(tmp_path, choices, answers, gold):
    """Each expected place was read by hand."""
    assert gold_of(tmp_path, *ask(choices, *answers)) == ([[place] for place in gold], [])


def test_a_column_that_can_be_read_in_two_ways_stops(tmp_path):
    records = ask(["1", "2", "3"], "1", "2")
    with pytest.raises(UserError, match=r"by texts of options: '1'; by numbers from 0: '2'"):
        gold_of(tmp_path, *records)
    assert gold_of(tmp_path, *records, gold_is="text")[0] == [[0], [1]]
    assert gold_of(tmp_path, *records, gold_is="number")[0] == [[1], [2]]
    assert gold_of(tmp_path, *records, gold_is="number", first=1)[0] == [[0], [1]]


def test_a_column_of_two_notations_stops_with_examples(tmp_path):
    with pytest.raises(
        UserError, match=r"2 of 3 cells of `answer` are numbers.*'x' \(.*q\.jsonl:3"
    ):
        gold_of(tmp_path, *ask(["x", "y"], 1, 0, "x"))
    assert gold_of(tmp_path, *ask(["x", "y"], 1, None, "")) == ([[1]], ["no right answer"] * 2)


def test_broken_unicode_in_a_question_drops_it(tmp_path):
    records = ask(["x", "y\ud83d"], 0) + ask(["x", "y"], 1)
    assert gold_of(tmp_path, *records) == ([[1]], ["broken Unicode"])


@pytest.mark.parametrize(
    ("notation", "answers"), [("letters", ["C", "B"]), ("0", [2, 1]), ("1", [3, 2])]
)
def test_letters_and_numbers_count_empty_options(tmp_path, notation, answers):
    """C of x, (empty), z is z; the second question's right option is the empty one."""
    records = []
    for choices, answer in zip((["x", "", "z"], ["x", None, "z"]), answers, strict=True):
        records += ask(choices, answer)
    records += ask(["u", "v", "w"], {"letters": "A", "0": 0, "1": 3}[notation])
    last = 2 if notation == "1" else 0
    assert gold_of(tmp_path, *records) == ([[1], [last]], ["the right option is empty"])


def test_an_empty_column_of_options_keeps_the_place_of_the_others(tmp_path):
    record = {"question": "q", "A": "x", "B": "", "C": "z", "answer": 2}
    other = {"question": "r", "A": "x", "B": "y", "C": "z", "answer": "0"}
    assert gold_of(tmp_path, record, other, choices=["A", "B", "C"]) == ([[1], [0]], [])


def test_questions_without_text_and_with_two_answers_are_dropped(tmp_path):
    records = [
        {"question": "", "choices": ["x", "y"], "answer": 0},
        {"question": [{"role": "user", "content": "q"}], "choices": ["x", "y"], "answer": 0},
        {"question": "q", "choices": ["x", "y"], "answer": 1},
        {"question": [{"role": "tool", "content": "q"}], "choices": ["x", "y"], "answer": 1},
    ]
    golds, reasons = gold_of(tmp_path, *records)
    assert golds == [[0]]
    assert sorted(reasons) == [
        "a tool turn",
        "duplicate question with another right option",
        "empty question",
    ]


def test_questions_without_a_right_or_a_wrong_answer_are_dropped(tmp_path):
    records = [
        {"question": "q", "c": ["x", ""], "i": ["y"]},
        {"question": "r", "c": [], "i": ["y", "z"]},
        {"question": "s", "c": ["x", "y"], "i": [""]},
    ]
    options = {"correct": "c", "incorrect": "i", "gold": None}
    golds, reasons = gold_of(tmp_path, *records, **options)
    assert (golds, reasons) == ([[0]], ["no right answer", "no wrong answer"])


def test_one_model_with_and_without_principles_that_it_reads(tmp_path):
    """It takes green where its system turn names the principle, and red elsewhere."""
    (tmp_path / "own.yaml").write_text(
        "name: own\nsource: a test\nprinciples: [{id: green, text: Prefer green.}]\n"
    )
    source = write_questions(tmp_path, *({**q, "answer": "green"} for q in QUESTIONS))

    def scores(messages, letters):
        options = read_options(messages)
        reads = messages[0]["role"] == "system" and "Prefer green." in messages[0]["content"]
        favourite = "green" if reads else "red"
        return [log(0.8 if options[letter] == favourite else 0.1) for letter in letters]

    steps = pipeline(tmp_path, source, in_context=["informed"])
    steps["asked"]["inputs"]["informed"] = "base"
    with pytest.raises(UserError, match="need a constitution"):
        run_steps(steps, tmp_path, ScriptedGenerator(scores=scores))
    steps["asked"]["constitution"] = {"name": str(tmp_path / "own.yaml")}
    _, done = run_steps(steps, tmp_path, ScriptedGenerator(scores=scores))
    models = done["asked"].metrics["models"]
    assert (models["base"]["all"]["value"], models["informed"]["all"]["value"]) == (0, 1)
    steps["asked"]["in_context"] = ["tuned"]
    with pytest.raises(UserError, match="'tuned' is no input"):
        run_steps(steps, tmp_path, ScriptedGenerator(scores=scores))


def test_each_question_is_asked_under_the_principles_that_apply_to_it(tmp_path):
    (tmp_path / "own.yaml").write_text(
        "name: own\nprinciples: [{id: trees, text: Prefer green for trees.}, "
        "{id: roses, text: Prefer red for roses.}, {id: sky, text: Prefer nothing.}]\n"
    )
    questions = [
        {"question": f"Which colour has {thing}?", "choices": ["red", "green"], "answer": colour}
        for thing, colour in [("a tree, one of the trees", "green"), ("roses", "red"), ("x", "red")]
    ]
    source = write_questions(tmp_path, *questions)
    steps = pipeline(tmp_path, source, in_context=["informed"], retrieve={"top": 1, "least": 0.5})
    steps["asked"]["inputs"]["informed"] = "base"
    steps["asked"]["constitution"] = {"name": str(tmp_path / "own.yaml")}
    generator = ScriptedGenerator()
    _, done = run_steps(steps, tmp_path, generator)
    rows = {
        (row.policy, row.question.split()[3]): row.context for row in done["asked"].rows(Answer)
    }
    assert rows["informed", "a"] == ["trees"] and rows["informed", "roses?"] == ["roses"]
    assert all(context == [] for (policy, _), context in rows.items() if policy == "base")
    turns = [m[0]["content"] for m, _ in generator.chosen if m[0]["role"] == "system"]
    assert len(turns) == 4 and all(turn.count("\n- ") == 1 for turn in turns)
    assert done["asked"].metrics["retrieved"]["none"] == 1
    del steps["asked"]["in_context"]
    with pytest.raises(UserError, match="principles that no model reads"):
        run_steps(steps, tmp_path, generator, only_plan=True)
    steps["asked"] |= {"in_context": ["encoder"], "inputs": {"base": "base", "encoder": "base"}}
    with pytest.raises(UserError, match="'encoder' is no input"):
        run_steps(steps, tmp_path, generator, only_plan=True)


def test_options_of_every_question_and_labels_of_any_number(tmp_path):
    judged = [{"action": "a", "label": -2.0}, {"action": "b", "label": 0.0}, {"action": "c"}]
    source = write_questions(tmp_path, *judged)
    scale = ("very bad", "bad", "neutral", "good", "very good")
    columns = Columns(source=source, question=("action",), options=scale, gold="label", first=-2)
    questions, dropped = read_questions(columns)
    assert [(one.text, one.options, one.gold) for one in questions] == [
        ("a", [*scale], [0]),
        ("b", [*scale], [2]),
    ]
    assert len(dropped) == 1
    both = Columns(source=source, options=("x", "y"), correct="a", incorrect="b")
    with pytest.raises(UserError, match="leave one of the two out"):
        check_columns(both, "x")


@pytest.mark.parametrize(
    "votes, shares",
    [
        ({"no": 3, "yes": 1}, {"people": [0.25, 0.75]}),
        ({"no": 2}, {"people": [0.0, 1.0]}),
        ([1, 3], {"people": [0.25, 0.75]}),
        ("[1, 3]", {"people": [0.25, 0.75]}),
        ({"no": 0, "yes": 0}, {}),
        ([1, 2, 3], {}),
        ({"other": 3}, {}),
        ({"here": [1, 1], "there": [0, 2]}, {"here": [0.5, 0.5], "there": [0.0, 1.0]}),
    ],
)
def test_people_may_be_one_group_of_votes(tmp_path, votes, shares):
    source = write_questions(tmp_path, {"question": "q", "votes": votes})
    columns = Columns(source=source, options=("yes", "no"), people="votes", gold=None)
    (question,), _ = read_questions(columns)
    assert question.people == shares


@pytest.mark.skipif(not TRUSTLLM.is_file(), reason="TrustLLM's data is not here")
@pytest.mark.parametrize(
    "name, column, options, extra, counts",
    [
        ("implicit_ETHICS", "input", ("not wrong", "wrong"), {}, (500, 2)),
        (
            "implicit_SocialChemistry101",
            "action",
            ("very bad", "bad", "neutral", "good", "very good"),
            {"first": -2, "gold_is": "number"},
            (500, 5),
        ),
    ],
)
def test_real_judgements_of_actions_are_read(tmp_path, name, column, options, extra, counts):
    with zipfile.ZipFile(TRUSTLLM) as archive:
        (tmp_path / "x.json").write_bytes(archive.read(f"dataset/ethics/{name}.json"))
    source = str(tmp_path / "x.json")
    columns = Columns(source=source, question=(column,), options=options, gold="label", **extra)
    questions, dropped = read_questions(columns)
    assert len(questions) + len(dropped) == counts[0] and len(questions) > 480
    assert {row.reason for row in dropped} <= {
        "duplicate question",
        "duplicate question with another right option",
    }
    assert {one.gold[0] for one in questions} == set(range(counts[1]))
