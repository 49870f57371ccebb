"""What Credo costs between the rows and a server: against plain asyncio and aiohttp, by a stub.

    python timings/server_path.py --parts client small large endpoints --repeats 5
    python timings/server_path.py --parts small --before ../main   # and another checkout beside it

    client      calls alone: the server generator against aiohttp's session, 256 and 1,024 in flight
    small       400 rows x 3 calls (respond, criticise, revise), 50 in flight, pauses of 0.2 s
    large       1,600 rows x 3 calls, 1,024 in flight
    endpoints   calls a second with one, two, and two of which one is slow, each of them full
    inside      700 rows x 3 calls that are answered at once: Credo's own work, without HTTP

All contenders of a repeat follow each other; a ratio is that of one repeat to its own reference,
which is plain asyncio with aiohttp, one coroutine a row, storing nothing. Credo works in two steps
(answers, then revisions), so `waves` is the same reference with that barrier. Credo's seconds are
those of its two steps in the manifests, so without start-up and plan; its CPU and `process` have
all of it, and `plan` is what starting and planning take. On a machine that does other things, look
at the CPU.
"""

import argparse
import asyncio
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).resolve()
ROOT = SCRIPT.parents[1]
CHAT = "/chat/completions"
CLIENTS = ((1200, 256), (2400, 1024))
"""Calls, and how many in flight."""
SIZES = {"small": (400, 50), "large": (1600, 1024)}
"""Rows, and how many in flight."""
CRITIQUE = "Name the ways in which the last answer breaks the principle, if there are any."
REVISION = "Rewrite the last answer so that it follows the principle. Answer with the text only."
CAPACITY = 16
"""Requests that a stub works on at a time, where two are compared with one."""
ENDPOINT_CALLS = 2400


