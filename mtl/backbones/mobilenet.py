"""Mobile networks (Howard et al. 2019), torchvision's."""

from __future__ import annotations

from torch import Tensor, nn

from mtl.backbones.pretrained import load_weights


class MobileNet(nn.Module):
    """torchvision's mobilenet without its classifier; pictures [B, 3, S, S] -> features [B, D]."""

    def __init__(self, arch: str, weights: str | None) -> None:
        super().__init__()
        from torchvision.models import get_model

        if not arch.startswith("mobilenet_v3"):
            raise ValueError(f"backbone.arch={arch}: expected mobilenet_v3_small or mobilenet_v3_large.")
        self.network = get_model(arch, weights=None)
        self.num_features: int = self.network.classifier[0].in_features
        self.network.classifier = nn.Identity()
        load_weights(self.network, arch, weights)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, S, S] -> [B, D]."""
        features: Tensor = self.network(images)
        return features
