// A figure: axes, lines, dots and notes in one SVG that can be saved as a file.

import { axisBottom, axisLeft } from "d3-axis";
import { scaleLinear, scaleLog } from "d3-scale";
import { select } from "d3-selection";
import { line as shape } from "d3-shape";
import { element } from "./controls.js";

const SUPERSCRIPT = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };
const STYLES = [
  "fill",
  "stroke",
  "stroke-width",
  "stroke-dasharray",
  "opacity",
  "font-size",
  "font-family",
  "paint-order",
  "stroke-linejoin",
  "text-anchor",
];

export const power = (exponent) => `10${[...String(exponent)].map((c) => SUPERSCRIPT[c]).join("")}`;

/** A number for people: three digits, thousands apart, powers of ten where it is far from one. */
export function pretty(value) {
  if (!Number.isFinite(value)) return value > 0 ? "∞" : value < 0 ? "−∞" : "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e6) {
    const [digits, exponent] = value.toExponential(2).split("e");
    return `${Number(digits)} × ${power(Number(exponent))}`.replace("-", "−");
  }
  if (size >= 1000) return Math.round(value).toLocaleString("en").replace("-", "−");
  return String(Number(value.toPrecision(3))).replace("-", "−");
}

/** A function that has `render` called in the next frame, once, however often it is called until
 *  then. */
export function onceAFrame(render) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      render();
    });
  };
}

/** What has been done since the page was opened, for tests. */
export const work = { drawings: 0 };

let widths = new WeakMap();

/** Forget how wide the figures are. */
export const forgetWidths = () => (widths = new WeakMap());

export class Figure {
  /** title: heading; label: what the picture shows, for readers who do not see it; ratio: height
   *  over width. */
  constructor(title, { label = title, ratio = 0.62, size = "", caption = "", x, y }) {
    this.ratio = ratio;
    this.axes = { x, y };
    this.svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    this.svg.setAttribute("role", "img");
    this.caption = element("figcaption", {}, caption);
    const save = element(
      "button",
      { type: "button", "aria-label": `Save as SVG: ${title}`, onclick: () => this.save(title) },
      "Save SVG",
    );
    this.node = element(
      "figure",
      { class: size },
      element("div", { class: "head" }, element("h2", {}, title), save),
      this.svg,
      this.caption,
    );
    this.describe(label);
  }

  describe(label) {
    if (label !== this.label) this.svg.setAttribute("aria-label", (this.label = label));
  }

  /** Start a drawing over these domains; log scales where `log` says so. Returns this. The axes
   *  of the last drawing stay where they are the same. */
  begin({ x: [x0, x1], y: [y0, y1], log = "", yTicks }) {
    work.drawings += 1;
    // asking for the width lays the page out, so it is asked for once for all figures, and again
    // after a change
    if (!widths.has(this.node) && this.node.clientWidth) widths.set(this.node, this.node.clientWidth);
    const width = Math.max((widths.get(this.node) ?? 0) - 30, 220);
    const height = Math.round(Math.max(width * this.ratio, 150));
    const axes = [width, height, x0, x1, y0, y1, log, yTicks].join();
    if (axes === this.drawn) for (const part of [this.back, this.plot, this.over]) part.node().replaceChildren();
    else {
      this.drawn = axes;
      this.drawAxes(width, height, [x0, x1], [y0, y1], log, yTicks);
    }
    return this;
  }

