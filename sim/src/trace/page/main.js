// What the reader does.

const tip = document.getElementById("tip");
const record = document.getElementById("record");

// Filters, which are the legend as well

function swatch(name) {
  const dash = (DASHES[name] ?? []).join(" ");
  const isLost = name === "lost" || name === "missed";
  const end = isLost
    ? '<path d="M15 1.5l6 7M21 1.5l-6 7" stroke-width="1.6"/>'
    : '<path d="M21 5l-6-3.4v6.8z" stroke="none" fill="currentColor"/>';
  return `<svg viewBox="0 0 22 10" style="color: var(--${name})" stroke="currentColor" aria-hidden="true">` +
    `<path d="M0 5h${isLost ? 18 : 15}" stroke-width="2" stroke-dasharray="${dash}"/>${end}</svg>`;
}

function addFilter(name, colour, title, number, set, key) {
  if (number === 0) return;
  const label = document.createElement("label");
  label.title = title;
  label.innerHTML = `<input type="checkbox" checked>${swatch(colour)}<span class="name"></span><span class="count"></span>`;
  label.querySelector(".name").textContent = name;
  label.querySelector(".count").textContent = number.toLocaleString("en");
  label.querySelector("input").addEventListener("change", (event) => {
    if (event.target.checked) set.delete(key);
    else set.add(key);
    redraw();
  });
  document.getElementById("filters").append(label);
}

function addFilters() {
  const byFate = data.fates.map(() => 0);
  const byClass = CLASSES.map(() => 0);
  data.datagrams.forEach((row, n) => {
    byFate[row[FATE]]++;
    byClass[classes[n]]++;
  });
  const named = { loss: "lost at random", burst: "lost in a burst", first: "lost by plan", cut: "lost to a cut" };
  data.fates.forEach((fate, n) => {
    addFilter(named[fate.name] ?? fate.name, fate.class, fate.explanation, byFate[n], hidden.fates, n);
  });
  const gap = document.createElement("span");
  gap.className = "gap";
  document.getElementById("filters").append(gap);
  for (const name of ["marked", "copy", "damaged"]) {
    const title = { marked: "delivered with a mark for congestion", copy: "a copy that was delivered, too", damaged: "delivered with damage" }[name];
    addFilter(CLASS_NAMES[name], name, title, byClass[CLASSES.indexOf(name)], hidden.classes, name);
  }
}

lanes.forEach((lane, node) => {
  lane.querySelector("input").addEventListener("change", (event) => {
    if (event.target.checked) hidden.nodes.delete(node);
    else hidden.nodes.add(node);
    redraw();
  });
});

// The record of what is selected

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function describe(title, pairs) {
  record.replaceChildren(element("h2", "Record"), element("h3", title));
  const list = element("dl");
  for (const [name, value] of pairs) {
    if (value === null || value === undefined || value === "") continue;
    list.append(element("dt", name), element("dd", String(value)));
  }
  record.append(list);
}

function describeDatagram(n) {
  const row = data.datagrams[n];
  const [from, to] = [nodeName(row[FROM], row[SOURCE]), nodeName(row[TO], row[DESTINATION])];
  const took = row[END] === row[AT] ? "at once" : `after ${span(row[END] - row[AT])}`;
  const end = row[END] === null ? null : `${seconds(row[END], 1)} s, ${took}`;
  describe(`${from} → ${to}: ${datagramName(n)}`, [
    ["number", n],
    ["left", `${seconds(row[AT], 1)} s`],
    ["fate", data.fates[row[FATE]].explanation],
    ["ended", end],
    ["on its way", row[FLAGS].join(", ")],
    ["copy of", row[COPY_OF]],
    ["length", `${row[LENGTH]} B`],
    ["ECN", row[ECN]],
    ["from", row[SOURCE]],
    ["to", row[DESTINATION]],
  ]);
  for (const packet of row[PACKETS]) {
    const part = element("div", undefined, "packet");
    part.append(element("b", packetName(packet)), ` ${packet[2]} B`);
    const frames = element("ol");
    frames.append(...packet[3].map((frame) => element("li", frame)));
    part.append(frames);
    record.append(part);
  }
  const go = element("div", undefined, "go");
  const button = (text, act) => {
    const made = element("button", text);
    made.type = "button";
    made.addEventListener("click", act);
    go.append(made);
  };
  button("Zoom to it", () => zoomTo(row[AT], ends[n]));
  if (row[COPY_OF] !== null) button("Its original", () => select({ kind: "datagram", n: row[COPY_OF] }));
  record.append(go);
}

