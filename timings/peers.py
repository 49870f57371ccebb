"""Other tools on the work of `server_path.py --parts small`: a response, a critique and a revision
of each row, over a stub that pauses 0.2 s on average.

    python -m venv /tmp/sdg && /tmp/sdg/bin/pip install sdg_hub
    python timings/peers.py --peers sdg_hub=/tmp/sdg/bin/python --rows 400 --in-flight 50

Each peer (`sdg_hub`, `curator` of bespokelabs-curator, `distilabel[openai]`) runs in its own
environment, with its store switched off where it has one. `steps` are the seconds between the rows
and the last revision, without imports; of Credo those of its two steps in the manifests, with its
store and its files. The reference is plain asyncio with aiohttp, which stores nothing.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).resolve()
ROOT = SCRIPT.parents[1]
TURNS = {
    "response": "{instruction}",
    "critique": "Q: {instruction} A: {response} Say what is wrong with this answer.",
    "revision": "Q: {instruction} A: {response} Fault: {critique} Write a better answer.",
}
"""The three questions: what each asks, with what came before it."""
SECONDS = 300
"""After which a contender is stopped."""


def rows_of(count: int) -> list[dict[str, str]]:
    """The rows, before the first question."""
    return [{"instruction": f"prompt {number}"} for number in range(count)]


def sdg_hub(rows: list[dict[str, str]], url: str, in_flight: int) -> int:
    """Three chat blocks with the blocks that write their prompts and read their answers."""
    import pandas
    import yaml
    from sdg_hub import Flow

    blocks: list[dict[str, Any]] = []
    known = ["instruction"]
    with tempfile.TemporaryDirectory() as folder:
        for name, words in TURNS.items():
            template = words.replace("{", "{{").replace("}", "}}")
            prompt = Path(folder) / f"{name}.yaml"
            prompt.write_text(yaml.safe_dump([{"role": "user", "content": template}]))
            steps: list[tuple[str, dict[str, Any]]] = [
                (
                    "PromptBuilderBlock",
                    {
                        "input_cols": list(known),
                        "output_cols": f"{name}_messages",
                        "prompt_config_path": str(prompt),
                    },
                ),
                (
                    "LLMChatBlock",
                    {
                        "input_cols": f"{name}_messages",
                        "output_cols": f"{name}_raw",
                        "async_mode": True,
                    },
                ),
                (
                    "LLMResponseExtractorBlock",
                    {
                        "input_cols": f"{name}_raw",
                        "field_prefix": f"{name}_",
                        "extract_content": True,
                    },
                ),
                ("RenameColumnsBlock", {"input_cols": {f"{name}_content": name}}),
            ]
            for kind, config in steps:
                config["block_name"] = f"{name}_{kind}"
                blocks.append({"block_type": kind, "block_config": config})
            known.append(name)
        about = {"name": "rows", "description": "rows", "version": "1.0.0", "author": "credo"}
        flow_file = Path(folder) / "flow.yaml"
        flow_file.write_text(yaml.safe_dump({"metadata": about | {"id": "rows"}, "blocks": blocks}))
        flow = Flow.from_yaml(str(flow_file))
        flow.set_model_config(model="openai/m", api_base=url, api_key="none")
        return len(flow.generate(pandas.DataFrame(rows), max_concurrency=in_flight))


def curator(rows: list[dict[str, str]], url: str, in_flight: int) -> int:
    """Three calls of `curator.LLM`, each over the rows of the one before."""
    import tiktoken

    class Characters:  # its vocabularies lie on a server
        def encode(self, text: str, **_: Any) -> list[str]:
            return list(text[::4])

    tiktoken.get_encoding = lambda _: Characters()
    tiktoken.encoding_for_model = lambda _: Characters()
    from bespokelabs import curator as tool

    limits = {"max_requests_per_minute": 10**7, "max_tokens_per_minute": 10**10}
    server = {"base_url": url, "api_key": "none", "max_concurrent_requests": in_flight}
    answers: Any = rows
    for name, words in TURNS.items():

        class Turn(tool.LLM):
            turn, question = name, words

            def prompt(self, row: dict[str, str]) -> str:
                return self.question.format(**row)

            def parse(self, row: dict[str, str], text: str) -> dict[str, str]:
                return {**row, self.turn: text}

        model = Turn(model_name="m", backend="openai", backend_params=server | limits)
        reply = model(answers)
        answers = getattr(reply, "dataset", reply)
    return len(answers)


def distilabel(rows: list[dict[str, str]], url: str, in_flight: int) -> int:
    """A pipeline of three text generations, in batches as large as what is in flight."""
    from distilabel.models import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts
    from distilabel.steps.tasks import TextGeneration

    known = ["instruction"]
    with Pipeline(name=f"rows-{time.time_ns()}") as pipeline:
        last: Any = LoadDataFromDicts(data=rows, batch_size=in_flight)
        for name, words in TURNS.items():
            step = TextGeneration(
                name=name,
                llm=OpenAILLM(model="m", base_url=url, api_key="none"),
                input_batch_size=in_flight,
                template=words.replace("{", "{{").replace("}", "}}"),
                columns=list(known),
                output_mappings={"generation": name},
            )
            last >> step
            last = step
            known.append(name)
    return len(pipeline.run(use_cache=False)["default"]["train"])


PEERS: dict[str, Callable[[list[dict[str, str]], str, int], int]] = {
    "sdg_hub": sdg_hub,
    "curator": curator,
    "distilabel": distilabel,
}
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
    "OPENAI_API_KEY": "none",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "TELEMETRY_ENABLED": "False",
    "CURATOR_DISABLE_CACHE": "true",
    "CURATOR_DISABLE_RICH_DISPLAY": "1",
}


def run_peer(python: Path, name: str, rows: int, in_flight: int, url: str) -> dict[str, float]:
    """Run one peer in its own environment; `seconds` are those of its steps."""
    command = [str(python), str(SCRIPT), "--job", name, str(rows), str(in_flight), url]
    start = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            command,
            env=os.environ | ENVIRONMENT,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr[-3000:]}")
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert facts["rows"] == rows, facts
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": facts["seconds"], "process": time.perf_counter() - start, "cpu": cpu}


def work_as_peer(name: str, rows: str, in_flight: str, url: str) -> None:
    """In a peer's environment: do the work, and print its seconds."""
    modules = {"curator": "bespokelabs"}
    __import__(modules.get(name, name))
    start = time.perf_counter()
    finished = PEERS[name](rows_of(int(rows)), url, int(in_flight))
    print(json.dumps({"rows": finished, "seconds": time.perf_counter() - start}))


def main() -> None:
    """Time Credo, its peers and plain asyncio in turn."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", nargs="+", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--in-flight", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--job", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        work_as_peer(*options.job)
        return
    sys.path.insert(0, str(ROOT))
    from timings.server_path import compare, run_job, run_pipeline, stub, visit

    rows, in_flight = options.rows, options.in_flight
    with stub("--mean", "0.2") as url:

        def fresh(run: Callable[..., dict[str, float]], *values: Any) -> Callable[[], Any]:
            def start() -> dict[str, float]:
                visit(url, "/reset")
                return run(*values)

            return start

        sizes = (str(rows), str(in_flight), url)
        contenders = {"asyncio": fresh(run_job, ROOT, "stream", *sizes)}
        contenders["credo"] = fresh(run_pipeline, ROOT, rows, in_flight, url)
        for peer in options.peers:
            name, _, python = peer.partition("=")
            contenders[name] = fresh(run_peer, Path(python), name, rows, in_flight, url)
        title = f"{rows} rows x 3 calls, {in_flight} in flight"
        compare(title, options.repeats, "asyncio", contenders)


if __name__ == "__main__":
    main()
