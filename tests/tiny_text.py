"""A text encoder small enough to be made on the spot: a T5 of random weights and a tokenizer of a few words."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

WORDS = ["pick", "push", "place", "the", "can", "block", "red", "blue", "in", "plate", "and", "left", "right"]
SIZE = 8


def save_text_encoder(folder: Path, *, words: list[str] = WORDS, size: int = SIZE, seed: int = 0) -> str:
    """Save it; the name to give as `embedding.text.encoder`."""
    vocabulary = {word: number for number, word in enumerate(["<pad>", "</s>", "<unk>", *words])}
    fast = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=fast, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=len(vocabulary), d_model=size, d_kv=4, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0
    )
    T5EncoderModel(config).save_pretrained(folder)
    return str(folder)
