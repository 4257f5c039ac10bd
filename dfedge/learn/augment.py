"""Random moves of training images, drawn on the CPU so that every device sees the same ones."""

import torch
import torch.nn.functional as F
from torch import Tensor


def augment(x: Tensor, shift: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Move images by up to ``shift`` pixels (zeros move in), mirror half of them: [B, C, H, W].

    Along an axis of one position nothing moves.
    """
    batch, _, height, width = x.shape
    if flip:
        mirrored = torch.rand(batch, generator=generator) < 0.5
        x = torch.where(mirrored.to(x.device)[:, None, None, None], x.flip(3), x)
    if shift:
        offset = torch.randint(0, 2 * shift + 1, (2, batch, 1), generator=generator).to(x.device)
        offset[[size == 1 for size in (height, width)]] = shift
        rows = offset[0] + torch.arange(height, device=x.device)  # [B, H]
        cols = offset[1] + torch.arange(width, device=x.device)
        padded = F.pad(x, [shift] * 4).permute(0, 2, 3, 1)
        samples = torch.arange(batch, device=x.device)[:, None, None]
        x = padded[samples, rows[:, :, None], cols[:, None, :]].permute(0, 3, 1, 2)
    return x
