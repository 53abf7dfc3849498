// Rank-one networks on delayed activation, trained on their latent: kappa[t+1] = (1 - a) kappa[t] +
// a n . tanh(m kappa[t] + b) (letter, eq. 4), output sigmoid(c (kappa - threshold)) after each
// update. Everything in float64.

import { sigmoid } from "./toy.js";
import { trustRegion } from "./trust_region.js";
import { norm, tanh } from "./vectors.js";

/** Delayed activation: answer 0 for `delay` steps and 1 for as many more; alpha = dt / tau. */
export class Task {
  constructor(delay = 20, alpha = 0.5) {
    this.delay = delay;
    this.steps = 2 * delay;
    this.alpha = alpha;
  }
}

export class Network {
  /** m, n, b: arrays of N numbers. initial: x at the start of a trial, a number or an array. */
  constructor(m, n, b, { confidence = 10, threshold = 1, initial = -0.3 } = {}) {
    this.m = Float64Array.from(m);
    this.n = Float64Array.from(n);
    this.b = Float64Array.from(b);
    this.units = this.m.length;
    this.confidence = confidence;
    this.threshold = threshold;
    this.initial =
      typeof initial === "number" ? new Float64Array(this.units).fill(initial) : Float64Array.from(initial);
  }

  copy() {
    return new Network(this.m, this.n, this.b, this);
  }

  /** kappa[0] = n . x(0). */
  get start() {
    let sum = 0;
    for (let i = 0; i < this.units; i++) sum += this.n[i] * this.initial[i];
    return sum;
  }

  /** f(kappa) = -kappa + sum_i n_i tanh(m_i kappa + b_i), with f' and f''. */
  flow(kappa) {
    const { m, n, b, units } = this;
    let f = -kappa;
    let first = -1;
    let second = 0;
    for (let i = 0; i < units; i++) {
      const phi = tanh(m[i] * kappa + b[i]);
      const gain = n[i] * m[i] * (1 - phi * phi);
      f += n[i] * phi;
      first += gain;
      second -= 2 * gain * m[i] * phi;
    }
    return [f, first, second];
  }

  /** Latents kappa[0..steps], outputs of the steps, and the rates that the backward pass needs. */
  forward(task) {
    const { m, n, b, units, confidence: c, threshold } = this;
    const { steps, alpha } = task;
    const kappa = new Float64Array(steps + 1);
    const logit = new Float64Array(steps);
    const output = new Float64Array(steps);
    const rates = new Float64Array(steps * units);
    kappa[0] = this.start;
    for (let t = 0; t < steps; t++) {
      let sum = 0;
      for (let i = 0, at = t * units; i < units; i++, at++) {
        const phi = tanh(m[i] * kappa[t] + b[i]);
        rates[at] = phi;
        sum += n[i] * phi;
      }
      kappa[t + 1] = (1 - alpha) * kappa[t] + alpha * sum;
      logit[t] = c * (kappa[t + 1] - threshold);
      output[t] = sigmoid(logit[t]);
    }
    return { kappa, logit, output, rates };
  }

  /** Loss (1 at chance), accuracy, and the gradient by m, n and b, of the task. */
  evaluate(task, path = this.forward(task)) {
    const { steps, delay } = task;
    const byLogit = new Float64Array(steps);
    let loss = 0;
    let right = 0;
    for (let t = 0; t < steps; t++) {
      const o = path.output[t];
      const rest = sigmoid(-path.logit[t]);
      const error = t >= delay ? -rest : o;
      loss += error * error;
      byLogit[t] = (2 / delay) * error * o * rest;
      right += o > 0.5 === t >= delay ? 1 : 0;
    }
    return { loss: loss / delay, accuracy: right / steps, gradient: this.backward(task, path, byLogit) };
  }

  /** Gradient by m, n, b (one array after the other) of anything whose derivative by the logits
   *  is byLogit. */
  backward(task, path, byLogit) {
    const { m, n, units, confidence: c } = this;
    const { steps, alpha } = task;
    const { kappa, rates } = path;
    const gradient = new Float64Array(3 * units);
    let y = 0; // derivative by kappa[t + 1]
    for (let t = steps - 1; t >= 0; t--) {
      y += c * byLogit[t];
      const scaled = alpha * y;
      let below = (1 - alpha) * y;
      if (y !== 0) {
        for (let i = 0, at = t * units; i < units; i++, at++) {
          const phi = rates[at];
          const s = scaled * n[i] * (1 - phi * phi);
          gradient[i] += s * kappa[t];
          gradient[units + i] += scaled * phi;
          gradient[2 * units + i] += s;
          below += s * m[i];
        }
      }
      y = below;
    }
    for (let i = 0; i < units; i++) gradient[units + i] += y * this.initial[i];
    return gradient;
  }

