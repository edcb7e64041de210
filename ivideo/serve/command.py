"""`ivideo serve MODEL`: a world model for many clients at once, over the network."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ivideo.config import parse
from ivideo.config.limits import check_least
from ivideo.shelf import find
from ivideo.web import door

if TYPE_CHECKING:
    from ivideo.serve.host import Host
    from ivideo.simulate.worlds import Worlds


@dataclass(frozen=True, slots=True, kw_only=True)
class Serve:
    """What to serve, where, and how much of it."""

    model: str = "pushing_table"
    """A folder, a packaged model or a Hugging Face Hub id."""
    starts: str = "pushing_table"
    """Where episodes begin: "pushing_table", or episodes as `ivideo data show` knows them."""
    horizon: int = 15
    """Steps after which an episode is truncated, where a client does not say."""
    domain: str | None = None
    """Whose actions they are, for a model of several domains."""
    temperature: float | None = None
    """How boldly tokens are drawn; 0 takes the likeliest. Null: as the model says."""
    tile: int = 0
    """Compute always so many environments at once, such as 8: slower, and every client then sees bit for bit what it
    would see alone. 0 computes all that wait at once, which rounds sums in another order."""
    device: str = "cpu"
    """Where to compute, such as cpu or cuda."""
    threads: int | None = None
    """Processor threads to compute with. Null: one for a small model, which gains nothing by more and loses much where
    others compute too; PyTorch's own number for one of over 50 million parameters."""
    host: str = "127.0.0.1"
    """Where to listen; anything but this machine itself asks clients for a token."""
    port: int = 0
    """At which port; 0 takes a free one."""
    token: str | None = None
    """What clients must know. Null: a new one where others than this machine can connect, else none."""
    sessions: int = 64
    """Environments at the same time, of all clients together; and connections."""
    saves: int = 256
    """Environments of which a connection may have the state saved."""
    idle: float = 900.0
    """Seconds without a message after which a connection is closed."""
    gather: float = 20.0
    """Milliseconds for which a pass waits at most for clients that were answered by the last one, and never over a
    quarter of what that took."""
    ray: bool = False
    """Serve with Ray Serve (pip install 'ivideo[serve,ray]'), on all machines of a Ray cluster, or on this one."""
    replicas: int = 1
    """With --ray: copies of the model, each of which takes --sessions; a connection stays with one."""
    cores: float = 1.0
    """With --ray: processor cores that a copy is given."""
    gpus: float = 0.0
    """With --ray: GPUs that a copy is given; pass --device cuda as well."""

    def __post_init__(self) -> None:
        check_least(self, horizon=1, sessions=1, saves=0, tile=0, port=0, threads=1, replicas=1)
        if not 0 < self.idle <= 1e9:
            raise ValueError(f"idle is {self.idle}; expected more than 0 seconds, and at most 1e9")
        if not 0 <= self.gather <= 1000:
            raise ValueError(f"gather is {self.gather}; expected 0 to 1000 milliseconds")
        if self.port > 65_535:
            raise ValueError(f"port is {self.port}; expected 0 to 65535")
        if self.token is not None and (len(self.token) < 8 or not self.token.isascii() or not self.token.isalnum()):
            raise ValueError("the token is too weak or odd; expected at least 8 letters and digits")
        if not (self.cores >= 0 and self.gpus >= 0):
            raise ValueError(f"cores is {self.cores} and gpus {self.gpus}; expected 0 or more of each")
        if self.replicas > 1 and not self.ray:
            raise ValueError(f"replicas is {self.replicas}, which needs Ray Serve; pass --ray as well")


def main(argv: list[str]) -> int:
    """`ivideo serve MODEL [...]`."""
    wanted = parse(
        Serve,
        argv,
        prog="ivideo serve",
        description="Let many clients at once step in a world model, over the network.",
        positional=("model",),
    )
    find(wanted.model)
    try:
        if wanted.ray:
            from ivideo.serve import ray as with_ray
        from ivideo.serve import server
    except ImportError as error:
        extras = "serve,ray" if wanted.ray else "serve"
        raise ImportError(f"serving needs more packages ({error}); pip install 'ivideo[{extras}]'") from error
    try:
        if wanted.ray:
            with_ray.run(wanted)
            return 0
        token, hosts = door.guard(wanted.host)
        token = wanted.token or token
        with door.listening(wanted.host, wanted.port) as taken:
            host = host_of(wanted, token=token, hosts=hosts)
            print(door.address("ws", wanted.host, taken, token), flush=True)
            server.run(taken, host)
    except KeyboardInterrupt:  # the usual way to end a server
        return 130
    return 0


def host_of(wanted: Serve, *, token: str | None, hosts: tuple[str, ...]) -> "Host":
    """Load what is to be served; raises what loading raises."""
    from ivideo.serve.host import Host, Rules

    rules = Rules(
        sessions=wanted.sessions,
        saves=wanted.saves,
        horizon=wanted.horizon,
        idle=wanted.idle,
        gather=wanted.gather / 1000,
        token=token,
        hosts=hosts,
        name=wanted.model,
    )
    return Host(lambda: _load(wanted), rules)


def _load(wanted: Serve) -> "Worlds":
    from dataclasses import replace

    from ivideo.data import open_episodes
    from ivideo.simulate.spaces import controls
    from ivideo.simulate.worlds import Worlds
    from ivideo.web.loading import load_to_serve

    model = load_to_serve(wanted.model, device=wanted.device, threads=wanted.threads)
    controls(model, wanted.domain)  # says now which domains there are
    usual = model.config.sampling
    return Worlds(
        model=model,
        starts=open_episodes(wanted.starts, size=model.tokenizer.config.resolution),
        sampling=None if wanted.temperature is None else replace(usual, temperature=wanted.temperature),
        domain=wanted.domain,
        tile=wanted.tile,
    )
