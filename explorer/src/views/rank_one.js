// Part two: a network of rank one that trains in the page.

import weights from "../../data/rank_one.json";
import { button, buttons, choice, element, group, sentence, slider } from "../controls.js";
import { passageTime } from "../math/toy.js";
import { Network, Task, Trainer } from "../math/rank_one.js";
import { Figure, onceAFrame, pretty, thinned } from "../plot.js";
import { State } from "../state.js";
import { floats } from "../weights.js";

const DEFAULTS = { seed: 40, rate: 0.1, delay: 20, c: 10, optimizer: "sgd", remedy: "none", epochs: 1200 };
const LOST_AFTER = 50; // epochs at chance after which a network counts as lost (article, Fig. 8B)
const FRAME_MS = 14;
const LIVE = 200; // epochs during which moving a slider is one event
const KEPT = 300; // weights kept along the way, at most

export function rankOneView() {
  const state = new State("rank-one", DEFAULTS);
  let trainer, history, snapshots, stride, events, phase, running, viewed, target;

  const live = (name) => (value) => {
    trainer.options[name] = value;
    if (name === "optimizer") trainer.restartMemory();
    const words = { rate: "learning rate", optimizer: "optimiser", remedy: "remedy" }[name];
    say(`${words} set to ${typeof value === "number" ? pretty(value) : value}`, trainer.epoch, "", name);
    draw();
  };
  const controls = {
    rate: slider(state, "rate", "Learning rate", {
      low: 0.001,
      high: 3,
      log: true,
      format: pretty,
      change: live("rate"),
    }),
    optimizer: choice(
      state,
      "optimizer",
      "Optimiser",
      [
        ["sgd", "gradient descent"],
        ["momentum", "momentum 0.9"],
        ["adam", "Adam"],
      ],
      live("optimizer"),
    ),
    remedy: choice(
      state,
      "remedy",
      "Remedy",
      [
        ["none", "none"],
        ["clip", "clip the gradient at 0.1"],
        ["trust", "trust region on the escape time"],
      ],
      live("remedy"),
    ),
    c: slider(state, "c", "Confidence c", {
      low: 0.2,
      high: 20,
      log: true,
      format: pretty,
      change: (value) => {
        trainer.network.confidence = value;
        say(`confidence set to ${pretty(value)}`, trainer.epoch, "", "c");
        draw();
      },
    }),
    delay: slider(state, "delay", "Delay T (steps)", {
      low: 4,
      high: 48,
      step: 1,
      format: String,
      change: () => restart(),
    }),
    seed: choice(
      state,
      "seed",
      "Initial weights (published seed)",
      weights.seeds.map((seed) => [seed, String(seed)]),
      () => restart(),
    ),
  };
  const play = button("Pause", () => (running ? pause() : go(Infinity)), { class: "main" });
  const panel = element(
    "form",
    { class: "controls", "aria-label": "Training of a rank-one network" },
    group(
      "Train",
      buttons(
        play,
        button("One epoch", () => {
          pause();
          viewLive();
          advance(1);
          draw();
        }),
        button("Restart", () => restart()),
      ),
    ),
    group(
      "Do something to it",
      buttons(
        button("Push it over the edge", push, { title: "One epoch at ten times the rate" }),
        button("Rescue: lower the confidence", lower),
        button("Rescue: back to the best epoch", rewind),
      ),
    ),
    group("Settings, while it trains", controls.rate, controls.optimizer, controls.remedy, controls.c),
    group("Start again with", controls.delay, controls.seed),
  );

  const scrubber = element("input", { type: "range", id: "rank-one-epoch", min: 0, value: 0, step: 1 });
  const scrubOut = element("output", { for: "rank-one-epoch" });
  const scrub = element(
    "div",
    { class: "card full control" },
    element("label", { for: "rank-one-epoch" }, "Epoch shown"),
    scrubOut,
    scrubber,
  );
  scrubber.addEventListener("input", () => {
    pause();
    viewed = Number(scrubber.value) >= snapshots.length ? null : snapshots[Number(scrubber.value)];
    draw();
  });

  const figures = {
    flow: new Figure("Flow of the latent", { size: "wide", x: "latent κ", y: "dκ/dt (1/τ)" }),
    trial: new Figure("Its answer", { size: "wide", x: "time / T", y: "output" }),
    loss: new Figure("Loss", {
      x: "epoch",
      y: "loss (chance = 1)",
      caption: "Red: at chance for ever, the no-learning zone.",
    }),
    gradient: new Figure("Length of the gradient", { x: "epoch", y: "gradient norm", caption: "" }),
    escape: new Figure("Escape time", {
      x: "epoch",
      y: "time to the answer / T",
      caption: "When the output crosses 1/2; a gap where it never does.",
    }),
  };
  const log = element("ol", {});
  const lead = element("p", { class: "lead", "aria-live": "polite" });
  const node = element(
    "div",
    {},
    element("h1", {}, "A network learns through a ghost, and is lost in one step"),
    lead,
    element(
      "div",
      { class: "view" },
      panel,
      element(
        "div",
        { class: "figures" },
        scrub,
        figures.flow.node,
        figures.trial.node,
        figures.loss.node,
        figures.gradient.node,
        figures.escape.node,
        element("div", { class: "card full" }, element("h2", {}, "What happened"), log),
      ),
    ),
  );

  // a network that trains is drawn in every frame as it is
  const draw = onceAFrame(() => running || render());
  const now = () => trainer.network;

  function restart() {
    const raw = floats(weights.weights[Math.max(0, weights.seeds.indexOf(state.get("seed")))]);
    const network = new Network(
      raw.subarray(0, weights.units),
      raw.subarray(weights.units),
      new Float64Array(weights.units),
      { confidence: state.get("c") },
    );
    const { rate, optimizer, remedy } = state.values;
    trainer = new Trainer(network, new Task(state.get("delay"), 0.5), { rate, optimizer, remedy, clip: 0.1 });
    history = { epoch: [], loss: [], gradient: [], escape: [], accuracy: [] };
    snapshots = [];
    stride = 1;
    events = [];
    phase = { learned: -1, lastAbove: -1, lost: false, best: Infinity, bestWeights: null };
    viewed = null;
    keep();
    say(`published seed ${state.get("seed")}, T = ${state.get("delay")} steps, confidence ${pretty(state.get("c"))}`);
    go(Math.min(Math.max(Math.round(state.get("epochs")), 0), 20000));
  }

  function keep() {
    const { m, n, b, confidence } = now();
    snapshots.push({ epoch: trainer.epoch, m: m.slice(), n: n.slice(), b: b.slice(), confidence });
    if (snapshots.length > KEPT) {
      snapshots = snapshots.filter((_, k) => k % 2 === 0);
      stride *= 2;
    }
  }

  /** Train `count` epochs at most, for `ms` at most. */
  function advance(count, ms = Infinity) {
    const stop = performance.now() + ms;
    for (let k = 0; k < count; k++) {
      const { network } = trainer;
      if (trainer.epoch % stride === 0 && trainer.epoch > snapshots[snapshots.length - 1].epoch) keep();
      const epoch = trainer.epoch;
      const kept = {
        m: network.m.slice(),
        n: network.n.slice(),
        b: network.b.slice(),
        confidence: network.confidence,
        epoch,
      };
      const at = trainer.step();
      history.epoch.push(epoch);
      history.loss.push(at.loss);
      history.gradient.push(at.gradientNorm);
      history.escape.push(at.time / trainer.task.delay);
      history.accuracy.push(at.accuracy);
      if (at.loss < phase.best) [phase.best, phase.bestWeights] = [at.loss, kept];
      watch(at, epoch);
      if (k % 8 === 7 && performance.now() > stop) break;
    }
  }

  /** Note when the network first answers, is lost, and is back. */
  function watch({ accuracy }, epoch) {
    if (accuracy > 0.5) {
      if (phase.learned < 0) {
        phase.learned = epoch;
        say(`above chance for the first time`, epoch, "good");
      }
      if (phase.lost) {
        phase.lost = false;
        say("rescued: above chance again", epoch, "good");
      }
      phase.lastAbove = epoch;
    } else if (phase.learned >= 0 && !phase.lost && epoch - phase.lastAbove >= LOST_AFTER) {
      phase.lost = true;
      say("lost: in the no-learning zone from here on", phase.lastAbove + 1, "lost");
    }
  }

  /** Add a line to what happened; one about the same control, at most `LIVE` epochs after the
   *  last, replaces it. */
  function say(text, epoch = trainer.epoch, kind = "", key = "") {
    const last = events[events.length - 1];
    if (key && last?.key === key && epoch - last.epoch <= LIVE) events.pop();
    events.push({ text, epoch, kind, key });
    log.replaceChildren(
      ...events
        .slice(-30)
        .map((each) =>
          element(
            "li",
            {},
            `Epoch ${pretty(each.epoch)}: `,
            element(each.kind ? "b" : "span", { class: each.kind }, each.text),
          ),
        ),
    );
  }

  function go(epochs) {
    viewLive();
    target = epochs === Infinity ? Infinity : trainer.epoch + epochs;
    if (!running) {
      running = true;
      requestAnimationFrame(frame);
    }
    play.textContent = "Pause";
  }

  function pause() {
    running = false;
    play.textContent = "Train on";
  }

  function viewLive() {
    viewed = null;
  }

  function frame() {
    if (!running || !node.isConnected) return pause();
    advance(target - trainer.epoch, FRAME_MS);
    if (trainer.epoch >= target) pause();
    render();
    if (running) requestAnimationFrame(frame);
  }

  function push() {
    viewLive();
    const { rate } = trainer.options;
    const { remedy } = trainer.options;
    trainer.options.rate = 10 * rate;
    trainer.options.remedy = "none";
    say("one update at ten times the rate", trainer.epoch, "lost");
    advance(1);
    Object.assign(trainer.options, { rate, remedy });
    go(150);
  }

  function lower() {
    viewLive();
    state.set("c", 1);
    controls.c.show();
    now().confidence = 1;
    say("confidence lowered to 1");
    state.set("remedy", "trust");
    controls.remedy.show();
    trainer.options.remedy = "trust";
    say("trust region on the escape time switched on");
    go(400);
  }

  function rewind() {
    const { m, n, b, confidence, epoch } = phase.bestWeights ?? snapshots[0];
    const network = now();
    network.m.set(m);
    network.n.set(n);
    network.b.set(b);
    network.confidence = confidence;
    state.set("c", confidence);
    state.set("rate", Math.max(Number((trainer.options.rate / 10).toPrecision(3)), 0.001));
    controls.c.show();
    controls.rate.show();
    trainer.options.rate = state.get("rate");
    trainer.restartMemory();
    say(`weights of epoch ${pretty(epoch)} put back, the rate divided by ten`);
    go(400);
  }

  function render() {
    if (!node.isConnected) return;
    const network = viewed ? new Network(viewed.m, viewed.n, viewed.b, { confidence: viewed.confidence }) : now();
    const epoch = viewed ? viewed.epoch : trainer.epoch;
    scrubber.max = snapshots.length;
    if (!viewed) scrubber.value = snapshots.length;
    scrubOut.textContent = pretty(epoch);
    scrubber.setAttribute("aria-valuetext", `epoch ${epoch}`);
    const points = drawFlow(network);
    drawTrial(network);
    drawHistory(epoch);
    speak(network, points, epoch);
  }

  function speak(network, points, epoch) {
    const { learned } = phase;
    const last = history.loss.length ? history.loss[history.loss.length - 1] : 1;
    const story = [];
    if (learned < 0) story.push(`For ${pretty(trainer.epoch)} epochs the loss has stayed on a plateau at chance. `);
    else story.push(`After ${pretty(learned)} epochs on a plateau the loss drops within a few. `);
    if (phase.lost)
      story.push(
        [
          "lost",
          `One update then carries the network past the point of no return: since epoch ${pretty(phase.lastAbove + 1)} its gradient has been ${pretty(history.gradient[history.gradient.length - 1])}. `,
        ],
        "Rescue it. ",
      );
    else if (learned >= 0 && last < 0.1) story.push(["good", `The loss is ${pretty(last)} of chance. `]);
    const ghost = points.ghosts.length
      ? points.ghosts.reduce((a, b) => (Math.abs(a.height) < Math.abs(b.height) ? a : b))
      : null;
    story.push(
      `At epoch ${pretty(epoch)} the flow has ${points.zeros.length} fixed point${points.zeros.length === 1 ? "" : "s"} and ${points.ghosts.length} ghost${points.ghosts.length === 1 ? "" : "s"}`,
    );
    if (ghost)
      story.push([
        "ghost",
        `, the slowest at κ = ${pretty(ghost.position)}: passage ${pretty(passageTime(ghost.height, ghost.curvature))} τ`,
      ]);
    story.push(".");
    lead.replaceChildren(...sentence(...story));
  }

  function drawFlow(network) {
    let reach = 0;
    for (const each of network.n) reach += Math.abs(each);
    const points = network.slowPoints(reach * 1.001 + 1e-9, 400);
    const start = network.start;
    // ends on halves, so that the axis stays while the network trains
    const low = Math.floor(2 * Math.min(start, -2.6, ...points.zeros.map((z) => z.position))) / 2 - 0.5;
    const zeros = points.zeros.map((z) => Math.min(z.position, 12));
    const high = Math.ceil(2 * Math.max(network.threshold + 1.5, ...zeros)) / 2 + 0.5;
    const f = figures.flow.begin({ x: [low, high], y: [-1.2, 2] });
    f.horizontal(0, "now").vertical(network.threshold).note("threshold", network.threshold, 1.9, { dx: 4 });
    for (const [epoch, kind] of [
      [0, "faint thin"],
      [phase.learned, "good thin"],
      [phase.lastAbove, "ghost thin"],
    ]) {
      const past = epoch < 0 ? undefined : snapshots.findLast((each) => each.epoch <= epoch);
      if (past) f.line(curve(new Network(past.m, past.n, past.b, { confidence: 1 }), low, high, 60), kind);
    }
    f.line(curve(network, low, high, 120));
    f.dots([[start, network.flow(start)[0]]], "good", 5).note("start", start, network.flow(start)[0], {
      kind: "good",
      anchor: "middle",
      dy: -9,
    });
    f.dots(
      points.zeros.filter((z) => z.stable).map((z) => [z.position, 0]),
      "rest",
      5,
    );
    f.dots(
      points.zeros.filter((z) => !z.stable).map((z) => [z.position, 0]),
      "ring",
      5,
    );
    const seen = points.ghosts.filter((g) => g.position > low && g.position < high);
    f.diamonds(
      seen.map((g) => [g.position, g.height]),
      "ghost",
    );
    if (seen.length) f.note("ghost", seen[0].position, seen[0].height, { kind: "ghost", anchor: "middle", dy: -12 });
    const stuck = points.zeros.some((z) => z.stable && z.position > start && z.position < network.threshold);
    figures.flow.caption.textContent = stuck
      ? "A stable fixed point (full) stands between the start and the threshold: the latent never gets there."
      : start > network.threshold || network.flow(start)[0] < 0
        ? "The latent moves away from the threshold."
        : "The latent moves from the start to the threshold; where the curve is low it takes long.";
    figures.flow.caption.textContent +=
      " Thin: at the first epoch (grey), when it first answers (green), and when it last does (purple).";
    f.describe(
      `Flow of the latent: ${points.zeros.length} fixed points, ${points.ghosts.length} ghosts; start at ${pretty(start)}, threshold at ${pretty(network.threshold)}.`,
    );
    return points;
  }

  function curve(network, low, high, cells) {
    return Array.from({ length: cells + 1 }, (_, k) => {
      const kappa = low + ((high - low) * k) / cells;
      return [kappa, network.flow(kappa)[0]];
    });
  }

  function drawTrial(network) {
    const { task } = trainer;
    const path = network.forward(task);
    const f = figures.trial.begin({ x: [0, 2], y: [-0.05, 1.08] });
    f.line(
      [
        [0, 0],
        [1, 0],
        [1, 1],
        [2, 1],
      ],
      "ink thin dash",
    );
    f.line(Array.from(path.output, (o, t) => [(t + 1) / task.delay, o]));
    f.dots(
      Array.from(path.output, (o, t) => [(t + 1) / task.delay, o]),
      "",
      2.2,
    );
    const near = network.approach(path);
    if (near.crossed)
      f.vertical(near.time / task.delay, "ghost").note(
        `answers after ${pretty(near.time / task.delay)} T`,
        near.time / task.delay,
        0.6,
        { kind: "ghost", dx: 6 },
      );
    else f.note(path.output[0] > 0.5 ? "answers at once" : "never answers", 1, 0.5, { kind: "lost", anchor: "middle" });
    figures.trial.caption.textContent = `Dotted: the target, 0 for T = ${task.delay} steps and 1 for as many more.`;
    f.describe(
      `Output over the trial: ${near.crossed ? `it crosses 1/2 after ${pretty(near.time / task.delay)} T` : "it never crosses 1/2"}.`,
    );
  }

  function drawHistory(epoch) {
    const last = Math.max(history.epoch.length, 10);
    const lostFrom = phase.lost ? phase.lastAbove + 1 : -1;
    const curves = [
      [figures.loss, "loss", [0, 1.3]],
      [figures.escape, "escape", [0, 2.05]],
    ];
    for (const [figure, name, y] of curves) {
      const f = figure.begin({ x: [0, last], y });
      if (lostFrom >= 0) f.zone(lostFrom, last);
      if (name === "escape") f.horizontal(1, "good").note("T", last, 1, { anchor: "end", kind: "good", dy: -4 });
      f.line(thinned(history.epoch, history[name])).vertical(epoch, "now");
    }
    const sizes = history.gradient.filter((g) => g > 0);
    const top = sizes.length ? Math.max(...thinned(sizes, sizes).map(([, v]) => v)) : 1;
    const bottom = sizes.length ? Math.max(Math.min(...thinned(sizes, sizes).map(([, v]) => v)), 1e-20) : 0.1;
    const f = figures.gradient.begin({ x: [0, last], y: [bottom / 2, top * 2], log: "y" });
    if (lostFrom >= 0) f.zone(lostFrom, last);
    f.line(thinned(history.epoch, history.gradient)).vertical(epoch, "now");
    const size = history.gradient[history.gradient.length - 1];
    figures.gradient.caption.textContent = size === undefined ? "" : `Now ${pretty(size)}.`;
    figures.loss.describe(
      `Loss over ${history.epoch.length} epochs, now ${pretty(history.loss[history.loss.length - 1] ?? 1)} of chance.`,
    );
    figures.escape.describe("Escape time over training, in units of the delay.");
    f.describe("Length of the gradient over training, on a logarithmic scale.");
  }

  restart();
  return {
    node,
    render: draw,
    hook: () => ({
      epoch: trainer.epoch,
      lost: phase.lost,
      learned: phase.learned,
      running,
      loss: history.loss[history.loss.length - 1],
      viewed: viewed?.epoch ?? null,
      advance,
      render,
    }),
    wake() {
      if (trainer.epoch < target && target !== Infinity) go(target - trainer.epoch);
    },
    refresh() {
      state.read();
      Object.values(controls).forEach((each) => each.show());
      restart();
    },
  };
}
