"""Changed .pt2 archives: adopted or refused with one line, and no code of theirs is run."""

import io
import json
import random
import zipfile
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from dfedge.adoption.pt2 import CONFIGS, MODEL
from dfedge.quiet import quiet
from trials.first_step import CLASSES, SHAPE, take_changed
from trials.structure import changed
from trials.trial import Trials

Members = dict[str, bytes]


class Small(nn.Module):
    """A little of everything that plain nets hold."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Scores [B, K] of images [B, 1, 8, 8]."""
        x = torch.relu(self.norm(self.first((x - 0.5) / 0.25)))
        x = torch.cat([x, nn.functional.hardswish(x)], 1)
        scores: Tensor = self.last(nn.functional.adaptive_avg_pool2d(x, 1).view(x.size(0), -1))
        return scores


@cache
def ordinary() -> tuple[bytes, ...]:
    """As `torch.export.save` writes them: as traced, in plain operations, with an open batch."""
    torch.manual_seed(0)
    net, x = Small().eval(), (torch.zeros(2, 1, *SHAPE[:2]),)
    batch = torch.export.Dim("batch", min=1, max=64)
    with quiet():
        traced = torch.export.export(net, x, strict=False)
        opened = torch.export.export(net, x, dynamic_shapes=({0: batch},), strict=False)
        found = []
        for program in (traced, traced.run_decompositions({}), opened):
            out = io.BytesIO()
            torch.export.save(program, out)
            found.append(out.getvalue())
    return tuple(found)


def members(archive: bytes) -> Members:
    """What an archive holds, by path below its own folder."""
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        return {name.partition("/")[2]: file.read(name) for name in file.namelist()}


def packed(found: Members) -> bytes:
    """An archive of these members, whose checksums fit."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, content in found.items():
            file.writestr(f"archive/{name}", content)
    return out.getvalue()


def mutate_archives(folder: Path, trials: int, seed: int) -> Trials:
    """Change, adopt, learn: `trials.first_step.take_changed`."""
    draw, seeds = random.Random(seed), [members(one) for one in ordinary()]

    def one() -> bytes:
        return packed(_changed(draw.choice(seeds), draw))

    return take_changed(folder, "net.pt2", ordinary()[0], one, trials)


def _changed(given: Members, draw: random.Random) -> Members:
    if draw.random() < 0.1:
        name = draw.choice(list(given))
        raw = given[name][: draw.randrange(len(given[name]) + 1)]
        return given | {name: raw + draw.randbytes(draw.choice((0, 0, 1, 64)))}
    name = draw.choice((MODEL, MODEL, MODEL, *CONFIGS))
    return given | {name: json.dumps(changed(json.loads(given[name]), draw)).encode()}
