"""Cost: forecast before a run, a budget that stops it, and what it did cost."""

import io
import json

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from stages.guards.console import open_console
from stages.runtime.calls import Engines
from stages.runtime.cost import foreseen
from stages.runtime.cost.budget import Budget, BudgetSpent
from stages.runtime.cost.foreseen import Expense
from stages.runtime.cost.prices import (
    Prices,
    Usage,
    bound_tokens,
    estimate_tokens,
    format_money,
    read_tokenizer,
)
from stages.runtime.models import Model
from stages.runtime.pipeline.display import describe_new_calls
from tests.running import Seeded, run_steps, text_pipeline

PRICES = {"input": 2.0, "output": 8.0}
MOST = 256  # max_tokens of a text, by default
TURN = [{"role": "user", "content": "request number 7"}]


def some_steps(folder, *names, prompts=8):
    steps = text_pipeline(folder, prompts=prompts)
    return {name: steps[name] for name in ("base", "requests", *names)}


def test_money_is_tokens_times_prices():
    usage = Usage(read=1_000_000, cached=250_000, written=500_000)
    assert Prices(2.0, 8.0).cost(usage) == 2.0 + 4.0
    assert Prices(2.0, 8.0, cached_input=1.0).cost(usage) == 1.5 + 0.25 + 4.0
    assert [format_money(m) for m in (0, 0.00001, 0.0042, 0.5, 1234.5)] == [
        "0.00",
        "1.0e-05",
        "0.0042",
        "0.50",
        "1,234.50",
    ]


def test_tokens_are_estimated_and_bounded(tmp_path):
    assert estimate_tokens(TURN) == 16 // 4 + 4
    words = [{"role": "user", "content": "build a safe dog"}]
    assert read_tokenizer(str(tmp_path / "a-served-name")) is None
    vocabulary = {"build": 0, "a": 1, "safe": 2, "dog": 3}
    tokenizer = Tokenizer(WordLevel(vocabulary))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert estimate_tokens(words, read_tokenizer(str(tmp_path))) == 4 + 4 <= bound_tokens(words)
    assert bound_tokens([{"role": "user", "content": "\U0001f600"}]) >= 4, "a byte may be a token"


def test_a_plan_counts_all_calls_and_their_cost(tmp_path):
    """Also those that depend on answers which are not there yet."""
    steps = some_steps(tmp_path, "answers", "revisions", "judgements", prompts=4)
    planned, _ = run_steps(steps, tmp_path, only_plan=True, prices=PRICES)
    by_name = {plan.step.name: plan for plan in planned}
    assert by_name["answers"].forecast is None, "its requests are not read yet"
    run_steps(some_steps(tmp_path, "answers", prompts=4), tmp_path)
    generator = Seeded()
    planned, _ = run_steps(steps, tmp_path, generator, only_plan=True, prices=PRICES)
    new = {plan.step.name: plan.forecast.new for plan in planned if plan.forecast}
    assert generator.calls == 0
    assert (new["revisions"].calls, new["judgements"].calls) == (8 * 4, 4 * 16 * 2)
    assert new["revisions"].most == 8 * 4 * MOST
    assert new["revisions"].likely is None, "no revision was written before"
    assert new["judgements"].most == new["judgements"].likely == 4 * 16 * 2
    for each in new.values():
        assert each.most_cost == pytest.approx((2 * each.read + 8 * each.most) / 1e6)
    assert "cost at most" in describe_new_calls(planned)
    _, done = run_steps(steps, tmp_path, generator, prices=PRICES)
    sent = sum(done[name].manifest.calls.sent for name in new)
    assert sent == sum(each.calls for each in new.values())
    read = sum(estimate_tokens(messages) for messages, _ in generator.chosen)
    assert new["judgements"].read == read, "exact where no question depends on an answer"


def test_likely_cost_is_that_of_earlier_answers(tmp_path):
    _, done = run_steps(some_steps(tmp_path, "answers"), tmp_path)
    calls = done["answers"].manifest.calls
    steps = some_steps(tmp_path, "answers")
    planned, _ = run_steps(steps, tmp_path, seed=1, only_plan=True, prices=PRICES)
    assert planned[-1].forecast is None, "the seed makes other requests"
    run_steps(some_steps(tmp_path), tmp_path, seed=1)
    planned, _ = run_steps(steps, tmp_path, seed=1, only_plan=True, prices=PRICES)
    new = planned[-1].forecast.new
    assert new.likely == calls.tokens
    assert new.likely_cost == pytest.approx((2 * new.read + 8 * calls.tokens) / 1e6)


