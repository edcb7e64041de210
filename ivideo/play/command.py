"""`ivideo play [MODEL]`: one page on this machine to live in a world model, or a film without any page."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ivideo.config import parse
from ivideo.config.limits import check_least
from ivideo.play.room import Rules
from ivideo.shelf import find
from ivideo.web import door

if TYPE_CHECKING:
    from ivideo.play.dreamer import Dreamer
    from ivideo.play.starts import Starts


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """What to play in, and where."""

    model: str = "pushing_table"
    """A folder, a packaged model or a Hugging Face Hub id."""
    starts: str = "pushing_table"
    """Where dreams begin: "pushing_table", with the true table beside the dream, or episodes as `ivideo data show`
    knows them."""
    scene: int = 0
    """Which beginning, by its number."""
    seed: int = 0
    """Of the tokens that are drawn; the same seed, scene and actions give the same dream."""
    domain: str | None = None
    """Whose actions they are, for a model of several domains."""
    instruction: str | None = None
    """What is to be done, for a model that reads instructions."""
    temperature: float | None = None
    """How boldly tokens are drawn; 0 takes the likeliest. Null: as the model says."""
    fps: float = 10.0
    """Frames a second while time goes on, and of what is written."""
    device: str = "cpu"
    """Where to compute, such as cpu or cuda."""
    threads: int | None = None
    """Processor threads to compute with. Null: one for a small model, which gains nothing by more and loses much where
    others compute too; PyTorch's own number for one of over 50 million parameters."""
    host: str = "127.0.0.1"
    """Where to listen; anything but this machine itself asks visitors for a token."""
    port: int = 0
    """At which port; 0 takes a free one."""
    sessions: int = 8
    """How many may play at once, each in a dream of their own."""
    idle: float = 900.0
    """Seconds without a sign of life after which a session ends."""
    record: str | None = None
    """Serve no page: play by itself and write this .mp4, .webm, .gif (dream beside truth) or .npz (an episode)."""
    frames: int = 60
    """With --record: how many frames to play."""
    policy: str = "pusher"
    """With --record: who plays: pusher, goal_pusher, random_walk or mixed, which look at the true table."""
    actions: str | None = None
    """With --record: play these instead, a .json list of actions, a .npy or the "actions" of an .npz."""
    overwrite: bool = False
    """With --record: replace a file of that name."""

    def __post_init__(self) -> None:
        check_least(self, scene=0, frames=1, sessions=1, port=0, threads=1)
        if not 0.5 <= self.fps <= 60:
            raise ValueError(f"fps is {self.fps}; expected 0.5 to 60")
        if not self.idle > 0:
            raise ValueError(f"idle is {self.idle}; expected more than 0 seconds")
        if self.port > 65_535:
            raise ValueError(f"port is {self.port}; expected 0 to 65535")


def main(argv: list[str]) -> int:
    """`ivideo play [MODEL] [...]`."""
    wanted = parse(
        Play, argv, prog="ivideo play", description="Play in a world model, at a page.", positional=("model",)
    )
    return _serve(wanted) if wanted.record is None else _record(wanted, Path(wanted.record))


def _serve(wanted: Play) -> int:
    try:
        from ivideo.play import server
    except ImportError as error:
        raise ImportError(
            f"the page needs FastAPI and uvicorn ({error}); pip install 'ivideo[play]', or pass --record FILE"
        ) from error
    find(wanted.model)  # a wrong name is said before an address is
    token, hosts = door.guard(wanted.host)
    rules = Rules(seats=wanted.sessions, idle=wanted.idle, fps=wanted.fps, token=token, hosts=hosts, name=wanted.model)
    taken = server.listening(wanted.host, wanted.port)
    print(door.address("http", wanted.host, taken, token), flush=True)
    server.run(taken, rules, lambda: _load(wanted))
    return 0


def _load(wanted: Play) -> "tuple[Dreamer, Starts]":
    from dataclasses import replace

    from ivideo.play.dreamer import Dreamer
    from ivideo.play.starts import Starts
    from ivideo.web.loading import load_to_serve

    model = load_to_serve(wanted.model, device=wanted.device, threads=wanted.threads)
    usual = model.config.sampling
    dreamer = Dreamer(
        model=model,
        seed=wanted.seed,
        sampling=None if wanted.temperature is None else replace(usual, temperature=wanted.temperature),
        domain=wanted.domain,
        instruction=wanted.instruction,
    )
    starts = Starts.of(wanted.starts, side=dreamer.side, context=model.context_frames)
    dreamer.step(dreamer.begin(starts[wanted.scene]), None)  # says now what could not be played, and warms up
    return dreamer, starts


def _record(wanted: Play, path: Path) -> int:
    from ivideo.files import check_new_file
    from ivideo.play import keeping
    from ivideo.play.recording import read_actions, record
    from ivideo.play.session import Session

    keeping.check(path)
    check_new_file(path, overwrite=wanted.overwrite)
    dreamer, starts = _load(wanted)
    given = None if wanted.actions is None else read_actions(Path(wanted.actions), dreamer.size)
    session = Session(dreamer, starts, wanted.scene)
    driver = wanted.policy if given is None else given
    played = record(session, path, driver, frames=wanted.frames, fps=wanted.fps)
    truth = "" if played.true() is None else ", dream beside truth"
    print(f"wrote {path}: {len(played)} frames{truth}")
    return 0
