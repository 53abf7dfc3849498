// Sliders, choices and buttons: native elements with labels, bound to a State.

let count = 0;

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

export const group = (legend, ...parts) => element("fieldset", {}, element("legend", {}, legend), ...parts);

export const buttons = (...parts) => element("div", { class: "buttons" }, ...parts);

export const button = (label, press, attributes = {}) =>
  element("button", { type: "button", onclick: press, ...attributes }, label);

/** A slider over [low, high], of logarithms where `log`. Returns the element, with show() to
 *  take the state's value. A value of an address beyond the ends becomes the end, but where it
 *  is `free`: then the part itself says what it means. */
export function slider(
  state,
  name,
  label,
  { low, high, step, log = false, free = false, format = (v) => String(v), change = () => {} },
) {
  const id = `control-${++count}`;
  const out = (value) => (log ? Math.log10(value) : value);
  const input = element("input", {
    type: "range",
    id,
    name,
    min: out(low),
    max: out(high),
    step: step ?? (out(high) - out(low)) / 400,
  });
  const output = element("output", { for: id });
  const row = element("div", { class: "control" }, element("label", { for: id }, label), output, input);
  row.show = () => {
    if (!free) state.values[name] = Math.min(Math.max(state.get(name), low), high);
    const value = state.get(name);
    input.value = out(value);
    output.textContent = format(value);
    input.setAttribute("aria-valuetext", format(value));
  };
  row.limit = (most) => {
    input.max = out(most);
    row.show();
  };
  row.enable = (on) => {
    input.disabled = !on;
    row.classList.toggle("off", !on);
  };
  input.addEventListener("input", () => {
    const value = log ? Number((10 ** Number(input.value)).toPrecision(4)) : Number(input.value);
    state.set(name, value);
    row.show();
    change(value);
  });
  row.show();
  return row;
}

/** A choice among [value, label] pairs. */
export function choice(state, name, label, options, change = () => {}) {
  const id = `control-${++count}`;
  const select = element("select", { id, name }, ...options.map(([value, text]) => element("option", { value }, text)));
  const row = element("div", { class: "control" }, element("label", { for: id }, label), select);
  row.show = () => {
    if (select.options.length && ![...select.options].some(({ value }) => value === String(state.get(name))))
      state.values[name] = state.defaults[name];
    select.value = String(state.get(name));
  };
  row.options = (some) => {
    select.replaceChildren(...some.map(([value, text]) => element("option", { value }, text)));
    row.show();
  };
  select.addEventListener("change", () => {
    state.set(name, typeof state.defaults[name] === "number" ? Number(select.value) : select.value);
    change(state.get(name));
  });
  row.show();
  return row;
}

/** A sentence from text and [class, text] pairs. */
export const sentence = (...parts) =>
  parts.map((part) => (Array.isArray(part) ? element("b", { class: part[0] }, part[1]) : part));