  drawAxes(width, height, xDomain, yDomain, log, yTicks) {
    const margin = { left: 52, right: 12, top: 12, bottom: 36 };
    this.size = { width, height };
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.x = (log.includes("x") ? scaleLog() : scaleLinear()).domain(xDomain).range([margin.left, width - margin.right]);
    this.y = (log.includes("y") ? scaleLog() : scaleLinear()).domain(yDomain).range([height - margin.bottom, margin.top]);
    const root = select(this.svg);
    root.selectAll("*").remove();
    const clip = `clip-${Math.random().toString(36).slice(2)}`;
    root
      .append("clipPath")
      .attr("id", clip)
      .append("rect")
      .attr("x", margin.left)
      .attr("y", margin.top)
      .attr("width", width - margin.left - margin.right)
      .attr("height", height - margin.top - margin.bottom);
    this.back = root.append("g").attr("clip-path", `url(#${clip})`);
    const tick = (axis, scale, isLog, ticks) => {
      axis.tickSizeOuter(0).tickSize(4);
      if (ticks) axis.tickValues(ticks);
      else if (isLog) {
        const [low, high] = scale.domain().map(Math.log10);
        const sparse = Math.max(1, Math.ceil((high - low) / 5));
        const exponents = [];
        for (let k = Math.ceil(low - 1e-9); k <= high + 1e-9; k++) if (k % sparse === 0) exponents.push(k);
        axis.tickValues(exponents.map((k) => 10 ** k)).tickFormat((v) => {
          const k = Math.round(Math.log10(v));
          return Math.abs(k) < 3
            ? Number(v.toPrecision(1)).toLocaleString("en", { maximumSignificantDigits: 1 })
            : power(k);
        });
      } else axis.ticks(width < 330 ? 3 : 5);
      return axis;
    };
    root
      .append("g")
      .attr("class", "axis")
      .attr("transform", `translate(0,${height - margin.bottom})`)
      .call(tick(axisBottom(this.x), this.x, log.includes("x")));
    root
      .append("g")
      .attr("class", "axis")
      .attr("transform", `translate(${margin.left},0)`)
      .call(tick(axisLeft(this.y), this.y, log.includes("y"), yTicks));
    root
      .append("text")
      .attr("x", (margin.left + width - margin.right) / 2)
      .attr("y", height - 4)
      .attr("text-anchor", "middle")
      .text(this.axes.x);
    root
      .append("text")
      .attr("transform", `translate(11,${(margin.top + height - margin.bottom) / 2}) rotate(-90)`)
      .attr("text-anchor", "middle")
      .text(this.axes.y);
    this.plot = root.append("g").attr("clip-path", `url(#${clip})`);
    this.over = root.append("g");
  }

  /** A line through [x, y] pairs; gaps where a number is not finite (or not positive on a log
   *  scale). */
  line(points, kind = "") {
    const { x, y } = this;
    const path = shape()
      .defined(([a, b]) => Number.isFinite(x(a)) && Number.isFinite(y(b)))
      .x(([a]) => x(a).toFixed(2))
      .y(([, b]) => Math.min(Math.max(y(b), -4000), 8000).toFixed(2));
    this.plot
      .append("path")
      .attr("class", `line ${kind}`)
      .attr("d", path(points) ?? "");
    return this;
  }

  /** Dots at [x, y] pairs, as one path. */
  dots(points, kind = "", radius = 3) {
    const round = `a${radius},${radius} 0 1,0 ${2 * radius},0a${radius},${radius} 0 1,0 ${-2 * radius},0Z`;
    return this.marks(points, kind.match(/ring|rest/) ? kind : `dot ${kind}`, (x, y) => `M${x - radius},${y}${round}`);
  }

  diamonds(points, kind = "", radius = 5) {
    const outline = `l${radius},${-radius}l${radius},${radius}l${-radius},${radius}Z`;
    return this.marks(points, `dot ${kind}`, (x, y) => `M${x - radius},${y}${outline}`);
  }

  /** A shape at each [x, y] pair that is on the scales. */
  marks(points, kind, shape) {
    const shapes = points
      .map(([a, b]) => [this.x(a), this.y(b)])
      .filter((at) => at.every(Number.isFinite))
      .map((at) => shape(...at.map((each) => Number(each.toFixed(2)))));
    if (shapes.length) this.plot.append("path").attr("class", kind).attr("d", shapes.join(""));
    return this;
  }

  vertical(at, kind = "") {
    const [low, high] = this.y.range();
    this.plot
      .append("line")
      .attr("class", `mark ${kind}`)
      .attr("x1", this.x(at))
      .attr("x2", this.x(at))
      .attr("y1", low)
      .attr("y2", high);
    return this;
  }

