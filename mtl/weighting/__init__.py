"""Loss weightings: one file per own method, adapters for torchjd's, one contract (`base`)."""
