"""From picture files to arrays: list, decode and pack once, find near-duplicates, split."""
