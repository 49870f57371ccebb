"""The reward `values`: minus the distance to the target, by kind, logged beside its tripwire."""

import pytest

from stages.guards.errors import UserError
from stages.training.online.rewards import read_terms, terms_identity
from stages.training.reward_models.scorer import Scorer
from tests.training.online.test_rewards import END, Model, called  # noqa: F401  a fixture
from tests.training.small_reward_models import reward_model
from tests.values.rated import two_values

SCORES = {"calm": (1.0, 0.6, -1.0), "bold": (-1.0, -1.0, 1.0), "silent": (0.0, 0.0, 0.0)}


@pytest.fixture(scope="module")
def evaluator(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluator") / "model"
    return Model(reward_model(tiny, folder, objective="value"))


@pytest.fixture
def scored(monkeypatch):
    """Scores by what stands in the answer; an answer with `long` has none."""

    def score(self, items):
        values = []
        for place, (_, text, _) in enumerate(items):
            values.append(None if text == "long" else SCORES[text][place % 3])
        return values

    monkeypatch.setattr(Scorer, "score", score)
    monkeypatch.setattr(Scorer, "fault", lambda self, item: ("longer", "9 tokens"))


def term(folder, **options):
    base = {"term": "values", "model": "evaluator", "constitution": two_values(folder)}
    return {"values": base | {"target": "calm"} | options}


def test_the_reward_is_minus_the_distance(tmp_path, called, scored, evaluator):
    call = called(term(tmp_path), {"evaluator": evaluator})
    rewards = call(["q"] * 4, ["calm", "bold", "silent", "long"])["values"]
    assert rewards == [pytest.approx(-0.2), pytest.approx(-4), pytest.approx(-2), None]


def test_prompts_of_several_groups_have_their_own_targets(tmp_path, called, scored, evaluator):
    by_kind = term(tmp_path, target=None, targets={"young": "bold"})
    call = called(by_kind, {"evaluator": evaluator})
    rewards = call(["q"] * 3, ["bold"] * 3, kinds=["young", "bold", "calm"])["values"]
    assert rewards == pytest.approx([0, 0, -4])
    with pytest.raises(UserError, match="requests of the kind 'k' have no target"):
        call(["q"], ["bold"])


def test_the_published_mask_rewards_silence_most_and_its_share_is_logged(
    tmp_path, called, scored, evaluator, capsys
):
    call = called(term(tmp_path, mask="published"), {"evaluator": evaluator})
    assert call(["q"] * 2, ["silent", "calm"])["values"] == pytest.approx([0, -0.2])
    sound = called(term(tmp_path, mask="published", expression=3.0), {"evaluator": evaluator})
    rewards = sound(["q"] * 2, ["silent", "calm"])["values"]
    assert rewards == pytest.approx([-3, -0.2])


def test_what_is_logged(tmp_path, scored, evaluator, monkeypatch):
    from types import SimpleNamespace

    from stages.runtime.context import Context
    from stages.training.online.rewards import reward_functions

    terms = read_terms(term(tmp_path), "grpo")
    engines = SimpleNamespace(thought_marks=(), options={})
    monkeypatch.setattr("stages.training.online.value_term.template_variables", lambda _: {})
    context = Context("it", tmp_path, 7, None, engines, None)
    (function,) = reward_functions(terms, {}, {"evaluator": evaluator}, context, {END})
    logged = {}
    function(
        prompts=[[{"role": "user", "content": "q"}]] * 2,
        completions=["silent", "bold"],
        completion_ids=[[5, END]] * 2,
        prompt_id=["q"] * 2,
        kind=["k"] * 2,
        trainer_state=SimpleNamespace(global_step=0),
        log_metric=logged.__setitem__,
    )
    assert logged["tripwire/silent"] == 0.5
    assert logged["value/care"] == -0.5 and logged["value/power"] == 0.5
    assert logged["tripwire/length"] == 2


def test_a_reward_model_that_reads_profiles_is_shown_the_target(
    tmp_path,
    tiny,
    called,
    monkeypatch,
):
    reader = Model(reward_model(tiny, tmp_path / "reader", principles=True))
    seen = []
    monkeypatch.setattr(Scorer, "score", lambda self, items: seen.extend(items) or [0.5, None])
    monkeypatch.setattr(Scorer, "fault", lambda self, item: ("longer", "9 tokens"))
    call = called(term(tmp_path, targets={"young": "bold"}), {"evaluator": reader})
    assert call(["q"] * 2, ["a", "b"], kinds=["old", "young"])["values"] == [0.5, None]
    assert [texts for _, _, texts in seen] == [
        ("Values: care +1, power -1, others 0.",),
        ("Values: care -1, power +1, others 0.",),
    ]


def test_a_model_that_scores_something_else_is_refused(tmp_path, tiny, called):
    other = Model(reward_model(tiny, tmp_path / "rm", objective="compliance"))
    with pytest.raises(UserError, match="does not say from -1 to 1"):
        called(term(tmp_path), {"evaluator": other})


def test_identity_and_faults(tmp_path):
    calm = terms_identity(read_terms(term(tmp_path), "grpo"))
    bold = terms_identity(read_terms(term(tmp_path, target="bold"), "grpo"))
    assert calm["values"]["target"] == [1.0, -1.0] and calm != bold
    with pytest.raises(UserError, match="there is no target 'clam'"):
        read_terms(term(tmp_path, target="clam"), "grpo")
    with pytest.raises(UserError, match="taget"):
        read_terms(term(tmp_path, taget="calm"), "grpo")
