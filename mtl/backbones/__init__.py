"""Backbones: pictures [B, 3, S, S] -> features [B, D], with `num_features` = D."""