def test_rows_that_are_not_followed_count_like_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(foreseen, "FOLLOWED", 5)
    prompts = 12
    run_steps(some_steps(tmp_path, prompts=prompts), tmp_path)
    steps = some_steps(tmp_path, "answers", prompts=prompts)
    planned, _ = run_steps(steps, tmp_path, only_plan=True)
    assert planned[-1].forecast.new.calls == 2 * prompts
    assert planned[-1].forecast.open_rows == planned[-1].forecast.rows


def test_expenses_add_up():
    one = Expense(2, 20, 200, 30, 1.0, 0.5)
    assert one + Expense() == Expense() + one == one
    assert one + Expense(1, 10, 100) == Expense(3, 30, 300, None, 1.0, None)
    assert one + one == Expense(4, 40, 400, 60, 2.0, 1.0)
    free = Expense(1, 10, 100, 10)
    assert one + free == Expense(3, 30, 300, 40, 1.0, 0.5)


def test_a_budget_stops_before_it_is_exceeded_and_loses_nothing(tmp_path):
    steps = some_steps(tmp_path, "answers", "judgements", prompts=6)
    whole = Seeded()
    run_steps(steps, tmp_path / "whole", whole)
    sent = 0
    for limit in ({"tokens": 4_000}, {"money": 0.008}):
        generator = Seeded(delay=0.001)
        with pytest.raises(BudgetSpent) as stop:
            run_steps(steps, tmp_path, generator, prices=PRICES, budget=limit, concurrency=64)
        used = sum(estimate_tokens(messages) + 1 for messages, _ in generator.chosen)
        words = [len(messages[-1]["content"].split()) for messages, _, _ in generator.completed]
        used += sum(2 * count + 3 for count in words)  # the answer repeats it, with three more
        assert used <= limit.get("tokens", used)
        assert 2 * used / 1e6 <= limit.get("money", 1.0)
        assert generator.calls > 20
        name, value = next(iter(limit.items()))
        shown = {"tokens": "budget_tokens", "money": "budget"}[name]
        assert f"{shown}={value}" in stop.value.what
        assert "same command" in stop.value.fix
        sent += generator.calls
    rest = Seeded()
    run_steps(steps, tmp_path, rest, prices=PRICES)
    assert sent + rest.calls == whole.calls, "no call was sent twice"


async def test_a_call_waits_for_those_in_flight_before_it_is_refused():
    budget = Budget(tokens=100)
    async with budget.hold(Usage(60, 0, 0), None):
        pass
    budget.spend(Usage(60, 0, 0), None)
    with pytest.raises(BudgetSpent):
        async with budget.hold(Usage(41, 0, 0), None):
            pass
    async with budget.hold(Usage(40, 0, 0), None):
        assert budget.share(2) == {"money": None, "tokens": 20}


def test_a_budget_of_money_needs_prices(tmp_path):
    with pytest.raises(Exception, match="no tokens have a price"):
        run_steps(some_steps(tmp_path), tmp_path, only_plan=True, budget={"money": 1.0})


def test_what_it_did_cost_is_kept_and_shown(tmp_path):
    screen = io.StringIO()
    generator = Seeded()
    steps = some_steps(tmp_path, "answers")
    console = open_console(file=screen, width=200)
    _, done = run_steps(steps, tmp_path, generator, prices=PRICES, console=console)
    read = sum(len(messages[-1]["content"].split()) for messages, _, _ in generator.completed)
    written = read + 2 * 16  # "answer to: <request>"
    manifest = json.loads((done["answers"].directory / "manifest.json").read_text())
    calls = manifest["calls"]
    assert (calls["read"], calls["tokens"], calls["sent"]) == (read, written, 16)
    assert calls["cost"] == pytest.approx((2 * read + 8 * written) / 1e6)
    assert f"{read} tokens read, {written} written, cost 0.00" in screen.getvalue()
    _, unpriced = run_steps(steps, tmp_path / "unpriced", Seeded())
    assert unpriced["answers"].manifest.calls.cost is None
    assert unpriced["answers"].manifest.calls.read == read


def test_prices_are_those_of_who_answers():
    options = {"endpoints": ["http://127.0.0.1:1/v1"], "serves": "owner/name"}
    engines = Engines("server", options, prices=PRICES, budget={"money": 3.0})
    assert engines.prices(Model("owner/name", "0" * 16)) == Prices(2.0, 8.0)
    assert engines.prices(Model("runs/policy", "1" * 16)) is None, "this process samples it"
    judge = engines.add("server", {"endpoints": options["endpoints"]}, "judge", None, Prices(1.0))
    cheap = Model("judge", "2" * 16, generator=judge)
    assert engines.prices(cheap) == Prices(1.0)
    other = engines.add(None, {"timeout": 9}, "judge")
    assert engines.prices(Model("owner/name", "3" * 16, generator=other)) == Prices(2.0, 8.0)
    copy = Engines(**engines.describe(2))
    assert copy.prices(cheap) == Prices(1.0)
    assert copy.budget.money == 1.5
