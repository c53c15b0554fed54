"""ResNet-18 (He et al. 2015, arXiv:1512.03385), 11.7 million parameters, as transformers builds it.

fedmarket model pack resnet18.py:build package --input 3,64,64 --classes 1000
"""

from torch import Tensor, nn
from transformers import ResNetConfig, ResNetForImageClassification


class ResNet18(nn.Module):
    """Answers with logits alone: that is what losses are computed from."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        config = ResNetConfig(hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], layer_type="basic")
        config.num_labels = classes
        self.network = ResNetForImageClassification(config)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, classes) of images (n, 3, height, width)."""
        logits: Tensor = self.network(images).logits
        return logits


def build() -> nn.Module:
    """The module that is packed."""
    return ResNet18()
