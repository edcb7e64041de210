"""Measures `ivideo serve`: throughput against clients, and what malformed, slow and killed clients do to it.

    python tests/benchmarks/serving.py [throughput fuzz slow kill] [--seconds 10] [--plot docs/media/serving.png]

Every part starts a server of its own, with the packaged model, and prints what it found as one line of JSON. Frames are
raw pixels of 64x64; the seeds are 0 and up. Beside wall-clock figures stand those per second of the server's processor
time, which other work on the machine changes little. About five minutes on a quiet machine with two cores.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgpack
import numpy as np
from websockets.asyncio.client import connect

from ivideo.serve import wire
from ivideo.serve.client import RemoteWorlds

CLIENTS = (1, 4, 16, 64)
_CODE = "import sys; from ivideo.cli import main; sys.exit(main())"


class Server:
    """`ivideo serve` in a process of its own."""

    def __init__(self, *options: str) -> None:
        command = [sys.executable, "-c", _CODE, "serve", "--sessions", "130", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()

    @property
    def seconds(self) -> float:
        """Of processor time, so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def megabytes(self) -> float:
        """Held in memory now."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def server(*options: str) -> Iterator[Server]:
    started = Server(*options)
    try:
        yield started
    finally:
        started.process.terminate()
        started.process.wait()


# ------------------------------------------------------------------------------------------------------- throughput


async def _ask(socket: Any, do: str, **fields: Any) -> dict[str, Any]:
    await socket.send(wire.packed({"do": do, **fields}))
    answer = wire.unpacked(await socket.recv())
    assert answer["kind"] != "error", answer
    return answer


async def _clients(address: str, count: int, seconds: float, held: Server) -> dict[str, float]:
    """So many clients, each of which steps as fast as it is answered, in one process."""
    done, until = 0, [0.0]
    ready = asyncio.Barrier(count + 1)

    async def live(index: int) -> None:
        nonlocal done
        rng = np.random.default_rng(index)
        async with connect(address, max_size=None, compression=None, proxy=None) as socket:
            env = (await _ask(socket, "open"))["env"]
            await _ask(socket, "reset", env=env, seeds=[index])
            for _ in range(2 + 15 * index // count):  # episodes begin and end at different times
                await _ask(socket, "step", env=env, actions=rng.uniform(-1, 1, (1, 2)).astype("<f4"))
            await ready.wait()
            await ready.wait()
            while time.monotonic() < until[0]:
                await _ask(socket, "step", env=env, actions=rng.uniform(-1, 1, (1, 2)).astype("<f4"))
                done += 1

    lives = [asyncio.create_task(live(index)) for index in range(count)]
    await ready.wait()
    async with connect(address, proxy=None) as socket:
        before, used, began = await _ask(socket, "ping"), held.seconds, time.monotonic()
        until[0] = began + seconds
        await ready.wait()
        await asyncio.gather(*lives)
        took, after = time.monotonic() - began, await _ask(socket, "ping")
    passes = after["passes"] - before["passes"]
    return {
        "clients": count,
        "frames_per_second": round(done / took, 1),
        "frames_per_processor_second": round(done / (held.seconds - used), 1),
        "rows_per_pass": round((after["steps"] - before["steps"]) / passes, 2),
    }


def _alone(index: int, seconds: float, ready: Any, found: Any) -> None:
    """One client with a model of its own."""
    import torch

    from ivideo import WorldModelEnv

    torch.set_num_threads(1)
    env = WorldModelEnv("pushing_table")
    env.reset(seed=index)
    rng = np.random.default_rng(index)
    for _ in range(2):
        env.step(rng.uniform(-1, 1, (1, 2)).astype(np.float32))
    ready.wait()
    began, used, done = time.monotonic(), time.process_time(), 0
    while time.monotonic() < began + seconds:
        env.step(rng.uniform(-1, 1, (1, 2)).astype(np.float32))
        done += 1
    found.put((done / (time.monotonic() - began), done, time.process_time() - used))


def processes(count: int, seconds: float) -> dict[str, float]:
    """So many clients, each with a process and a model of its own."""
    context = multiprocessing.get_context("spawn")
    ready, found = context.Barrier(count), context.Queue()
    running = [context.Process(target=_alone, args=(index, seconds, ready, found)) for index in range(count)]
    for each in running:
        each.start()
    rates = [found.get() for _ in running]
    for each in running:
        each.join()
    return {
        "processes": count,
        "frames_per_second": round(sum(rate for rate, _, _ in rates), 1),
        "frames_per_processor_second": round(sum(done for _, done, _ in rates) / sum(used for _, _, used in rates), 1),
    }


def throughput(seconds: float, plot: Path | None, gather: str) -> dict[str, Any]:
    with server("--gather", gather) as held:
        served = [asyncio.run(_clients(held.address, count, seconds, held)) for count in CLIENTS]
    apart = [processes(count, seconds) for count in (1, 4)]
    ratio = {
        name: round(served[1][name] / apart[1][name], 2)
        for name in ("frames_per_second", "frames_per_processor_second")
    }
    if plot is not None:
        _draw(plot, served, apart)
    return {"served": served, "one_process_each": apart, "served_to_one_process_each_of_4": ratio}


def _draw(path: Path, served: list[dict[str, float]], apart: list[dict[str, float]]) -> None:
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(8, 3), sharex=True)
    titles = {
        "frames_per_second": "frames/s of all clients together",
        "frames_per_processor_second": "frames per second of processor time",
    }
    for panel, (name, title) in zip(panels, titles.items(), strict=True):
        panel.plot([each["clients"] for each in served], [each[name] for each in served], "o-", label="ivideo serve")
        panel.plot([each["processes"] for each in apart], [each[name] for each in apart], "s--", label="a process each")
        panel.set(xscale="log", xlabel="clients", title=title, ylim=(0, None))
        panel.set_xticks(CLIENTS, [str(each) for each in CLIENTS])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=150)


# ------------------------------------------------------------------------------------------------------------- fuzz

_WORDS = ["do", "env", "envs", "actions", "seeds", "mask", "save", "n", "horizon", "observations", "pictures", "id"]
_VERBS = ["hello", "ping", "open", "reset", "step", "render", "save", "restore", "fork", "forget", "close", "fly"]


def made_up(rng: random.Random) -> bytes | str:
    """A message of one of many kinds; few of them are right."""
    values: list[Any] = [
        lambda: rng.randint(-(2**63), 2**63),
        lambda: rng.randint(-2, 3),
        lambda: rng.random() * 10.0 ** rng.randint(-300, 300),
        lambda: rng.choice([float("nan"), float("inf"), None, True, False]),
        lambda: "".join(map(chr, rng.choices(range(1, 0xD000), k=4))),
        lambda: rng.randbytes(rng.randint(0, 40)),
        lambda: [rng.choice(values)() for _ in range(rng.randint(0, 3))],
        lambda: {rng.choice(_WORDS): rng.choice(values)() for _ in range(rng.randint(0, 3))},
        lambda: msgpack.ExtType(rng.randint(0, 127), rng.randbytes(4)),
        lambda: {
            "dtype": rng.choice([*wire.DTYPES, "|O", "<U9", ">f4", 3]),
            "shape": rng.choice([[1, 2], [2], [2**30, 2**30], [-1], [], "x", [0, 0]]),
            "data": rng.choice([rng.randbytes(8), b"", b"\0\0\xc0\x7f" * 2, "x"]),
        },
    ]
    fields = {name: rng.choice(values)() for name in rng.sample(_WORDS, rng.randint(0, 4))}
    if rng.random() < 0.8:
        fields["do"] = rng.choice(_VERBS)
    packed: bytes = msgpack.packb({**fields, "env": 1} if rng.random() < 0.5 else fields)
    kind = rng.random()
    if kind < 0.3:  # a byte is another
        at = rng.randrange(len(packed))
        packed = packed[:at] + rng.randbytes(1) + packed[at + 1 :]
    elif kind < 0.4:
        packed = packed[: rng.randrange(len(packed))]
    elif kind < 0.45:
        packed = rng.randbytes(rng.randint(0, 200))
    elif kind < 0.455:
        packed = b"\x91" * rng.choice([600, 2000, 100_000])
    elif kind < 0.458:
        packed = rng.randbytes(1) * rng.randint(1 << 20, 2 << 20)
    elif kind < 0.5:
        return packed.decode("latin-1")
    return packed


def fuzz(messages: int = 10_000) -> dict[str, Any]:
    async def speak(address: str, held: Server) -> dict[str, Any]:
        rng, answers, errors, before, part = random.Random(0), 0, 0, 0.0, messages // 20
        for connection in range(20):
            async with connect(address, max_size=None, compression=None, proxy=None) as socket:
                for _ in range(part):
                    await socket.send(made_up(rng))
                    answer = wire.unpacked(await socket.recv())
                    answers += 1
                    errors += answer["kind"] == "error"
            await asyncio.sleep(0.3)
            if connection == 1:  # by when everything has been loaded that there is
                before = held.megabytes
        after = held.megabytes
        async with connect(address, proxy=None) as socket:  # and then all is well
            env = (await _ask(socket, "open"))["env"]
            await _ask(socket, "reset", env=env, seeds=[0])
            await _ask(socket, "step", env=env, actions=np.zeros((1, 2), "<f4"))
            told = await _ask(socket, "ping")
        return {
            "messages": messages,
            "answers": answers,
            "errors": errors,
            "counted_as_malformed": told["malformed"],
            "crashes": int(held.process.poll() is not None),
            "megabytes_after_1000": round(before, 1),
            "megabytes_after_all": round(after, 1),
        }

    with server("--saves", "16") as held:
        return asyncio.run(speak(held.address, held))


# ------------------------------------------------------------------------------------------------------------- slow


def _steady(address: str, seconds: float) -> list[float]:
    """A client that takes its answers at once: how long each took, in milliseconds."""
    env = RemoteWorlds(address)
    env.reset(seed=0)
    rng, times = np.random.default_rng(0), []
    for _ in range(5):
        env.step(rng.uniform(-1, 1, (1, 2)))
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.monotonic()
        env.step(rng.uniform(-1, 1, (1, 2)))
        times.append(1000 * (time.monotonic() - began))
    env.close()
    return times


async def _slowly(address: str, rate: int, pause: float, gone: list[int]) -> None:
    """A client that takes `rate` bytes a second, or none, and asks for a step every `pause` seconds all the same."""
    place = urlsplit(address)
    reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=1024)
    writer.write(
        f"GET / HTTP/1.1\r\nHost: {place.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")

    def say(**fields: Any) -> None:
        message = wire.packed(fields)
        assert len(message) < 2**16
        writer.write(b"\x82\xfe" + len(message).to_bytes(2, "big") + bytes(4) + message)

    async def take() -> None:
        held = b""
        while rate and (got := await reader.read(rate // 10)):
            held += got
            while len(held) >= 2:  # answer pings, pass over the rest
                length, start = held[1], 2
                if length >= 126:
                    start = 4 if length == 126 else 10
                    length = int.from_bytes(held[2:start], "big")
                if len(held) < start + length:
                    break
                if held[0] == 0x89:
                    writer.write(b"\x8a" + bytes([0x80 | length]) + bytes(4) + held[start : start + length])
                held = held[start + length :]
            await asyncio.sleep(0.1)

    taking = asyncio.create_task(take())
    try:
        say(do="open")
        say(do="reset", env=1, seeds=[0])
        while True:
            say(do="step", env=1, actions=np.zeros((1, 2), "<f4"))
            await writer.drain()
            await asyncio.sleep(pause)
            if taking.done() and rate:
                break
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        taking.cancel()
        gone[0] += 1
        writer.close()


def slow(seconds: float, readers: int = 50) -> dict[str, Any]:
    async def among(address: str) -> tuple[list[float], int]:
        gone = [0]
        others = [
            asyncio.create_task(_slowly(address, 4096 if index % 2 else 0, 3.0, gone)) for index in range(readers)
        ]
        await asyncio.sleep(2)
        with context.Pool(1) as pool:
            times = await asyncio.to_thread(pool.apply, _steady, (address, seconds))
        left = gone[0]
        for each in others:
            each.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        return times, left

    context = multiprocessing.get_context("spawn")
    with server() as held:
        rounds: dict[str, list[float]] = {"alone": [], "among": []}
        dropped = 0
        for _ in range(2):  # in turns: the machine may have other work
            with context.Pool(1) as pool:
                rounds["alone"] += pool.apply(_steady, (held.address, seconds / 2))
            times, gone = asyncio.run(among(held.address))
            rounds["among"] += times
            dropped += gone
    found: dict[str, Any] = {"slow_readers": readers, "let_go_of": dropped}
    for name, times in rounds.items():
        found[f"median_ms_{name}"] = round(float(np.median(times)), 1)
        found[f"p99_ms_{name}"] = round(float(np.quantile(times, 0.99)), 1)
    found["ratio_of_p99"] = round(found["p99_ms_among"] / found["p99_ms_alone"], 2)
    return found


# ------------------------------------------------------------------------------------------------------------- kill

_VICTIM = """
import sys, numpy as np
from ivideo.serve.client import RemoteWorlds
env = RemoteWorlds(sys.argv[1], num_envs=8)
env.reset(seed=0)
print("begun", flush=True)
while True:
    env.step(np.zeros((8, 2), np.float32))
