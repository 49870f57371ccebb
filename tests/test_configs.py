"""Every file under conf/ composes, and every pipeline's steps pass the checks that a run makes
first.
"""

import sys
from itertools import product
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from stages import STAGES
from stages.runtime.errors import UserError
from stages.runtime.pipeline.launch import Launcher
from stages.runtime.pipeline.steps import read_steps
from stages.runtime.stage import Stage, load_stage

CONF = Path(__file__).resolve().parents[1] / "conf"


def names(group: str) -> list[str]:
    found = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
    assert found, f"no files in conf/{group}"
    return found


def composed(*overrides: str) -> dict:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", list(overrides))
    return OmegaConf.to_container(config, resolve=True)


FILES = [
    "data.red_team.source=a.jsonl",
    "data.helpful.source=b.jsonl",
    "data.held_out.source=c.jsonl",
]


# The other models are `hub` with another path and settings, so one pipeline is enough for them.
@pytest.mark.parametrize(
    "model, pipeline",
    [
        *product(("embedded", "hub"), names("pipeline")),
        *((model, "salmon") for model in names("model")),
    ],
)
def test_models_with_pipelines(model, pipeline):
    more = ["model.path=owner/name"] if model == "hub" else []
    steps = read_steps(
        composed(f"model={model}", f"pipeline={pipeline}", *more)["pipeline"]["steps"], STAGES
    )
    assert len(steps) > 5
    assert steps[-1].stage == "report"


@pytest.mark.parametrize("data", names("data"))
@pytest.mark.parametrize("generator", names("generator"))
def test_every_source_with_every_generator(data, generator):
    config = composed(f"data={data}", f"generator={generator}", *(FILES if data == "files" else []))
    read_steps(config["pipeline"]["steps"], STAGES)
    assert config["generator"]["name"] == generator


@pytest.mark.parametrize(
    "experiment", sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
)
def test_every_experiment(experiment):
    config = composed(f"experiment={experiment}")
    assert "experiment" not in config, (
        "its `# @package _global_` must be the first line, or nothing is changed"
    )
    assert config != composed()
    read_steps(config["pipeline"]["steps"], STAGES)


def test_a_hub_model_brings_its_data_and_the_command_line_wins():
    assert composed("model=qwen3_0_6b")["data"]["red_team"]["source"] == "Anthropic/hh-rlhf"
    assert (
        composed("model=qwen3_0_6b", "data=world")["data"]["red_team"]["source"]
        == "stages.world:red_team"
    )
    assert composed()["constitution"]["name"] == "world"


def test_the_table_of_stages_is_whole():
    """Each stage is listed once, and imports without its heavy libraries."""
    assert len(set(STAGES.values())) == len(STAGES)
    for location in STAGES.values():
        stage = load_stage(location)
        assert isinstance(stage, Stage)
        assert sys.modules[location.partition(":")[0]].__doc__
        assert stage.config.__dataclass_params__.frozen


def test_a_variant_says_only_what_differs():
    steps = composed("pipeline=cai_two_rounds")["pipeline"]["steps"]
    assert steps["revisions"]["rounds"] == 2 and steps["revisions"]["stage"] == "revise"
    assert list(steps) == list(composed()["pipeline"]["steps"])


@pytest.mark.parametrize("part", ["bias", "harm", "hhh", "reward_bench", "xstest"])
def test_a_benchmark_joins_any_pipeline(part):
    """From the command line, on the base; another model is one more input."""
    more = {
        "hhh": ["+pipeline.steps.hhh.inputs.policy=rl_cai"],
        "reward_bench": ["pipeline=cai_ppo"],
    }.get(part, [])
    more += ["pipeline.steps.reward_bench.inputs.reward=preferences"] * (part == "reward_bench")
    config = composed(f"+pipeline/parts@pipeline={part}", "+pipeline.folder=files", *more)
    steps = {step.name: step for step in read_steps(config["pipeline"]["steps"], STAGES)}
    assert {"rl_cai", "evaluation", "report"} < steps.keys() and len(steps) > 18
    if part == "hhh":
        assert steps["hhh"].inputs == {"base": "base", "policy": "rl_cai"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "page, least", [("README.md", 10), ("docs/ablation.md", 4), ("docs/benchmarks.md", 1)]
)
def test_commands_of_the_documents_compose(page, least):
    """Every `python run.py ...` in a block of code."""
    import re
    import shlex

    text = (CONF.parent / page).read_text()
    commands = [
        shlex.split(line, comments=True)[2:]
        for line in re.findall(r"^python run\.py.*$", text, re.MULTILINE)
    ]
    assert len(commands) >= least
    for arguments in commands:
        swept = {a for a in arguments if "-m" in arguments and "," in a and "[" not in a}
        single = [a.partition(",")[0] if a in swept else a for a in arguments if a != "-m"]
        read_steps(composed(*single)["pipeline"]["steps"], STAGES)


@pytest.mark.parametrize("name", names("launcher"))
def test_every_launcher(name, tmp_path):
    """accelerate takes the files that are handed to it; it refuses keys that it does not know."""
    import yaml
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
    steps = composed(
        "pipeline=safe_rlhf",
        "constitution.only=[harm-1,helpfulness-1]",
        "constitution.weights={harm-1: 3}",
    )["pipeline"]["steps"]
    for step in ("pairs", "safety", "safe_pairs"):
        assert steps[step]["constitution"]["only"] == ["harm-1", "helpfulness-1"]
        assert steps[step]["constitution"]["weights"] == {"harm-1": 3}


def test_what_a_constitution_lacks_for_salmon_is_told_before_a_judge_is_asked():
    """`rots` has no opposites, so half of the labels could not be made: a plan must say so."""
    steps = read_steps(
        composed("pipeline=salmon", "constitution.name=rots")["pipeline"]["steps"], STAGES
    )
    pairs = next(step for step in steps if step.name == "pairs")
    with pytest.raises(UserError, match="no principle has an opposite"):
        pairs.contract.check(pairs.config)
