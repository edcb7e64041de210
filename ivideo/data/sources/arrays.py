"""Any other `.npz` with a video in it, such as RT-1 episodes (`image` alone) or what a script of one's own saves.

Frames are `[t h w 3]` or `[t 3 h w]` under "image(s)", "frames", "video", "observation(s)" or "rgb", or under the key
that is asked for. "action(s)" and "reward(s)" are optional, with one row per step, or one per frame: row j is then
what was done at frame j and earned by it, and the last row leads nowhere. "terminal" is an optional flag,
"instruction" an optional text, "fps" an optional number.
"""

from ivideo.data.sources.npz import Arrays
from ivideo.data.sources.source import Item, Layout, Options, frames_from_array, leaving, make_episode
from ivideo.episode import Episode

FRAME_KEYS = ("image", "images", "frames", "video", "observation", "observations", "rgb")


def read(item: Item, options: Options) -> Episode:
    """Return the episode; `options.key` or `options.camera` names the array that holds the frames."""
    path = item.path
    arrays = Arrays(path)
    asked = options.key or options.camera
    key = asked or next((key for key in FRAME_KEYS if key in arrays), None)
    if key is None or key not in arrays:
        wanted = repr(asked) if asked else "or ".join(f"{key!r} " for key in FRAME_KEYS).strip()
        raise ValueError(
            f"{path}: there is no array {wanted}; it holds {', '.join(map(repr, arrays))}: name the frames with key="
        )
    frames = frames_from_array(path, key, arrays[key])
    given = {}
    for what, keys in (("actions", ("action", "actions")), ("rewards", ("reward", "rewards"))):
        found = next((key for key in keys if key in arrays), None)
        given[what] = leaving(path, what, arrays[found], len(frames)) if found else None
    return make_episode(
        path,
        item.name,
        frames,
        options,
        actions=given["actions"],
        rewards=given["rewards"],
        terminal="terminal" in arrays and bool(arrays["terminal"].any()),
        instruction=arrays.text("instruction"),
        fps=arrays.number("fps"),
    )


LAYOUT = Layout(name="npz", read=read, knows=("camera", "key"))
