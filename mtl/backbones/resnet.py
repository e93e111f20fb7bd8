"""Residual networks (He et al. 2016), torchvision's, with the ImageNet stem."""

from __future__ import annotations

from torch import Tensor, nn

from mtl.backbones.pretrained import load_weights


class ResNet(nn.Module):
    """torchvision's resnet without its classifier; pictures [B, 3, S, S] -> features [B, D]."""

    def __init__(self, arch: str, weights: str | None) -> None:
        super().__init__()
        from torchvision.models import get_model

        if "resnet" not in arch and "resnext" not in arch:
            raise ValueError(f"backbone.arch={arch}: expected a residual network of torchvision, for example resnet50.")
        self.network = get_model(arch, weights=None)
        self.num_features: int = self.network.fc.in_features
        self.network.fc = nn.Identity()
        load_weights(self.network, arch, weights)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, S, S] -> [B, D]."""
        features: Tensor = self.network(images)
        return features
