"""Every file under conf/ composes, and every pipeline's steps pass the checks that a run makes
first.
"""

import re
import sys
from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from stages import STAGES
from stages.guards.errors import UserError
from stages.pretrained import hardware  # noqa: F401  registers resolvers
from stages.runtime.pipeline.launch import Launcher
from stages.runtime.pipeline.overlap import all_source_pairs
from stages.runtime.pipeline.steps import join_sections, read_steps
from stages.runtime.stage import Stage, load_stage

CONF = Path(__file__).resolve().parents[1] / "conf"


OF_MODELS = {
    *("path", "revision", "lora", "constitution", "keep_engines", "sampling"),
    *("template_arguments", "merge_system", "thought_marks"),
}
TRAINERS = {"sft", "dpo", "reward_model", "groups", "ppo", "grpo", "rloo"}
SALMON = [
    *("base", "judge", "red_team", "helpful", "held_out", "held_out_helpful", "judge_examination"),
    *("samples", "judgements", "pairs", "held_out_samples", "held_out_judgements"),
    *("principle_reward_model", "plain_reward_model", "reward_model_test"),
    *("policy", "policy_held_out", "base_held_out", "evaluation", "report"),
]


def names(group: str) -> list[str]:
    found = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
    assert found, f"no files in conf/{group}"
    return found


def composed(*overrides: str) -> dict:
    return deepcopy(_composed(*overrides))


@cache
def _composed(*overrides: str) -> dict:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", list(overrides))
    return OmegaConf.to_container(config, resolve=True)


def composed_steps(*overrides):
    return join_sections(composed(*overrides)["pipeline"])


FILES = [
    "data.red_team.source=a.jsonl",
    "data.helpful.source=b.jsonl",
    "data.held_out.source=c.jsonl",
]


# The other models are `hub` with another path and settings, so one pipeline is enough for them.
@pytest.mark.parametrize(
    "model, pipeline",
    [
        *(("embedded", pipeline) for pipeline in names("pipeline")),
        *(pytest.param("hub", pipeline, marks=pytest.mark.slow) for pipeline in names("pipeline")),
        *((model, "salmon") for model in names("model")),
    ],
)
def test_models_with_pipelines(model, pipeline):
    chosen = {"embedded": [], "hub": ["model=hub", "model.path=owner/name"]}  # embedded: by default
    overrides = [f"pipeline={pipeline}", *chosen.get(model, [f"model={model}"])]
    steps = read_steps(composed_steps(*overrides), STAGES)
    assert len(steps) > 2
    assert steps[-1].stage == "report"


@pytest.mark.parametrize("data", names("data"))
@pytest.mark.parametrize("generator", names("generator"))
def test_every_source_with_every_generator(data, generator):
    config = composed(f"data={data}", f"generator={generator}", *(FILES if data == "files" else []))
    read_steps(join_sections(config["pipeline"]), STAGES)
    assert config["generator"]["name"] == generator


@pytest.mark.parametrize("data", names("data"))
def test_every_source_can_be_made_small_in_one_way(data):
    """`data.red_team.limit=24` is for requests of any kind."""
    sources = yaml.safe_load((CONF / "data" / f"{data}.yaml").read_text())
    steps = {name: step for name, step in sources.items() if "source" in (step or {})}
    assert {"red_team", "helpful", "held_out"} <= steps.keys()
    assert [name for name, step in steps.items() if "limit" not in step] == []


@pytest.mark.parametrize(
    "experiment", sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
)
def test_every_experiment(experiment):
    config = composed(f"experiment={experiment}")
    assert "experiment" not in config, (
        "its `# @package _global_` must be the first line, or nothing is changed"
    )
    assert config != composed()
    read_steps(join_sections(config["pipeline"]), STAGES)


def test_a_hub_model_brings_its_data_and_the_command_line_wins():
    assert composed("model=qwen3_0_6b")["data"]["red_team"]["source"] == "Anthropic/hh-rlhf"
    assert (
        composed("model=qwen3_0_6b", "data=world")["data"]["red_team"]["source"]
        == "stages.world:red_team"
    )
    assert composed()["constitution"]["name"] == "world"