function describeSelected() {
  document.querySelectorAll("#faults .chosen").forEach((item) => item.classList.remove("chosen"));
  if (selected === null) {
    record.replaceChildren(element("h2", "Record"), element("p", "Click on a datagram, a bar, a mark or a fault.", "hint"));
    return;
  }
  const { kind, n } = selected;
  if (kind === "datagram") describeDatagram(n);
  if (kind === "fault") {
    const fault = data.faults[n];
    describe(fault.label, [["where", fault.place], ["when", faultTime(fault)],
      ["for", fault.until !== null && fault.until > fault.from ? span(fault.until - fault.from) : null]]);
    document.querySelector(`#faults [data-fault="${n}"]`).classList.add("chosen");
  }
  if (kind === "violation") {
    const { at, property, what } = data.violations[n];
    describe(property, [["noticed", `${seconds(at, 1)} s`], ["seen", what]]);
  }
  if (kind === "moment") {
    const [at, node, , , name, words] = data.moments[n];
    describe(`${data.nodes[node].name}: ${name}`, [["when", `${seconds(at, 1)} s`], ["what", words]]);
  }
  if (kind === "bar") {
    const bar = data.bars[n];
    const [from, until, status, reason] = bar.spans[selected.i];
    describe(`${data.nodes[bar.node].name} sees ${bar.peer}: ${status}`, [
      ["since", `${seconds(from, 1)} s`], ["for", span(until - from)], ["because", reason]]);
  }
}

function select(what) {
  selected = what;
  describeSelected();
  redraw();
}

// Going there

function zoomTo(from, until) {
  const margin = Math.max((until - from) * 0.6, 1e5);
  show(from - margin, until + margin);
}

/** Moves the window so that a time is in it, without zooming. */
function bring(from, until = from) {
  const width = view.until - view.from;
  if (from < view.from || until > view.until) show(from - width * 0.3, from + width * 0.7);
}

/** A violation, with the last datagrams before it. */
const BEFORE_VIOLATION = 60;

function goToViolation(n) {
  const violation = data.violations[n];
  if (!violation) return;
  const first = Math.max(0, firstFrom(violation.at) - BEFORE_VIOLATION);
  const since = Math.min(count > 0 ? starts[Math.min(first, count - 1)] : 0, violation.at - 1e6);
  show(since, violation.at + (violation.at - since) * 0.12);
  select({ kind: "violation", n });
}

function goToFault(n) {
  const fault = data.faults[n];
  if (!fault) return;
  const until = fault.until ?? Math.max(lastActivity, fault.from);
  const margin = Math.max((until - fault.from) * 0.4, 2e8);
  show(fault.from - margin, until + margin);
  select({ kind: "fault", n });
}

/** The next one of a kind in time, from the one that is selected or from where we look. */
function step(kind, items, forward, go) {
  if (items === 0) return;
  if (selected?.kind === kind) go((selected.n + (forward ? 1 : items - 1)) % items);
  else go(forward ? 0 : items - 1);
}

function stepDatagram(forward) {
  const by = forward ? 1 : -1;
  let n = selected?.kind === "datagram" ? selected.n + by : firstFrom(view.from) - (forward ? 0 : 1);
  while (n >= 0 && n < count && !isShown(n)) n += by;
  if (n < 0 || n >= count) return;
  bring(starts[n], ends[n]);
  select({ kind: "datagram", n });
}

