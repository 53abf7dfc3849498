// The analytic toy model dx/dt = x^2 + r of the letter (eqs. 1, 2, 12-15);
// ghostpoint.theory.SaddleNodeToy in JavaScript.

import { legendre } from "./legendre.js";

const { nodes: NODES, weights: WEIGHTS } = legendre(20);
const SATURATED = 40; // 1 - sigmoid(40) is 4e-18: beyond this the readout is 1 in float64

export const sigmoid = (z) => (z >= 0 ? 1 / (1 + Math.exp(-z)) : Math.exp(z) / (1 + Math.exp(z)));

export class Toy {
  /** T: delay. threshold, confidence: of the readout; both infinite in the analytic limit, in
   *  which it is a step. */
  constructor(T, threshold = Infinity, confidence = Infinity) {
    this.T = T;
    this.threshold = threshold;
    this.confidence = confidence;
  }

  /** pi^2 / (4 T^2), the r that escapes at T (eq. 2). */
  get rStar() {
    return Math.PI ** 2 / (4 * this.T ** 2);
  }

  /** r* / 4, at and below which the gradient of the analytic limit is zero. */
  get pointOfNoReturn() {
    return this.rStar / 4;
  }

  /** 3 pi^4 / (32 T^5) (eq. 15). */
  get criticalRate() {
    return (3 * Math.PI ** 4) / (32 * this.T ** 5);
  }

  /** Time at which x reaches the threshold; infinite for r <= 0. */
  escapeTime(r) {
    if (!(r > 0)) return Infinity;
    const root = Math.sqrt(r);
    return Math.atan2(this.threshold, root) / root;
  }

  /** The inverse of escapeTime; bisection in s = sqrt(r) t of s sin(s) = threshold t cos(s). */
  rForEscapeTime(t) {
    if (this.threshold === Infinity) return Math.PI ** 2 / (4 * t * t);
    const product = this.threshold * t;
    let low = 0;
    let high = Math.PI / 2;
    for (let k = 0; k < 200; k++) {
      const s = (low + high) / 2;
      if (s === low || s === high) break;
      if (s * Math.sin(s) - product * Math.cos(s) < 0) low = s;
      else high = s;
    }
    return ((low + high) / 2 / t) ** 2;
  }

  /** The r at which x reaches the threshold at 2T and at T. */
  get kinks() {
    return [this.rForEscapeTime(2 * this.T), this.rForEscapeTime(this.T)];
  }

  /** x(t) from x(0) = 0; Infinity once it has escaped. */
  trajectory(r, t) {
    const [ratio, , escaped] = tangent(r, t);
    return escaped ? Infinity : r * t * ratio;
  }

  /** dx/dr at time t; NaN once x has escaped. */
  sensitivity(r, t) {
    const [ratio, secantSquared, escaped] = tangent(r, t);
    return escaped ? NaN : (t * (ratio + secantSquared)) / 2;
  }

  /** The readout at time t. */
  output(r, t) {
    if (this.confidence === Infinity) return t >= this.escapeTime(r) ? 1 : 0;
    const x = this.trajectory(r, t);
    return x === Infinity ? 1 : sigmoid(this.confidence * (x - this.threshold));
  }

  /** L(r) (eq. 1), in units of time; T at chance. */
  loss(r) {
    if (Number.isFinite(this.confidence)) return this.quadrature(r)[0];
    return Math.min(Math.abs(this.T - this.escapeTime(r)), this.T);
  }

  /** dL/dr (eq. 13); at the minimum of a step readout the mean 0 of both sides. */
  gradient(r) {
    if (Number.isFinite(this.confidence)) return this.quadrature(r)[1];
    const [lost, best] = this.kinks;
    if (!(r > lost)) return 0;
    let steepness = this.escapeTime(r) / (2 * r);
    if (Number.isFinite(this.threshold)) steepness += this.threshold / (2 * r * (r + this.threshold ** 2));
    return Math.sign(r - best) * steepness;
  }

  /** [L, dL/dr] at finite confidence; see ghostpoint.theory.quadrature for how the panels are
   *  chosen. */
  quadrature(r) {
    return r > 0 ? this.overState(r) : this.overTime(r);
  }

