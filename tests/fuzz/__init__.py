"""Hostile and unlucky input, drawn at random: `python -m tests.fuzz --help`.

A kind of input is one module with a `KIND` (see `kind.py`), and one line in `kinds.py`. Its
`attempt` draws one input and gives it to Credo in this process. The lane (`lane.py`) runs attempts
in worker processes that may hang, crash or eat memory (`pool.py`), and counts what became of each.
"""