@contextmanager
def stub(*options: str) -> Iterator[str]:
    """A stub server in its own process; yields its address."""
    command = [sys.executable, str(SCRIPT.with_name("stub_server.py")), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.kill()
        process.wait()


def visit(url: str, path: str) -> Any:
    """Get JSON from a stub."""
    with urllib.request.urlopen(url.removesuffix("/v1") + path, timeout=60) as response:
        return json.load(response)


Facts = dict[str, float]


class Clock:
    """Seconds on the wall and of this process's CPU, since it was made."""

    def __init__(self) -> None:
        self.wall = time.perf_counter()
        self.worked = time.process_time()

    def read(self) -> Facts:
        """Return both."""
        wall, worked = time.perf_counter() - self.wall, time.process_time() - self.worked
        return {"seconds": wall, "cpu": worked}


async def bare_client(calls: int, in_flight: int, url: str) -> Facts:
    """Post with aiohttp's session."""
    import aiohttp

    body = {"model": "m", "messages": [{"role": "user", "content": "hello " * 50}]}
    numbers = iter(range(calls))
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def work() -> None:
            for _ in numbers:
                async with session.post(url + CHAT, json=body) as response:
                    await response.json()

        clock = Clock()
        await asyncio.gather(*[work() for _ in range(in_flight)])
        return clock.read()


async def credo_client(calls: int, in_flight: int, *urls: str) -> Facts:
    """Complete with the server generator."""
    from stages.runtime.generation import Sampling
    from stages.runtime.generator_registry import open_generator
    from stages.runtime.models import Model

    options = {"endpoints": list(urls), "concurrency": in_flight, "extensions": False}
    generator = await open_generator("server", Model("m", "0" * 16), options)
    numbers = iter(range(calls))

    async def work() -> None:
        for number in numbers:
            messages = [{"role": "user", "content": "hello " * 50}]
            await generator.complete(messages, Sampling(), number)

    clock = Clock()
    await asyncio.gather(*[work() for _ in range(in_flight * len(urls))])
    facts = clock.read()
    await generator.close()
    return facts


async def bare_rows(rows: int, in_flight: int, url: str, waves: bool) -> Facts:
    """Walk each row through its three calls.

    Args:
        waves: all rows are answered before one is criticised.
    """
    import aiohttp

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def walk(talk: list[dict[str, str]], turns: Sequence[str]) -> None:
            for turn in turns:
                talk.append({"role": "user", "content": turn})
                body = {"model": "m", "messages": talk, "max_tokens": 256, "temperature": 1.0}
                async with session.post(url + CHAT, json=body) as response:
                    answer = await response.json()
                talk.append(answer["choices"][0]["message"])

        async def work(numbers: Iterator[int], first: int, last: int) -> None:
            for number in numbers:
                await walk(talks[number], [f"prompt {number}", CRITIQUE, REVISION][first:last])

        talks: list[list[dict[str, str]]] = [[] for _ in range(rows)]
        clock = Clock()
        for first, last in ((0, 1), (1, 3)) if waves else ((0, 3),):
            numbers = iter(range(rows))
            await asyncio.gather(*[work(numbers, first, last) for _ in range(in_flight)])
        return clock.read()


async def answer_at_once(*_: Any) -> Any:
    """A generator without a server."""
    from stages.runtime.generation import Completion

    class Instant:
        async def complete(self, *_: Any) -> Completion:
            await asyncio.sleep(0)
            return Completion("A reply of some length. " * 8, "stop", 100, 48)

        async def close(self) -> None: ...

    return Instant()


def inside(rows: int) -> Facts:
    """Three calls a row that are answered at once: keys, store, rows and progress alone."""
    from types import SimpleNamespace

    from stages.guards.console import open_console
    from stages.runtime.calls import Engines
    from stages.runtime.context import Context
    from stages.runtime.generation import Sampling
    from stages.runtime.models import Model
    from stages.runtime.store import CallStore, derive_seed

    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as loop:
        store = CallStore(Path(folder) / "calls.sqlite")
        options = {"endpoints": ["http://nowhere.invalid/v1"]}
        engines = Engines("server", options, opener=answer_at_once)
        quiet = open_console(quiet=True)
        context = Context("rows", Path(folder), 0, store, engines, loop, quiet)
        generator = context.generator(Model("m", "0" * 16))

        async def walk(row: Any) -> Any:
            talk = []
            for turn, words in enumerate(("prompt", CRITIQUE, REVISION)):
                talk.append({"role": "user", "content": f"{words} {row.id}"})
                seed = derive_seed(0, row.id, turn)
                answer = await generator.complete(talk, Sampling(), seed)
                talk.append({"role": "assistant", "content": answer.text})
            return row

        clock = Clock()
        context.map([SimpleNamespace(id=str(number)) for number in range(rows)], walk)
        facts = clock.read()
        store.close()
        return facts


JOBS: dict[str, Callable[..., Any]] = {
    "bare_client": lambda calls, flight, url: bare_client(int(calls), int(flight), url),
    "credo_client": lambda calls, flight, *urls: credo_client(int(calls), int(flight), *urls),
    "stream": lambda rows, flight, url: bare_rows(int(rows), int(flight), url, False),
    "waves": lambda rows, flight, url: bare_rows(int(rows), int(flight), url, True),
}


def run_job(checkout: Path, *arguments: str) -> Facts:
    """Run a job in a process of its own."""
    environment = os.environ | {"CREDO_CHECKOUT": str(checkout)}
    command = [sys.executable, str(SCRIPT), "--job", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    facts: Facts = json.loads(done.stdout.splitlines()[-1])
    return facts


def run_pipeline(checkout: Path, rows: int, in_flight: int, url: str, plan: bool = False) -> Facts:
    """Answer, criticise and revise with `run.py`; `seconds` are those of the two steps.

    Args:
        plan: start and plan only; `seconds` are then those of the process.
    """
    with tempfile.TemporaryDirectory() as folder:
        prompts = Path(folder) / "prompts.jsonl"
        lines = [json.dumps({"prompt": f"prompt {number}"}) for number in range(rows)]
        prompts.write_text("\n".join(lines))
        sources = [f"data.{name}.source={prompts}" for name in ("red_team", "helpful", "held_out")]
        command = [sys.executable, "run.py", f"runs_dir={folder}/runs", "until=revisions"]
        command += ["data=files", *sources, "scale.rounds=1", "scale.only_faulty=false"]
        command += ["generator=server", f"generator.options.endpoints=[{url}]"]
        command += [f"generator.concurrency={in_flight}"]
        command += [f"generator.options.concurrency={in_flight}", f"store={folder}/calls.sqlite"]
        command += ["plan=true"] * plan
        start = time.perf_counter()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        process = time.perf_counter() - start
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if plan:
            return {"seconds": process, "cpu": cpu}
        manifests = {
            path.parent.name.rpartition("-")[0]: json.loads(path.read_text())
            for path in Path(folder).glob("runs/artifacts/*/manifest.json")
        }
        sent = sum(manifests[name]["calls"]["sent"] for name in ("answers", "revisions"))
        assert sent == 3 * rows, sent
        steps = sum(manifests[name]["seconds"] for name in ("answers", "revisions"))
        return {"seconds": steps, "process": process, "cpu": cpu}


def compare(
    title: str, repeats: int, reference: str, contenders: dict[str, Callable[[], Facts]]
) -> dict[str, Any]:
    """Run all contenders in turn; print every repeat, then medians, ranges and ratios."""
    print(f"\n{title}", flush=True)
    results: dict[str, list[Facts]] = {name: [] for name in contenders}
    for repeat in range(repeats):
        for name, run in contenders.items():
            facts = run()
            results[name].append(facts)
            shown = ", ".join(f"{key} {value:.2f}" for key, value in facts.items())
            print(f"  {repeat + 1} {name}: {shown}", flush=True)
    summary = {}
    for name, repeated in results.items():
        seconds = [facts["seconds"] for facts in repeated]
        pairs = zip(seconds, results[reference], strict=True)
        ratios = [value / facts["seconds"] for value, facts in pairs]
        cpu = [facts["cpu"] for facts in repeated]
        shown = f"{describe(seconds)} s, ratio {describe(ratios)}, CPU {describe(cpu)} s"
        print(f"  {name:<12} {shown}", flush=True)
        summary[name] = {"repeats": repeated, "ratios": ratios}
    return {"title": title, "reference": reference, "results": summary}


def describe(values: Sequence[float]) -> str:
    """The median and the range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def time_part(part: str, repeats: int, checkouts: dict[str, Path]) -> list[dict[str, Any]]:
    """Time one part."""
    if part == "endpoints":
        return [time_endpoints(repeats)]
    if part == "inside":
        contenders = {"credo": lambda: run_job(ROOT, "inside", "700")}
        return [compare("inside: 700 rows x 3 calls", repeats, "credo", contenders)]
    results = []
    with stub("--mean", "0.2") as url:

        def fresh(run: Callable[..., Facts], *arguments: Any) -> Callable[[], Any]:
            def start() -> Facts:
                visit(url, "/reset")
                return run(*arguments)

            return start

        if part == "client":
            for calls, flight in CLIENTS:
                sizes = (str(calls), str(flight), url)
                contenders = {"aiohttp": fresh(run_job, ROOT, "bare_client", *sizes)}
                for name, path in checkouts.items():
                    contenders[name] = fresh(run_job, path, "credo_client", *sizes)
                title = f"client: {calls} calls, {flight} in flight"
                results.append(compare(title, repeats, "aiohttp", contenders))
        else:
            rows, flight = SIZES[part]
            sizes = (str(rows), str(flight), url)
            contenders = {name: fresh(run_job, ROOT, name, *sizes) for name in ("stream", "waves")}
            contenders["plan"] = fresh(run_pipeline, ROOT, rows, flight, url, True)
            for name, path in checkouts.items():
                contenders[name] = fresh(run_pipeline, path, rows, flight, url)
            title = f"{part}: {rows} rows x 3 calls, {flight} in flight"
            results.append(compare(title, repeats, "stream", contenders))
    return results


def time_endpoints(repeats: int) -> dict[str, Any]:
    """Time the same calls over one full endpoint, two, and two of which one is slow."""
    full = ("--mean", "0.25", "--capacity", str(CAPACITY))
    slow = ("--mean", "0.75", "--capacity", str(CAPACITY))
    sizes = (str(ENDPOINT_CALLS), str(2 * CAPACITY))
    with stub(*full) as one, stub(*full) as two, stub(*slow) as late:

        def over(*urls: str) -> Callable[[], Facts]:
            def start() -> Facts:
                for url in urls:
                    visit(url, "/reset")
                facts = run_job(ROOT, "credo_client", *sizes, *urls)
                return facts | {"first": visit(urls[0], "/stats")["requests"]}

            return start

        contenders = {"one": over(one), "two": over(one, two), "fast and slow": over(one, late)}
        return compare(f"endpoints: {ENDPOINT_CALLS} calls", repeats, "one", contenders)


def main() -> None:
    """Time the parts that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = ("client", "small", "large", "endpoints", "inside")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--before", type=Path, help="another checkout, timed beside this one")
    parser.add_argument("--out", type=Path, help="a file for all numbers as JSON")
    parser.add_argument("--job", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        sys.path.insert(0, os.environ["CREDO_CHECKOUT"])
        name, *arguments = options.job
        facts = inside(int(arguments[0])) if name == "inside" else None
        print(json.dumps(facts or asyncio.run(JOBS[name](*arguments))))
        return
    checkouts = {"before": options.before.resolve()} if options.before else {}
    checkouts["credo"] = ROOT
    print(f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}")
    results = []
    for part in options.parts:
        results += time_part(part, options.repeats, checkouts)
    if options.out:
        options.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