// Pointing

function distance(px, py, [x0, y0, x1, y1]) {
  const [dx, dy] = [x1 - x0, y1 - y0];
  const along = Math.max(0, Math.min(1, ((px - x0) * dx + (py - y0) * dy) / (dx * dx + dy * dy || 1)));
  return Math.hypot(px - x0 - along * dx, py - y0 - along * dy);
}

/** How near is near enough, in pixels. */
const REACH = 6;

function pointedAt(event) {
  const box = chart.getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top + stage.scrollTop];
  if (x < LEFT) return null;
  const target = targets.findLast((t) => x >= t.x0 && x <= t.x1 && y >= t.y0 && y <= t.y1);
  if (target) return { kind: target.kind, n: target.n, i: target.i };
  if (y < place.packetTop || isDense) return null;
  let [best, nearest] = [null, REACH];
  for (const n of shownBetween(toTime(x - REACH - STUB), toTime(x + REACH))) {
    const away = distance(x, y, arrow(n));
    if (away < nearest) [best, nearest] = [n, away];
  }
  return best === null ? null : { kind: "datagram", n: best };
}

function tipText({ kind, n, i }) {
  if (kind === "datagram") {
    const row = data.datagrams[n];
    return `${nodeName(row[FROM], row[SOURCE])} → ${nodeName(row[TO], row[DESTINATION])}  ${datagramName(n)}, ${row[LENGTH]} B\n` +
      `${seconds(row[AT])} s, ${fateWords(n)}${row[COPY_OF] === null ? "" : ", a copy"}`;
  }
  if (kind === "fault") return `${data.faults[n].label}\n${faultTime(data.faults[n])}`;
  if (kind === "violation") return `${data.violations[n].property}\n${seconds(data.violations[n].at)} s`;
  if (kind === "moment") {
    const [at, node, , , , words] = data.moments[n];
    const same = data.moments.filter((m) => m[1] === node && Math.abs(toX(m[0]) - toX(at)) < 1 && m[3] !== "status");
    const more = same.length > 1 ? `\nand ${same.length - 1} more: zoom in` : "";
    return `${seconds(at)} s\n${data.nodes[node].name} ${words}${more}`;
  }
  const bar = data.bars[n];
  const [from, until, status, reason] = bar.spans[i];
  return `${data.nodes[bar.node].name} sees ${bar.peer}: ${status}\n${reason}\nfrom ${seconds(from)} s for ${span(until - from)}`;
}

function hover(event) {
  const what = pointedAt(event);
  chart.style.cursor = what ? "pointer" : "grab";
  tip.hidden = what === null;
  if (what === null) return;
  tip.textContent = tipText(what);
  const [width, height] = [tip.offsetWidth, tip.offsetHeight];
  tip.style.left = `${Math.min(event.clientX + 14, innerWidth - width - 8)}px`;
  tip.style.top = `${event.clientY + 18 + height > innerHeight ? event.clientY - height - 12 : event.clientY + 18}px`;
}

let drag = null;
chart.addEventListener("pointerdown", (event) => {
  drag = { x: event.clientX, from: view.from, until: view.until, moved: false };
  chart.setPointerCapture(event.pointerId);
});
chart.addEventListener("pointermove", (event) => {
  if (!drag) return hover(event);
  const by = event.clientX - drag.x;
  if (Math.abs(by) > 3) drag.moved = true;
  if (!drag.moved) return;
  tip.hidden = true;
  const time = (by / plotWidth()) * (drag.until - drag.from);
  show(drag.from - time, drag.until - time);
});
chart.addEventListener("pointerup", (event) => {
  if (drag && !drag.moved) select(pointedAt(event));
  drag = null;
});
chart.addEventListener("pointerleave", () => (tip.hidden = true));
chart.addEventListener("dblclick", (event) => {
  zoom(0.4, toTime(event.clientX - chart.getBoundingClientRect().left));
});
stage.addEventListener("wheel", (event) => {
  const isSideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
  event.preventDefault();
  if (isSideways) return pan((event.deltaX || event.deltaY) / plotWidth());
  zoom(1.0018 ** event.deltaY, toTime(event.clientX - chart.getBoundingClientRect().left));
}, { passive: false });
stage.addEventListener("scroll", redraw);

