"""What docs/actions.md says: its Python runs, its table names every kind, its camera moves are those there are."""

import re
from pathlib import Path

import av
import torch
from tiny_rollouts import build, clip
from tiny_text import SIZE, save_text_encoder

from ivideo.act import Interface
from ivideo.data.camera import MOVES
from ivideo.embedding import EmbeddingConfig
from ivideo.embodiments import Domain
from ivideo.instructions import TextConfig

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "actions.md").read_text(encoding="utf-8")


def test_python_blocks_run_one_after_the_other(tmp_path: Path) -> None:
    text = TextConfig(encoder=save_text_encoder(tmp_path / "t5"), size=SIZE)
    scope: dict[str, object] = {
        "camera": build(EmbeddingConfig(domains=(Domain(name="camera", choices=tuple(MOVES)),))),
        "reader": build(EmbeddingConfig(text=text)),
        "reacher": build(EmbeddingConfig(), goal=True),
        "film": clip(8)[0],
        "pictures": tmp_path / "pictures",
    }
    (tmp_path / "pictures").mkdir()
    with av.open(str(tmp_path / "pictures" / "hall.png"), "w") as file:
        stream = file.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 160, 80, "rgb24"
        noise = torch.randint(256, (80, 160, 3), dtype=torch.uint8).numpy()
        file.mux([*stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")), *stream.encode()])
    blocks = re.findall(r"<!-- runs -->\n```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) >= 4
    for block in blocks:
        exec(compile(block, "actions.md", "exec"), scope)


def test_every_kind_and_every_move_is_told_of() -> None:
    everything = EmbeddingConfig(
        domains=(Domain(name="a", choices=2), Domain(name="b", action_dim=1)), text=TextConfig()
    )
    interface = Interface(
        embodiments=build(EmbeddingConfig(domains=everything.domains)).embodiments, encoder="t5", goal=True
    )
    for kind in interface.kinds:
        assert f"| {kind.removesuffix('s')}" in TEXT or f"| a {kind.removesuffix('s')}" in TEXT, kind
    assert f"choices: [{', '.join(MOVES)}]" in TEXT
