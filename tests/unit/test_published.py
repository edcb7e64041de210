"""Published weights: where they are looked for, and how they are known."""

import hashlib
import struct
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import OfflineModeIsEnabled

from tokenizer import published
from tokenizer.published import NotOnHub, PublishedFile, check, locate, tensors_sha256

HASHES = tuple(hashlib.sha256(content).hexdigest() for content in (b"as published", b"converted"))
FILE = PublishedFile(what="the weights of Eve", repository="adam/eve", file="eve.pth", sha256=HASHES)


def test_a_repository_is_asked_for_the_published_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "hf_hub_download", lambda repository, file: tmp_path / repository / file)
    assert locate(FILE, None, option="weights") == tmp_path / "adam" / "eve" / "eve.pth"
    assert locate(FILE, "cain/abel", option="weights") == tmp_path / "cain" / "abel" / "eve.pth"


@pytest.mark.parametrize("said", ["the Hub is closed\nfor today", ""])
def test_what_the_hub_says_is_passed_on_in_one_line(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(repository: str, file: str) -> str:
        raise OfflineModeIsEnabled(said)

    monkeypatch.setattr(published, "hf_hub_download", refuse)
    with pytest.raises(NotOnHub) as caught:
        locate(FILE, None, option="weights")
    message = str(caught.value)
    assert (said.partition("\n")[0] or "OfflineModeIsEnabled") in message
    assert "\n" not in message
    assert message.endswith("fetch it with `hf download adam/eve eve.pth` and pass its path with --weights")


@pytest.mark.parametrize(("content", "known"), [(b"as published", True), (b"converted", True), (b"another", False)])
def test_published_weights_are_known_in_every_file_that_holds_them(content: bytes, known: bool, tmp_path: Path) -> None:
    path = tmp_path / "eve.pth"
    path.write_bytes(content)
    found = hashlib.sha256(content).hexdigest()
    assert check(path, FILE, sha256=[found], option="sha256") == found
    if known:
        assert check(path, FILE, option="sha256") == found
    else:
        with pytest.raises(ValueError, match=rf"{found}; expected the weights of Eve, {' or '.join(HASHES)}: "):
            check(path, FILE, option="sha256")


def test_a_hash_of_tensors_is_of_their_shapes_and_values_alone() -> None:
    tensors = [torch.arange(6.0).reshape(2, 3), torch.tensor([0.5])]
    written = b"(2, 3)" + struct.pack("<6f", *range(6)) + b"(1,)" + struct.pack("<f", 0.5)
    assert tensors_sha256(tensors) == hashlib.sha256(written).hexdigest()
    assert tensors_sha256([tensors[0].double().T.contiguous().T, tensors[1].half()]) == tensors_sha256(tensors)
    assert tensors_sha256([tensors[0].T, tensors[1]]) != tensors_sha256(tensors)
