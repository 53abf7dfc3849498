// The state of the page in its address: #part?name=value&... with what differs from the defaults.

/** The part that the address names, and its values as text. */
export function address() {
  const [part, query = ""] = location.hash.slice(1).split("?");
  return { part, values: Object.fromEntries(new URLSearchParams(query)) };
}

/** A part's values: the defaults, or what the address says of the same type. Setting one writes
 *  the address. */
export class State {
  constructor(part, defaults) {
    this.part = part;
    this.defaults = defaults;
    this.values = { ...defaults };
    this.read();
  }

  read() {
    const { part, values } = address();
    for (const [name, fallback] of Object.entries(this.defaults)) {
      const text = part === this.part ? values[name] : undefined;
      const number = Number(text);
      if (text === undefined) this.values[name] = fallback;
      else if (typeof fallback !== "number") this.values[name] = text;
      else this.values[name] = text !== "" && Number.isFinite(number) ? number : fallback;
    }
  }

  get(name) {
    return this.values[name];
  }

  set(name, value) {
    this.values[name] = value;
    // browsers refuse more than some hundred changes of the address in half a minute
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.write(), 150);
  }

  write() {
    if (address().part !== this.part && address().part !== "") return;
    const changed = Object.entries(this.values).filter(([name, value]) => value !== this.defaults[name]);
    const query = new URLSearchParams(changed.map(([name, value]) => [name, String(value)])).toString();
    history.replaceState(null, "", `#${this.part}${query ? `?${query}` : ""}`);
  }
}
