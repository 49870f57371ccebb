"""Hostile and unlucky input, drawn at random: `python -m tests.fuzz --help`.

A kind of input is a `Kind` (`kind.py`), and one line in `kinds.py`. Modules such as
`constitutions.py` draw inputs. An attempt, most of them in `attempts.py`, draws one and gives it to
Credo in this process. The lane (`lane.py`) runs attempts in worker processes that may hang, crash
or eat memory (`pool.py`), and counts what became of each. Whole runs that are killed or whose disk
is full: `kills.py`, `trainings.py`, `disks.py`.
"""
