"""Write docs/images/report.png: the first page of a run's report, in a headless Chromium.

    python scripts/report_picture.py RUN [--browser chromium]

RUN is that of `deeploc run language -m reference:lm`.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "report.png"
WIDTH, HEIGHT = 1100, 900
COLOURS = 64
"""A palette of so many colours keeps the file small."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("--browser", default="chromium", help="the program")
    options = parser.parse_args()
    page = (options.run / "report.html").resolve(strict=True)
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        flags += [f"--user-data-dir={folder}/profile", f"--window-size={WIDTH},{HEIGHT}"]
        flags += [f"--screenshot={shot}", page.as_uri()]
        subprocess.run([options.browser, *flags], check=True, capture_output=True, timeout=120)
        PICTURE.parent.mkdir(parents=True, exist_ok=True)
        image = Image.open(shot).convert("RGB").quantize(COLOURS)
        image.save(PICTURE, optimize=True)
    print(f"{PICTURE}: {PICTURE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