def test_a_model_brings_its_scale_and_the_command_line_wins():
    assert composed()["scale"] == composed("scale=tiny")["scale"]
    paper = composed("scale=paper")["scale"]
    assert composed("model=qwen3_0_6b")["scale"] == paper
    assert composed("model=qwen3_0_6b", "scale=tiny")["scale"] == composed()["scale"]
    assert composed("model=llama3_8b", "scale.rounds=2")["scale"] == paper | {"rounds": 2}


def test_every_scale_has_the_same_keys():
    """And each of them is used by a pipeline, or by the data."""

    def keys(scale: dict, before: str = "") -> set[str]:
        names = set()
        for name, value in scale.items():
            names |= keys(value, f"{name}.") if isinstance(value, dict) else {before + name}
        return names

    scales = [keys(composed(f"scale={name}")["scale"]) for name in names("scale")]
    files = [*(CONF / "pipeline").rglob("*.yaml"), *(CONF / "data").glob("*.yaml")]
    text = "".join(path.read_text() for path in files)
    assert all(scale == scales[0] for scale in scales)
    assert set(re.findall(r"\$\{scale\.([\w.]+)\}", text)) == scales[0]


@pytest.mark.parametrize("model", names("model"))
def test_a_model_file_has_no_settings_of_methods(model):
    """What a method needs is in its pipeline file or in `scale`, and no file refers to more."""
    overrides = ["model.path=owner/name"] if model == "hub" else []
    assert composed(f"model={model}", *overrides)["model"].keys() == OF_MODELS | TRAINERS
    for path in (*(CONF / "pipeline").rglob("*.yaml"), *(CONF / "experiment").glob("*.yaml")):
        keys = set(re.findall(r"\$\{model\.(\w+)", path.read_text()))
        assert keys <= OF_MODELS | TRAINERS, path


@pytest.mark.parametrize(
    "choice", [f"{group}={name}" for group in ("pipeline", "experiment") for name in names(group)]
)
def test_no_shipped_pipeline_measures_on_what_it_learns_from(choice):
    """Here, where the configs are composed already."""
    steps = read_steps(composed_steps(choice), STAGES)
    for pairs in all_source_pairs(steps).values():
        assert not [pair for pair in pairs if pair[0] == pair[1]]


@pytest.mark.parametrize("pipeline", names("pipeline"))
def test_steps_are_listed_in_the_order_of_reading(pipeline):
    """`--cfg job` lists the model and the requests first and the report last."""
    listed = list(composed_steps(f"pipeline={pipeline}"))
    assert listed[-1] == "report"
    if pipeline == "salmon":
        assert listed == SALMON


def test_a_method_changes_the_last_steps():
    evaluation = composed_steps("pipeline=almost", "pipeline.last_steps.evaluation.judge_limit=5")[
        "evaluation"
    ]
    assert evaluation["judge_limit"] == 5
    assert list(evaluation["inputs"]) == [
        *("judge", "examination", "base", "policy", "tuned", "aligned")
    ]
    assert evaluation["inputs"]["policy"] is None
    answers = composed_steps("pipeline=chain_of_hindsight")["policy_held_out"]
    assert answers["suffix"] == "Give a good answer." and answers["keep_empty"]
    added = composed_steps(
        "+pipeline.last_steps.report.inputs.more=base_held_out", "pipeline=rlaif"
    )
    assert list(added["report"]["inputs"])[-2:] == ["reward", "more"]


def test_a_step_stands_in_one_section():
    with pytest.raises(UserError, match=r"(?s)'evaluation' is in both.*last_steps.evaluation"):
        composed_steps("+pipeline.steps.evaluation={judge_limit: 5}")


def test_the_table_of_stages_is_whole():
    """Each stage is listed once, and imports without its heavy libraries."""
    assert len(set(STAGES.values())) == len(STAGES)
    for location in STAGES.values():
        stage = load_stage(location)
        assert isinstance(stage, Stage)
        assert sys.modules[location.partition(":")[0]].__doc__
        assert stage.config.__dataclass_params__.frozen


def test_a_variant_says_only_what_differs():
    steps = composed_steps("pipeline=cai_two_rounds")
    assert steps["revisions"]["rounds"] == 2 and steps["revisions"]["stage"] == "revise"
    assert list(steps) == list(composed_steps())


