"""The dashboard in a real browser, headless; what it shows is compared with the numbers it is made of."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers_study import make_pictures, make_run, make_study
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from mtl.report.arrange import arrange
from mtl.report.collect import collect
from mtl.report.compare import Comparisons
from mtl.report.dashboard import write

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no Chromium with chromedriver is installed: apt-get install chromium-driver"
)
HOSTILE = "<b>bold</b><img src=x onerror=alert(1)>"
NASTY = "a_b & $x$ </script><!-- {{study}} %{x}"
ROWS: list[tuple[str, float, dict[str, Any]]] = [
    ("sum", 0.0, {}),
    ("uncertainty", 0.2, {}),
    ("rlw", -0.2, {}),
    ("constant", 0.1, {"weighting.method.t": 2}),
    ("constant", 0.08, {"weighting.method.t": 4}),
    (HOSTILE, 0.15, {}),
    (NASTY, 0.05, {}),
]
SEEDS = 3


def made(study: Path) -> Comparisons:
    """The comparisons of the study in `study`, and its page beside it, `<study>.html`."""
    comparisons = Comparisons(arrange(collect(study)))
    write(comparisons, study.with_suffix(".html"))
    return comparisons


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Comparisons]:
    """Seven rows with three seeds, single-task runs, a failed and an interrupted run; and numbers that are none."""
    folder = tmp_path_factory.mktemp("dashboard")
    names = make_pictures(folder / "pictures", 60)
    rows = [(name, gain, {"data.root": str(folder / "pictures"), **changes}) for name, gain, changes in ROWS]
    make_study(folder / "whole", rows, SEEDS, names=names)
    make_run(folder / "whole", "mgda", 0, status="failed", error="the loss of <i>age</i> is not finite")
    make_run(folder / "whole", "famo", 0, status="interrupted")
    history = next((folder / "whole").glob("rlw-*-s0")) / "history.jsonl"
    lines = [json.loads(line) for line in history.read_text().splitlines()]
    lines[0] |= {"grad_norm": float("nan"), "train/loss/age": float("inf")}
    history.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return folder / "whole.html", made(folder / "whole")


@pytest.fixture(scope="module")
def chromium() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for word in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--force-prefers-reduced-motion",
        "--window-size=1280,900",
    ):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(300)  # seconds, of a busy machine
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium: webdriver.Chrome) -> Iterator[webdriver.Chrome]:
    """Whatever a test does: no error in the console, and nothing asked but the page itself."""
    chromium.get("about:blank")
    chromium.get_log("browser"), chromium.get_log("performance")
    yield chromium
    assert [entry["message"] for entry in chromium.get_log("browser") if entry["level"] != "INFO"] == []
    events = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
    asked = {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}
    assert {url.partition(":")[0] for url in asked} <= {"file", "data", "blob"}
    assert len({url.partition("#")[0] for url in asked if url.startswith("file:")}) == 1
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def show(browser: webdriver.Chrome, page: Path, hash_: str = "") -> None:
    browser.get("about:blank")
    browser.get(f"{page.as_uri()}{hash_}")
    wait(browser, "return document.documentElement.dataset.ready")


def wait(browser: webdriver.Chrome, script: str, *arguments: Any) -> Any:
    """What `script` returns once it is something."""
    return WebDriverWait(browser, 300, poll_frequency=0.05).until(lambda _: browser.execute_script(script, *arguments))


def texts(browser: webdriver.Chrome, selector: str) -> list[str]:
    """Of what is shown; hidden words are left out."""
    script = "return [...document.querySelectorAll(arguments[0])].map((node) => node.innerText)"
    return browser.execute_script(script, selector)


def click(browser: webdriver.Chrome, by: str, place: str) -> None:
    """A click in the middle of the window, where the bar of sections covers nothing."""
    element = browser.find_element(by, place)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
    element.click()


def labels(browser: webdriver.Chrome) -> list[str]:
    return texts(browser, "table.rows button.row")


def figure(browser: webdriver.Chrome, name: str) -> list[dict[str, Any]]:
    """The traces of a figure, scrolled to and drawn."""
    browser.execute_script(
        "document.getElementById(arguments[0]).scrollIntoView({behavior: 'instant'})", f"figure-{name}"
    )
    wait(
        browser,
        f"return document.querySelector('#figure-{name} .main-svg, #figure-{name} .empty')?.textContent !== '…'",
    )
    wait(browser, f"return document.querySelector('#figure-{name} .main-svg')")
    return browser.execute_script(
        f"return document.getElementById('figure-{name}').data.map(({{x, y, z, name}}) => ({{x, y, z, name}}))"
    )


def names(comparisons: Comparisons) -> list[str]:
    """The table's first column: with key columns it is the weighting."""
    return [row.weighting for row in comparisons.rows.rows]


