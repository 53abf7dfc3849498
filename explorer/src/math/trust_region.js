// The trust region of ghostpoint.remedies.TrustRegion, split, for the one crossing of delayed
// activation.

import { dot, norm } from "./vectors.js";

const CRITICAL_SHIFT = 3 / 8;
const RESOLVED = 1e-6;
const REGION = { h: 0.5, eta: 0.7, shrink: 3, tilt: 0.3, brake: 0.1, floor: 0.5, growth: 10, polyak: 0.3 };

/** min(growth, limit / prediction); growth where nothing is predicted. */
function allowed(prediction, limit) {
  if (prediction === 0) return REGION.growth;
  const most = limit / prediction;
  return prediction > 0 && !Number.isNaN(most) ? Math.min(most, REGION.growth) : 1;
}

/** How far one update may move the escape time or, where the readout does not cross, the peak of
 *  its logit. */
function limit(near, delay, share, uphill) {
  const most = Math.min(REGION.h, REGION.shrink * share);
  const free = near.crossed
    ? most * CRITICAL_SHIFT * Math.min(delay, near.time)
    : REGION.eta * Math.max(-near.peak, REGION.floor);
  return uphill ? REGION.brake * free : free;
}

/** Scale the update d in place: its part p along the gradient e of the escape time and its rest
 *  q by factors of their own. */
export function trustRegion(d, gradient, e, near, { loss, share, delay }) {
  const length = norm(d);
  const slope = norm(e);
  const uphill = dot(gradient, d) > 0;
  const usable = near.crossed && slope > 0 && Number.isFinite(slope);
  const shift = dot(e, d);
  const ofUpdate = usable ? shift / slope : 0;
  const ofLoss = usable ? dot(e, gradient) / slope : 0;
  const inside = ofUpdate ** 2;
  const aside = Math.sqrt(Math.max(length ** 2 - inside, RESOLVED * length ** 2));
  const slopeAside = Math.sqrt(Math.max(dot(gradient, gradient) - ofLoss ** 2, 0));
  let rest = Math.min(allowed(slopeAside * aside, REGION.polyak * loss), REGION.growth);
  rest = Math.min(
    rest,
    allowed(near.crossed ? REGION.tilt * slope * aside : slope * length, limit(near, delay, Infinity, uphill)),
  );
  if (!(length > 0 && rest < Infinity)) rest = 1;
  const along = near.crossed ? Math.min(allowed(Math.abs(shift), limit(near, delay, share, uphill)), rest) : rest;
  const weight = usable ? ((along - rest) * ofUpdate) / slope : 0;
  for (let i = 0; i < d.length; i++) d[i] = rest * d[i] + weight * e[i];
}
