"""Which wrong labels a sample is shown: N distinct ones, drawn evenly or by confusion."""

import torch
from torch import Tensor

CONFUSION_MEMORY = 0.99


def draw(y: Tensor, count: int, odds: Tensor, generator: torch.Generator) -> Tensor:
    """N distinct wrong labels for each sample, int64 [B, N].

    Args:
        odds: [K, K], how likely each wrong label is for each right one; not negative.
        generator: on the CPU, so that every device draws the same.

    Uses the Gumbel trick: the N largest of log(odds) + noise.
    """
    noise = torch.rand(len(y), len(odds), generator=generator).clamp(min=1e-12).to(y.device)
    keys = odds[y].clamp(min=1e-12).log() - (-noise.log()).log()
    return keys.scatter(1, y[:, None], -torch.inf).topk(count, 1).indices


def remember(odds: Tensor, y: Tensor, rival: Tensor, violated: Tensor) -> None:
    """Move the odds in place towards how often each rival violated the margin of each label.

    Args:
        odds: [K, K].
        y, rival: int64 [B], labels.
        violated: bool [B].
    """
    seen = torch.zeros_like(odds)
    hit = torch.zeros_like(odds)
    seen.index_put_((y, rival), torch.ones_like(odds[0, 0]).expand(len(y)), accumulate=True)
    hit.index_put_((y, rival), violated.to(odds.dtype), accumulate=True)
    memory = CONFUSION_MEMORY**seen
    odds.mul_(memory).add_((1 - memory) * hit / seen.clamp(min=1)).clamp_(min=1e-3)
