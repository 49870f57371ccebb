"""Muon for the matrices and AdamW for the rest."""

import torch
from torch import Tensor, nn

from stages.world.pretraining.parallel import Workers

MATRIX_RATE = 0.012
OTHER_RATE = 0.004
MOMENTUM = 0.95
DECAY = 0.02
FUSED_PARTS = {"query_key_value": 3, "gate_up": 2}
"""The number of matrices in a fused projection; each is orthogonalised alone."""


def orthogonalize(update: Tensor, steps: int = 5) -> Tensor:
    """The nearest matrix with all singular values about 1, by Newton-Schulz iteration."""
    is_tall = update.shape[0] > update.shape[1]
    matrix = update.T if is_tall else update
    matrix = matrix / (matrix.norm() + 1e-7)
    for _ in range(steps):
        square = matrix @ matrix.T
        matrix = 3.4445 * matrix + (-4.775 * square + 2.0315 * square @ square) @ matrix
    return matrix.T if is_tall else matrix


class Optimizer:
    """Steps a body's parameters with the learning rates times a scale."""

    def __init__(self, body: nn.Module) -> None:
        self.matrices: dict[str, nn.Parameter] = {}
        others = []
        for name, parameter in body.named_parameters():
            if parameter.ndim == 2 and not name.startswith("embedding"):
                self.matrices[name] = parameter
            else:
                others.append(parameter)
        self.momenta = {name: torch.zeros_like(matrix) for name, matrix in self.matrices.items()}
        self.adam = torch.optim.AdamW(others, lr=OTHER_RATE, betas=(0.9, 0.95), weight_decay=0.0)

    @torch.no_grad()
    def step(self, workers: Workers, scale: float) -> None:
        """One step; gradients are cleared afterwards."""
        for group in self.adam.param_groups:
            group["lr"] = OTHER_RATE * scale
        self.adam.step()
        self.adam.zero_grad()
        scales = [scale] * len(self.matrices)
        # As a list, so that all are done and an error of any of them is raised here.
        list(workers.map(self._step_matrix, self.matrices, scales))

    @torch.no_grad()
    def _step_matrix(self, name: str, scale: float) -> None:
        parameter = self.matrices[name]
        momentum = self.momenta[name].mul_(MOMENTUM).add_(parameter.grad)
        update = parameter.grad.add(momentum, alpha=MOMENTUM)
        parts = FUSED_PARTS.get(name.split(".")[-2], 1)
        step = torch.cat([orthogonalize(part) for part in update.chunk(parts)])
        stretch = max(1.0, step.shape[0] / parts / step.shape[1]) ** 0.5
        parameter.mul_(1 - MATRIX_RATE * scale * DECAY)
        parameter.add_(step, alpha=-MATRIX_RATE * scale * stretch)
        parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """All running averages as a flat dict of tensors."""
        tensors = {f"momentum.{name}": momentum for name, momentum in self.momenta.items()}
        for number, values in self.adam.state_dict()["state"].items():
            tensors |= {f"adam.{number}.{key}": value for key, value in values.items()}
        return tensors

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `state` returned."""
        saved = self.adam.state_dict()
        for key, value in tensors.items():
            kind, rest = key.split(".", 1)
            if kind == "momentum":
                self.momenta[rest].copy_(value)
            else:
                number, field = rest.split(".")
                saved["state"].setdefault(int(number), {})[field] = value
        self.adam.load_state_dict(saved)
