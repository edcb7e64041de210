"""LPIPS of frames: how different they look to a network that has seen many pictures.

Unlike the loss of the same name, which is left out with a warning where its weights are absent, a figure is measured
with the published weights or not at all.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ivideo.evaluation.metrics.pixels import Frames, check_equal_shapes, in_unit
from tokenizer.perceptual import BACKBONES, LPIPS, Network, read_tensors
from tokenizer.published import check, locate


def load_perceptual(
    network: Network = "vgg",
    *,
    backbone: str | None = None,
    heads: str | None = None,
    sha256: Sequence[str] = (),
    device: str | torch.device = "cpu",
) -> LPIPS:
    """LPIPS with the published weights; its `name` and `sha256` say which.

    Args:
        network: "vgg", which video prediction reports, or "alex".
        backbone: a local file or a Hub repository; None takes the published one, where the Hub has it.
        heads: likewise.
        sha256: of the two files, where others than the published ones are meant.
        device: where to compute.

    Raises:
        OSError: a file is absent; the message has the command that fetches it, and the option that takes its path.
        ValueError: a file is another one, by its SHA-256, or damaged.
    """
    published = BACKBONES[network]
    files = [
        locate(published.weights, backbone, option="lpips_backbone"),
        locate(published.heads, heads, option="lpips_heads"),
    ]
    for path, file in zip(files, (published.weights, published.heads), strict=True):
        check(path, file, sha256=sha256, option="lpips_sha256")
    return LPIPS(read_tensors(files[0]), read_tensors(files[1]), network).to(device)


@torch.no_grad()
def lpips(truth: Frames, predicted: Frames, network: LPIPS, *, chunk: int = 32) -> Float[Tensor, "*batch"]:
    """Return the perceptual distance of every pair of frames; 0 is what equal frames get, and lower is better.

    At the frames' own resolution, as video prediction reports it. ValueError for frames too small for the network.
    """
    check_equal_shapes(truth, predicted)
    backbone = BACKBONES[network.name]
    if min(truth.shape[-2:]) < backbone.smallest:
        height, width = truth.shape[-2:]
        raise ValueError(
            f"frames are {height} x {width} pixels; expected at least {backbone.smallest} x {backbone.smallest}, for "
            f"{backbone.title} to see anything: leave lpips out, or evaluate larger frames"
        )
    device = network.get_buffer("shift").device
    pairs = (frames.reshape(-1, *frames.shape[-3:]).split(chunk) for frames in (predicted, truth))
    values = [
        network.distances(*(in_unit(frames.to(device)).float() for frames in pair)) for pair in zip(*pairs, strict=True)
    ]
    result: Tensor = torch.cat(values).reshape(truth.shape[:-3]).double().to(truth.device)
    return result
