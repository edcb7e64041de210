"""Random draws that are a pure function of whole numbers, such as a seed and a sample's place: nothing is remembered.

Every number is hashed on its own, so a draw does not depend on what else is drawn beside it, on how many processes
share the work, or on the library's generators.
"""

import math
from enum import IntEnum

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt64
from torch import Tensor

_STEP = 0x9E3779B97F4A7C15
_ROUNDS = 6


class Stream(IntEnum):
    """What a draw is for: part of its key, so that no two purposes share numbers under one seed."""

    WINDOW, FRAMES, AUGMENTATION, SUBSET, DOMAIN, TOKENS = range(1, 7)


class Order:
    """Deals out the numbers below `size`, each once per epoch, in an order that the key and the epoch decide.

    The order is never written down: a small keyed bijection computes every place anew, so that 10^8 numbers take no
    more memory than ten.
    """

    def __init__(self, size: int, *key: int) -> None:
        """Prepare to deal: `key` names the order, for instance a seed and what the order is for."""
        if size < 1:
            raise ValueError(f"size is {size}; expected at least 1 number to put in order")
        self.size = size
        self._key = key

    def __call__(self, samples: Int64[np.ndarray, "b"]) -> Int64[np.ndarray, "b"]:
        """Return the number dealt at each place: sample i is place `i % size` of epoch `i // size`."""
        epochs, places = np.divmod(samples, self.size)
        return _shuffled(places, self.size, hashed(*self._key, epochs))


def hashed(*numbers: int | Int64[np.ndarray, "..."]) -> UInt64[np.ndarray, "..."]:
    """Return 64 well mixed bits for every combination of whole numbers; arrays are combined elementwise."""
    state = np.zeros(1, np.uint64)
    for number in numbers:
        state = _stirred(state * np.uint64(3) + _bits(number))
    return state


def uniform(samples: Int64[np.ndarray, "b"], count: int, *key: int) -> Float32[Tensor, "b {count}"]:
    """Return `count` numbers in [0, 1) for every sample."""
    bits = hashed(*key, samples[:, None], np.arange(count)[None])
    return torch.from_numpy((bits >> np.uint64(40)).astype(np.float32) / np.float32(2**24))


def _shuffled(places: Int64[np.ndarray, "b"], size: int, keys: UInt64[np.ndarray, "..."]) -> Int64[np.ndarray, "b"]:
    """Return where a permutation of `range(size)`, one for every key, puts each place.

    A Feistel network over pairs (high, low) with high < a, low < b and a * b barely over `size`: every round adds to
    one half a hash of the other, which can be undone. What lands beyond `size` walks on along its cycle.
    """
    below = np.uint64(math.isqrt(size - 1) + 1)
    above = np.uint64(-(-size // int(below)))
    keys = np.broadcast_to(keys, places.shape)

    def network(values: UInt64[np.ndarray, "w"], key: UInt64[np.ndarray, "w"]) -> UInt64[np.ndarray, "w"]:
        high, low = np.divmod(values, below)
        for turn in range(_ROUNDS):
            rounded = key + np.uint64((turn * _STEP) % 2**64)
            if turn % 2:
                high = (high + _stirred(low * np.uint64(_STEP) + rounded) % above) % above
            else:
                low = (low + _stirred(high * np.uint64(_STEP) + rounded) % below) % below
        return high * below + low

    # Rotated first: halves of a tiny range have few ways to mix.
    out = network((places.astype(np.uint64) + keys % np.uint64(size)) % np.uint64(size), keys)
    while (outside := out >= size).any():
        out[outside] = network(out[outside], keys[outside])
    dealt: Int64[np.ndarray, b] = out.astype(np.int64)
    return dealt


def _stirred(bits: UInt64[np.ndarray, "..."]) -> UInt64[np.ndarray, "..."]:
    """The finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection in which every bit depends on every bit."""
    bits = bits + np.uint64(_STEP)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: UInt64[np.ndarray, ...] = bits ^ (bits >> np.uint64(31))
    return mixed


def _bits(number: int | Int64[np.ndarray, "..."]) -> UInt64[np.ndarray, "..."]:
    if isinstance(number, np.ndarray):
        bits: UInt64[np.ndarray, ...] = number.astype(np.uint64)
        return bits
    return np.array([number % 2**64], np.uint64)