function moveOverview(event) {
  const [from, until] = overviewTime();
  const part = (event.clientX - overview.getBoundingClientRect().left - LEFT) / plotWidth();
  const middle = from + part * (until - from);
  const half = (view.until - view.from) / 2;
  show(middle - half, middle + half);
}
overview.addEventListener("pointerdown", (event) => {
  overview.setPointerCapture(event.pointerId);
  moveOverview(event);
});
overview.addEventListener("pointermove", (event) => {
  if (event.buttons) moveOverview(event);
});

// Keys and buttons

const KEYS = {
  ArrowLeft: () => pan(-0.15), ArrowRight: () => pan(0.15),
  ArrowUp: () => stage.scrollBy(0, -60), ArrowDown: () => stage.scrollBy(0, 60),
  "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1 / 0.6),
  0: () => show(...wholeRun()), Home: () => show(...wholeRun()),
  n: () => stepDatagram(true), p: () => stepDatagram(false),
  v: () => step("violation", data.violations.length, true, goToViolation),
  V: () => step("violation", data.violations.length, false, goToViolation),
  f: () => step("fault", data.faults.length, true, goToFault),
  F: () => step("fault", data.faults.length, false, goToFault),
  d: () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"),
  Escape: () => select(null),
  "?": () => document.getElementById("keys").showModal(),
};
document.addEventListener("keydown", (event) => {
  const isElsewhere = event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]");
  const isArrow = event.key.startsWith("Arrow") || event.key === "Home";
  // In the lists arrows scroll, as they do everywhere.
  if (isElsewhere || (isArrow && event.target.closest("aside, #filters"))) return;
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  document.getElementById("theme").textContent = name === "dark" ? "Light" : "Dark";
  readColours();
  redraw();
}

const onClick = (id, act) => document.getElementById(id).addEventListener("click", act);
onClick("all", () => show(...wholeRun()));
onClick("in", () => zoom(0.6));
onClick("out", () => zoom(1 / 0.6));
onClick("theme", KEYS.d);
onClick("help", KEYS["?"]);
onClick("violations", (event) => {
  const item = event.target.closest("li");
  if (!event.target.closest("a")) return;
  // The address may name this violation already, and then would not change.
  event.preventDefault();
  history.replaceState(null, "", `#violation=${Number(item.dataset.violation) + 1}`);
  goToViolation(Number(item.dataset.violation));
});
onClick("faults", (event) => {
  const item = event.target.closest("li");
  if (item) goToFault(Number(item.dataset.fault));
});

/** `#violation=1`, or `#from=1.5&until=2&theme=dark&datagram=17`: times in seconds. */
function followAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  if (asked.has("theme")) setTheme(asked.get("theme"));
  if (asked.has("violation")) goToViolation(Number(asked.get("violation")) - 1);
  if (asked.has("fault")) goToFault(Number(asked.get("fault")) - 1);
  if (asked.has("from")) {
    const until = asked.has("until") ? Number(asked.get("until")) * SECOND : lastActivity;
    show(Number(asked.get("from")) * SECOND, until);
  }
  const n = Number(asked.get("datagram") ?? -1);
  if (n >= 0 && n < count) {
    if (!asked.has("from")) bring(starts[n], ends[n]);
    select({ kind: "datagram", n });
  }
}

window.addEventListener("hashchange", followAddress);
// At once, so that no frame shows a stretched picture.
new ResizeObserver(() => {
  arrange();
  drawAll();
}).observe(stage);

setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
addFilters();
arrange();
show(...wholeRun());
followAddress();