  overState(r) {
    const { T, threshold, confidence: c } = this;
    const root = Math.sqrt(r);
    const saturation = threshold + SATURATED / c;
    const xDelay = Math.min(this.trajectory(r, T), saturation);
    const xEnd = Math.min(this.trajectory(r, 2 * T), saturation);
    const width = Math.PI / c;
    const breakpoints = doublings(xEnd / root).map((k) => root * k);
    for (const k of doublings(Math.max(threshold, saturation - threshold) / width)) {
      breakpoints.push(threshold - k * width, threshold + k * width);
    }
    breakpoints.push(threshold, xDelay);
    let loss = 0;
    let gradient = 0;
    integrate(breakpoints, 0, xEnd, (x, weight) => {
      const time = Math.atan2(x, root) / root;
      const speed = x * x + r;
      const output = sigmoid(c * (x - threshold));
      const rest = sigmoid(c * (threshold - x)); // 1 - o without cancellation
      const error = x > xDelay ? -rest : output;
      loss += (weight * error ** 2) / speed;
      // dx/dr at fixed t, times dt/dx: (x / speed + t) / (2 r)
      gradient += weight * error * c * output * rest * (x / speed + time);
    });
    // what is left of the delay once the readout has saturated counts in full
    const saturates = Math.atan2(saturation, root) / root;
    return [loss + Math.max(T - saturates, 0), gradient / r];
  }

  overTime(r) {
    const { T, threshold, confidence: c } = this;
    const speed = Math.max(-r, 1e-200);
    const width = Math.min(Math.PI / 2 / Math.sqrt(speed), Math.PI / (c * speed)) / 2;
    const breakpoints = doublings((2 * T) / width).map((k) => width * k);
    breakpoints.push(T);
    let loss = 0;
    let gradient = 0;
    integrate(breakpoints, 0, 2 * T, (t, weight) => {
      const x = this.trajectory(r, t);
      const output = sigmoid(c * (x - threshold));
      const rest = sigmoid(c * (threshold - x));
      const error = t > T ? -rest : output;
      loss += weight * error ** 2;
      gradient += weight * 2 * error * c * output * rest * this.sensitivity(r, t);
    });
    return [loss, gradient];
  }

  /** Gradient descent: r -> r - rate dL/dr(r). The path of all epochs and what became of it; -1
   *  for never. */
  descend(r0, rate, epochs) {
    const [lost, best] = this.kinks;
    const path = new Float64Array(epochs + 1);
    let r = r0;
    let lostEpoch = -1;
    let crossingEpoch = -1;
    for (let epoch = 0; epoch <= epochs; epoch++) {
      if (epoch) r -= rate * this.gradient(r);
      path[epoch] = r;
      if (lostEpoch < 0 && r <= lost) lostEpoch = epoch;
      if (crossingEpoch < 0 && (r0 >= best ? r <= best : r >= best)) crossingEpoch = epoch;
    }
    const outcome = r <= lost ? "no-learning zone" : crossingEpoch >= 0 ? "oscillation" : "converging";
    return { path, lostEpoch, crossingEpoch, outcome };
  }
}

/** Time from one end of the line to the other for dy/dt = r + a y^2; infinite where there are
 *  fixed points. */
export const passageTime = (r, a) =>
  r * a > 0 ? Math.PI / (Math.sqrt(Math.abs(r)) * Math.sqrt(Math.abs(a))) : Infinity;

/** tan(s) / s and 1 / cos(s)^2 for s = sqrt(r) t, hyperbolic for r < 0, and whether x has
 *  escaped. */
function tangent(r, t) {
  const s = Math.sqrt(Math.abs(r)) * t;
  if (r > 0) {
    if (s >= Math.PI / 2) return [NaN, NaN, true];
    const tan = Math.tan(s);
    return [s > 0 ? tan / s : 1, 1 + tan * tan, false];
  }
  const decay = Math.exp(-2 * s);
  return [s > 0 ? Math.tanh(s) / s : 1, (4 * decay) / (1 + decay) ** 2, false];
}

/** 1, 2, 4, ... up to the ratio, at least one. */
function doublings(ratio) {
  const count = Math.max(Math.ceil(Math.log2(Math.max(ratio, 1))), 0) + 1;
  return Array.from({ length: count }, (_, k) => 2 ** k);
}

/** Call add(x, weight) at the Gauss-Legendre nodes of every panel between the breakpoints within
 *  [low, high]. */
function integrate(breakpoints, low, high, add) {
  const edges = [low, ...breakpoints.filter((x) => x > low && x < high), high].sort((a, b) => a - b);
  for (let k = 1; k < edges.length; k++) {
    const half = (edges[k] - edges[k - 1]) / 2;
    if (half <= 0) continue;
    const centre = (edges[k] + edges[k - 1]) / 2;
    for (let i = 0; i < NODES.length; i++) add(centre + half * NODES[i], half * WEIGHTS[i]);
  }
}
