"""Size of the dashboard, seconds to write it, and seconds until it can be used in a headless Chromium.

The runs are made, not trained: rows x seeds of three tasks with histories, predictions and pictures of noise.

    python benchmarks/dashboard.py --rows 40 --seeds 5 --epochs 20
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from selenium import webdriver

from mtl.report.arrange import arrange
from mtl.report.collect import collect
from mtl.report.compare import Comparisons
from mtl.report.dashboard import write
from mtl.report.tables import build

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from helpers_study import make_pictures, make_study

# Milliseconds since the navigation began: the text is painted; the script has put the page together.
TIMES = """return [performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null,
                   performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd]"""
FIGURE = "return !!document.querySelector('#figure-scores .main-svg')"


def open_page(page: Path) -> tuple[float, float, float]:
    """Seconds until the page is painted, can be used, and has drawn the first figure once that is scrolled to."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for word in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1280,900",
    ):
        options.add_argument(word)
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        driver.get(page.as_uri())
        painted, usable = driver.execute_script(TIMES)
        while painted is None:  # noted a moment after the paint, which may come after the load
            time.sleep(0.01)
            painted, usable = driver.execute_script(TIMES)
        start = time.perf_counter()
        driver.execute_script("document.getElementById('figure-scores').scrollIntoView({behavior: 'instant'})")
        while not driver.execute_script(FIGURE):
            time.sleep(0.01)
        return painted / 1000, usable / 1000, time.perf_counter() - start
    finally:
        driver.quit()


def main() -> None:
    """Print one line per measurement, the median of the openings with the smallest and the largest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--pictures", type=int, default=1000, help="test pictures")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study, pictures = Path(folder) / "made", Path(folder) / "pictures"
        names = make_pictures(pictures, options.pictures)
        changes = {"data.root": str(pictures)}
        rows = [(f"method_{number}", 0.003 * number, changes) for number in range(options.rows)]
        make_study(study, rows, options.seeds, single=False, epochs=options.epochs, names=names)
        comparisons = Comparisons(arrange(collect(study)))
        build(comparisons)  # the report has compared all rows by then
        start = time.perf_counter()
        page = Path(folder) / "dashboard.html"
        write(comparisons, page)
        seconds = time.perf_counter() - start
        print(f"{options.rows * options.seeds} runs of {options.epochs} epochs: written in {seconds:.1f} s")
        print(f"size: {page.stat().st_size / 1e6:.1f} MB")
        opened = zip(*(open_page(page) for _ in range(options.rounds)), strict=True)
        for name, found in zip(("painted", "usable", "first figure, after scrolling to it"), opened, strict=True):
            print(f"{name}: {statistics.median(found):.2f} s [{min(found):.2f}, {max(found):.2f}]")


if __name__ == "__main__":
    main()
