"""Table e: how trained nets bear a device that differs from the bench.

Device mismatch is a random factor on every weight, photon shot noise a Poisson count of the
pixels, impulse noise salt and pepper, and the last one cuts weights to 4 bits after training.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from dfedge.data.dataset import Dataset
from dfedge.learn.net import Net, stages
from dfedge.learn.run_data import load_data
from dfedge.learn.samples import Samples, to_samples
from dfedge.learn.trainer import accuracy
from dfedge.reproduce.accuracy import cell
from dfedge.reproduce.table import Context, PaperTable, Row, TableCell, grid

RULES = ["ff", "df", "df-o", "bp"]
DATA = "fashion-mnist"
SEEDS = 3
BRIGHTEST = 127


@torch.no_grad()
def mismatch(net: Net, level: float, g: torch.Generator) -> None:
    """Multiply every weight by 1 + level * normal noise."""
    for _, stage in stages(net):
        noise = torch.randn(stage.weight.shape, generator=g)
        stage.weight.mul_(1 + level * noise)


@torch.no_grad()
def cut_weights(net: Net, bits: int, g: torch.Generator) -> None:
    """Round every folded weight to ``bits`` bits, one scale a tensor; ``g`` is not used."""
    largest = (1 << bits - 1) - 1
    for _, stage in stages(net):
        unit = stage.weight.abs().max() / largest
        stage.weight.copy_((stage.weight / unit).round() * unit)


def shot(x: Tensor, photons: float, g: torch.Generator) -> Tensor:
    """Pixels 0..127 as counts of at most ``photons``."""
    counts = torch.poisson(x.float() / BRIGHTEST * photons, generator=g)
    return (counts / photons * BRIGHTEST).round().clamp(0, BRIGHTEST).to(torch.int8)


def impulse(x: Tensor, share: float, g: torch.Generator) -> Tensor:
    """A share of the pixels set to black or white."""
    drawn = torch.rand(x.shape, generator=g)
    salted = torch.where(drawn < share / 2, torch.tensor(0, dtype=x.dtype), x)
    white = (drawn >= share / 2) & (drawn < share)
    return torch.where(white, torch.tensor(BRIGHTEST, dtype=x.dtype), salted)


Change = Callable[[Net, Samples, torch.Generator], Samples]


def _clean(net: Net, samples: Samples, g: torch.Generator) -> Samples:
    return samples


def _on_net(change: Callable[..., None], level: float) -> Change:
    def apply(net: Net, samples: Samples, g: torch.Generator) -> Samples:
        change(net, level, g)
        return samples

    return apply


def _on_pixels(change: Callable[..., Tensor], level: float) -> Change:
    def apply(net: Net, samples: Samples, g: torch.Generator) -> Samples:
        return Samples(change(samples.x, level, g), samples.y)

    return apply


CHANGES: dict[str, Change] = {
    "clean": _clean,
    **{f"mismatch {level:.0%}": _on_net(mismatch, level) for level in (0.1, 0.2, 0.4)},
    **{f"shot, {photons} photons": _on_pixels(shot, photons) for photons in (30, 10, 3)},
    **{f"impulse {share:.0%}": _on_pixels(impulse, share) for share in (0.02, 0.05, 0.1)},
    "4-bit weights": _on_net(cut_weights, 4),
}
"""Column -> what happens to a trained net, or to the test images."""


def _job(rule: str) -> TableCell:
    def run(context: Context) -> Row:
        here = cell(rule, DATA, context.device != "cpu")
        trained, row = here.train(f"a {rule} {DATA}", context)
        data: Dataset = load_data(trained.plan)
        test = to_samples(data.split("test")[1])
        found = {}
        for name, change in CHANGES.items():
            total = 0.0
            for seed in range(SEEDS):
                net = trained.load_net()
                g = torch.Generator().manual_seed(seed)
                total += accuracy(net, change(net, test, g))
            found[name] = total / SEEDS
        return row | {"noise": found, "noise_seeds": SEEDS}

    return TableCell(rule, run)


def _render(rows: dict[str, Row]) -> str:
    def cell_of(change: str, rule: str) -> str:
        row = rows.get(rule)
        return f"{100 * row['noise'][change]:.1f}" if row and "noise" in row else "not run"

    return grid("Fashion-MNIST, %", list(CHANGES), RULES, cell_of)


TABLE_E = PaperTable(
    "e", "trained nets under noise, mean of three draws", [_job(rule) for rule in RULES], _render
)
