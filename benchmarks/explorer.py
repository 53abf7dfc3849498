"""What a redraw of the explorer costs, and how many frames a second a dragged control gets.

    python benchmarks/explorer.py [PAGE ...]

In headless Chromium, driven by Playwright (``pip install -e '.[browser]'``). Each control is moved
once a frame over its range, as by a hand that drags it. Networks have 100 units. Saved are, per
control,

* ``drawings``: drawings begun in a frame over the figures there are, the largest over frames; 1
  means that nothing is drawn twice;
* ``elements``: SVG elements made in a frame, the median;
* ``cpu_ms``: processor time of the page's main thread per frame (script, style, layout, painting),
  the median over parts of the drag. Other processes change it through the caches alone;
* ``cpu_ms_all``: the same of all processes of the browser, in which the pictures are made of what
  the main thread has painted, without a GPU;
* ``frames_a_second``: frames over wall time. The browser makes 60 at most, and other programs on
  the machine leave fewer.

While a network trains, every frame has 14 ms of training in it besides the drawing. Per part it is
also saved what opening the page takes up to the first drawing: processor time of all processes, a
new one for the page among them, the median of five; beside it, that of an empty page.

Several PAGEs (files) are measured by turns, control after control, to judge a change side by side.
Without any it is the page of this package, and the result goes to
``benchmarks/results/explorer.json``.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from ghostpoint.explorer import page

RESULT = Path(__file__).parent / "results" / "explorer.json"
FRAMES, PARTS, OPENINGS = 20, 5, 5
OPENED = {"toy model": "toy", "rank one": "rank-one", "rank two": "rank-two", "saved runs": "saved"}
#: name in the table: the page's address, and the label of the control
CONTROLS = {
    "toy model, learning rate": ("#toy", "Learning rate / critical rate"),
    "toy model, start": ("#toy", "Start r / r*"),
    "toy model, delay": ("#toy", "Delay T"),
    "toy model, epoch shown": ("#toy", "Epoch shown"),
    "toy model, confidence": ("#toy?readout=sigmoid", "Confidence c"),
    "rank one, epoch shown": ("#rank-one", "Epoch shown"),
    "rank one, learning rate while it trains": ("#rank-one?epochs=20000", "Learning rate"),
    "rank one, confidence while it trains": ("#rank-one?epochs=20000", "Confidence c"),
    "rank one, delay": ("#rank-one", "Delay T (steps)"),
    "rank two, epoch shown": ("#rank-two", "Epoch shown"),
    "saved run, epoch shown": ("#saved", "Epoch shown"),
}
#: move the control once a frame, from its low to its high end and back; optionally count what is
#: drawn, which itself takes time
DRAG = """([label, frames, from, total, counting]) => new Promise((done) => {
  const input = [...document.querySelectorAll("label")].find((each) => each.textContent === label).control;
  const [low, high, step] = [input.min, input.max, input.step || 1].map(Number);
  const [elements, drawings] = [[], []];
  const { work } = window.ghostpoint;
  let [seen, drawn] = [[], 0];
  const observer = new MutationObserver((records) => seen.push(...records.flatMap((each) => [...each.addedNodes])));
  if (counting) observer.observe(document.querySelector("main"), { subtree: true, childList: true });
  let k = 0;
  let start = 0;
  const next = () => {
    if (counting && k > 1) {
      elements.push(seen.filter((each) => each instanceof SVGElement).length);
      drawings.push((work.drawings - drawn) / document.querySelectorAll("main figure:not([hidden])").length);
    }
    [seen, drawn] = [[], work.drawings];
    if (k === frames + 2) {
      observer.disconnect();
      return done({ elements, drawings, seconds: (performance.now() - start) / 1000 });
    }
    if (k === 2) start = performance.now();
    const share = (from + k) / total;
    const at = low + (high - low) * (1 - Math.abs(1 - 2 * share));
    input.value = low + Math.round((at - low) / step) * step;
    input.dispatchEvent(new Event("input", { bubbles: true }));
    k += 1;
    requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
})"""


def processor_ms(browser: Browser) -> float:
    """Processor time that all processes of the browser have used."""
    asking = browser.new_browser_cdp_session()
    processes = asking.send("SystemInfo.getProcessInfo")["processInfo"]
    asking.detach()
    return 1000 * sum(float(each["cpuTime"]) for each in processes)


def opening(browser: Browser, path: Path, address: str) -> float:
    """Processor time to the first drawing of a part, in ms."""
    times = []
    for _ in range(OPENINGS):
        before = processor_ms(browser)
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.goto(path.as_uri() + address)
        tab.wait_for_selector("main svg .axis")
        tab.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
        times.append(processor_ms(browser) - before)
        tab.close()
    return round(statistics.median(times))


def measured(browser: Browser, path: Path, address: str, label: str) -> dict[str, float]:
    """Cost of dragging one control of a page."""
    # the page's policy forbids eval, with which Playwright waits for functions
    tab = browser.new_page(viewport={"width": 1280, "height": 900}, bypass_csp=True)
    tab.goto(path.as_uri() + address)
    tab.wait_for_function("document.querySelectorAll('main svg .axis').length >= 4")
    if "epochs=" not in address and "rank-one" in address:
        tab.wait_for_function("!window.ghostpoint.views['rank-one'].hook().running", timeout=120_000)
    asking = tab.context.new_cdp_session(tab)
    asking.send("Performance.enable", {"timeDomain": "threadTicks"})

    def cpu() -> tuple[float, float]:
        values = {each["name"]: each["value"] for each in asking.send("Performance.getMetrics")["metrics"]}
        return 1000 * float(values["TaskDuration"]), processor_ms(browser)

    total = FRAMES * (PARTS + 1)
    counts = tab.evaluate(DRAG, [label, FRAMES, 0, total, True])
    times, seconds = [], 0.0
    for part in range(PARTS):
        before = cpu()
        seconds += tab.evaluate(DRAG, [label, FRAMES, FRAMES * (part + 1), total, False])["seconds"]
        times.append([(now - then) / (FRAMES + 2) for now, then in zip(cpu(), before, strict=True)])
    tab.close()
    return {
        "drawings": max(counts["drawings"]),
        "elements": statistics.median(counts["elements"]),
        "cpu_ms": round(statistics.median(main for main, _ in times), 1),
        "cpu_ms_all": round(statistics.median(all_ for _, all_ in times), 1),
        "frames_a_second": round(PARTS * FRAMES / seconds, 1),
    }


def main(pages: list[Path]) -> None:
    """Measure all controls of the pages."""
    chromium = next(at for name in ("chromium", "chromium-browser", "google-chrome") if (at := shutil.which(name)))
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        if not pages:
            own = Path(folder) / "page.html"
            own.write_text(page(), encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        version = browser.version
        shown = (pages or [own])[-1]
        empty = Path(folder) / "empty.html"
        empty.write_text('<!DOCTYPE html><main><svg><g class="axis"><path d="M0,0h9v9"/></g></svg></main>', "utf-8")
        openings = {"an empty page": opening(browser, empty, "")}
        openings |= {name: opening(browser, shown, f"#{part}") for name, part in OPENED.items()}
        print(openings, flush=True)
        for name, (address, label) in CONTROLS.items():
            for path in pages or [own]:
                found[name] = measured(browser, path, address, label)
                print(f"{name} ({path.name}): {found[name]}", flush=True)
        browser.close()
    if not pages:
        load = "load average {:.0f}, {:.0f}, {:.0f} on {} processors".format(*os.getloadavg(), os.cpu_count() or 0)
        saved = {
            "machine": f"{platform.machine()}, {load}",
            "browser": f"Chromium {version}, headless",
            "opening_ms": openings,
            "controls": found,
        }
        RESULT.write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main([Path(name).resolve() for name in sys.argv[1:]])
