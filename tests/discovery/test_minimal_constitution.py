"""The smallest set of principles with the labels of all: planted redundancy is recovered."""

from dataclasses import replace

import pytest

from stages.discovery.minimal_constitution import Config, Matrix
from stages.guards.errors import UserError
from stages.principles.constitution import load
from stages.runtime.rows import Pair, Proposal
from tests.preferences.matrices import cells
from tests.running import fake_model, run_steps
from tests.scripted import ScriptedGenerator

SUBJECTS = {
    "harm": "crime",
    "harm-copy": "crime",
    "honesty": "nobody can know",
    "fairness": "stereotypes",
    "kindness": "insult",
    "identity": "a human",
    "flattery": "flatter",
    "helpfulness": "asked for",
    "privacy": "private facts",
}
"""Words of the texts of constitutions/planted.yaml."""


def judging(messages, options):
    """Speaks where the request names the principle's subject, for the response that says keep."""
    text = messages[-1]["content"]
    principle = text.partition("Principle: ")[2]
    request = text.partition("Request: ")[2].partition("\n")[0]
    names = [name for name, words in SUBJECTS.items() if words in principle]
    if not any(f"about {name}," in request for name in names):
        return [-0.7, -0.7]
    first = text.partition("Response A: ")[2].partition("\n")[0]
    return [-0.1, -2.4] if "keep" in first else [-2.4, -0.1]


def pipeline(folder, count=90, **options):
    """Two answers to each of `count` requests about all subjects but private facts and the copy."""
    folder.mkdir(exist_ok=True)
    about = [name for name in SUBJECTS if name not in ("privacy", "harm-copy")]
    prompts = "".join(f'"about {about[i % len(about)]}, number {i}"\n' for i in range(count))
    (folder / "prompts.csv").write_text("prompt\n" + prompts)
    everything = {"name": "planted"}
    return {
        "base": {"stage": "model", "path": str(fake_model(folder / "model"))},
        "requests": {"stage": "prompts", "source": str(folder / "prompts.csv")},
        "answers": {"stage": "respond", "inputs": {"prompts": "requests", "model": "base"}, "n": 2},
        "judgements": {
            "stage": "judge",
            "inputs": {"responses": "answers", "model": "base"},
            "constitution": everything,
        },
        "pairs": {
            "stage": "judged_pairs",
            "inputs": {"judgements": "judgements"},
            "constitution": everything,
            "aggregate": "max_abs",
        },
        "smallest": {
            "stage": "minimal_constitution",
            "inputs": {"pairs": "pairs", "judgements": "judgements"},
            **options,
        },
        "written": {"stage": "write_constitution", "inputs": {"rows": "smallest"}},
        "smaller": {
            "stage": "judged_pairs",
            "inputs": {"judgements": "judgements", "principles": "smallest"},
            "constitution": everything,
            "aggregate": "max_abs",
        },
    }


class Alternating(ScriptedGenerator):
    """One answer of each request keeps the principle, the other breaks it."""

    async def complete(self, messages, sampling, seed):
        made = await super().complete(messages, sampling, seed)
        return replace(made, text=f"{('keep', 'break')[seed % 2]} {seed}")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("minimal")
    return run_steps(pipeline(folder), folder, Alternating(scores=judging))[1]


def test_planted_redundancy_is_recovered(made):
    """The copy goes, and what no request is about; every other principle stays."""
    left_out = made["smallest"].metrics["left_out"]
    assert "privacy" in left_out and len({"harm", "harm-copy"} & set(left_out)) == 1
    assert len(left_out) == 2
    assert made["smallest"].metrics["changed"]["value"] == 0
    assert made["smallest"].metrics["changed"]["high"] <= 0.05


def test_the_labels_of_the_smaller_set_are_those_of_the_full_one(made):
    full = {row.id: (row.chosen, row.label) for row in made["pairs"].rows(Pair)}
    assert full == {row.id: (row.chosen, row.label) for row in made["smaller"].rows(Pair)}
    used = {name for row in made["smaller"].rows(Pair) for name in row.principles}
    chosen = [row.id for row in made["smallest"].rows(Proposal)]
    assert used <= set(chosen)


def test_it_is_a_constitution_in_the_words_of_the_full_one(made):
    planted = {p.id: p.text for p in load("planted").principles}
    small = load(made["written"].directory / "constitution.yaml").principles
    assert [planted[p.id] for p in small] == [p.text for p in small]
    assert [p.id for p in small] == [name for name in planted if name in {p.id for p in small}]


def test_search_and_elimination_agree(made, tmp_path):
    steps = pipeline(tmp_path)
    steps["smallest"]["exact"] = 0
    _, other = run_steps(steps, tmp_path, Alternating(scores=judging))
    for name in ("pairs", "chosen", "changed"):
        assert other["smallest"].metrics[name] == made["smallest"].metrics[name]


def test_few_requests_show_nothing_and_it_says_so(tmp_path):
    steps = pipeline(tmp_path, count=28)
    _, few = run_steps(steps, tmp_path, Alternating(scores=judging))
    assert few["smallest"].metrics["left_out"] == []
    assert "too few to show" in few["smallest"].manifest.warnings[0]


class Mean:
    """A rule whose label is the sign of the mean margin."""

    def margins(self, rows):
        return {row.principle: row.margin_ab for row in rows}

    def decide(self, pair, margins):
        return sum(margins.values()), list(margins)


def test_a_request_with_many_pairs_counts_once():
    """Half of its 40 pairs change, 14 % of all pairs, but half a request of 101."""
    table = {}
    for number in range(140):
        request = "large" if number < 40 else f"r{number}"
        margins = {"a": (1.0, 1.0), "b": (-2.0, -2.0) if number < 20 else (1.0, 1.0)}
        table[f"p{number}"] = cells(f"p{number}", margins, request=request)
    assert Matrix(table, Mean()).allowed(["a"], Config()) == pytest.approx(0.5 / 101)


def test_drawn_subsets_have_no_smaller_set(tmp_path):
    steps = pipeline(tmp_path)
    steps["pairs"] |= {"aggregate": "salmon", "negation": 0, "normalise": "none"}
    steps.pop("smaller")
    with pytest.raises(UserError, match="drawn subsets"):
        run_steps(steps, tmp_path, Alternating(scores=judging))
