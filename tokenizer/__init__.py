"""Frames to codes and back: the conditional compressive video tokenizer."""

from .adversarial import AdversarialConfig
from .codes import ContextFeatures, FrameCodes, KeysValues
from .config import TokenizerConfig
from .losses import TokenizerLoss, TokenizerLossConfig
from .model import TokenizerOutput, VideoTokenizer
from .quantize import EMAVQ, FSQ, GradientVQ, SimVQ

__all__ = [
    "EMAVQ",
    "FSQ",
    "AdversarialConfig",
    "ContextFeatures",
    "FrameCodes",
    "GradientVQ",
    "KeysValues",
    "SimVQ",
    "TokenizerConfig",
    "TokenizerLoss",
    "TokenizerLossConfig",
    "TokenizerOutput",
    "VideoTokenizer",
]
