// The page: four parts, one shown at a time, named by the address.

import { element } from "./controls.js";
import { Network, Task, Trainer } from "./math/rank_one.js";
import { passageTime, Toy } from "./math/toy.js";
import { forgetWidths, work } from "./plot.js";
import { readFile } from "./saved_file.js";
import { address } from "./state.js";
import { rankOneView } from "./views/rank_one.js";
import { networkAt, rankTwoView } from "./views/rank_two.js";
import { savedView } from "./views/saved.js";
import { toyView } from "./views/toy.js";

const PARTS = {
  toy: ["The toy model", toyView],
  "rank-one": ["A rank-one network", rankOneView],
  "rank-two": ["A rank-two network", rankTwoView],
  saved: ["Saved runs", savedView],
};
const views = {};
const main = document.getElementById("main");
const links = Object.fromEntries(
  Object.entries(PARTS).map(([name, [label]]) => [name, element("a", { href: `#${name}` }, label)]),
);
document.querySelector("nav").append(...Object.values(links));
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

function show() {
  const hasRuns = document.getElementById("saved-runs").textContent.trim() !== "";
  const part = address().part in PARTS ? address().part : hasRuns ? "saved" : "toy";
  const known = part in views;
  views[part] ??= PARTS[part][1]();
  for (const [name, link] of Object.entries(links)) {
    if (name === part) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${PARTS[part][0]} · ghostpoint explorer`;
  if (views[part].node.parentNode !== main) {
    forgetWidths();
    main.replaceChildren(views[part].node);
  } else if (known) views[part].refresh();
  views[part].wake?.();
  views[part].render();
  main.dataset.part = part;
}

addEventListener("hashchange", show);
addEventListener("resize", () => {
  forgetWidths();
  views[main.dataset.part].render();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => views[main.dataset.part].render());
show();

// What the page computes with, for tests and for the curious.
window.ghostpoint = { Toy, passageTime, Network, Task, Trainer, networkAt, readFile, views, work };
