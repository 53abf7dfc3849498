// A file that was dropped: a run saved by ghostpoint (Zarr in an uncompressed zip), or a log as CSV
// or lines of JSON.

import { decompress } from "fzstd";
import { Network } from "./math/rank_one.js";

const MOST_NETWORKS = 60;
const TYPES = {
  float32: Float32Array,
  float64: Float64Array,
  int64: BigInt64Array,
  int32: Int32Array,
  bool: Uint8Array,
  uint8: Uint8Array,
};

/** The run in a File, as this page shows runs; an Error whose message says what is wrong. */
export async function readFile(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (bytes[0] === 0x50 && bytes[1] === 0x4b) return savedRun(file.name, unzipped(bytes));
  return log(file.name, new TextDecoder().decode(bytes));
}

/** The entries of a zip archive without compression, by name. */
function unzipped(bytes) {
  const view = new DataView(bytes.buffer);
  let end = bytes.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end--;
  if (end < 0) throw new Error("the archive is damaged");
  const entries = new Map();
  let at = view.getUint32(end + 16, true);
  for (let k = view.getUint16(end + 10, true); k > 0; k--) {
    const [method, size, nameLength, extra, comment, start] = [
      view.getUint16(at + 10, true),
      view.getUint32(at + 20, true),
      view.getUint16(at + 28, true),
      view.getUint16(at + 30, true),
      view.getUint16(at + 32, true),
      view.getUint32(at + 42, true),
    ];
    const name = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + nameLength));
    if (method !== 0) throw new Error(`it is a compressed archive, and a saved run is not (${name})`);
    const from = start + 30 + view.getUint16(start + 26, true) + view.getUint16(start + 28, true);
    entries.set(name, bytes.subarray(from, from + size));
    at += 46 + nameLength + extra + comment;
  }
  return entries;
}

/** One array of a Zarr v3 group: { shape, dims, data }, in C order; undefined if it is not there
 *  or not of numbers. */
function array(entries, name) {
  const text = entries.get(`${name}/zarr.json`);
  if (!text) return undefined;
  const meta = JSON.parse(new TextDecoder().decode(text));
  const Type = TYPES[meta.data_type];
  if (!Type) return undefined;
  const size = meta.shape.reduce((a, b) => a * b, 1);
  const data = Type === BigInt64Array ? new Float64Array(size) : new Type(size);
  if (Type === Float32Array || Type === Float64Array) data.fill(NaN);
  const chunk = meta.chunk_grid.configuration.chunk_shape;
  const counts = meta.shape.map((length, axis) => Math.ceil(length / chunk[axis]));
  const rank = meta.shape.length;
  const index = new Array(rank).fill(0);
  for (let c = counts.reduce((a, b) => a * b, 1); c > 0; c--) {
    let raw = entries.get([`${name}/c`, ...index].join("/"));
    if (raw) {
      for (const codec of [...meta.codecs].reverse()) {
        if (codec.name === "zstd") raw = decompress(raw);
        else if (codec.name !== "bytes" || (codec.configuration?.endian ?? "little") !== "little")
          throw new Error(`${name} is stored with ${codec.name}`);
      }
      const values = new Type(raw.slice().buffer);
      place(values, chunk, index, meta.shape, data);
    }
    for (let axis = rank - 1; axis >= 0 && ++index[axis] === counts[axis]; axis--) index[axis] = 0;
  }
  return { shape: meta.shape, dims: meta.dimension_names, data };
}

/** Copy the chunk at an index into the whole array. */
function place(values, chunk, index, shape, data) {
  const rank = shape.length;
  const inside = new Array(rank).fill(0);
  for (let k = 0; k < values.length; k++) {
    let [at, fits] = [0, true];
    for (let axis = 0; axis < rank; axis++) {
      const where = index[axis] * chunk[axis] + inside[axis];
      fits &&= where < shape[axis];
      at = at * shape[axis] + where;
    }
    if (fits) data[at] = Number(values[k]);
    for (let axis = rank - 1; axis >= 0 && ++inside[axis] === chunk[axis]; axis--) inside[axis] = 0;
  }
}

