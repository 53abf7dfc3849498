// Part three: a network of rank two (as in Fig. 4A-D) in the plane of its latents, over training.

import run from "../../data/rank_two.json";
import { button, buttons, choice, element, group, sentence, slider } from "../controls.js";
import { PlaneNetwork } from "../math/rank_two.js";
import { Figure, onceAFrame, pretty, thinned } from "../plot.js";
import { State } from "../state.js";
import { floats } from "../weights.js";

const CELLS = 48; // of the map of speeds, each way
const [CUE, DELAY, RESPONSE] = run.steps;
const INPUTS = [1, -1];
const initial = Float64Array.from(floats(run.initial));
const states = Array.from({ length: run.trials }, (_, k) => initial.subarray(k * run.units, (k + 1) * run.units));
// the epoch shown first: the one at which the loss is next to half of chance
const lossAt = (epoch) => run.loss[run.epoch.indexOf(epoch)];
const LEARNED = run.shown.findIndex(({ epoch }) => lossAt(epoch) < 0.25);
const DEFAULTS = { shown: LEARNED < 0 ? run.shown.length - 1 : LEARNED, input: "0" };

export const networkAt = (index) => new PlaneNetwork(floats(run.shown[index].weights), run.units);

export function rankTwoView() {
  const state = new State("rank-two", DEFAULTS);
  const draw = onceAFrame(render);
  let playing = null;
  const epochOf = (index) => run.shown[index].epoch;
  const controls = {
    shown: slider(state, "shown", "Epoch shown", {
      low: 0,
      high: run.shown.length - 1,
      step: 1,
      format: (k) => pretty(epochOf(k)),
      change: () => {
        stop();
        draw();
      },
    }),
    input: choice(
      state,
      "input",
      "Input while the flow is drawn",
      [
        ["0", "none (delay and response)"],
        ["1", "cue +1"],
        ["-1", "cue −1"],
      ],
      draw,
    ),
  };
  const play = button("Play the training", () => (playing ? stop() : start()), { class: "main" });
  const move = (by) => {
    stop();
    state.set("shown", Math.min(Math.max(state.get("shown") + by, 0), run.shown.length - 1));
    controls.shown.show();
    draw();
  };
  const panel = element(
    "form",
    { class: "controls", "aria-label": "Training of a rank-two network" },
    group(
      "Training",
      controls.shown,
      buttons(
        play,
        button("◀", () => move(-1), { "aria-label": "Epoch before" }),
        button("▶", () => move(1), { "aria-label": "Next epoch" }),
      ),
    ),
    group("Flow", controls.input),
  );
  const figures = {
    plane: new Figure("Flow in the plane of the latents", {
      size: "wider tall",
      ratio: 0.86,
      x: "latent κ₁",
      y: "latent κ₂",
    }),
    loss: new Figure("Loss", {
      x: "epoch",
      y: "loss (chance = 1)",
      ratio: 0.7,
      caption: `Rank two, published weights of seed ${run.seed}, published rate ${run.rate}.`,
    }),
    output: new Figure("Answers", {
      x: "time (ms)",
      y: "output",
      ratio: 0.7,
      caption: "Six trials of each cue; dotted: the targets.",
    }),
  };
  const lead = element("p", { class: "lead", "aria-live": "polite" });
  const node = element(
    "div",
    {},
    element("h1", {}, "Two cues, one plane: where a memory comes from"),
    lead,
    element(
      "div",
      { class: "view" },
      panel,
      element("div", { class: "figures" }, ...Object.values(figures).map((f) => f.node)),
    ),
  );

  function start() {
    if (state.get("shown") >= run.shown.length - 1) state.set("shown", 0);
    playing = setInterval(() => {
      if (!node.isConnected || state.get("shown") >= run.shown.length - 1) return stop();
      state.set("shown", state.get("shown") + 1);
      controls.shown.show();
      draw();
    }, 280);
    play.textContent = "Pause";
  }

  function stop() {
    clearInterval(playing);
    playing = null;
    play.textContent = "Play the training";
  }

  function render() {
    if (!node.isConnected) return;
    const index = Math.min(Math.max(Math.round(state.get("shown")), 0), run.shown.length - 1);
    const at = run.shown[index];
    const network = networkAt(index);
    const trials = INPUTS.flatMap((cue) =>
      states.map((from) => ({
        cue,
        path: network.trial(
          from,
          Array.from({ length: CUE + DELAY + RESPONSE }, (_, t) => (t < CUE ? cue : 0)),
          run.alpha,
        ),
      })),
    );
    speak(at);
    drawPlane(network, at, trials);
    drawOutputs(network, trials);
    const f = figures.loss.begin({ x: [0, run.epoch[run.epoch.length - 1]], y: [0, 1.25] });
    f.line(thinned(run.epoch, run.loss))
      .vertical(at.epoch, "now")
      .dots([[at.epoch, lossAt(at.epoch)]], "", 4.5);
    f.describe(`Loss over training; ${pretty(lossAt(at.epoch))} of chance at epoch ${at.epoch}.`);
  }

  function speak(at) {
    const stable = at.zeros.filter((z) => z[2] === 0).length;
    const unstable = at.zeros.length - stable;
    const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
    lead.replaceChildren(
      ...sentence(
        `At epoch ${pretty(at.epoch)} the loss is ${pretty(lossAt(at.epoch))} of chance. Without input the flow has ${plural(stable, "stable fixed point")}, ${plural(unstable, "unstable one")} (all there are, proven)`,
        at.ghosts.length
          ? ["ghost", ` and ${plural(at.ghosts.length, "ghost")}, at which it is slow and nothing rests`]
          : " and no ghost that was found",
        `. ${stable > 1 ? "The two cues (orange +1, blue −1) end in different places: that is the memory." : "Both cues end in the same place: nothing is remembered for long."}`,
      ),
    );
  }

  function drawPlane(network, at, trials) {
    const inside = [...trials.flatMap((t) => t.path), ...at.zeros, ...at.ghosts];
    let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
    for (const [x, y] of inside)
      [x0, x1, y0, y1] = [Math.min(x0, x), Math.max(x1, x), Math.min(y0, y), Math.max(y1, y)];
    const wider = 0.14 * Math.max(x1 - x0, y1 - y0);
    [x0, x1, y0, y1] = [x0 - wider, x1 + wider, y0 - wider, y1 + wider];
    figures.plane.svg.setAttribute("class", "plane");
    const f = figures.plane.begin({ x: [x0, x1], y: [y0, y1] });
    const u = Number(state.get("input")) || 0;
    f.back
      .append("image")
      .attr("href", speeds(network, [x0, x1], [y0, y1], u))
      .attr("preserveAspectRatio", "none")
      .attr("x", f.x(x0))
      .attr("y", f.y(y1))
      .attr("width", f.x(x1) - f.x(x0))
      .attr("height", f.y(y0) - f.y(y1));
    let field = "";
    for (let i = 0; i < 17; i++) {
      for (let j = 0; j < 15; j++) {
        const [x, y] = [x0 + ((x1 - x0) * (i + 0.5)) / 17, y0 + ((y1 - y0) * (j + 0.5)) / 15];
        const [fx, fy] = network.flow(x, y, u);
        const [dx, dy] = [f.x(x + fx) - f.x(x), f.y(y + fy) - f.y(y)];
        const length = Math.hypot(dx, dy) || 1;
        const [ux, uy] = [(dx / length) * 6, (dy / length) * 6];
        const [hx, hy] = [f.x(x) + ux, f.y(y) + uy];
        field += `M${(f.x(x) - ux).toFixed(1)},${(f.y(y) - uy).toFixed(1)}L${hx.toFixed(1)},${hy.toFixed(1)}l${(-ux * 0.55 - uy * 0.35).toFixed(1)},${(-uy * 0.55 + ux * 0.35).toFixed(1)}M${hx.toFixed(1)},${hy.toFixed(1)}l${(-ux * 0.55 + uy * 0.35).toFixed(1)},${(-uy * 0.55 - ux * 0.35).toFixed(1)}`;
      }
    }
    f.plot.append("path").attr("class", "field").attr("d", field);
    for (const { cue, path } of trials) {
      const points = path.map(([x, y]) => `${f.x(x).toFixed(1)},${f.y(y).toFixed(1)}`);
      f.plot
        .append("path")
        .attr("class", `path ${cue > 0 ? "up" : "down"}`)
        .attr("d", `M${points.join("L")}`);
    }
    f.dots(
      at.zeros.filter((z) => z[2] === 0),
      "rest",
      6,
    ).dots(
      at.zeros.filter((z) => z[2] > 0),
      "ring",
      6,
    );
    f.diamonds(at.ghosts, "ghost", 7);
    figures.plane.caption.textContent =
      "Dark: slow. Full dots are stable fixed points, rings unstable ones, purple diamonds ghosts, all of the flow without input. Lines: trials, orange after cue +1, blue after −1.";
    f.describe(
      `Flow in the plane at epoch ${at.epoch}: ${at.zeros.filter((z) => z[2] === 0).length} stable and ${at.zeros.filter((z) => z[2] > 0).length} unstable fixed points, ${at.ghosts.length} ghosts, and twelve trials.`,
    );
  }

  /** The speed as an image, on a logarithmic scale: dark where it is slow. */
  function speeds(network, [x0, x1], [y0, y1], u) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = CELLS;
    const context = canvas.getContext("2d");
    const image = context.createImageData(CELLS, CELLS);
    const logs = new Float64Array(CELLS * CELLS);
    for (let j = 0; j < CELLS; j++) {
      for (let i = 0; i < CELLS; i++) {
        const flow = network.flow(x0 + ((x1 - x0) * (i + 0.5)) / CELLS, y1 - ((y1 - y0) * (j + 0.5)) / CELLS, u);
        logs[j * CELLS + i] = Math.log10(network.speed(...flow) + 1e-12);
      }
    }
    const top = logs.reduce((a, b) => Math.max(a, b));
    logs.forEach((value, at) => {
      // from near black over violet to a grey that white arrows and the coloured trials stand out
      // from
      const level = Math.min(Math.max(1 + (value - top) / 1.8, 0), 1);
      image.data.set([18 + 92 * level, 12 + 88 * level, 44 + 86 * level, 255], 4 * at);
    });
    context.putImageData(image, 0, 0);
    return canvas.toDataURL();
  }

  function drawOutputs(network, trials) {
    const steps = CUE + DELAY + RESPONSE;
    const time = (t) => t * run.dt;
    const f = figures.output.begin({ x: [0, time(steps - 1)], y: [-1.12, 1.12] });
    const on = time(CUE + DELAY);
    for (const cue of INPUTS)
      f.line(
        [
          [0, 0],
          [on, 0],
          [on, cue],
          [time(steps - 1), cue],
        ],
        "ink thin dash",
      );
    for (const { cue, path } of trials) {
      f.line(
        path.slice(0, steps).map(([x, y], t) => [time(t), network.output(x, y)]),
        `thin ${cue > 0 ? "open" : ""}`,
      );
    }
    f.describe("Outputs of the trials over time, with their targets.");
  }

  return {
    node,
    render: draw,
    refresh() {
      state.read();
      Object.values(controls).forEach((each) => each.show());
      draw();
    },
  };
}
