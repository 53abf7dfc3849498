// Part four: saved runs, from the command that serves this page, from a dropped file, or the
// example that ships with it.

import example from "../../data/example.json";
import { isServed, readByCommand } from "../command.js";
import { button, buttons, choice, element, group, sentence, slider } from "../controls.js";
import { Network } from "../math/rank_one.js";
import { PlaneNetwork } from "../math/rank_two.js";
import { Figure, onceAFrame, pretty, thinned } from "../plot.js";
import { readFile } from "../saved_file.js";
import { State } from "../state.js";
import { floats } from "../weights.js";

const DEFAULTS = { run: 0, network: -1, epoch: -1 };
const KINDS = ["stable", "unstable", "ghost"];

/** A name as a shell takes it for one word. */
const quoted = (name) => (/^[\w./-]+$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`);

function embedded() {
  const text = document.getElementById("saved-runs").textContent.trim();
  return text ? JSON.parse(text) : null;
}

export function savedView() {
  const state = new State("saved", DEFAULTS);
  let source = embedded() ?? example;
  let opened = 0;
  const isExample = () => source === example;
  const draw = onceAFrame(render);
  const controls = {
    run: choice(state, "run", "Run", [], () => {
      choose();
      draw();
    }),
    network: choice(state, "network", "Network", [], () => {
      state.set("epoch", -1);
      draw();
    }),
    epoch: slider(state, "epoch", "Epoch shown", {
      low: 0,
      high: 1,
      step: 1,
      free: true,
      format: (v) => pretty(epochAt(v)),
      change: draw,
    }),
  };
  const input = element("input", { type: "file", id: "saved-file" });
  input.addEventListener("change", () => input.files[0] && take(input.files[0]));
  const problem = element("p", { class: "error", role: "alert" });
  const reading = element("p", { class: "reading", role: "status" });
  const move = (by) => {
    state.set("epoch", Math.min(Math.max(indexNow() + by, 0), marks().length - 1));
    controls.epoch.show();
    draw();
  };
  const panel = element(
    "form",
    { class: "controls", "aria-label": "Saved run" },
    group("Open", element("label", { class: "file", for: "saved-file" }, "Choose a file, or drop one", input), reading, problem),
    group(
      "Look at",
      controls.run,
      controls.network,
      controls.epoch,
      buttons(
        button("◀", () => move(-1), { "aria-label": "Epoch before" }),
        button("▶", () => move(1), { "aria-label": "Next epoch" }),
      ),
    ),
  );
  const figures = {
    loss: new Figure("Loss", { size: "wide", x: "epoch", y: "loss" }),
    gradient: new Figure("Length of the gradient", { size: "wide", x: "epoch", y: "gradient norm" }),
    flow: new Figure("Latent flow", { size: "wide", x: "latent κ", y: "dκ/dt (1/τ)" }),
    points: new Figure("Slow points over training", { size: "wide", x: "epoch", y: "latent κ" }),
  };
  const diagnosis = element("div", { class: "card wide" });
  const happened = element("div", { class: "card wide" });
  const lead = element("p", { class: "lead", "aria-live": "polite" });
  const node = element(
    "div",
    {},
    element("h1", {}, "Scrub through a training that was saved"),
    lead,
    element(
      "div",
      { class: "view" },
      panel,
      element(
        "div",
        { class: "figures" },
        figures.loss.node,
        figures.gradient.node,
        figures.flow.node,
        figures.points.node,
        diagnosis,
        happened,
        element(
          "div",
          { class: "card full drop" },
          isServed
            ? element(
                "p",
                {},
                "Drop a file here: a run saved by ",
                element("code", {}, "run.save"),
                ", or any record of a training that ",
                element("code", {}, "ghostpoint diagnose"),
                " reads. The command that serves this page reads and diagnoses it, on this machine.",
              )
            : element(
                "p",
                {},
                "Drop a file here: a run saved by ",
                element("code", {}, "run.save"),
                ", or a log with a column for the loss (CSV, or one JSON object a line). ",
                element("code", {}, "ghostpoint explore FILE"),
                " opens every format that ",
                element("code", {}, "ghostpoint diagnose"),
                " reads, with its diagnosis.",
              ),
        ),
      ),
    ),
  );

  for (const name of ["dragover", "drop", "dragleave"]) {
    addEventListener(name, (event) => {
      if (!node.isConnected) return;
      event.preventDefault();
      document.body.classList.toggle("dragging", name === "dragover");
      if (name === "drop" && event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
    });
  }

  /** Show a file. What is shown stays until the file is read, and where it cannot be read or drawn.
   *  Of files that are opened one after another, the last counts. */
  async function take(file) {
    const turn = ++opened;
    problem.textContent = "";
    reading.textContent = `Reading ${file.name} …`;
    let [taken, failure] = [null, null];
    try {
      taken = await read(file);
    } catch (error) {
      failure = error;
    }
    if (turn !== opened) return;
    reading.textContent = "";
    const [before, choices] = [source, Object.keys(DEFAULTS).map((name) => [name, state.get(name)])];
    const show = (runs, values) => {
      source = runs;
      for (const [name, value] of values) state.set(name, value);
      choose();
      render();
    };
    try {
      if (taken) show(taken, Object.entries(DEFAULTS));
    } catch (error) {
      failure = error;
      show(before, choices);
    }
    if (failure) problem.textContent = `${file.name} cannot be shown: ${failure.message}`;
  }

  /** The runs in a file, by the command that serves the page; by the page where none answers. */
  async function read(file) {
    if (isServed) {
      try {
        return await readByCommand(file);
      } catch (error) {
        if (!(error instanceof TypeError)) throw error;
      }
    }
    return { runs: [await readFile(file)] };
  }

  function run() {
    return source.runs[Math.min(Math.max(Math.round(state.get("run")), 0), source.runs.length - 1)];
  }

  /** Fill the choices for the present run. */
  function choose() {
    controls.run.options(source.runs.map((each, place) => [place, each.name]));
    controls.run.hidden = source.runs.length < 2;
    controls.network.options([[-1, "the most telling"], ...run().networks.map((each, place) => [place, each.name])]);
  }

  /** The network shown: the one chosen, else one that was lost, else one that learned, with
   *  checkpoints if any has them. */
  function networkNow() {
    const { networks } = run();
    const chosen = Math.round(state.get("network"));
    if (chosen >= 0 && chosen < networks.length) return chosen;
    const rank = ({ events = {}, points }) =>
      4 * (events.no_learning_zone_entry >= 0) + 2 * (events.first_above_chance >= 0) + Boolean(points);
    return networks.reduce((best, each, place) => (rank(each) > rank(networks[best]) ? place : best), 0);
  }

  /** The epochs that can be shown: of the checkpoints, else of the history. */
  function marks() {
    return run().checkpoints ?? run().networks[networkNow()].epoch ?? run().epoch;
  }

  function indexNow() {
    const given = state.get("epoch");
    if (given >= 0) return Math.min(Math.round(given), marks().length - 1);
    // before anything is touched: where the loss is about to be lost, else where it has dropped
    // most
    const { events = {} } = run().networks[networkNow()];
    const lost = events.no_learning_zone_entry ?? -1;
    const at = lost >= 0 ? marks().findIndex((epoch) => epoch >= lost) : marks().length - 1;
    return at < 0 ? marks().length - 1 : at;
  }

  function epochAt(value) {
    return marks()[value < 0 ? indexNow() : Math.min(Math.round(value), marks().length - 1)];
  }

  function render() {
    if (!node.isConnected) return;
    const place = networkNow();
    const network = run().networks[place];
    controls.epoch.limit(Math.max(marks().length - 1, 1));
    const index = indexNow();
    controls.epoch.querySelector("input").value = index;
    const epoch = marks()[index];
    drawHistory(place, epoch);
    drawFlow(network, index);
    drawPoints(network, epoch);
    tell(network, place, epoch);
  }

  function drawHistory(place, epoch) {
    const { networks, chance_loss: chance } = run();
    const epochOf = (each) => each.epoch ?? run().epoch;
    const last = Math.max(...networks.map((each) => epochOf(each)[epochOf(each).length - 1]));
    const finite = networks.flatMap((each) => each.loss.filter(Number.isFinite));
    const top = finite.reduce((a, b) => Math.max(a, b), 0);
    const lowest = finite.filter((v) => v > 0).reduce((a, b) => Math.min(a, b), Infinity);
    const log = top > 20 * lowest && finite.every((v) => v > 0) && !chance;
    const chosen = networks[place];
    const lost = chosen.events?.no_learning_zone_entry ?? -1;
    const f = figures.loss.begin({
      x: [0, last],
      y: log ? [lowest / 1.5, top * 1.5] : [0, Math.min(top, chance ? 1.6 * chance : top) * 1.08 || 1],
      log: log ? "y" : "",
    });
    if (lost >= 0)
      f.zone(lost, last).note("no-learning zone", last, 0, { anchor: "end", kind: "lost", dx: -6, dy: -12 });
    for (const phase of chosen.phases ?? []) if (phase.start > 0) f.vertical(phase.start);
    networks.forEach((each, k) => k !== place && f.line(thinned(epochOf(each), each.loss, 300), "faint thin"));
    if (chance) f.horizontal(chance).note("chance", 0, chance, { dx: 4, dy: -4 });
    f.line(thinned(epochOf(chosen), chosen.loss)).vertical(epoch, "now");
    figures.loss.caption.textContent = `Blue: ${chosen.name}. Grey: ${networks.length - 1} other${networks.length === 2 ? "" : "s"}. Dashed: phases of the diagnosis.`;
    f.describe(`Loss of ${networks.length} networks over ${pretty(last)} epochs; shown is ${chosen.name}.`);
    figures.gradient.node.hidden = !chosen.gradient_norm;
    if (chosen.gradient_norm) {
      const sizes = chosen.gradient_norm.filter((v) => v > 0);
      const [high, low] = [
        sizes.reduce((a, b) => Math.max(a, b), 1e-30),
        sizes.reduce((a, b) => Math.min(a, b), Infinity),
      ];
      const g = figures.gradient.begin({ x: [0, last], y: [Math.max(low, 1e-20) / 2, high * 2], log: "y" });
      if (lost >= 0) g.zone(lost, last);
      g.line(thinned(epochOf(chosen), chosen.gradient_norm)).vertical(epoch, "now");
      g.describe(`Length of the gradient of ${chosen.name} over training.`);
    }
  }

  function drawFlow(network, index) {
    const weights = network.weights?.[index];
    figures.flow.node.hidden = !weights;
    if (!weights) return;
    const { rank, units, threshold } = run();
    const points = network.points?.[index] ?? [];
    if (rank === 2) return drawPlane(new PlaneNetwork(floats(weights), units), points, index);
    const at = (text) => {
      const raw = floats(text);
      return new Network(raw.subarray(0, units), raw.subarray(units, 2 * units), raw.subarray(2 * units, 3 * units), {
        initial: raw.subarray(3 * units, 4 * units),
      });
    };
    const now = at(weights);
    const places = points.map((p) => p.position[0]);
    // ends on halves, so that the axis stays from epoch to epoch
    const low = Math.floor(2 * Math.min(now.start, -2.5, ...places)) / 2 - 0.5;
    const high = Math.ceil(2 * Math.max((threshold ?? 1) + 1.5, ...places.map((p) => Math.min(p, 12)))) / 2 + 0.5;
    const f = figures.flow.begin({ x: [low, high], y: [-1.2, 2] });
    const curve = (net) =>
      Array.from({ length: 121 }, (_, k) => {
        const kappa = low + ((high - low) * k) / 120;
        return [kappa, net.flow(kappa)[0]];
      });
    f.horizontal(0, "now");
    if (threshold !== undefined) f.vertical(threshold).note("threshold", threshold, 1.9, { dx: 4 });
    for (let k = 0; k < network.weights.length; k += Math.max(1, Math.ceil(network.weights.length / 5)))
      f.line(curve(at(network.weights[k])), "faint thin");
    f.line(curve(now))
      .dots([[now.start, now.flow(now.start)[0]]], "good", 5)
      .note("start", now.start, now.flow(now.start)[0], { kind: "good", anchor: "middle", dy: -9 });
    mark(f, points, (p) => [p.position[0], p.kind === "ghost" ? now.flow(p.position[0])[0] : 0]);
    figures.flow.caption.textContent = `At epoch ${pretty(marks()[index])}. Full: stable fixed points; rings: unstable; diamonds: ghosts. Grey: other epochs.`;
    f.describe(`Latent flow at epoch ${marks()[index]} with ${points.length} slow points.`);
  }

  function drawPlane(network, points, index) {
    const reach = Math.max(3, ...points.flatMap((p) => p.position.map(Math.abs))) * 1.2;
    const f = figures.flow.begin({ x: [-reach, reach], y: [-reach, reach] });
    let field = "";
    for (let i = 0.5; i < 15; i++) {
      for (let j = 0.5; j < 11; j++) {
        const [x, y] = [-reach + (2 * reach * i) / 15, -reach + (2 * reach * j) / 11];
        const [fx, fy] = network.flow(x, y);
        const length = Math.hypot(fx, fy) || 1;
        field += `M${f.x(x).toFixed(1)},${f.y(y).toFixed(1)}l${((8 * fx) / length).toFixed(1)},${((-8 * fy) / length).toFixed(1)}`;
      }
    }
    f.plot.append("path").attr("class", "line thin faint").attr("d", field);
    mark(f, points, (p) => p.position);
    figures.flow.caption.textContent = `Directions of the flow at epoch ${pretty(marks()[index])}, with its slow points.`;
  }

  function mark(f, points, place) {
    const of = (kind) => points.filter((p) => p.kind === kind).map(place);
    f.dots(of("stable"), "rest", 5).dots(of("unstable"), "ring", 5).diamonds(of("ghost"), "ghost");
  }

  function drawPoints(network, epoch) {
    const all = (network.points ?? []).flatMap((points, k) =>
      points.map((p) => ({ ...p, epoch: run().checkpoints[k] })),
    );
    figures.points.node.hidden = !all.length;
    if (!all.length) return;
    const values = all.map((p) => p.position[0]).filter((v) => Math.abs(v) < 15);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const wider = 0.1 * (high - low) || 1;
    const f = figures.points.begin({
      x: [0, run().checkpoints[run().checkpoints.length - 1]],
      y: [low - wider, high + wider],
    });
    const lost = network.events?.no_learning_zone_entry ?? -1;
    if (lost >= 0) f.zone(lost, run().checkpoints[run().checkpoints.length - 1]);
    const of = (kind) => all.filter((p) => p.kind === kind).map((p) => [p.epoch, p.position[0]]);
    f.dots(of("stable"), "ink", 2.6).dots(of("unstable"), "ring", 2.6).diamonds(of("ghost"), "ghost", 3.5);
    f.vertical(epoch, "now");
    const counts = KINDS.map(
      (kind) => `${all.filter((p) => p.kind === kind && p.epoch === epoch).length} ${kind}`,
    );
    figures.points.caption.textContent = `Dots: stable; rings: unstable; diamonds: ghosts. At epoch ${pretty(epoch)}: ${counts.join(", ")}.`;
    f.describe(`Slow points over training by kind; at epoch ${epoch}: ${counts.join(", ")}.`);
  }

  function tell(network, place, epoch) {
    const events = Object.entries(network.events ?? {})
      .filter(([, at]) => at >= 0)
      .sort((a, b) => a[1] - b[1]);
    const words = {
      first_above_chance: "first above chance",
      last_above_chance: "last above chance",
      first_solved: "solved for the first time",
      no_learning_zone_entry: "enters the no-learning zone",
      frozen: "the update changes no bit any more",
      diverged: "diverges",
    };
    happened.replaceChildren(
      element("h2", {}, `What happened to ${network.name}`),
      events.length
        ? element(
            "ul",
            {},
            ...events.map(([name, at]) =>
              element("li", {}, `Epoch ${pretty(at)}: ${words[name] ?? name.replaceAll("_", " ")}`),
            ),
          )
        : element("p", {}, "The file records no events."),
    );
    diagnosis.replaceChildren(
      element("h2", {}, "Diagnosis"),
      ...(network.verdict
        ? [
            element("p", {}, element("b", {}, network.verdict), ` (confidence ${pretty(network.confidence)})`),
            element(
              "ul",
              {},
              ...network.phases.map((p) => element("li", {}, `${pretty(p.start)} to ${pretty(p.end)}: ${p.name}`)),
            ),
            element("p", {}, network.advice),
          ]
        : [
            element(
              "p",
              {},
              isServed ? "The command that served this page has ended; " : "This page reads a file without Python; ",
              element("code", {}, `ghostpoint explore ${quoted(run().name)}`),
              " shows it with its diagnosis.",
            ),
          ]),
    );
    const losses = run().networks.filter((each) => (each.events?.no_learning_zone_entry ?? -1) >= 0).length;
    const learned = run().networks.filter((each) => (each.events?.first_above_chance ?? -1) >= 0).length;
    lead.replaceChildren(
      ...sentence(
        isExample() ? "An example that ships with the page, until you open a run of your own: " : `${run().name}: `,
        `${run().networks.length} network${run().networks.length === 1 ? "" : "s"}`,
        run().networks.some((each) => each.events) ? `, of which ${learned} learned` : "",
        losses ? ["lost", ` and ${losses} ${losses === 1 ? "was" : "were"} lost again`] : "",
        `. Shown: ${network.name} at epoch ${pretty(epoch)}.`,
      ),
    );
  }

  choose();
  return {
    node,
    render: draw,
    hook: () => ({
      run: run().name,
      network: networkNow(),
      epoch: marks()[indexNow()],
      checkpoints: run().checkpoints?.length ?? 0,
      networks: run().networks.length,
    }),
    refresh() {
      state.read();
      choose();
      Object.values(controls).forEach((each) => each.show());
      draw();
    },
  };
}
