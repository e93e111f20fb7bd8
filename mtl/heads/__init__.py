"""Heads: features [B, D] -> outputs of each task [B, W]."""
