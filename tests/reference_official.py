"""An independent transcription of the published architecture, for tests only.

The authors' network as their repository describes it (github.com/felixcheng97/IICNet, MIT),
written anew: BGR images, a list of five modules, and their names for every parameter, so that
``state_dict()`` has the keys of their ``.pth`` files. It shares no code with iicnet.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Setting:
    """The fields of a published ``.yml`` that shape the network."""

    yml: str
    num_of_frames: int
    block_num: int = 10
    out_nc: int = 3
    down: str = ""
    order: str = "ref"


SETTINGS = {
    "paper/video-5": Setting("st-01", 5),
    "paper/video-7": Setting("st-04", 7),
    "paper/video-9": Setting("st-05", 9),
    "paper/video-3-half": Setting("st-06", 3, down="haar", order="hl"),
    "paper/video-5-half": Setting("st-07", 5, down="squeeze", order="ref"),
    "paper/stereo": Setting("mono-01", 2, block_num=16),
    "paper/dual": Setting("dual-01", 2),
    "paper/layers-3": Setting("adobe-01", 3),
    "paper/layers-2": Setting("real-01", 2),
    "paper/stego-2": Setting("hide-01", 2),
    "paper/stego-3": Setting("hide-02", 3),
    "paper/stego-4": Setting("hide-03", 4),
    "paper/stego-5": Setting("hide-04", 5),
    "paper/grayscale": Setting("supp-gray-01", 1, block_num=16, out_nc=1),
    "paper/rescale": Setting("supp-sr-01", 1, block_num=16, down="squeeze", order="hl"),
}


class Dense(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        for i in range(1, 6):
            width = 32 if i < 5 else outputs
            setattr(self, f"conv{i}", nn.Conv2d(inputs + 32 * (i - 1), width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for i in range(1, 5):
            y = getattr(self, f"conv{i}")(torch.cat(seen, 1))
            seen.append(torch.where(y > 0, y, 0.2 * y))
        result: Tensor = self.conv5(torch.cat(seen, 1))
        return result


class RelationSide(nn.Module):
    def __init__(self, frames: int) -> None:
        super().__init__()
        self.DB_heads = nn.ModuleList(Dense(3, 64) for _ in range(frames))
        self.conv_1x1_heads = nn.ModuleList(nn.Conv2d(64, 64, 1) for _ in range(frames))
        self.conv_merges = nn.ModuleList(
            nn.Conv2d(64 * frames, 64, 3, padding=1) for _ in range(frames)
        )
        self.conv_1x1_tails = nn.ModuleList(nn.Conv2d(64, 64, 1) for _ in range(frames))
        self.DB_tails = nn.ModuleList(Dense(64, 3) for _ in range(frames))

    def forward(self, x: Tensor) -> Tensor:
        features = torch.cat(
            [
                self.conv_1x1_heads[i](self.DB_heads[i](x[:, 3 * i : 3 * i + 3]))
                for i in range(len(self.DB_heads))
            ],
            1,
        )
        change = [
            self.DB_tails[i](self.conv_1x1_tails[i](self.conv_merges[i](features)))
            for i in range(len(self.DB_heads))
        ]
        return x + 0.2 * torch.cat(change, 1)


class Relation(nn.Module):
    def __init__(self, frames: int) -> None:
        super().__init__()
        self.forw_rel = RelationSide(frames)
        self.back_rel = RelationSide(frames)


class Haar(nn.Module):
    """Output group 4 c + b is band b of channel c; ``cells`` below sorts them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        signs = [[[1, 1], [1, 1]], [[1, -1], [1, -1]], [[1, 1], [-1, -1]], [[1, -1], [-1, 1]]]
        weights = torch.tensor(signs, dtype=torch.float32)[:, None].repeat(channels, 1, 1, 1)
        self.haar_weights = nn.Parameter(weights, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.haar_weights, stride=2, groups=x.shape[1]) / 4

    def backward(self, y: Tensor) -> Tensor:
        return F.conv_transpose2d(y, self.haar_weights, stride=2, groups=y.shape[1] // 4)


class Squeeze(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_unshuffle(x, 2)

    def backward(self, y: Tensor) -> Tensor:
        return F.pixel_shuffle(y, 2)


class Conv1x1(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(channels))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("oi,bihw->bohw", self.weight, x)

    def backward(self, y: Tensor) -> Tensor:
        return torch.einsum("oi,bihw->bohw", self.weight.inverse(), y)


class Downscaling(nn.Module):
    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.order = setting.order
        if setting.down:
            channels = 3 * setting.num_of_frames
            kind = Haar(channels) if setting.down == "haar" else Squeeze()
            self.operations = nn.ModuleList([kind, Conv1x1(4 * channels)])

    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, "operations"):
            return x
        y = self.operations[0](x).unflatten(1, (-1, 3, 4))  # frame, colour, band
        y = y.permute(0, 3, 1, 2, 4, 5) if self.order == "hl" else y.permute(0, 1, 3, 2, 4, 5)
        result: Tensor = self.operations[1](y.flatten(1, 3))
        return result

    def backward(self, y: Tensor) -> Tensor:
        if not hasattr(self, "operations"):
            return y
        y = self.operations[1].backward(y)
        frames = y.shape[1] // 12
        if self.order == "hl":
            y = y.unflatten(1, (4, frames, 3)).permute(0, 2, 3, 1, 4, 5)
        else:
            y = y.unflatten(1, (frames, 4, 3)).permute(0, 1, 3, 2, 4, 5)
        result: Tensor = self.operations[0].backward(y.flatten(1, 3))
        return result


class Block(nn.Module):
    def __init__(self, first: int, second: int) -> None:
        super().__init__()
        self.first = first
        self.F = Dense(second, first)
        self.G = Dense(first, second)
        self.H = Dense(first, second)

    def forward(self, x: Tensor) -> Tensor:
        a, b = x[:, : self.first], x[:, self.first :]
        a = a + self.F(b)
        b = b * torch.exp(2 * torch.sigmoid(self.H(a)) - 1) + self.G(a)
        return torch.cat((a, b), 1)

    def backward(self, y: Tensor) -> Tensor:
        a, b = y[:, : self.first], y[:, self.first :]
        b = (b - self.G(a)) / torch.exp(2 * torch.sigmoid(self.H(a)) - 1)
        a = a - self.F(b)
        return torch.cat((a, b), 1)


class Blocks(nn.Module):
    def __init__(self, first: int, second: int, number: int) -> None:
        super().__init__()
        self.operations = nn.ModuleList(Block(first, second) for _ in range(number))


class OfficialNet(nn.ModuleList):
    """Relation, downscaling, blocks, squeeze, quantization; the last two hold no weights."""

    def __init__(self, setting: Setting) -> None:
        channels = 3 * setting.num_of_frames * (4 if setting.down else 1)
        if not setting.down:
            first = setting.out_nc
        else:
            first = 4 * setting.out_nc if setting.order == "ref" else channels // 4
        super().__init__(
            [
                Relation(setting.num_of_frames),
                Downscaling(setting),
                Blocks(first, channels - first, setting.block_num),
                nn.Identity(),
                nn.Identity(),
            ]
        )
        self.out_nc = setting.out_nc
        self.copies = channels // setting.out_nc

    def embed(self, frames: Tensor) -> Tensor:
        """(B, 3K, H, W), BGR, to the embedding before quantization."""
        x = self[1](self[0].forw_rel(frames))
        for block in self[2].operations:
            x = block(x)
        return torch.stack(x.split(self.out_nc, 1)).mean(0)

    def restore(self, embedding: Tensor) -> Tensor:
        """The embedding to (B, 3K, H, W), BGR."""
        y = torch.cat([embedding] * self.copies, 1)
        for block in reversed(self[2].operations):
            y = block.backward(y)
        result: Tensor = self[0].back_rel(self[1].backward(y))
        return result
