// The flow of a network of rank two in the plane of its latents: f(kappa) = -kappa + n^T tanh(m
// kappa + w_in u + b).

import { tanh } from "./vectors.js";

export class PlaneNetwork {
  /** Weights m (N, 2), n (N, 2), b, w_in (N), w_out (2), b_out (1), one after another. */
  constructor(weights, units) {
    let at = 0;
    const take = (count) => Float64Array.from(weights.subarray(at, (at += count)));
    this.units = units;
    this.m = take(2 * units);
    this.n = take(2 * units);
    this.b = take(units);
    this.wIn = take(units);
    this.wOut = take(2);
    this.bOut = take(1)[0];
    // (n^T n)^-1: the speed of the latents in an orthonormal basis is sqrt(f^T (n^T n)^-1 f)
    let [a, c, d] = [0, 0, 0];
    for (let i = 0; i < units; i++) {
      a += this.n[2 * i] ** 2;
      c += this.n[2 * i] * this.n[2 * i + 1];
      d += this.n[2 * i + 1] ** 2;
    }
    const determinant = a * d - c * c;
    this.metric = [d / determinant, -c / determinant, a / determinant];
  }

  /** The flow at (x, y) under input u, in units of 1/tau. */
  flow(x, y, u = 0) {
    const { m, n, b, wIn, units } = this;
    let [fx, fy] = [-x, -y];
    for (let i = 0; i < units; i++) {
      const phi = tanh(m[2 * i] * x + m[2 * i + 1] * y + b[i] + wIn[i] * u);
      fx += n[2 * i] * phi;
      fy += n[2 * i + 1] * phi;
    }
    return [fx, fy];
  }

  /** Speed of the latents in an orthonormal basis (slow_points.latents.latent_speed). */
  speed(fx, fy) {
    const [p, q, s] = this.metric;
    return Math.sqrt(Math.max(p * fx * fx + 2 * q * fx * fy + s * fy * fy, 0));
  }

  output(x, y) {
    return tanh(this.wOut[0] * x + this.wOut[1] * y + this.bOut);
  }

  /** kappa = n^T x. */
  latent(state) {
    let [x, y] = [0, 0];
    for (let i = 0; i < this.units; i++) {
      x += this.n[2 * i] * state[i];
      y += this.n[2 * i + 1] * state[i];
    }
    return [x, y];
  }

  /** The path of a trial from a state under the inputs of its steps. */
  trial(state, inputs, alpha) {
    const path = [this.latent(state)];
    for (const u of inputs) {
      const [x, y] = path[path.length - 1];
      const [fx, fy] = this.flow(x, y, u);
      path.push([x + alpha * fx, y + alpha * fy]);
    }
    return path;
  }
}
