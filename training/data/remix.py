"""Fresh variety for images of samples, each time they are drawn.

Noise adds to samples as it does in a room, so that training images of audio need not hold it: each
time one is drawn, other noise is mixed in and the borders of its blocks are moved. A network that
reads samples has enough weights to learn a fixed set of them by heart.
"""

import numpy as np
import torch
from torch import Tensor

from ...model.features import unit_power
from ...support.arrays import Array


class AudioRemix:
    """Mixes noise into images of audio.

    Args:
        noise: stretches of noise as the front end analyses them, float32 [pieces, samples of a
            block, blocks], each longer than an image.
        share: of the images that get noise.
        snr_db: range of the signal-to-noise ratio, in dB.
    """

    def __init__(self, noise: Array, share: float, snr_db: tuple[float, float]):
        self._noise = torch.from_numpy(noise).mT.flatten(1)
        self._share, self._snr_db = share, snr_db

    def __call__(self, images: Tensor, rng: np.random.Generator) -> Tensor:
        """Changed images: float [clips, 1, blocks, samples of a block] -> the same shape."""
        clips, _, blocks, block = images.shape
        waves = images.reshape(clips, blocks * block)
        shifts = rng.integers(block, size=clips).tolist()
        waves = torch.stack([w.roll(s) for w, s in zip(waves, shifts, strict=True)])
        heard = (waves != 0).to(waves)  # a short clip is followed by silence
        gains = 10 ** (-rng.uniform(*self._snr_db, clips) / 20)
        gains[rng.random(clips) >= self._share] = 0.0
        pieces = rng.integers(len(self._noise), size=clips)
        starts = rng.integers(self._noise.shape[1] - waves.shape[1] + 1, size=clips)
        noise = torch.stack(
            [
                self._noise[piece, start : start + waves.shape[1]]
                for piece, start in zip(pieces.tolist(), starts.tolist(), strict=True)
            ]
        )
        level = noise.square().mean(1, keepdim=True).sqrt() + 1e-9
        mixed = waves + heard * noise * (torch.from_numpy(gains).to(waves)[:, None] / level)
        lengths = heard.sum(1).clamp(min=1)
        return torch.from_numpy(unit_power(mixed.reshape(images.shape).numpy(), lengths.numpy()))
