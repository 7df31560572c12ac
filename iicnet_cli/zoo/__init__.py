"""Names to checkpoints: bundled with iicnet, among the models of the user, in a folder, on a hub.

A checkpoint is a folder::

    config.json         ModelConfig: task, network, hash of the weights, licence, origin, training,
                        noise-shaping filter
    model.safetensors   the weights, usually fp16
    README.md           the model card
    recipe.toml         the recipe of its training, if it was trained with iicnet
    golden/             images.png, embedding.png, restored.png, which ``models verify`` replays

Nothing here imports torch before weights are read.
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
