// A figure opens over the page, where the wheel, two fingers, keys and buttons zoom it and dragging
// moves it. Without this script the same link opens the figure's file.
(() => {
  const dialog = document.getElementById("zoom");
  const stage = dialog.querySelector(".stage");
  const pointers = new Map();
  let svg, home, full, view;

  const show = () => svg.setAttribute("viewBox", view.join(" "));
  const inside = (value, low, high) => Math.min(Math.max(value, Math.min(low, high)), Math.max(low, high));
  // Zoom by a factor about a place on the screen, which stays where it is.
  const zoom = (factor, clientX, clientY) => {
    const box = stage.getBoundingClientRect();
    const across = ((clientX ?? box.x + box.width / 2) - box.x) / box.width;
    const down = ((clientY ?? box.y + box.height / 2) - box.y) / box.height;
    const scale = inside(view[2] / factor, full[2] / 24, full[2] * 1.2) / view[2];
    view = [
      view[0] + across * view[2] * (1 - scale),
      view[1] + down * view[3] * (1 - scale),
      view[2] * scale,
      view[3] * scale,
    ];
    show();
  };
  const move = (dx, dy) => {
    const box = stage.getBoundingClientRect();
    view[0] = inside(view[0] - (dx * view[2]) / box.width, full[0] - view[2] / 2, full[0] + full[2] - view[2] / 2);
    view[1] = inside(view[1] - (dy * view[3]) / box.height, full[1] - view[3] / 2, full[1] + full[3] - view[3] / 2);
    show();
  };
  // The whole figure, in a view box of the stage's proportions.
  const fit = () => {
    const [x, y, width, height] = home.viewBox;
    const aspect = stage.clientWidth / stage.clientHeight;
    const wide = Math.max(width, height * aspect);
    full = [x - (wide - width) / 2, y - (wide / aspect - height) / 2, wide, wide / aspect];
    view = [...full];
    show();
  };
  const open = (plate) => {
    svg = plate.querySelector("svg");
    home = {
      plate,
      viewBox: svg
        .getAttribute("viewBox")
        .split(/[\s,]+/)
        .map(Number),
    };
    plate.style.minHeight = `${plate.offsetHeight}px`;
    dialog.showModal();
    stage.append(svg);
    fit();
    // a phone shows a figure of several panels too small to read
    if (stage.clientWidth < 700) zoom(Math.max(1, full[2] / 330), stage.getBoundingClientRect().x);
  };
  dialog.addEventListener("close", () => {
    svg.setAttribute("viewBox", home.viewBox.join(" "));
    home.plate.append(svg);
    home.plate.style.minHeight = "";
    pointers.clear();
  });
  document.addEventListener("click", (event) => {
    const plate = event.target.closest("a.plate");
    if (plate && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      open(plate);
    }
    const action = event.target.closest("[data-zoom]")?.dataset.zoom;
    if (action === "in") zoom(1.5);
    if (action === "out") zoom(1 / 1.5);
    if (action === "fit") fit();
    if (action === "close") dialog.close();
  });
  dialog.addEventListener("keydown", (event) => {
    const step = 80;
    const actions = {
      "+": () => zoom(1.5),
      "=": () => zoom(1.5),
      "-": () => zoom(1 / 1.5),
      0: fit,
      ArrowLeft: () => move(step, 0),
      ArrowRight: () => move(-step, 0),
      ArrowUp: () => move(0, step),
      ArrowDown: () => move(0, -step),
    };
    if (actions[event.key]) {
      event.preventDefault();
      actions[event.key]();
    }
  });
  stage.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      zoom(Math.exp(-event.deltaY / 400), event.clientX, event.clientY);
    },
    { passive: false },
  );
  stage.addEventListener("pointerdown", (event) => {
    stage.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, event);
  });
  stage.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const other = [...pointers.values()].find((each) => each.pointerId !== event.pointerId);
    if (other) {
      const apart = (each) => Math.hypot(each.clientX - other.clientX, each.clientY - other.clientY);
      zoom(
        apart(event) / Math.max(apart(before), 1),
        (event.clientX + other.clientX) / 2,
        (event.clientY + other.clientY) / 2,
      );
    } else move(event.clientX - before.clientX, event.clientY - before.clientY);
    pointers.set(event.pointerId, event);
  });
  for (const name of ["pointerup", "pointercancel"])
    stage.addEventListener(name, (event) => pointers.delete(event.pointerId));
  addEventListener("resize", () => dialog.open && fit());

  // A link to a line of code opens the listing that holds it. What is off the screen has an estimated
  // height until it is drawn, so the place is looked for again when its surroundings have been.
  const unfold = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    const listing = target.closest("details");
    if (listing) listing.open = true;
    const settle = (turns) => {
      target.scrollIntoView({ block: listing ? "center" : "start" });
      if (turns) requestAnimationFrame(() => settle(turns - 1));
    };
    settle(3);
  };
  addEventListener("hashchange", unfold);
  unfold();
})();