def test_rows_verdicts_and_facts(browser, whole):
    page, comparisons = whole
    show(browser, page)
    assert sorted(labels(browser)) == sorted(names(comparisons))
    sentences = {one.sentence("skill points") for one in comparisons.of("test/score").values()}
    assert set(texts(browser, ".sentence")) == sentences
    assert "synthetic" in texts(browser, "h1")[0]
    assert set(texts(browser, ".facts dd")[-1].split(", ")) == {
        f"{SEEDS * (len(ROWS) + 3)} done",
        "1 failed",
        "1 interrupted",
    }
    assert "the loss of <i>age</i> is not finite" in " ".join(texts(browser, ".unfinished .reason"))
    shown = {text.split()[0]: text for text in texts(browser, "table.rows tbody tr")}
    values = comparisons.rows.values(comparisons.rows.find("uncertainty"), "test/age/mae_years").values()
    assert f"{sum(values) / SEEDS:.2f}" in shown["uncertainty"]
    assert "▲ better" in shown["uncertainty"]
    assert "▼ worse" in shown["rlw"]


def test_sorted_by_click_and_by_enter(browser, whole):
    page, comparisons = whole
    show(browser, page)
    rows = comparisons.rows

    def order(key: str, higher: bool) -> list[str]:
        means = [(sum(rows.values(row, key).values()) / SEEDS, row.weighting) for row in rows.rows]
        return [name for _, name in sorted(means, reverse=higher)]

    assert labels(browser) == order("test/score", True)
    click(browser, By.CSS_SELECTOR, "[data-focus='sort test/age/mae_years']")
    assert labels(browser) == order("test/age/mae_years", False)
    sorted_ = "return document.querySelector(\"[data-focus='sort test/age/mae_years']\").parentNode.ariaSort"
    assert browser.execute_script(sorted_) == "ascending"
    assert texts(browser, "table.rows tbody tr:last-child th") == ["trivial guess"]
    browser.switch_to.active_element.send_keys(Keys.ENTER)  # the focus has stayed on the heading
    assert labels(browser) == order("test/age/mae_years", True)
    assert browser.execute_script(sorted_) == "descending"


def test_filtered_by_text_key_verdict_and_selection(browser, whole):
    page, comparisons = whole
    show(browser, page)
    search = browser.find_element(By.CSS_SELECTOR, "input[type=search]")
    search.send_keys("unc")
    assert labels(browser) == ["uncertainty"]
    assert len({tuple(trace["x"]) for trace in figure(browser, "scores")}) == 2
    click(browser, By.XPATH, "//button[.='Clear']")
    assert len(labels(browser)) == len(comparisons.rows.rows)
    key = browser.find_element(By.XPATH, "//label[span='t']/select")
    key.find_element(By.XPATH, "option[.='4']").click()
    assert labels(browser) == ["constant"]
    click(browser, By.XPATH, "//button[.='Clear']")
    click(browser, By.CSS_SELECTOR, ".chip.worse")
    assert labels(browser) == ["rlw"]
    click(browser, By.CSS_SELECTOR, ".chip.worse")
    for name in ("rlw", "sum"):
        click(browser, By.CSS_SELECTOR, f"input[aria-label='Select {name}']")
    assert "2 selected" in texts(browser, ".count")[0]
    wait(browser, "return document.getElementById('figure-scores').data[1].x.length === 2")
    assert [len(trace["x"]) for trace in figure(browser, "scores")] == [2 * SEEDS, 2]


def test_a_run_opened_by_click_and_by_keyboard(browser, whole):
    page, comparisons = whole
    show(browser, page)
    row = comparisons.rows.find("constant t=2")
    click(browser, By.XPATH, "//tr[td='2']//button[contains(@class,'row')][span='constant']")
    assert comparisons.rows.command(row) in texts(browser, ".details .command code")
    run = row.runs[("1",)][0]
    click(browser, By.XPATH, "//div[@class='details']//a[starts-with(.,'seed 1')]")
    wait(browser, "return document.querySelector('dialog[open] .curve .main-svg')")
    assert texts(browser, "dialog h2") == [run]
    assert browser.current_url.endswith(f"#run={run}")
    differs = {line.split()[0]: line.split()[1:] for line in texts(browser, "dialog .config tbody tr")}
    assert differs["weighting.method.t"] == ["2", "—"]
    assert differs["names.weighting"] == ["constant", "sum"]
    assert "seed" not in differs
    assert f"{comparisons.rows.numbers[run]['test/age/mae_years']:.2f}" in texts(browser, "dialog table")[0]
    browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    wait(browser, "return document.querySelector('dialog h2').innerText === arguments[0]", row.runs[("2",)][0])
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    wait(browser, "return !document.querySelector('dialog').open && location.hash === ''")
    # By keyboard alone: from the row's button one tab further, to the first of its runs.
    button = browser.find_element(By.XPATH, "//button[contains(@class,'row')][span='uncertainty']")
    button.send_keys(Keys.ENTER)
    browser.switch_to.active_element.send_keys(Keys.TAB)
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    wait(browser, "return document.querySelector('dialog').open")
    assert texts(browser, "dialog h2") == [comparisons.rows.find("uncertainty").runs[("0",)][0]]
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    wait(browser, "return !document.querySelector('dialog').open")


def test_a_run_in_the_address(browser, whole):
    page, comparisons = whole
    failed = next(name for name in comparisons.rows.study.runs["run"] if name.startswith("mgda"))
    show(browser, page, f"#run={failed}")
    assert texts(browser, "dialog .failure") == ["the loss of <i>age</i> is not finite"]


