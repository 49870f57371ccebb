"""`timings/on_gpu.py`: what it counts, and a pipeline on the embedded model, where the card is the
CPU.
"""

import json

import pytest

from tests.embedded import ROOT, TINY
from tests.tiny_model import build_tiny_model
from timings import on_gpu
from timings.on_gpu import CountedEngine, Meter, Pass, Timed


@pytest.mark.parametrize("script", sorted((ROOT / "timings").glob("*.py")), ids=lambda it: it.name)
def test_a_script_finds_credo_as_the_commands_start_it(script):
    """`python timings/x.py` looks for modules beside the script, not in the current folder."""
    before, imports_credo, _ = script.read_text().partition("\nfrom stages.")
    assert not imports_credo or "sys.path." in before


@pytest.mark.parametrize(
    "name, peak",
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA GeForce RTX 4090", 165e12),
        ("Tesla V100-SXM2-16GB", None),
    ],
)
def test_peaks_are_those_of_the_card(name, peak):
    assert on_gpu.find_peak(name) == peak


def test_forward_passes_are_counted_with_and_without_gradients(tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(build_tiny_model(tmp_path))
    # what multiplies a token, by the layers themselves: all but the lookup in the first table
    table = network.get_input_embeddings().weight
    tied = network.get_output_embeddings().weight is table
    size = sum(p.numel() for p in network.parameters()) - (0 if tied else table.numel())
    texts, meter = torch.ones(3, 5, dtype=torch.long), Meter()
    with on_gpu.count_passes(meter):
        network.train()
        network(input_ids=texts).logits.sum().backward()
        with torch.no_grad():
            network(texts)
        network.eval()
        network.generate(input_ids=texts, max_new_tokens=4, min_new_tokens=4, do_sample=False)
    network(texts)  # no more counted
    assert [one.tokens for one in meter.passes] == [15, 15, 15, 3, 3, 3]
    flops = [one.flops for one in meter.passes]
    assert flops == [6 * 15 * size, 2 * 15 * size, 2 * 15 * size, *[2 * 3 * size] * 3]
    assert on_gpu.parameters_of(str(tmp_path)) == size


async def test_a_vllm_engine_is_counted_less_what_its_cache_held():
    class Engine:
        prompt_tokens = cached_tokens = 0

        async def choose(self, messages, options):
            self.prompt_tokens += 100
            self.cached_tokens += 40
            return "a choice"

    meter = Meter()
    engine = CountedEngine(Engine(), 10, meter)
    assert [await engine.choose([], ["A"]) for _ in range(2)] == ["a choice"] * 2
    assert [(one.tokens, one.flops) for one in meter.passes] == [(60, 1200), (60, 1200)]


def test_an_interval_is_cut_out():
    meter = Meter([Pass(1.0, 5, 50), Pass(2.0, 7, 70), Pass(3.0, 9, 90)])
    meter.memory = [(1.0, 400), (2.0, 200), (3.0, 300), (9.0, 500)]
    assert meter.between(1.0, 3.0) == (16, 160, 400)
    assert meter.between(1.5, 2.0) == (7, 70, 200)


def test_the_table_has_a_share_only_where_the_peak_is_known():
    line = Timed("cai", "sl_cai", "sft", 2.0, 30, 0, 0, 4000, 3 * 2**30, 4e14, 0.2022)
    facts = {"versions": {"torch": "2.11"}, "command": "it", "ends": {"cai": "finished in 2 s"}}
    card = {"name": "NVIDIA H100", "driver": "570", "peak": 989e12}
    shown = on_gpu.as_markdown(facts | {"card": card}, [line])
    assert "NVIDIA H100, driver 570; torch 2.11." in shown
    assert "| cai | sl_cai | sft | 2.0 | 30 | 0 | 0 | 2000 | 3.0 | 20.2% |" in shown
    cpu = {"name": "CPU", "driver": None, "peak": None}
    assert "share" not in on_gpu.as_markdown(facts | {"card": cpu}, [line])


@pytest.mark.parametrize("pipeline", ["cai", "rlaif"])
def test_its_overrides_compose(tmp_path, pipeline):
    """For a model of the Hub on files, as on a rented card."""
    for file in on_gpu.FILES:
        (tmp_path / f"{file}_test.jsonl.gz").touch()
    options = on_gpu.parse_options(["--data", str(tmp_path), "--rows", "100"])
    config, steps = on_gpu.compose_steps(on_gpu.overrides_of(options, pipeline))
    assert config["data"]["held_out"]["offset"] == config["data"]["red_team"]["limit"] == 100
    assert config["model"]["rloo"]["use_vllm"] is False and steps


@pytest.mark.long
@pytest.mark.skipif(
    not (ROOT / "stages/world/checkpoint/model.safetensors").exists(), reason="no embedded model"
)
def test_a_pipeline_is_timed_on_the_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr(on_gpu, "INTERVAL", 0.05)
    command = ["--model", "embedded", "--data", "world", "--pipelines", "dpo", "--rows", "12"]
    sizes = [one for one in TINY if not one.startswith("data.")]
    assert on_gpu.main([*command, "--out", str(tmp_path), "--", *sizes]) == 0
    report = json.loads((tmp_path / "on_gpu.json").read_text())
    lines = {line["step"]: line for line in report["steps"]}
    assert {"samples", "judgements", "policy", "policy_held_out"} <= set(lines)
    samples, policy = lines["policy_held_out"], lines["policy"]
    assert samples["calls"] > 0 and samples["tokens"] > samples["written"] > 0
    # two batches of 16 pairs and at most 320 tokens a text, and as many for the reference
    assert 0 < policy["tokens"] <= 2 * 2 * 32 * 320
    parameters = on_gpu.parameters_of(str(ROOT / "stages/world/checkpoint"))
    assert 2 * parameters < policy["flops"] / policy["tokens"] <= 6 * parameters
    assert samples["flops"] == 2 * parameters * samples["tokens"]
    assert all(line["share"] is None for line in lines.values())
    assert policy["peak_bytes"] > 2**27
    assert "CPU" in (tmp_path / "on_gpu.md").read_text()