function savedRun(name, entries) {
  const root = entries.get("zarr.json");
  const attributes = root ? (JSON.parse(new TextDecoder().decode(root)).attributes ?? {}) : {};
  if (attributes.kind !== "training-run") throw new Error("it is no run saved by ghostpoint (run.save)");
  const loss = array(entries, "loss");
  const epoch = array(entries, "epoch");
  const [count, length] = loss.shape;
  const row = (each, k) => (each ? Array.from(each.data.subarray(k * length, (k + 1) * length)) : null);
  const others = { gradient_norm: array(entries, "gradient_norm"), accuracy: array(entries, "accuracy") };
  const seed = array(entries, "seed");
  const rate = array(entries, "learning_rate");
  const eventNames = [...entries.keys()]
    .filter((key) => /^event_[^/]+\/zarr.json$/.test(key))
    .map((key) => key.slice(6, -10));
  const events = Object.fromEntries(eventNames.map((each) => [each, array(entries, `event_${each}`)]));
  const networks = Array.from({ length: Math.min(count, MOST_NETWORKS) }, (_, k) => ({
    name: `network ${k}${seed && seed.data[k] >= 0 ? `, seed ${seed.data[k]}` : ""}${rate ? `, rate ${Number(rate.data[k].toPrecision(3))}` : ""}`,
    loss: row(loss, k),
    gradient_norm: row(others.gradient_norm, k),
    accuracy: row(others.accuracy, k),
    events: Object.fromEntries(Object.entries(events).map(([each, values]) => [each, values.data[k]])),
  }));
  const run = {
    name,
    epoch: Array.from(epoch.data),
    networks,
    chance_loss: attributes.config?.task?.task === "DelayedActivation" ? 1 : undefined,
  };
  addCheckpoints(run, entries);
  return run;
}

/** Flow and slow points at the checkpoints of networks of rank one. */
function addCheckpoints(run, entries) {
  const [m, n, b, epoch] = ["m", "n", "b", "epoch"].map((part) => array(entries, `checkpoint_${part}`));
  if (!m || m.shape[3] !== 1) return;
  const [checkpoints, , units] = m.shape;
  const count = m.shape[1];
  run.checkpoints = Array.from(epoch.data);
  run.rank = 1;
  run.units = units;
  const initial = array(entries, "model_initial_state");
  run.threshold = array(entries, "model_threshold")?.data[0];
  run.networks.forEach((network, k) => {
    const at = (each, c) => each.data.subarray((c * count + k) * units, (c * count + k + 1) * units);
    const start = initial.data.subarray(k * units, (k + 1) * units);
    network.weights = [];
    network.points = [];
    for (let c = 0; c < checkpoints; c++) {
      const [mc, nc, bc] = [at(m, c), at(n, c), b ? at(b, c) : new Float32Array(units)];
      network.weights.push(encoded([...mc, ...nc, ...bc, ...start]));
      const reach = nc.reduce((sum, v) => sum + Math.abs(v), 0) * 1.001 + 1e-9;
      const { zeros, ghosts } = new Network(mc, nc, bc).slowPoints(reach, 200);
      network.points.push([
        ...zeros.map((z) => ({ kind: z.stable ? "stable" : "unstable", position: [z.position] })),
        ...ghosts.map((g) => ({ kind: "ghost", position: [g.position] })),
      ]);
    }
  });
}

function encoded(values) {
  const bytes = new Uint8Array(Float32Array.from(values).buffer);
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

/** A log with a row an epoch. */
function log(name, text) {
  const lines = text.split(/\r?\n/).filter((line) => line.trim());
  const json = lines[0]?.trim().startsWith("{");
  let rows;
  if (json) {
    try {
      rows = lines.map((line) => JSON.parse(line)).filter((row) => row !== null && typeof row === "object");
    } catch {
      throw new Error("a line of it is no JSON");
    }
  } else {
    const separator = lines[0]?.includes("\t") ? "\t" : lines[0]?.includes(";") ? ";" : ",";
    const [header, ...body] = lines.map((line) => line.split(separator).map((cell) => cell.trim()));
    rows = body.map((cells) => Object.fromEntries((header ?? []).map((key, k) => [key, cells[k]])));
  }
  const keys = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const pick = (...patterns) => patterns.flatMap((pattern) => keys.filter((key) => pattern.test(key)))[0];
  const lossKey = pick(/^(train[_/ ]?)?loss$/i, /^train.*loss/i, /loss/i);
  if (!lossKey) throw new Error("it has no column whose name says loss");
  const epochKey = pick(/^(epoch|step|iteration|global_step)$/i, /epoch|step|iter/i);
  const number = (value) => (value === "" || value === undefined || value === null ? NaN : Number(value));
  const kept = rows.filter((row) => Number.isFinite(number(row[lossKey])));
  if (kept.length < 2) throw new Error(`its column ${lossKey} has fewer than two numbers`);
  const column = (key) => (key ? kept.map((row) => number(row[key])) : null);
  // rows count themselves where the column is of dates, or has gaps
  const counted = column(epochKey);
  const epoch = counted?.every(Number.isFinite) ? counted : kept.map((_, k) => k);
  const network = {
    name: lossKey,
    loss: column(lossKey),
    gradient_norm: column(pick(/grad.*norm|norm.*grad/i)),
    accuracy: column(pick(/acc/i)),
  };
  return { name, epoch, networks: [network] };
}
