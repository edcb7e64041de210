"""What a tokenizer is trained to do, and the figures that show whether it does."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from .adversarial import AdversarialConfig, adaptive_weight, build_discriminator, discriminator_loss, generator_loss
from .codes import FrameCodes
from .config import TokenizerConfig
from .model import TokenizerOutput, VideoTokenizer
from .perceptual import load_lpips


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerLossConfig:
    """Weights of the terms of the tokenizer's loss; 0 leaves a term out.

    Every term is averaged over context frames and over later frames separately, and the two are added. The released
    models were trained with l1, lpips and vq at 1, the 256 px ones with an adversarial term as well.

    Source: the iVideoGPT paper, arXiv 2405.15223, appendix A.
    """

    l1: float = 1.0
    """Mean absolute error of pixels in [0, 1]."""
    mse: float = 0.0
    """Mean squared error of pixels in [0, 1], with later frames weighted by `changed_weight`."""
    changed_weight: float = 0.0
    """Extra weight, in the squared error, of pixels that differ from the last context frame."""
    changed_threshold: float = 0.05
    """A pixel has changed when a channel differs by more than this, on a scale of 1."""
    vq: float = 1.0
    """Codebook loss of both codebooks."""
    lpips: float = 0.0
    """Perceptual distance (LPIPS, VGG16); off, with a warning, when its weights cannot be had."""
    lpips_backbone: str = "timm/vgg16.tv_in1k"
    """VGG16 trained on ImageNet: a Hub repository, or a local .safetensors or .pth file."""
    lpips_heads: str = "vivym/lpips"
    """LPIPS's five linear heads: a Hub repository, or a local .safetensors or .pth file."""
    adversarial: AdversarialConfig | None = None
    """A discriminator, from `start_step` on; null trains without one."""

    def __post_init__(self) -> None:
        for name in ("l1", "mse", "changed_weight", "changed_threshold", "vq", "lpips"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 0 or more")
        if self.adversarial and not self.lpips:
            raise ValueError("the adversarial term is weighted by the gradient of LPIPS; set lpips above 0, say to 1")


class TokenizerLoss(nn.Module):
    """Loss of a tokenizer on clips, with the figures worth logging.

    `logs` holds detached scalars: every term, `psnr` (dB) of context and later frames, and for both codebooks
    `usage` (share of codes in use) and `perplexity` (effective number of codes), over about the last 100 calls.

    With an adversarial term, `discriminator` has its own optimizer and its own turn:

        output = tokenizer(frames)
        loss, logs = criterion.generator_loss(tokenizer, frames, output, step)       # then step the tokenizer
        loss, logs = criterion.discriminator_loss(frames, output, step)              # then step the discriminator
    """

    def __init__(self, config: TokenizerLossConfig | None = None) -> None:
        super().__init__()
        self.config = config or TokenizerLossConfig()
        self.lpips = load_lpips(self.config.lpips_backbone, self.config.lpips_heads) if self.config.lpips else None
        self.discriminator = build_discriminator(self.config.adversarial) if self.config.adversarial else None
        if self.discriminator is not None and self.lpips is None:
            raise ValueError("the adversarial term needs LPIPS, whose weights are absent; give local files for them")
        self.meters = nn.ModuleDict({"context": CodebookMeter(), "dynamics": CodebookMeter()})

    def forward(
        self, tokenizer: VideoTokenizer, frames: UInt8[Tensor, "b t 3 h w"], step: int | None = None
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Loss of the tokenizer to call `backward` on, and its logs; `step` is needed with an adversarial term."""
        return self.generator_loss(tokenizer, frames, tokenizer(frames), step)

    def generator_loss(
        self,
        tokenizer: VideoTokenizer,
        frames: UInt8[Tensor, "b t 3 h w"],
        output: TokenizerOutput,
        step: int | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Loss of the tokenizer on its own `output` for `frames`, and its logs."""
        pairs = _pairs(frames, output)
        terms = self._terms(pairs, output)
        if self._judges(step):
            terms["adversarial"] = self._adversarial(tokenizer, output, terms["dynamics/lpips"])
        loss = torch.stack(list(terms.values())).sum()
        logs = {name: term.detach() for name, term in terms.items()}
        logs |= {"loss": loss.detach(), **_psnr(pairs), **self._codebooks(output.codes, tokenizer.config)}
        return loss, logs

    def discriminator_loss(
        self, frames: UInt8[Tensor, "b t 3 h w"], output: TokenizerOutput, step: int | None = None
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Loss of the discriminator on real and made frames; zero before `start_step`. Leaves the tokenizer alone."""
        if not self._judges(step):
            return torch.zeros((), device=frames.device, requires_grad=True), {}
        assert self.discriminator is not None
        made = torch.cat([output.context, output.frames], dim=1).detach()
        real = frames.to(made.dtype) / 255
        verdicts = [self.discriminator(2 * images.flatten(0, 1) - 1) for images in (real, made)]
        loss = discriminator_loss(*verdicts)
        logs = {"discriminator/real": verdicts[0].mean(), "discriminator/made": verdicts[1].mean()}
        return loss, {name: value.detach() for name, value in logs.items()} | {"discriminator/loss": loss.detach()}

    def _judges(self, step: int | None) -> bool:
        if self.config.adversarial is None:
            return False
        if step is None:
            raise ValueError("the adversarial term starts at a step; pass the training step as `step`")
        return step >= self.config.adversarial.start_step

    def _adversarial(self, tokenizer: VideoTokenizer, output: TokenizerOutput, lpips: Tensor) -> Tensor:
        assert self.discriminator is not None
        assert self.config.adversarial is not None
        made = torch.cat([output.context, output.frames], dim=1)
        loss = generator_loss(self.discriminator(2 * made.flatten(0, 1) - 1))
        balance = adaptive_weight(lpips, loss, tokenizer.cond_decoder.conv_out.weight)
        return self.config.adversarial.weight * balance * loss

    def _terms(self, pairs: dict[str, tuple[Tensor, Tensor]], output: TokenizerOutput) -> dict[str, Tensor]:
        config = self.config
        terms: dict[str, Tensor] = {}
        for half, (made, real) in pairs.items():
            if config.l1:
                terms[f"{half}/l1"] = config.l1 * F.l1_loss(made, real)
            if config.mse:
                terms[f"{half}/mse"] = config.mse * F.mse_loss(made, real)
            if self.lpips is not None:
                terms[f"{half}/lpips"] = config.lpips * self.lpips(made.flatten(0, 1), real.flatten(0, 1))
        if config.mse and config.changed_weight:
            made, real = pairs["dynamics"]
            mask = changed(real, pairs["context"][1][:, -1], config.changed_threshold)
            terms["dynamics/changed"] = config.mse * config.changed_weight * (mask * (made - real).square()).mean()
        if config.vq:
            terms["context/vq"] = config.vq * output.context_vq_loss
            terms["dynamics/vq"] = config.vq * output.dynamics_vq_loss
        return terms

    @torch.no_grad()
    def _codebooks(self, codes: FrameCodes, config: TokenizerConfig) -> dict[str, Tensor]:
        context = self.meters["context"](codes.context, config.context_codes)
        dynamics = self.meters["dynamics"](codes.dynamics, config.dynamics_codes)
        return {f"context/{k}": v for k, v in context.items()} | {f"dynamics/{k}": v for k, v in dynamics.items()}


def changed(
    frames: Float[Tensor, "b f 3 h w"], last: Float[Tensor, "b 3 h w"], threshold: float
) -> Float[Tensor, "b f 1 h w"]:
    """1 where a frame differs from the last context frame by more than `threshold` in any channel, else 0."""
    return ((frames - last[:, None]).abs().amax(dim=2, keepdim=True) > threshold).to(frames.dtype)


def _pairs(frames: UInt8[Tensor, "b t 3 h w"], output: TokenizerOutput) -> dict[str, tuple[Tensor, Tensor]]:
    """Made and real frames of each half, in at least fp32: half precision cannot tell 8-bit pixels apart."""
    made = torch.cat([output.context, output.frames], dim=1)
    made = made.to(torch.promote_types(made.dtype, torch.float32))
    real = frames.to(made.dtype) / 255
    context = output.context.shape[1]
    return {"context": (made[:, :context], real[:, :context]), "dynamics": (made[:, context:], real[:, context:])}


def _psnr(pairs: dict[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Peak signal-to-noise ratio in dB of the frames as they would be shown, that is clamped to [0, 1]."""
    return {
        f"{half}/psnr": -10 * torch.log10(F.mse_loss(made.detach().clamp(0, 1), real).clamp(min=1e-10))
        for half, (made, real) in pairs.items()
    }


class CodebookMeter(nn.Module):
    """How much of a codebook is in use, from a moving average of how often each code is chosen."""

    frequency: Tensor

    def __init__(self, decay: float = 0.99) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("frequency", torch.zeros(0), persistent=False)

    def forward(self, codes: Int[Tensor, "..."], size: int) -> dict[str, Tensor]:
        """Counts `codes` of a codebook of `size` and returns its `usage` in [0, 1] and `perplexity` in [1, size]."""
        counts = torch.bincount(codes.flatten(), minlength=size).to(torch.float32)
        if self.frequency.numel() != size:
            self.frequency = torch.zeros_like(counts)
        self.frequency = self.decay * self.frequency + counts
        share = self.frequency / self.frequency.sum()
        # A code counts as used if it is chosen at least a hundredth as often as the average one.
        usage = (share > 0.01 / size).float().mean()
        return {"usage": usage, "perplexity": torch.special.entr(share).sum().exp()}
