"""Names to checkpoints: bundled with iicnet, imported by the user, in a folder, or on a hub.

A checkpoint is a folder::

    config.json         ModelConfig: task, network, hash of the weights, licence, how it was made,
                        how the rounding of its embeddings is diffused
    model.safetensors   the weights, fp16
    README.md           the card
    recipe.toml         what it was trained with
    golden/             images.png, embedding.png, restored.png: replayed by ``models verify``

Nothing here imports torch before weights are loaded.
"""

from iicnet_cli.zoo.checkpoint import Checkpoint, ModelConfig, read_config
from iicnet_cli.zoo.registry import available, find, find_by_weights

__all__ = [
    "Checkpoint",
    "ModelConfig",
    "available",
    "find",
    "find_by_weights",
    "read_config",
]
