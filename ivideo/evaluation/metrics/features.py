"""The networks whose features FVD and FID compare, by name.

"i3d" (videos) and "inception" (images) are what published figures use: TorchScript files, which can run code when they
are opened and are opened only where that is allowed. "random3d" and "random2d" have random weights, the same
everywhere and for ever, and need no file: figures of theirs compare with each other and with nothing published.
"module:function" names one's own.
"""

import hashlib
import importlib
import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from einops import rearrange
from jaxtyping import Float32, UInt8
from torch import Tensor

from ivideo.evaluation.metrics.random_features import RandomFeatures
from tokenizer.published import PublishedFile, check, locate

Kind: TypeAlias = Literal["video", "image"]

_SUBJECT: dict[Kind, str] = {"video": "fvd", "image": "fid"}
"""What each kind of features is for, as the names of options have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureNetwork:
    """Something that makes a few hundred numbers of a clip, or of an image."""

    name: str
    sha256: str
    """Of its file, its weights or its source: networks of equal hashes give equal features."""
    kind: Kind
    dim: int | None
    """How many numbers; None where only the first features will tell."""
    min_frames: int
    """Frames a clip has to have; 1 for images."""
    compute: Callable[[Tensor], object]
    """Features [n d] of uint8 frames on `device`, shaped as they came; what it returns is checked."""
    device: torch.device
    chunk: int
    """Clips or images looked at together."""

    @torch.no_grad()
    def __call__(self, frames: UInt8[Tensor, "n t 3 h w"] | UInt8[Tensor, "n 3 h w"]) -> Float32[Tensor, "n d"]:
        """Features of clips, or of images, on the CPU; computed a few at a time.

        ValueError for clips that are too short.
        """
        axes = {"video": 5, "image": 4}[self.kind]
        if frames.ndim != axes:
            expected = {"video": "clips [n t 3 h w]", "image": "images [n 3 h w]"}[self.kind]
            raise ValueError(f"frames are {list(frames.shape)}; {self.name} looks at {expected}")
        if self.kind == "video" and frames.shape[1] < self.min_frames:
            raise ValueError(
                f"clips have {frames.shape[1]} frames; {self.name} needs at least {self.min_frames}: imagine more "
                "frames, count the context frames too, or leave fvd out"
            )
        starts = range(0, len(frames), self.chunk)
        return torch.cat([self._features(frames[start : start + self.chunk]) for start in starts])

    def _features(self, frames: Tensor) -> Tensor:
        features = self.compute(frames.to(self.device))
        shape = list(features.shape) if isinstance(features, Tensor) else type(features).__name__
        if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != len(frames):
            raise ValueError(
                f"{self.name} made {shape} of {len(frames)} {self.kind}s; expected features [{len(frames)}, d]"
            )
        if self.dim is not None and features.shape[1] != self.dim:
            raise ValueError(f"{self.name} made {shape}; expected {self.dim} numbers of each: is it another network?")
        return features.float().cpu()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Script:
    """A published TorchScript network."""

    file: PublishedFile
    kind: Kind
    dim: int
    min_frames: int
    chunk: int

    def compute(self, module: torch.jit.ScriptModule) -> Callable[[Tensor], Tensor]:
        if self.kind == "image":
            return lambda images: module(images, return_features=True)
        # Takes [n 3 t h w] on the scale to 255 and makes 224 x 224 pixels on [-1, 1] of it, as the evaluators of
        # StyleGAN-V and iVideoGPT have it do.
        return lambda clips: module(
            rearrange(clips, "n t c h w -> n c t h w").float(), rescale=True, resize=True, return_features=True
        )


SCRIPTS = {
    "i3d": _Script(
        file=PublishedFile(
            what="the I3D network (Kinetics-400) behind published FVDs",
            repository="flateon/FVD-I3D-torchscript",
            file="i3d_torchscript.pt",
            sha256=("bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2",),
        ),
        kind="video",
        dim=400,
        # It halves time three times, the first time rounded down, and then averages over two: 10 -> 5 -> 3 -> 2.
        min_frames=10,
        chunk=8,
    ),
    "inception": _Script(
        file=PublishedFile(
            what="the Inception network (2015-12-05) behind published FIDs",
            url="https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt",
            file="inception-2015-12-05.pt",
            sha256=("f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",),
        ),
        kind="image",
        dim=2048,
        min_frames=1,
        chunk=32,
    ),
}
RANDOM: dict[str, Kind] = {"random3d": "video", "random2d": "image"}
NAMES = (*SCRIPTS, *RANDOM)
"""Networks known by name."""


def load_features(
    name: str,
    *,
    trust: bool = False,
    weights: str | None = None,
    sha256: str | None = None,
    kind: Kind | None = None,
    device: str | torch.device = "cpu",
) -> FeatureNetwork:
    """The network of that name.

    Args:
        name: "i3d", "inception", "random3d", "random2d", or a function of one's own, "module:function", which maps
            uint8 frames to features [n d]; it may have attributes `kind`, `min_frames` and `dim`.
        trust: that files or functions which can run any code may do so here.
        weights: of i3d and inception: a local file, or a Hub repository; None takes the published repository, if any.
        sha256: what the file, or the source file of a function, must be, where it is not the published one.
        kind: what the features are of; ValueError for a network of the other kind.
        device: where to compute.

    Raises:
        OSError: the file is absent; the message has the command that fetches it, and the option that takes its path.
        ValueError: the name is unknown, code is not trusted, or a file is damaged or another one.
    """
    device = torch.device(device)
    if ":" in name:
        found = _own(name, trust, sha256, kind or "video", device)
    elif name in SCRIPTS:
        _refuse_other_kind(name, SCRIPTS[name].kind, kind)
        return _script(name, trust, weights, sha256, device)
    elif name in RANDOM:
        if weights is not None:
            raise ValueError(f"{name} has random weights of its own, and no use for {weights}; leave that out")
        found = _random(name, device)
        if sha256 is not None and sha256.strip().lower() != found.sha256:
            raise ValueError(f"{name} has the SHA-256 {found.sha256}; expected {sha256}, which is another network")
    else:
        raise ValueError(f"{name!r} is no network; expected {', '.join(NAMES)}, or module:function for one of your own")
    _refuse_other_kind(name, found.kind, kind)
    return found


def _script(name: str, trust: bool, weights: str | None, sha256: str | None, device: torch.device) -> FeatureNetwork:
    script = SCRIPTS[name]
    subject = _SUBJECT[script.kind]
    if not trust:
        raise ValueError(
            f"{name} is a TorchScript file ({script.file.file}), which can run code when it is opened, so it is "
            "refused: pass --trust if you trust where it comes from, or use a network that needs no file, such as "
            f"{'random3d' if script.kind == 'video' else 'random2d'}"
        )
    path = locate(script.file, weights, option=f"{subject}_weights")
    found = check(path, script.file, sha256=() if sha256 is None else (sha256,), option=f"{subject}_sha256")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript, in which these networks are published
            module = torch.jit.load(str(path), map_location=device).eval()
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"{path} cannot be read as TorchScript ({str(error).strip().splitlines()[0][:120]}): expected "
            f"{script.file.what}; fetch it with `{script.file.command()}`"
        ) from error
    return FeatureNetwork(
        name=name,
        sha256=found,
        kind=script.kind,
        dim=script.dim,
        min_frames=script.min_frames,
        compute=script.compute(module),
        device=device,
        chunk=script.chunk,
    )


def _random(name: str, device: torch.device) -> FeatureNetwork:
    kind = RANDOM[name]
    network = RandomFeatures(name, time=kind == "video").to(device)
    return FeatureNetwork(
        name=name,
        sha256=network.sha256,
        kind=kind,
        dim=network.dim,
        min_frames=2 if kind == "video" else 1,
        compute=network,
        device=device,
        chunk=16,
    )


def _own(name: str, trust: bool, sha256: str | None, kind: Kind, device: torch.device) -> FeatureNetwork:
    if not trust:
        raise ValueError(f"{name} names code of your own, which is not run unasked: pass --trust to run it")
    module_name, _, attribute = name.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), attribute)
        written = inspect.unwrap(function) if inspect.isroutine(function) else type(function)
        source = inspect.getsourcefile(written)
    except (ImportError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{name} cannot be imported ({error}); expected module:function, importable from here"
        ) from error
    except TypeError:  # it was written in C
        source = None
    if not callable(function) or source is None:
        raise ValueError(f"{name} is no function with a Python source; expected one that maps frames to features")
    found = hashlib.sha256(Path(source).read_bytes()).hexdigest()
    if sha256 is not None and sha256.strip().lower() != found:
        raise ValueError(f"{source}, the source of {name}, has the SHA-256 {found}; expected {sha256}: it was changed")
    return FeatureNetwork(
        name=name,
        sha256=found,
        kind=getattr(function, "kind", kind),
        dim=getattr(function, "dim", None),
        min_frames=getattr(function, "min_frames", 1),
        compute=function,
        device=device,
        chunk=16,
    )


def _refuse_other_kind(name: str, found: Kind, wanted: Kind | None) -> None:
    if wanted is not None and found != wanted:
        kinds = {known: script.kind for known, script in SCRIPTS.items()} | RANDOM
        fitting = " or ".join(known for known, kind in kinds.items() if kind == wanted)
        raise ValueError(f"{name} looks at {found}s; {_SUBJECT[wanted]} needs a network for {wanted}s: {fitting}")