  /** When the readout first crosses 1/2, in steps, by linear interpolation; and the derivative
   *  of that time by the logits, or, where it does not cross, the derivative of the peak
   *  (critical_rate.escape_time, remedies.Crossing). */
  approach(path) {
    const z = path.logit;
    const byLogit = new Float64Array(z.length);
    let top = 0;
    for (let j = 0; j < z.length; j++) {
      if (z[j] > z[top]) top = j;
      if (j + 1 < z.length && z[j] <= 0 && z[j + 1] > 0) {
        const rise = z[j + 1] - z[j];
        byLogit[j] = -z[j + 1] / rise ** 2;
        byLogit[j + 1] = z[j] / rise ** 2;
        return { crossed: true, time: j + 1 - z[j] / rise, peak: Math.max(...z), byLogit };
      }
    }
    byLogit[top] = 1;
    return { crossed: false, time: 0, peak: z[top], byLogit };
  }

  /** All that the slow points of the flow within [-reach, reach] are: zeros by sign changes,
   *  ghosts by extrema. */
  slowPoints(reach, cells = 800) {
    const zeros = [];
    const ghosts = [];
    let [lastF, lastSlope] = this.flow(-reach);
    for (let k = 1; k <= cells; k++) {
      const low = -reach + (2 * reach * (k - 1)) / cells;
      const high = -reach + (2 * reach * k) / cells;
      const [f, slope] = this.flow(high);
      let middle = null;
      if (lastSlope * slope < 0) {
        const position = bisect((x) => this.flow(x)[1], low, high);
        const [height, , bend] = this.flow(position);
        middle = { position, height };
        if (height * bend > 0) ghosts.push({ position, height, curvature: bend / 2 });
      }
      const stretches = middle
        ? [
            [low, lastF, middle.position, middle.height],
            [middle.position, middle.height, high, f],
          ]
        : [[low, lastF, high, f]];
      for (const [from, atFrom, to, atTo] of stretches) {
        if (atFrom * atTo < 0 || (atTo === 0 && atFrom !== 0)) {
          const position = bisect((x) => this.flow(x)[0], from, to);
          zeros.push({ position, stable: this.flow(position)[1] < 0 });
        }
      }
      [lastF, lastSlope] = [f, slope];
    }
    return { zeros, ghosts };
  }
}

function bisect(f, low, high) {
  const rising = f(high) > f(low);
  for (let k = 0; k < 100; k++) {
    const middle = (low + high) / 2;
    if (middle === low || middle === high) break;
    if (f(middle) > 0 === rising) high = middle;
    else low = middle;
  }
  return (low + high) / 2;
}

/** Training of one network: ghostpoint.train with engine "reference", one epoch a call. */
export class Trainer {
  /** options: rate, optimizer ("sgd", "momentum", "adam"), remedy ("none", "clip", "trust"),
   *  clip (norm). */
  constructor(network, task, options) {
    this.network = network;
    this.task = task;
    this.options = options;
    this.epoch = 0;
    this.restartMemory();
  }

  /** Forget what the optimiser remembers. */
  restartMemory() {
    const size = 3 * this.network.units;
    this.updates = 0;
    this.mean = new Float64Array(size);
    this.square = new Float64Array(size);
  }

  /** Evaluate the network, make one update, and return what the epoch was like before it. */
  step() {
    const { network, task, options } = this;
    const path = network.forward(task);
    const { loss, accuracy, gradient } = network.evaluate(task, path);
    const near = network.approach(path);
    const size = norm(gradient);
    const proposed = Float64Array.from(gradient);
    if (options.remedy === "clip") {
      const factor = Math.min(1, options.clip / (size + 1e-6));
      for (let i = 0; i < proposed.length; i++) proposed[i] *= factor;
    }
    this.propose(proposed);
    if (options.remedy === "trust") {
      const e = network.backward(task, path, near.byLogit);
      trustRegion(proposed, gradient, e, near, { loss, share: loss, delay: task.delay });
    }
    const { m, n, b, units } = network;
    let finite = true;
    for (const change of proposed) finite &&= Number.isFinite(change);
    if (finite) {
      for (let i = 0; i < units; i++) {
        m[i] += proposed[i];
        n[i] += proposed[units + i];
        b[i] += proposed[2 * units + i];
      }
    }
    this.epoch += 1;
    return { loss, accuracy, gradientNorm: size, time: near.crossed ? near.time : NaN };
  }

  /** Turn a gradient into the update that the optimiser proposes, in place. */
  propose(g) {
    const { rate, optimizer } = this.options;
    this.updates += 1;
    if (optimizer === "adam") {
      const [one, two, count] = [0.9, 0.999, this.updates];
      for (let i = 0; i < g.length; i++) {
        this.mean[i] = one * this.mean[i] + (1 - one) * g[i];
        this.square[i] = two * this.square[i] + (1 - two) * g[i] * g[i];
        const scale = Math.sqrt(this.square[i]) / Math.sqrt(1 - two ** count) + 1e-8;
        g[i] = (-(rate / (1 - one ** count)) * this.mean[i]) / scale;
      }
    } else {
      const momentum = optimizer === "momentum" ? 0.9 : 0;
      for (let i = 0; i < g.length; i++) {
        this.mean[i] = momentum * this.mean[i] + g[i];
        g[i] = -rate * this.mean[i];
      }
    }
  }
}