  horizontal(at, kind = "") {
    const [low, high] = this.x.range();
    this.plot
      .append("line")
      .attr("class", `mark ${kind}`)
      .attr("x1", low)
      .attr("x2", high)
      .attr("y1", this.y(at))
      .attr("y2", this.y(at));
    return this;
  }

  /** A shaded stretch of the horizontal axis. */
  zone(from, to, kind = "zone") {
    const [low, high] = this.y.range();
    const [a, b] = [this.x(from), this.x(to)];
    this.back
      .append("rect")
      .attr("class", kind)
      .attr("x", Math.min(a, b))
      .attr("width", Math.abs(b - a))
      .attr("y", high)
      .attr("height", low - high);
    return this;
  }

  /** A polygon between two curves of [x, low, high]. */
  area(points, kind) {
    const up = points.map(([a, , high]) => `${this.x(a).toFixed(2)},${this.y(high).toFixed(2)}`);
    const down = points.map(([a, low]) => `${this.x(a).toFixed(2)},${this.y(low).toFixed(2)}`).reverse();
    this.plot
      .append("polygon")
      .attr("class", `area ${kind}`)
      .attr("points", [...up, ...down].join(" "));
    return this;
  }

  /** Words at a place of the axes, moved by pixels; they stay inside the figure. */
  note(text, x, y, { kind = "", anchor = "start", dx = 0, dy = 0 } = {}) {
    const { width, height } = this.size;
    const long = 6.2 * text.length;
    const [before, after] = { start: [0, long], middle: [long / 2, long / 2], end: [long, 0] }[anchor];
    const at = Math.min(Math.max(this.x(x) + dx, 54 + before), width - 8 - after);
    const down = Math.min(Math.max(this.y(y) + dy, 18), height - 40);
    this.over
      .append("text")
      .attr("class", `note halo ${kind}`)
      .attr("x", at)
      .attr("y", down)
      .attr("text-anchor", anchor)
      .text(text);
    return this;
  }

  /** Write the drawing, with the colours it has now, to a file. */
  save(title) {
    const copy = this.svg.cloneNode(true);
    const originals = [this.svg, ...this.svg.querySelectorAll("*")];
    [copy, ...copy.querySelectorAll("*")].forEach((each, place) => {
      const style = getComputedStyle(originals[place]);
      for (const name of STYLES) each.setAttribute(name, style.getPropertyValue(name));
      each.removeAttribute("class");
    });
    const { width, height } = this.size;
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    copy.setAttribute("width", width);
    copy.setAttribute("height", height);
    const paper = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    paper.setAttribute("width", width);
    paper.setAttribute("height", height);
    paper.setAttribute("fill", getComputedStyle(this.node).backgroundColor);
    copy.prepend(paper);
    const url = URL.createObjectURL(new Blob([new XMLSerializer().serializeToString(copy)], { type: "image/svg+xml" }));
    element("a", { href: url, download: `${title.toLowerCase().replace(/[^a-z0-9]+/g, "-")}.svg` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }
}

/** At most `most` of the [x, y] pairs of a long curve: the lowest and highest of each stretch. */
export function thinned(xs, ys, most = 700) {
  const count = xs.length;
  if (count <= most) return Array.from({ length: count }, (_, k) => [xs[k], ys[k]]);
  const points = [];
  const stretch = (2 * count) / most;
  for (let from = 0; from < count; from += stretch) {
    let [low, high] = [-1, -1];
    const to = Math.min(count, Math.floor(from + stretch));
    for (let k = Math.floor(from); k < to; k++) {
      if (!Number.isFinite(ys[k])) continue;
      if (low < 0 || ys[k] < ys[low]) low = k;
      if (high < 0 || ys[k] > ys[high]) high = k;
    }
    if (low < 0) points.push([xs[Math.floor(from)], NaN]);
    else for (const k of [...new Set([Math.min(low, high), Math.max(low, high)])]) points.push([xs[k], ys[k]]);
  }
  return points;
}
