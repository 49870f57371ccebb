"""The wiring of a pipeline: every input that a stage needs, each from a step of a kind it reads."""

from collections.abc import Mapping, Sequence
from typing import Any

from stages.guards.errors import Faults, UserError, did_you_mean, refuse_unknown
from stages.runtime.stage import Kind, Stage, describe_kind, fits
from stages.runtime.typed_config import show_value

SHOWN_STEPS = 12
"""How many steps a message suggests."""


class Wiring:
    """Checks one step after the other, inputs first.

    Args:
        names: of all steps, those too that cannot be read.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = dict.fromkeys(names)
        self.kinds: dict[str, Kind] = {}
        """What the steps before give."""

    def add(self, name: str, contract: Stage, config: Any, inputs: Mapping[str, Any]) -> None:
        """Check the inputs of the next step.

        Raises:
            UserError: an input is missing, unknown, of the wrong kind, or from an unknown step, or
                the options need another one; all of them are shown.
        """
        faults = Faults()
        where = f"step {name!r}"
        for needed, kind in contract.inputs.items():
            if needed not in inputs:
                fix = f"add `inputs: {{{needed}: <a step>}}`; {self._suggest(kind)}"
                faults.add(UserError(f"it needs the input {needed!r}", where=where, fix=fix))
        for input_name, source in inputs.items():
            with faults.gather():
                self._check_input(contract, input_name, source, where)
        others = [one for one in inputs if contract.place_of(one) == "*"]
        if len(others) < contract.least:
            kind = contract.optional["*"]
            count = "one or more" if contract.least == 1 else f"{contract.least} or more"
            what = f"it needs {count} inputs under any name, each {describe_kind(kind)}"
            fix = f"add `inputs: {{<name>: <a step>}}`; {self._suggest(kind)}"
            faults.add(UserError(what, where=where, fix=fix))
        kinds: dict[str, Kind] = {}
        if not faults.errors:
            known = self.kinds
            kinds = {one: known[source] for one, source in inputs.items() if source in known}
        if kinds.keys() == inputs.keys() and config is not None:
            with faults.gather(where):
                contract.check_inputs(config, kinds)
        gives = contract.gives
        self.kinds[name] = kinds.get(gives, object) if isinstance(gives, str) else gives
        faults.raise_any()

    def _check_input(self, contract: Stage, name: str, source: Any, where: str) -> None:
        if contract.place_of(name) is None:
            places = [*contract.inputs, *contract.optional]
            refuse_unknown([name], places, "the stage takes no input", where)
        allowed = contract.kind_of(name)
        if not isinstance(source, str) or source not in self.names:
            hint = did_you_mean(str(source)[:100], list(self.names))
            raise UserError(
                f"the input {name!r} names the unknown step {show_value(source)}{hint}",
                where=where,
                fix=self._suggest(allowed),
            )
        if source in self.kinds and not fits(self.kinds[source], allowed):
            raise UserError(
                f"the input {name!r} is the step {source!r}, which gives "
                f"{describe_kind(self.kinds[source])}, not {describe_kind(allowed)}",
                where=where,
                fix=self._suggest(allowed),
            )

    def _suggest(self, kind: Kind) -> str:
        names = [name for name, gives in self.kinds.items() if fits(gives, kind)]
        if not names:
            return f"give it {describe_kind(kind)}; no step before it does"
        hidden = len(names) - SHOWN_STEPS
        more = f" and {hidden} more" if hidden > 0 else ""
        return f"choose from: {', '.join(names[-SHOWN_STEPS:])}{more}"