"""


def kill(times: int = 3) -> dict[str, Any]:
    """How long after kill -9 of a client, and after one is stopped (so that it answers nothing), its room is free."""
    freed: dict[str, list[float]] = {"killed": [], "stopped": []}
    with server() as held:
        watch = RemoteWorlds(held.address)
        for name in [*["killed"] * times, "stopped"]:
            victim = subprocess.Popen([sys.executable, "-c", _VICTIM, held.address], stdout=subprocess.PIPE)
            assert victim.stdout is not None
            victim.stdout.readline()
            time.sleep(0.5)
            began = time.monotonic()
            victim.send_signal(9 if name == "killed" else 19)
            while watch.line.ask("ping")["sessions"] > 1:
                time.sleep(0.02)
            freed[name].append(round(time.monotonic() - began, 2))
            victim.kill()
            victim.wait()
        watch.close()
    return {"seconds_until_freed": freed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["throughput", "fuzz", "slow", "kill"])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement of speed")
    parser.add_argument("--gather", default="20", help="see `ivideo serve --help`")
    parser.add_argument("--plot", type=Path, help="where to draw throughput")
    wanted = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for part in wanted.parts:
        if part == "throughput":
            found = throughput(wanted.seconds, wanted.plot, wanted.gather)
        else:
            found = {"fuzz": fuzz, "kill": kill}[part]() if part != "slow" else slow(2 * wanted.seconds)
        print(json.dumps({part: found}), flush=True)


if __name__ == "__main__":
    main()
