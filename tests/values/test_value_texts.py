"""VIM's texts: gamma and the minimum by hand, stochastic rounding, opposed arguments, drops."""

from collections import Counter
from pathlib import Path
from statistics import fmean

import pytest

from stages.guards.errors import UserError
from stages.principles.select import Selection
from stages.runtime.rows import Rating
from stages.text.human_answers import read_rows
from stages.values.texts.value_texts import Config
from tests.preferences.matrices import artifact, run_stage
from tests.values.rated import rated, two_values

TOUCHE = Path(__file__).resolve().parents[3] / "shared/data/touche_valueeval/valueEval_10.csv"


def inject(root, rows, **options):
    inputs = {"arguments": artifact(root, "arguments", rows, Rating)}
    if "constitution" not in options:
        (root / "mine.yaml").write_text("care: 4.7\npower: 2.0\n")
        options |= {"constitution": two_values(root), "target": str(root / "mine.yaml")}
    return run_stage("value_texts", inputs, options)


ROWS = [
    rated("for-care", [1, 0, 0]),
    rated("for-both", [1, 0, 1]),
    rated("against-power", [0, 0, -1]),
    rated("neither", [0, 0, 0]),
]


def test_an_argument_is_given_where_every_value_reaches_gamma(tmp_path):
    result = inject(tmp_path, ROWS)
    asked = {row.response: "never" not in row.prompt[0]["content"] for row in result.rows}
    assert asked == {
        "answer for-care": True,  # 4.7
        "answer for-both": False,  # the least, 2.0
        "answer against-power": True,  # 7 - 2.0
    }
    assert result.metrics["counts"] == {"never to say": 1, "to say": 2}
    assert [row.reason for row in result.dropped] == ["it speaks for no value"]
    assert all("do q" in row.prompt[0]["content"] for row in result.rows)
    stricter = inject(tmp_path, ROWS, gamma=4.8)
    assert stricter.metrics["counts"] == {"never to say": 2, "to say": 1}


def test_statements_have_the_targets_mean(tmp_path):
    rows = [rated(f"a{number}", [1, 0, 1], f"q{number}") for number in range(500)]
    result = inject(tmp_path, rows, phase="question")
    scores = Counter()
    sums = {"care 1": [], "power": []}
    for row in result.rows:
        name = "power" if "power is" in row.response else "care 1"
        score = int(row.response.rstrip(".")[-1])
        scores[name, score] += 1
        sums[name].append(score)
    assert {score for name, score in scores if name == "care 1"} == {4, 5}
    assert {score for name, score in scores if name == "power"} == {2}
    assert fmean(sums["care 1"]) == pytest.approx(4.7, abs=0.06)
    again = inject(tmp_path, rows[:50], phase="question")
    responses = [row.response for row in result.rows]
    assert [row.response for row in again.rows] == responses[: len(again.rows)]


def test_no_statement_on_a_value_that_an_argument_opposes(tmp_path):
    result = inject(tmp_path, ROWS[:3], phase="question")
    assert result.metrics["counts"].keys() <= {"care-1: 4", "care-1: 5", "power: 2"}
    assert sum(result.metrics["counts"].values()) == 3


def test_nothing_to_learn_is_refused(tmp_path):
    with pytest.raises(UserError, match="no argument speaks for a value"):
        inject(tmp_path, ROWS[3:])
    with pytest.raises(UserError, match="is not from -1 to 1"):
        inject(tmp_path, [rated("x", [3, 0, 0])])


def test_templates_are_part_of_the_identity(tmp_path):
    from stages.values.texts.value_texts import identity

    (tmp_path / "q.jinja").write_text("{{ request }} {{ is_kept }}")
    selection = Selection(**two_values(tmp_path))
    plain = Config(constitution=selection, target="calm")
    other = Config(constitution=selection, target="calm", question=str(tmp_path / "q.jinja"))
    assert identity(plain) != identity(other)


@pytest.mark.skipif(not TOUCHE.is_file(), reason="no copy of Touche's arguments")
def test_touches_arguments(tmp_path):
    from stages.runtime.typed_config import parse_config
    from stages.text import human_answers

    options = {"source": str(TOUCHE), "constitution": {"name": "schwartz"}}
    rows, _, _ = read_rows(parse_config(human_answers.Config, options, "here"), 300)
    result = inject(tmp_path, rows, constitution={"name": "schwartz"}, target="uk")
    kept, never = (result.metrics["counts"][name] for name in ("to say", "never to say"))
    powerful = sum(row.scores[row.principles.index("power")] == 1 for row in rows)
    assert never == pytest.approx(powerful, abs=3), "only power is below gamma in the UK"
    assert kept + never + len(result.dropped) == len(rows)
