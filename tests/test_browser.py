"""The report in a real browser: Debian's chromium, driven by selenium, without a network."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_core_python.selenium import Axe
from selenium import webdriver
from selenium.webdriver.common.by import By

from deeploc.dissociate import dissociate_runs
from deeploc.report import comparison
from deeploc.report.html import render
from deeploc.report.overlaps import compare_runs

from .test_driving import image_run as image_run  # a fixture

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver (Debian: chromium-driver)"
)


@pytest.fixture(scope="module")
def page(whole_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with the report of a run alone: nothing lies beside it."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(whole_run), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def dissociated(whole_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a page on the dissociation of a run from itself, which has none."""
    folder = tmp_path_factory.mktemp("dissociated")
    other = shutil.copytree(whole_run, folder / "other")
    dissociate_runs((whole_run, other), folder / "both", controls=3)
    return folder / "both" / "dissociation.html"


@pytest.fixture(scope="module")
def compared(whole_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a page that compares a run with itself."""
    folder = tmp_path_factory.mktemp("compared")
    other = shutil.copytree(whole_run, folder / "other")
    page = folder / "compare.html"
    page.write_text(comparison.render(compare_runs([whole_run, other])), encoding="utf-8")
    return page


@pytest.fixture(scope="module")
def pictures(image_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with the report of a run on images."""
    path = tmp_path_factory.mktemp("pictures") / "report.html"
    path.write_text(render(image_run), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(str(DRIVER)))
    driver.set_script_timeout(120)
    driver.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    yield driver
    driver.quit()


def show(browser: webdriver.Chrome, page: Path, width: int, scheme: str) -> None:
    """Open the page at a width in CSS pixels, with everything unfolded."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    for kind in ("browser", "performance"):
        browser.get_log(kind)  # what came before is forgotten
    browser.get(page.as_uri())
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")


def requested(browser: webdriver.Chrome) -> list[str]:
    """Return the address of everything that was asked for."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return [request["request"]["url"] for request in sent]


def passed(browser: webdriver.Chrome, page: Path, width: int, scheme: str) -> set[str]:
    """Return the rules of axe that the page passes; fail where anything is wrong with it."""
    show(browser, page, width, scheme)
    found: Any = Axe().run(browser)
    faults = [(fault["id"], fault["nodes"][0]["html"][:200]) for fault in found["violations"]]

    assert faults == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.get_log("browser") == []
    assert [url for url in requested(browser) if not url.startswith("data:")] == [page.as_uri()]
    return {rule["id"] for rule in found["passes"]}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_is_whole(browser: webdriver.Chrome, page: Path, width: int, scheme: str) -> None:
    """Nothing is said on the console or asked of a network; nothing is wider than the window; axe
    finds no fault at all, of contrast and names among others."""
    assert passed(browser, page, width, scheme) >= {"color-contrast", "svg-img-alt"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_of_a_dissociation_is_whole(
    browser: webdriver.Chrome, dissociated: Path, width: int, scheme: str
) -> None:
    """The same holds of the page over two runs."""
    assert "color-contrast" in passed(browser, dissociated, width, scheme)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_of_a_comparison_is_whole(
    browser: webdriver.Chrome, compared: Path, width: int, scheme: str
) -> None:
    """The same holds of the page over several runs."""
    assert passed(browser, compared, width, scheme) >= {"color-contrast", "svg-img-alt"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_pictures_are_shown_whole(
    browser: webdriver.Chrome, pictures: Path, width: int, scheme: str
) -> None:
    """Every picture and map is decoded and lies within the window; axe finds no fault."""
    assert "image-alt" in passed(browser, pictures, width, scheme)
    images = browser.find_elements(By.CSS_SELECTOR, ".tiles img")

    assert len(images) > 16
    assert all(int(image.get_property("naturalWidth")) > 0 for image in images)
    assert all(i.rect["x"] >= 0 and i.rect["x"] + i.rect["width"] <= width for i in images)


def test_the_first_screen_answers(browser: webdriver.Chrome, page: Path) -> None:
    """Whether, where, on what evidence and what would change it are above 900 pixels, with both
    figures; what is exploratory is folded."""
    show(browser, page, 1280, "light")
    browser.get(page.as_uri())
    lead = browser.find_element(By.CSS_SELECTOR, ".lead")

    for question in (
        "Was there a network?",
        "Where?",
        "On what evidence?",
        "What would change it?",
    ):
        assert question in lead.text
    assert lead.rect["y"] + lead.rect["height"] <= 900
    assert len(lead.find_elements(By.CSS_SELECTOR, "svg")) == 2
    assert not [d for d in browser.find_elements(By.TAG_NAME, "details") if d.get_attribute("open")]


def test_every_figure_has_alternative_text(browser: webdriver.Chrome, page: Path) -> None:
    """The browser computes a name that is not empty for each, and no two are alike."""
    show(browser, page, 1280, "light")
    names = [svg.accessible_name for svg in browser.find_elements(By.CSS_SELECTOR, "figure svg")]

    assert len(names) >= 8
    assert all(names)
    assert len(set(names)) == len(names)


def test_a_table_is_sorted_by_a_click(browser: webdriver.Chrome, page: Path) -> None:
    """Numbers first fall, then rise; the head says which."""
    show(browser, page, 1280, "light")
    table = next(
        table
        for table in browser.find_elements(By.CSS_SELECTOR, "table.sortable")
        if "lowest" not in table.text and "units.csv" in table.text
    )
    heads = table.find_elements(By.CSS_SELECTOR, "thead th")
    column = [cell.text for cell in heads].index("d")

    def values() -> list[float]:
        cells = table.find_elements(By.CSS_SELECTOR, f"tbody tr > :nth-child({column + 1})")
        return [float(cell.text.replace("\N{MINUS SIGN}", "-")) for cell in cells]

    read, button = values(), heads[column].find_element(By.TAG_NAME, "button")
    said, orders = [], []
    for _ in range(2):
        browser.execute_script("arguments[0].click()", button)
        said.append(heads[column].get_attribute("aria-sort"))
        orders.append(values())

    assert said == ["descending", "ascending"]
    assert orders == [sorted(read, reverse=True), sorted(read)]
    assert len(set(read)) > 2


def test_the_page_is_small(page: Path) -> None:
    """Less than 3 MB, with everything in it."""
    assert page.stat().st_size < 3_000_000
