"""Seconds to pack a data set cold and warm, to find its near-duplicates, and how well these agree with a list.

    python benchmarks/packing.py --root UTKFace.tar.gz --image-size 64 --duplicates-csv duplicates.csv
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import sys
import tempfile
import time
from itertools import combinations
from pathlib import Path, PurePosixPath

import numpy as np
import PIL

sys.path.insert(0, str(Path(__file__).parents[1]))

from mtl.data.pack import Field, pack  # noqa: E402  the repository need not be installed
