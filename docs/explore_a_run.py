# %% [markdown]
# # A run in a notebook
#
# Open this file in Jupyter (with jupytext), VS Code or PyCharm, which run its cells one by one, or
# run it as a script: `PYTHONPATH=. python docs/explore_a_run.py`. It begins at the folder of Credo
# and reads `runs/`. Nothing is computed or sent: the frames hold what runs recorded. Shares are
# fractions from 0 to 1.

# %% All runs, the newest first
import pandas as pd

from stages.runs import frame_of_runs, load_run

pd.set_option("display.width", 100)
runs = frame_of_runs()
print(runs[["run", "started", "pipeline", "seed", "state", "result"]].to_string(index=False))

# %% The last run that evaluated policies; `load_run("last")`, a label or a path work, too
evaluated = runs[runs.result.str.startswith("violations")]
run = load_run(evaluated.folder.iloc[0])
print(run.record.id, run.record.pipeline, list(run.steps))

# %% What was measured of each policy, with intervals
measures = run.measures()
wide = measures.pivot(index="measure", columns="policy", values="value")
print(wide.round(3))

# %% What changed, request by request, in percentage points; p is that of the paired test
effects = run.effects()
shares = effects[effects.measure != "words"]
points = (100 * shares[["value", "low", "high"]]).round(1)
print(pd.concat([shares[["policy", "against", "measure"]], points, shares[["n", "p"]]], axis=1))

# %% The principle that moved most
moved = effects[effects.measure.str.startswith("violates ")]
largest = moved.loc[moved.value.abs().idxmax()]
print(f"{largest.measure}: {100 * largest.value:+.1f} points, from {100 * largest.before:.1f} %")

# %% The rows behind it: one for each answer, with the judge's P(violated) and the ground truth
evaluation = [name for name, step in run.steps.items() if step.stage == "evaluate"][-1]
rows = run.frame(evaluation)
print(rows.groupby("policy").response.count())
print(rows[["policy", "prompt_id", "response"]].head())

# %% Any step as a dataset, for `map`, `filter` and the Hub
dataset = run.dataset(evaluation)
print(dataset.features)

# %% The curves of trainings; `.plot()` draws them if matplotlib is there
for name, step in run.steps.items():
    if step.metrics.get("history"):
        print(name, run.curve(name).tail(3))