def test_figures_are_the_data(browser, whole):
    page, comparisons = whole
    show(browser, page)
    assert not browser.execute_script("return 'Plotly' in window")  # not before a figure is seen
    rows = comparisons.rows
    seeds, means = figure(browser, "scores")
    values = [list(rows.values(row, "test/score").values()) for row in rows.rows]
    assert sorted(seeds["x"]) == pytest.approx(sorted(value for of_row in values for value in of_row))
    assert sorted(means["x"]) == pytest.approx(sorted(sum(of_row) / SEEDS for of_row in values))
    points = "return document.querySelectorAll('#figure-scores .scatterlayer .point').length"
    assert browser.execute_script(points) == len(rows.rows) * (SEEDS + 1)
    # Curves: the mean over seeds of each epoch.
    frame = rows.study.epochs
    of_sum = frame[frame["run"].isin([runs[0] for runs in rows.find("sum").runs.values()])]
    expected = of_sum.groupby("epoch")["val/score"].mean().tolist()
    curves = [trace["y"] for trace in figure(browser, "curves")]
    assert any(curve == pytest.approx(expected, rel=1e-4) for curve in curves)
    # The heat map: rows from below, a column for each pair.
    (heat,) = figure(browser, "conflict")
    assert any(
        line[0] == pytest.approx(of_sum["conflict/cos/age/sick"].mean(), rel=1e-3)
        for line in heat["z"]
        if len(line) == 3
    )
    front = [(trace["x"][0], trace["y"][0]) for trace in figure(browser, "front") if len(trace["x"]) == 1]
    assert len(front) == len(rows.rows)
    assert {round(x, 6) for x, _ in front} == {
        round(sum(v := list(rows.values(row, "test/age/mae_years").values())) / len(v), 6) for row in rows.rows
    }
    assert len(figure(browser, "weights")) == 3 * len(ROWS)
    names = browser.execute_script("return [...document.querySelectorAll('.ytick')].map((tick) => tick.textContent)")
    assert any(name.startswith("<b>bold</b><img") for name in names)
    assert any(name.startswith("a_b & $x$ </script><!--") for name in names)
    figure(browser, "parallel")
    titles = "return [...document.querySelectorAll('.modebar-btn')].map((button) => button.dataset.title)"
    assert set(browser.execute_script(titles)) <= {"Zoom", "Pan", "Box Select", "Reset axes", "Download plot"}


def test_names_are_shown_as_they_are(browser, whole):
    page, comparisons = whole
    show(browser, page, f"#run={comparisons.rows.find(HOSTILE).runs[('0',)][0]}")
    assert HOSTILE in texts(browser, "dialog .config")[0]
    assert {HOSTILE, NASTY} <= set(labels(browser))
    assert browser.execute_script("return document.querySelectorAll('img[src=x], td b').length") == 0


def test_pictures(browser, whole):
    page, _ = whole
    show(browser, page)
    sizes = wait(
        browser,
        """const found = [...document.querySelectorAll('#mistakes img')];
        found.forEach((picture) => picture.scrollIntoView());
        return found.length && found.every((p) => p.complete) && found.map((p) => p.naturalWidth)""",
    )
    assert len(sizes) >= 8
    assert set(sizes) == {80}
    assert "It contains test pictures" in texts(browser, "footer")[0]


def test_nothing_is_wider_than_the_window(browser, whole):
    page, _ = whole
    for width in (390, 820):
        metrics = {"width": width, "height": 844, "deviceScaleFactor": 2, "mobile": True}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        show(browser, page)
        browser.execute_script("document.querySelector('button.row').click()")
        for name in ("scores", "weights", "conflict", "parallel") if width == 390 else ():
            figure(browser, name)
        assert browser.execute_script("return [innerWidth, document.documentElement.scrollWidth]") == [width, width]


SMALL: dict[str, Callable[[Path], object]] = {
    "one run without history": lambda study: (make_run(study, "sum", 0) / "history.jsonl").unlink(),
    "one seed": lambda study: make_study(study, ROWS[:3], 1),
    "single-task runs": lambda study: make_study(study, [], 2),
    "one task of three": lambda study: [make_run(study, "sum", seed, tasks=["age"]) for seed in range(2)],
}


@pytest.mark.parametrize("kind", list(SMALL))
def test_small_studies(browser, tmp_path, kind):
    SMALL[kind](tmp_path / "small")
    comparisons = made(tmp_path / "small")
    show(browser, tmp_path / "small.html")
    assert len(labels(browser)) == len(comparisons.rows.rows)
    for name in browser.execute_script("return [...document.querySelectorAll('.plot')].map((plot) => plot.id)"):
        browser.execute_script("document.getElementById(arguments[0]).scrollIntoView({behavior: 'instant'})", name)
        wait(
            browser, "const text = document.getElementById(arguments[0]).textContent; return text && text !== '…'", name
        )
    assert "undefined" not in texts(browser, "body")[0]
    assert "NaN" not in texts(browser, "body")[0]
