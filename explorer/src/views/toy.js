// Part one: the toy model dx/dt = x^2 + r and gradient descent on its loss.

import { button, buttons, choice, element, group, sentence, slider } from "../controls.js";
import { Toy } from "../math/toy.js";
import { Figure, onceAFrame, pretty, thinned } from "../plot.js";
import { State } from "../state.js";

const DEFAULTS = { T: 100, start: 3.8, rate: 1.1, readout: "step", c: 1, threshold: 10, epoch: -1 };
const STARTS = 40; // of the count over rates, between 1 and 4 r*
const UPDATES = 100; // of each
const REGIMES = { slow: { rate: 0.03, start: 2 }, swings: { rate: 0.6, start: 3.8 }, lost: { rate: 1.1, start: 3.8 } };

export function toyView() {
  const state = new State("toy", DEFAULTS);
  const draw = onceAFrame(render);
  const again = () => {
    descent = null;
    state.set("epoch", -1);
    draw();
  };
  const shares = new Map();
  let descent = null;

  const shown = (value) => (value < 0 && descent ? descent.showing : Math.max(0, Math.round(value)));
  const controls = {
    T: slider(state, "T", "Delay T", {
      low: 10,
      high: 1000,
      log: true,
      format: (v) => pretty(Math.round(v)),
      change: again,
    }),
    start: slider(state, "start", "Start r / r*", { low: -0.5, high: 10, step: 0.05, format: pretty, change: again }),
    rate: slider(state, "rate", "Learning rate / critical rate", {
      low: 0.01,
      high: 10,
      log: true,
      format: pretty,
      change: again,
    }),
    readout: choice(
      state,
      "readout",
      "Readout",
      [
        ["step", "a step (analytic limit)"],
        ["sigmoid", "a sigmoid of confidence c"],
      ],
      again,
    ),
    c: slider(state, "c", "Confidence c", { low: 0.05, high: 10, log: true, format: pretty, change: again }),
    threshold: slider(state, "threshold", "Threshold of x", {
      low: 1,
      high: 50,
      log: true,
      format: pretty,
      change: again,
    }),
    epoch: slider(state, "epoch", "Epoch shown", {
      low: 0,
      high: 1,
      step: 1,
      free: true,
      format: (v) => pretty(shown(v)),
      change: draw,
    }),
  };
  const regime = (name) => {
    for (const [key, value] of Object.entries(REGIMES[name])) state.set(key, value);
    for (const key of ["start", "rate"]) controls[key].show();
    again();
  };
  const step = (by) => {
    state.set("epoch", Math.min(Math.max(shown(state.get("epoch")) + by, 0), descent.path.length - 1));
    draw();
  };
  const panel = element(
    "form",
    { class: "controls", "aria-label": "Toy model" },
    group(
      "Three regimes",
      buttons(
        button("Slow", () => regime("slow")),
        button("Oscillates", () => regime("swings")),
        button("Is lost", () => regime("lost")),
      ),
    ),
    group(
      "Descent",
      controls.rate,
      controls.start,
      controls.epoch,
      buttons(
        button("◀ Step back", () => step(-1)),
        button("Step ▶", () => step(1), { class: "main" }),
      ),
    ),
    group("Model", controls.T, controls.readout, controls.c, controls.threshold),
  );

  const figures = {
    flow: new Figure("Flow of the state", {
      x: "x / √r*",
      y: "dx/dt / r*",
      caption: "Where the curve clears zero narrowly there is a ghost: nothing stops the state, but it passes slowly.",
    }),
    state: new Figure("The state waits at the ghost", {
      x: "time / T",
      y: "x / √r*",
      caption: "From x = 0. It escapes after π / (2√r). Grey: at the start of training; red: at its end.",
    }),
    output: new Figure("Output against target", {
      x: "time / T",
      y: "output",
      caption: "Dotted: the target, 0 until T and 1 after it. Grey: at the start; red: at the end.",
    }),
    loss: new Figure("Loss landscape", {
      size: "wide",
      ratio: 0.5,
      x: "r / r*",
      y: "loss / T",
      caption:
        "The minimum is a kink, at which the gradient does not vanish. Below r*/4 the network never answers in time, and the gradient is zero.",
    }),
    path: new Figure("Gradient descent, step by step", {
      size: "wide",
      ratio: 0.5,
      x: "epoch",
      y: "r / r*",
      caption: "",
    }),
    losses: new Figure("Loss over training", { x: "epoch", y: "loss / T", caption: "" }),
    shares: new Figure("What happens at each rate", {
      size: "wider",
      ratio: 0.3,
      x: "learning rate / critical rate",
      y: "share of starts",
      caption: `${STARTS} starts between r* and 4 r*, ${UPDATES} updates each.`,
    }),
  };
  const lead = element("p", { class: "lead", "aria-live": "polite" });
  const node = element(
    "div",
    {},
    element("h1", {}, "A ghost makes learning abrupt, and one step too far ends it"),
    lead,
    element(
      "div",
      { class: "view" },
      panel,
      element("div", { class: "figures" }, ...Object.values(figures).map((f) => f.node)),
    ),
  );

  /** The toy model and its descent at the present values. */
  function compute() {
    const smooth = state.get("readout") === "sigmoid";
    const toy = smooth ? new Toy(state.get("T"), state.get("threshold"), state.get("c")) : new Toy(state.get("T"));
    const rate = state.get("rate") * toy.criticalRate;
    const r0 = state.get("start") * toy.rStar;
    // as long as it takes to fall from the start, and as long again; a finite confidence costs a
    // quadrature an update
    const fall = (8 * Math.max(r0, toy.rStar) ** 2.5) / (5 * Math.PI * rate);
    const epochs = Math.round(Math.min(Math.max(2 * fall, 60), smooth ? 400 : 20000));
    const found = toy.descend(r0, rate, epochs);
    const losses = Float64Array.from(found.path, (r) => toy.loss(r) / toy.T);
    const showing =
      found.lostEpoch >= 0 ? Math.max(found.lostEpoch - 1, 0) : found.crossingEpoch >= 0 ? found.crossingEpoch : epochs;
    return { toy, rate, ...found, losses, showing };
  }

  function render() {
    if (!node.isConnected) return;
    descent ??= compute();
    const { toy, path, losses, lostEpoch, crossingEpoch, outcome } = descent;
    const smooth = state.get("readout") === "sigmoid";
    controls.c.enable(smooth);
    controls.threshold.enable(smooth);
    controls.epoch.limit(path.length - 1);
    controls.epoch.querySelector("input").value = shown(state.get("epoch"));
    const epoch = Math.min(shown(state.get("epoch")), path.length - 1);
    const unit = toy.rStar;
    const now = path[epoch];
    const end = path[path.length - 1];
    const [zone, best] = toy.kinks.map((r) => r / unit);
    speak(toy, epoch, now, lostEpoch, crossingEpoch, outcome);
    drawFlow(toy, now / unit);
    drawTrajectories(toy, now, path[0], end);
    drawLoss(toy, path, epoch, zone, best);
    drawPath(path, losses, epoch, zone, best, lostEpoch);
    drawShares(toy, smooth);
  }

  function speak(toy, epoch, now, lostEpoch, crossingEpoch, outcome) {
    const times = pretty(state.get("rate"));
    const where =
      now > 0
        ? ["ghost", `a ghost holds the state for ${pretty(toy.escapeTime(now) / toy.T)} T`]
        : ["lost", "a stable fixed point holds it for ever"];
    const became = {
      "no-learning zone": [
        "lost",
        `it is lost at epoch ${pretty(lostEpoch)}: in the no-learning zone the gradient is exactly zero, and training never comes back`,
      ],
      oscillation: [
        "good",
        `it oscillates about the minimum from epoch ${pretty(crossingEpoch)} on, since the kink has no zero gradient`,
      ],
      converging: ["", "it is still on its way down the plateau"],
    }[outcome];
    lead.replaceChildren(
      ...sentence(
        `At ${times} of the critical learning rate descent falls along a plateau, then `,
        became,
        `. At epoch ${pretty(epoch)}, r = ${pretty(now / toy.rStar)} r*: `,
        where,
        ".",
      ),
    );
  }

  function drawFlow(toy, u) {
    const f = figures.flow.begin({ x: [-3, 3], y: [-2, 8] });
    const grid = Array.from({ length: 121 }, (_, k) => -3 + k / 20);
    f.horizontal(0, "now")
      .line(
        grid.map((x) => [x, x * x + 1]),
        "faint dash",
      )
      .line(grid.map((x) => [x, x * x + u]));
    for (let x = -2.75; x < 3; x += 0.5) {
      const speed = x * x + u;
      const size = 3 + 4 * Math.tanh(Math.abs(speed) / 3);
      const at = f.x(x);
      const sign = Math.sign(speed);
      f.plot
        .append("path")
        .attr("class", "arrow")
        .attr("d", `M${at + sign * size},${f.y(0)}l${-sign * size * 1.6},${-size * 0.7}v${size * 1.4}Z`);
    }
    if (u > 0) {
      f.diamonds([[0, u]], "ghost").note(u > 6 ? "the ghost is far above" : "ghost", 0, Math.min(u, 7), {
        kind: "ghost",
        anchor: "middle",
        dy: -12,
      });
    } else {
      const half = Math.sqrt(-u);
      f.dots([[-half, 0]], "rest", 4.5)
        .dots([[half, 0]], "ring", 4.5)
        .note("stable", -half, 0, { anchor: "middle", dy: 18 })
        .note("unstable", half, 0, { anchor: "middle", dy: 18 });
    }
    f.describe(
      `Flow of the state at r = ${pretty(u)} r*: ${u > 0 ? "no fixed point, a ghost at x = 0" : "a stable and an unstable fixed point"}.`,
    );
  }

  function drawTrajectories(toy, now, first, end) {
    const { T } = toy;
    const times = Array.from({ length: 401 }, (_, k) => k / 200);
    const root = Math.sqrt(toy.rStar);
    const f = figures.state.begin({ x: [0, 2], y: [-1, 10] });
    const g = figures.output.begin({ x: [0, 2], y: [-0.05, 1.08] });
    f.vertical(1).note("T", 1, 10, { dx: 4 });
    g.line(
      [
        [0, 0],
        [1, 0],
        [1, 1],
        [2, 1],
      ],
      "ink thin dash",
    );
    for (const [r, kind] of [
      [first, "faint"],
      [end, "faint lost"],
      [now, ""],
    ]) {
      const path = times.map((t) => [t, toy.trajectory(r, t * T) / root]);
      const stop = path.findIndex(([, x]) => x > 60);
      f.line(stop < 0 ? path : [...path.slice(0, stop), [path[stop][0], 60]], kind);
      g.line(
        times.map((t) => [t, toy.output(r, t * T)]),
        kind,
      );
    }
    if (Number.isFinite(toy.threshold))
      f.horizontal(toy.threshold / root).note("threshold", 0, toy.threshold / root, { dx: 4, dy: -4 });
    const escape = toy.escapeTime(now) / T;
    if (escape < 2)
      f.vertical(escape, "ghost").note(`answers after ${pretty(escape)} T`, escape, 8, {
        kind: "ghost",
        anchor: escape > 1 ? "end" : "start",
        dx: escape > 1 ? -6 : 6,
      });
    else f.note("never answers within 2 T", 1, 6, { kind: "lost", anchor: "middle" });
    f.note("start", Math.min(toy.escapeTime(first) / T, 1.9), 4, { anchor: "end", dx: -5 });
    f.describe(`State over time: it escapes after ${pretty(escape)} T.`);
    g.describe(`Output over time: it turns on after ${pretty(escape)} T, the target after 1 T.`);
  }

  function drawLoss(toy, path, epoch, zone, best) {
    const high = Math.max(2.2, Math.min(4.5, path[0] / toy.rStar + 0.3));
    const f = figures.loss.begin({ x: [-1, high], y: [0, 1.12] });
    const count = toy.confidence === Infinity ? 400 : 120;
    const grid = Array.from({ length: count + 1 }, (_, k) => -1 + ((high + 1) * k) / count);
    if (toy.confidence === Infinity) grid.push(zone, zone + 1e-9, best);
    grid.sort((a, b) => a - b);
    f.zone(-1, zone).note("no-learning zone", (zone - 1) / 2, 0.5, { anchor: "middle", kind: "lost", dy: 4 });
    f.line(
      grid.map((u) => [u, toy.loss(u * toy.rStar) / toy.T]),
      "ink",
    );
    f.vertical(zone, "lost").note("point of no return r*/4", zone, 1.08, { kind: "lost", dx: 5 });
    f.note("kink at r*", best, 0, { dx: 8, dy: -10 });
    const from = Math.max(0, epoch - 12);
    const steps = Array.from(path.subarray(from, epoch + 2), (r) => [r / toy.rStar, toy.loss(r) / toy.T]);
    f.line(steps, "thin")
      .dots(steps, "faint", 2.5)
      .dots([[path[epoch] / toy.rStar, toy.loss(path[epoch]) / toy.T]], "", 5);
    if (epoch + 1 < path.length && path[epoch + 1] / toy.rStar <= zone)
      f.dots(steps.slice(-1), "lost", 5).note("next step", ...steps[steps.length - 1], {
        kind: "lost",
        anchor: "middle",
        dy: 18,
      });
    f.describe(
      `Loss over r: a plateau above r*, a kink of zero loss at r*, and a flat no-learning zone below r*/4. The dot is at r = ${pretty(path[epoch] / toy.rStar)} r*.`,
    );
  }

  function drawPath(path, losses, epoch, zone, best, lostEpoch) {
    const epochs = path.length - 1;
    const index = Array.from(path.keys());
    const unit = descent.toy.rStar;
    const low = Math.min(-0.1, ...[path[epochs] / unit - 0.1]);
    const f = figures.path.begin({ x: [0, epochs], y: [Math.max(low, -4), Math.max(path[0] / unit, 2) * 1.05] });
    f.horizontal(best, "good").note("r*", epochs, best, { anchor: "end", kind: "good", dy: -4 });
    f.horizontal(zone, "lost").note("r*/4", epochs, zone, { anchor: "end", kind: "lost", dy: -4 });
    f.line(
      thinned(
        index,
        path.map((r) => r / unit),
      ),
    )
      .vertical(epoch, "now")
      .dots([[epoch, path[epoch] / unit]], "", 4);
    const g = figures.losses.begin({ x: [0, epochs], y: [0, 1.12] });
    if (lostEpoch >= 0) g.zone(lostEpoch, epochs).note("gradient exactly 0", lostEpoch, 1.06, { kind: "lost", dx: 5 });
    g.line(thinned(index, losses))
      .vertical(epoch, "now")
      .dots([[epoch, losses[epoch]]], "", 4);
    let [up, down] = [0, 0];
    for (let k = 1; k <= (lostEpoch >= 0 ? lostEpoch : epochs); k++) {
      if (path[k] > path[k - 1]) up++;
      else if (path[k] < path[k - 1]) down++;
    }
    figures.path.caption.textContent = `${pretty(down)} updates down, ${pretty(up)} up${lostEpoch >= 0 ? `, lost at epoch ${pretty(lostEpoch)}` : ""}.`;
    figures.losses.caption.textContent = `After ${pretty(epochs)} updates the loss is ${pretty(losses[epochs])} T.`;
    f.describe(`r over ${epochs} epochs, from ${pretty(path[0] / unit)} to ${pretty(path[epochs] / unit)} r*.`);
    g.describe(`Loss over ${epochs} epochs, from ${pretty(losses[0])} to ${pretty(losses[epochs])} T.`);
  }

  /** Shares of starts that end lost, oscillating or still falling, over rates; of the analytic
   *  limit, where only rate / critical rate counts. */
  function countShares() {
    const toy = new Toy(100);
    return Array.from({ length: 61 }, (_, k) => {
      const rate = 0.01 * 10 ** (k / 20);
      let [lost, swing] = [0, 0];
      for (let s = 0; s < STARTS; s++) {
        const { outcome } = toy.descend((1 + (3 * (s + 0.5)) / STARTS) * toy.rStar, rate * toy.criticalRate, UPDATES);
        if (outcome === "no-learning zone") lost++;
        else if (outcome === "oscillation") swing++;
      }
      return [rate, lost / STARTS, swing / STARTS];
    });
  }

  function drawShares(toy, smooth) {
    figures.shares.node.hidden = smooth;
    if (smooth) return;
    if (!shares.has("limit")) {
      // 240,000 updates: after the first drawing, not before it
      figures.shares.begin({ x: [0.01, 10], y: [0, 1], log: "x" });
      setTimeout(() => {
        shares.set("limit", countShares());
        draw();
      }, 60);
      shares.set("limit", []);
      return;
    }
    const counted = shares.get("limit");
    if (!counted.length) return;
    const f = figures.shares.begin({ x: [0.01, 10], y: [0, 1], log: "x", yTicks: [0, 0.5, 1] });
    f.area(
      counted.map(([rate, lost]) => [rate, 0, lost]),
      "lost",
    );
    f.area(
      counted.map(([rate, lost, swing]) => [rate, lost, lost + swing]),
      "good",
    );
    f.area(
      counted.map(([rate, lost, swing]) => [rate, lost + swing, 1]),
      "open",
    );
    f.vertical(1, "now").note("critical rate 3π⁴ / (32 T⁵)", 1, 0.9, { anchor: "end", dx: -6 });
    f.vertical(state.get("rate"), "now").dots([[state.get("rate"), 0.06]], "ink", 5);
    f.note("still falling", 0.03, 0.5, { anchor: "middle" })
      .note("oscillates", 0.45, 0.45, { anchor: "middle" })
      .note("lost", 5, 0.5, { anchor: "middle" });
    figures.shares.caption.textContent = `${STARTS} starts between r* and 4 r*, ${UPDATES} updates each. At T = ${pretty(toy.T)} the critical rate is ${pretty(toy.criticalRate)}. The dot is the rate chosen.`;
    f.describe("Shares of starts over learning rates: below the critical rate none is lost, above it nearly all are.");
  }

  return {
    node,
    render: draw,
    refresh() {
      state.read();
      Object.values(controls).forEach((each) => each.show());
      descent = null;
      draw();
    },
  };
}