@pytest.mark.parametrize(
    "part",
    ["bias", "harm", "hhh", "moral_judgement", "reward_bench", "rules_of_thumb", "xstest"],
)
def test_a_benchmark_joins_any_pipeline(part):
    """From the command line, on the base; another model is one more input."""
    more = {
        "hhh": ["+pipeline.steps.hhh.inputs.policy=rl_cai"],
        "reward_bench": ["pipeline=cai_ppo"],
    }.get(part, [])
    more += ["pipeline.steps.reward_bench.inputs.reward=preference_model"] * (
        part == "reward_bench"
    )
    config = composed(f"+pipeline/parts@pipeline={part}", "+pipeline.folder=files", *more)
    steps = {step.name: step for step in read_steps(join_sections(config["pipeline"]), STAGES)}
    assert {"rl_cai", "evaluation", "report"} < steps.keys() and len(steps) > 18
    if part == "hhh":
        assert steps["hhh"].inputs == {"base": "base", "policy": "rl_cai"}


@pytest.mark.parametrize("name", names("launcher"))
def test_every_launcher(name, tmp_path):
    """accelerate takes the files that are handed to it; it refuses keys that it does not know."""
    from accelerate.commands.config.config_args import load_config_from_file

    launcher = composed(f"launcher={name}")["launcher"]
    assert launcher["processes"] >= 1 and (launcher["accelerate"] is None) == (
        name in ("one", "torchrun")
    )
    assert Launcher(**launcher).launches == (name != "one")
    assert Launcher(**launcher | {"processes": 1}).launches == bool(
        launcher["accelerate"]
    )  # sharding is not left out
    if launcher["accelerate"]:
        (tmp_path / "it.yaml").write_text(
            yaml.safe_dump(launcher["accelerate"] | {"num_processes": launcher["processes"]})
        )
        read = load_config_from_file(str(tmp_path / "it.yaml"))
        assert (
            str(read.distributed_type).rpartition(".")[2] in ("FSDP", "DEEPSPEED")
            and read.num_processes == 8
        )


def test_an_ablation_reaches_both_sides_of_safe_rlhf():
    """Its reward and its cost each take a part of the constitution by tags, out of what `only`,
    `drop` and `weights` leave.
    """
    steps = composed_steps(
        "pipeline=safe_rlhf",
        "constitution.only=[harm-1,helpfulness-1]",
        "constitution.weights={harm-1: 3}",
    )
    for step in ("pairs", "safety_ratings", "safe_pairs"):
        assert steps[step]["constitution"]["only"] == ["harm-1", "helpfulness-1"]
        assert steps[step]["constitution"]["weights"] == {"harm-1": 3}


def test_safe_rlhf_knows_the_tags_of_a_constitution():
    def tags(*overrides: str) -> list[list[str]]:
        steps = composed_steps("pipeline=safe_rlhf", *overrides)
        return [steps[step]["constitution"]["tags"] for step in ("pairs", "safe_pairs")]

    assert tags() == tags("constitution.name=/my/own.set.yaml") == [["helpful"], ["safe"]]
    assert tags("model=qwen3_0_6b", "constitution.name=my/cai.yaml") == tags("model=qwen3_0_6b")
    own_set = ["model.constitution=mine.yaml", "constitution.name=mine.yaml"]
    assert tags(*own_set) == [["helpful"], ["safe"]]
    assert tags("model=qwen3_0_6b", "constitution.name=world") == [["helpful"], ["safe"]]
    assert tags("model=qwen3_0_6b") == [["help", "wisdom"], ["harm", "crime", "bias"]]
    assert tags("constitution.name=hhh") == [["helpful"], ["harmless"]]
    assert tags("pipeline.safe_tags=[calm]") == [["helpful"], ["calm"]]


def test_what_a_constitution_lacks_for_salmon_is_told_before_a_judge_is_asked():
    """`rots` has no opposites, so half of the labels could not be made: a plan must say so."""
    steps = read_steps(composed_steps("pipeline=salmon", "constitution.name=rots"), STAGES)
    pairs = next(step for step in steps if step.name == "pairs")
    with pytest.raises(UserError, match="no principle has an opposite"):
        pairs.contract.check(pairs.config)
