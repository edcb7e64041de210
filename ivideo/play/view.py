"""A session as the page is told of it."""

from typing import TYPE_CHECKING, Any

from jaxtyping import UInt8
from torch import Tensor

from ivideo.play import messages
from ivideo.play.timeline import Moment

if TYPE_CHECKING:
    from ivideo.play.session import Session


def frame(session: "Session", **more: Any) -> bytes:
    """The frame that is looked at, the true one, and that of every other branch."""
    moment, side = session.moment, session.dreamer.side
    pictures = [("dream", session.current, moment.dream)]
    if moment.truth is not None:
        pictures.append(("truth", session.current, moment.truth))
    pictures += [("branch", number, each.dream) for number, each in session.beside().items()]
    fields = {
        "kind": "frame",
        "branch": session.current,
        "length": len(session.timeline),
        "side": side,
        "pictures": [(name, branch) for name, branch, _ in pictures],
        "driver": None if session.driver is None else session.driver.name,
        "shows": session.timeline.shows if session.frame == len(session.timeline) - 1 else None,
        **entry(session, session.frame, moment),
        **more,
    }
    return messages.binary(fields, b"".join(_pixels(each) for _, _, each in pictures))


def branches(session: "Session") -> str:
    """All branches, and every frame of the current one but for its pictures."""
    return messages.text(
        {
            "kind": "branches",
            "current": session.current,
            "name": session.timeline.start.name,
            "branches": [
                {"branch": number, "parent": each.parent, "since": each.since, "length": len(each.timeline)}
                for number, each in session.branches.items()
            ],
            "timeline": [entry(session, frame, each) for frame, each in enumerate(session.timeline.moments)],
        }
    )


def entry(session: "Session", frame: int, moment: Moment) -> dict[str, Any]:
    """What is known of a frame; the likelihood per token, so that it can be compared between models."""
    tokens = session.dreamer.model.layout.dynamics_tokens
    return {
        "frame": frame,
        "action": moment.action,
        "by": moment.by,
        "shown": moment.shown,
        "reward": moment.reward,
        "true_reward": moment.true_reward,
        "terminal": moment.terminal,
        "likelihood": None if moment.log_likelihood is None else moment.log_likelihood / tokens,
    }


def _pixels(picture: UInt8[Tensor, "3 h w"]) -> bytes:
    return picture.permute(1, 2, 0).contiguous().numpy().tobytes()
