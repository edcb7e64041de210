"""Random sequences of actions around a mean: white, correlated from step to step, or of a colour."""

import torch
from jaxtyping import Float
from torch import Tensor


def correlated(
    count: int, std: Float[Tensor, "f a"], correlation: float, generator: torch.Generator
) -> Float[Tensor, "n f a"]:
    """Noise that remembers: `e[0] = x[0]`, then `e[i] = correlation * e[i-1] + (1 - correlation) * x[i]`, x white.

    This is VP2's, whose spread shrinks after the first step (to 0.58 of `std` at a correlation of 0.5); 0 is white.
    """
    white = torch.randn(count, *std.shape, generator=generator) * std
    steps = [white[:, 0]]
    for step in range(1, white.shape[1]):
        steps.append(correlation * steps[-1] + (1 - correlation) * white[:, step])
    return torch.stack(steps, dim=1)


def coloured(
    count: int, std: Float[Tensor, "f a"], colour: float, generator: torch.Generator
) -> Float[Tensor, "n f a"]:
    """Noise whose power falls with frequency as `1 / frequency ** colour`: 0 is white, 2 a random walk's.

    Each sequence has a variance of `std ** 2` on average (iCEM, Pinneri et al. 2020, arXiv 2008.06389, section 3.1).
    """
    frames, size = std.shape
    frequencies = torch.fft.rfftfreq(frames)
    frequencies[0] = 1.0 / frames  # the mean of a sequence varies as much as its slowest wave
    scale = frequencies ** (-colour / 2)
    parts = torch.randn(2, count, size, len(scale), generator=generator) * scale
    shares = torch.full_like(scale, 4.0)  # of each wave in the variance: twice drawn, once for each sign of frequency
    shares[0] = 1.0
    parts[1, ..., 0] = 0.0  # a mean has no phase, nor has the fastest wave of an even number of steps
    if frames % 2 == 0:
        shares[-1] = 1.0
        parts[1, ..., -1] = 0.0
    spread = (shares * scale.square()).sum().sqrt() / frames
    waves = torch.fft.irfft(torch.complex(parts[0], parts[1]), n=frames, dim=-1)
    noise: Tensor = waves.transpose(1, 2) / spread * std
    return noise
