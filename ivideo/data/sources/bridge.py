"""BridgeData V2 as one mp4 and one `.npz` of the same name per episode (the layout of world-model-eval).

`arr_0` float32 `[t 10]` has one row per frame: gripper displacement (3), rotation (3), gripper opening (-1 open, 1
closed), normalised, then three zeros for a base that this arm does not have; the seven are kept. Row j is the command
given at frame j, whose effect shows in frame j+1 and after; row 0 is all zeros, as the arm stands still at first. The
last row leads nowhere and is left out. Any other array of actions beside an mp4, `[t a]` or `[t-1 a]`, is taken
whole.
"""

from ivideo.data.sources.npz import Arrays
from ivideo.data.sources.source import Item, Layout, Options, leaving, make_episode
from ivideo.episode import Episode
from ivideo.video import read_clip

ARM = 7
PADDED = 10


def read(item: Item, options: Options) -> Episode:
    """Return the episode of an mp4 and the actions beside it."""
    path = item.path
    clip = read_clip(path, size=options.size, crop=options.crop)
    beside = path.with_suffix(".npz")
    arrays = Arrays(beside)
    key = next((key for key in ("arr_0", "action", "actions") if key in arrays), None)
    if key is None:
        raise ValueError(
            f"{beside}: it holds {', '.join(map(repr, arrays))}; expected the actions of {path.name} under 'arr_0', "
            "'action' or 'actions'"
        )
    actions = leaving(beside, "actions", arrays[key], len(clip.frames))
    if key == "arr_0" and actions.ndim == 2 and actions.shape[1] == PADDED and not actions[:, ARM:].any():
        actions = actions[:, :ARM]
    return make_episode(path, item.name, clip.frames, options, actions=actions, fps=clip.fps)


LAYOUT = Layout(name="mp4 with npz actions", read=read)
