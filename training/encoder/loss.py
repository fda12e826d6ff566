"""The loss: of all rows at hand, a clip's own is to be the nearest (InfoNCE, van den Oord 2018)."""

import torch
from torch import Tensor
from torch.nn import functional

NEVER = -1e4
"""Stands for the cosine of what is neither right nor wrong."""


class ContrastiveLoss:
    """Cross-entropy of finding each clip's row among all, and each row's clip.

    Other moments of a clip's own song are left out: a chorus that returns is no wrong answer.

    Args:
        temperature: scale of the cosines.
        remembered: rows of earlier steps that are wrong ones, too (He et al. 2020).
    """

    def __init__(self, temperature: float, remembered: int):
        self.temperature, self.remembered = temperature, remembered
        self.rows = torch.zeros(0, 0)
        self.songs = torch.zeros(0, dtype=torch.long)

    def __call__(self, clips: Tensor, rows: Tensor, songs: Tensor) -> tuple[Tensor, float]:
        """The loss of a step, and the share of clips whose row is the nearest.

        Args:
            clips, rows: embeddings, float [pairs, values].
            songs: whose they are, int [pairs].
        """
        clips, rows = functional.normalize(clips, dim=1), functional.normalize(rows, dim=1)
        every = torch.cat([rows, self.rows]) if len(self.rows) else rows
        whose = torch.cat([songs, self.songs])
        target = torch.arange(len(songs))
        same = songs[:, None] == whose[None]
        same[target, target] = False
        found = (clips @ every.T / self.temperature).masked_fill(same, NEVER)
        back = (rows @ clips.T / self.temperature).masked_fill(same[:, : len(songs)], NEVER)
        loss = functional.cross_entropy(found, target) + functional.cross_entropy(back, target)
        right = (found.argmax(1) == target).float().mean().item()
        return loss / 2, right

    def remember(self, rows: Tensor, songs: Tensor) -> None:
        """Keep a step's rows, and forget the oldest."""
        rows = functional.normalize(rows.detach(), dim=1)
        kept = [rows, self.rows] if len(self.rows) else [rows]
        self.rows = torch.cat(kept)[: self.remembered]
        self.songs = torch.cat([songs, self.songs])[: self.remembered]
