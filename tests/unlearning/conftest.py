"""A small trained model and its files, shared by the tests that need a real chain."""

import json

import pytest
import torch

from unlearning import backbones, datasets, personalize

TINY = backbones.DIGITS_VIT | {"embed_dim": 32, "depth": 2, "num_heads": 2}

TINY_OPT = {
    "library": "transformers",
    "model": "opt",
    "vocab_size": 256,
    "hidden_size": 32,
    "word_embed_proj_dim": 32,
    "ffn_dim": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 128,
}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Folder with architecture.json, global.safetensors and data.npz of a ViT trained for one epoch or two."""
    folder = tmp_path_factory.mktemp("tiny")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        train = datasets.load("digits").train
        model = personalize.trained(TINY, train.first(480), personalize.Training(4, 3e-3), 0)
    finally:
        torch.set_num_threads(threads)
    backbones.save(folder / "global.safetensors", model.state_dict())
    (folder / "architecture.json").write_text(json.dumps(TINY))
    datasets.save_npz(folder / "data.npz", train.first(40))
    return folder


@pytest.fixture
def tiny_model(tiny):
    return backbones.with_weights(TINY, backbones.load(tiny / "global.safetensors"))


@pytest.fixture
def samples():
    train = datasets.load("digits").train
    return train.first(12)
