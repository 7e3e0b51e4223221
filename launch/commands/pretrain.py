"""`harnet pretrain`."""

from pretrain.command import Command

__all__ = ["Command"]
