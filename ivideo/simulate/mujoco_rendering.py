"""Frames of MuJoCo's models."""

import atexit
import weakref
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ivideo.simulate.opengl import import_mujoco


class ModelRenderer:
    """Draws one model, `size` pixels wide and high; prepared when the first frame is wanted.

    Without `shadows` there are no shadows, reflections nor smooth edges, which without a GPU make drawing several times
    as slow. Any number of them may draw in turn: each takes hold of the driver before every frame.
    """

    def __init__(self, model: Any, size: int, shadows: bool = False) -> None:
        self._model, self._size, self._shadows = model, size, shadows
        self._mujoco = import_mujoco()
        self._renderer: Any = None
        visual = model.vis
        if not shadows:
            visual.quality.shadowsize = visual.quality.offsamples = 0
        visual.global_.offwidth = max(visual.global_.offwidth, size)  # where frames are drawn before they are fetched
        visual.global_.offheight = max(visual.global_.offheight, size)

    def draw(self, data: Any, camera: Any) -> UInt8[np.ndarray, "h w 3"]:
        """The frame that a camera sees: its name, its number, or MuJoCo's own object."""
        if self._renderer is None:
            self._renderer = self._mujoco.Renderer(self._model, self._size, self._size)
            # Registered after MuJoCo's own farewell to the driver, so called before it: later would print a traceback.
            atexit.register(_close, weakref.ref(self))
        self._renderer.update_scene(data, camera=camera)
        flags = self._mujoco.mjtRndFlag
        for flag in (flags.mjRND_SHADOW, flags.mjRND_REFLECTION):
            self._renderer.scene.flags[flag] = self._shadows
        return np.asarray(self._renderer.render(), np.uint8)

    def close(self) -> None:
        """Give back what the driver holds."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


def _close(renderer: "weakref.ref[ModelRenderer]") -> None:
    left = renderer()
    if left is not None:
        left.close()
