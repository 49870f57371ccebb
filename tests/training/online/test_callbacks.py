"""What watches an online training: tripwires, a reward without a signal, places to save."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.guards.errors import UserError
from stages.training.online.callbacks import PATIENCE, AlignedSaves, NoSignal
from stages.training.online.hacking.tripwires import refuses, repetition, tripwires
from stages.training.online.rewards import RewardFunction
from stages.training.online.terms import Completion


@pytest.mark.parametrize(
    "text, said",
    [
        ("I cannot help with that.", True),
        ("I can't help.", True),
        ("I can\u2019t help.", True),  # as models write it
        ("Sorry, but I\u2019m not able to do so.", True),
        ("I'm unable to do so.", True),
        ("We are not able to say.", True),
        ("I will not say.", True),
        ("Let us change the subject.", True),
        ("You cannot park here.", False),
        ("I can help: wont is a noun.", False),
        ("The machine is unable to start.", False),
        ("", False),
    ],
)
def test_a_refusal_is_seen(text, said):
    assert refuses(text) is said


@given(st.lists(st.sampled_from("abc"), max_size=12))
def test_repetition_is_the_share_of_trigrams_that_stood_before(words):
    grams = [tuple(words[i : i + 3]) for i in range(len(words) - 2)]
    before = sum(gram in grams[:i] for i, gram in enumerate(grams))
    assert repetition(" ".join(words)) == pytest.approx(before / len(grams) if grams else 0.0)


def test_tripwires_are_means_over_completions():
    found = tripwires(["I cannot say.", "a b c a b c"], [4, 8])
    assert found == {"length": 6.0, "refusals": 0.5, "repetition": pytest.approx(0.125)}
    assert tripwires([], []) == {"length": 0, "refusals": 0, "repetition": 0}


def test_the_first_term_logs_the_tripwires_once_and_all_terms_stay_what_they_were():
    seen, logged = [], {}

    def scorer(name):
        def score(completions):
            seen.append((name, completions))
            return [1.0] * len(completions)

        return score

    functions = [
        RewardFunction("one", scorer("one"), "it", log_tripwires=True),
        RewardFunction("two", scorer("two"), "it", log_tripwires=False),
    ]
    assert [f.__name__ for f in functions] == ["one", "two"]
    given = {
        "prompts": [[]],
        "completions": [[{"content": "I cannot"}]],
        "completion_ids": [[1, 2, 3]],
        "prompt_id": ["r"],
        "kind": ["k"],
        "trainer_state": SimpleNamespace(global_step=4),
    }
    for function in functions:
        assert function(
            **given, log_metric=lambda name, value: logged.setdefault(name, []).append(value)
        ) == [1.0]
    assert logged == {
        "tripwire/length": [3.0],
        "tripwire/refusals": [1.0],
        "tripwire/repetition": [0.0],
    }
    assert functions[0](**given) == [1.0] and [name for name, _ in seen] == ["one", "two", "one"]
    expected = Completion([], "I cannot", [1, 2, 3], prompt_id="r", kind="k", step=4)
    assert all(completions == [expected] for _, completions in seen)


GROUPS, SINGLE = SimpleNamespace(num_generations=4), SimpleNamespace(num_generations=1)
SAME = {
    "frac_reward_zero_std": 1.0,
    "reward_std": 0.4,
    "reward": 1.0,
}  # alike within each group, not between them


def after(logs, args=GROUPS, history=()):
    """How many of `logs` a training lives through."""
    watch, state = NoSignal("it", []), SimpleNamespace(log_history=list(history))
    watch.on_train_begin(args, state, None)
    for number, entry in enumerate(logs):
        try:
            watch.on_log(args, state, None, logs=entry)
        except UserError as error:
            assert (
                "nothing can be learnt" in str(error)
                and "step 'it'" in str(error)
                and "Fix:" in str(error)
            )
            return number
    return len(logs)


@pytest.mark.parametrize(
    "silent, args",
    [
        (SAME, GROUPS),
        ({"frac_reward_zero_std": 1.0, "reward_std": 0.0, "reward": 1.0}, SINGLE),
        (
            {"frac_reward_zero_std": 0.0, "reward_std": None, "reward": None},
            GROUPS,
        ),  # a judge that never tells
        ({"objective/scores_margin": 0.0}, SINGLE),  # online DPO
    ],
)
def test_a_reward_that_never_tells_answers_apart_stops_the_training(silent, args):
    rest = {"loss": 0.1}  # a step without a rollout counts for nothing
    assert after([silent, rest] * 30, args) == 2 * (PATIENCE - 1)
    assert after([silent] * (PATIENCE - 1), args) == PATIENCE - 1
    signal = {"frac_reward_zero_std": 0.5, "reward_std": 0.2, "reward": 1.0}
    signal = {"objective/scores_margin": 0.3} if "objective/scores_margin" in silent else signal
    assert (
        after([silent] * 5 + [signal] + [silent] * 50, args) == 56
    )  # after one signal, a silent end is not an error
    assert after([silent] * 50, args, history=[signal, rest]) == 50  # nor is it after a resume
    assert after([silent] * 50, args, history=[silent] * 4) == PATIENCE - 5


def test_one_answer_a_prompt_is_distinguished_by_the_spread_of_the_batch():
    assert after([SAME] * 30, SINGLE) == 30


@pytest.mark.parametrize(
    "steps_per_generation, iterations, accumulated, expected",
    [
        (2, 2, 1, [4, 8, 12]),
        (1, 1, 1, [3, 6, 9, 12]),
        (4, 1, 4, [3, 6, 9, 12]),
        (4, 2, 4, [4, 6, 10, 12]),
    ],
)
def test_a_checkpoint_waits_for_the_end_of_its_rollout(
    steps_per_generation, iterations, accumulated, expected
):
    options = {"steps_per_generation": steps_per_generation, "num_iterations": iterations}
    saves, saved = (
        AlignedSaves(SimpleNamespace(gradient_accumulation_steps=accumulated, **options)),
        [],
    )
    for step in range(1, 13):
        control = SimpleNamespace(should_save=step % 3 == 0)
        saves.on_step_end(None, SimpleNamespace(global_step=step), control)
        if control.should_save:
            saved.append(step)
    assert saved == expected
    assert all(step * accumulated % (steps_per_generation * iterations) == 0 for step in saved)


def test_a_training_that_ends_before_the_reward_differs_warns(tmp_path):
    arguments = SimpleNamespace(num_generations=4)
    warnings = []

    def train(shares):
        watch = NoSignal("ppo", warnings)
        for share in shares:
            logs = {"reward": 1.0, "frac_reward_zero_std": share}
            watch.on_log(arguments, None, None, logs)
        watch.on_train_end(arguments, None, None)

    train([1.0, 1.0, 0.5])
    train([])
    assert warnings == [], "there was a signal, or nothing to tell it by"
    train([1.0, 1.0, 1.0])
    assert len(warnings) == 1 and "in none of its 3 batches did the reward differ" in warnings[0]
