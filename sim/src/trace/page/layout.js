// Where things are. Heights are in CSS pixels from the top of the content, times in nanoseconds.

const LEFT = 132;
const RIGHT = 18;
const AXIS = 26;
const FAULT_ROW = 16;
const LANE_HEAD = 19;
const BAR_ROW = 13;
const LANE_GAP = 8;
const SECTION = 22;
const LIFELINE_GAP = { least: 44, most: 130 };
const BOTTOM = 36;

const stage = document.getElementById("stage");
const chart = document.getElementById("chart");
const overview = document.getElementById("overview");
const labels = document.getElementById("labels");
const lanes = [...document.querySelectorAll("#lanes > li")];

/** The faults in rows: one or more of each family, so that none lies on another. */
const faultRows = (() => {
  const rows = [];
  const order = (fault) => ["everywhere", "one way", "between", "node"].indexOf(fault.scope);
  const families = new Map();
  data.faults.forEach((fault, n) => {
    if (!families.has(fault.family)) families.set(fault.family, []);
    families.get(fault.family).push(n);
  });
  const sorted = [...families].sort((a, b) => order(data.faults[a[1][0]]) - order(data.faults[b[1][0]]));
  for (const [family, members] of sorted) {
    const own = [];
    for (const n of members) {
      const fault = data.faults[n];
      const free = own.find((row) => row.until <= fault.from);
      const row = free ?? { family, faults: [], until: 0, isFirst: own.length === 0 };
      if (!free) own.push(row);
      row.faults.push(n);
      row.until = fault.until ?? Infinity;
    }
    rows.push(...own);
  }
  return rows;
})();

/** Where rows, lanes and lifelines are; filled by `arrange`. */
/** Sections that are shown as their headline only. */
const folded = new Set();
const place = { height: 0, faultTop: 0, laneTops: [], packetTop: 0, lifelines: [] };
const peersOf = data.nodes.map((_, node) => data.bars.filter((bar) => bar.node === node));

function arrange() {
  plot = Math.max(50, stage.clientWidth - LEFT - RIGHT);
  let y = AXIS;
  place.sections = [];
  if (faultRows.length > 0) {
    place.sections.push(["Faults", y]);
    y += SECTION;
    for (const row of faultRows) {
      row.y = y;
      if (!folded.has("Faults")) y += FAULT_ROW;
    }
    y += 4;
  }
  place.sections.push(["Connections", y]);
  y += SECTION;
  place.laneTops = data.nodes.map((_, node) => {
    const top = y;
    if (!folded.has("Connections")) y += laneHeight(node) + LANE_GAP;
    return top;
  });
  place.packetTop = y;
  place.sections.push(["Datagrams", y]);
  y += SECTION + 12;
  const gaps = Math.max(1, data.nodes.length - 1);
  const room = (stage.clientHeight - y - BOTTOM) / gaps;
  const gap = Math.max(LIFELINE_GAP.least, Math.min(LIFELINE_GAP.most, room));
  place.lifelines = data.nodes.map((_, node) => y + node * gap);
  place.height = Math.floor(y + (data.nodes.length - 1) * gap + BOTTOM);
  document.getElementById("content").style.height = `${place.height}px`;
  arrangeLabels();
}

function laneHeight(node) {
  return LANE_HEAD + Math.max(1, peersOf[node].length) * BAR_ROW;
}

function arrangeLabels() {
  labels.querySelectorAll(":scope > span").forEach((label) => label.remove());
  const add = (text, y, className) => {
    const label = document.createElement("span");
    label.className = className;
    label.textContent = text;
    label.title = text;
    label.style.top = `${y}px`;
    labels.append(label);
  };
  for (const [name, y] of place.sections) arrangeSection(name, y);
  if (!folded.has("Faults")) {
    for (const row of faultRows) if (row.isFirst) add(row.family, row.y, "family");
  }
  lanes.forEach((lane, node) => {
    lane.style.top = `${place.laneTops[node]}px`;
    lane.hidden = folded.has("Connections");
  });
  place.lifelines.forEach((y, node) => add(data.nodes[node].name, y - 8, "lifeline"));
}

/** Headlines are buttons, which are made once so that they keep the focus. */
const headlines = new Map();

function arrangeSection(name, y) {
  if (!headlines.has(name)) {
    const headline = document.createElement("button");
    headline.type = "button";
    headline.className = "section";
    headline.textContent = name;
    headline.disabled = name === "Datagrams";
    headline.addEventListener("click", () => {
      if (!folded.delete(name)) folded.add(name);
      arrange();
      redraw();
    });
    headlines.set(name, headline);
    labels.append(headline);
  }
  headlines.get(name).style.top = `${y + 3}px`;
  headlines.get(name).setAttribute("aria-expanded", String(!folded.has(name)));
}

// The window of time that is shown

const view = { from: 0, until: 1 };
const LEAST_WINDOW = 200;

function wholeRun() {
  const margin = lastActivity * 0.015;
  return [-margin, lastActivity + margin];
}

function show(from, until) {
  const [first, last] = [-lastActivity * 0.05, Math.max(lastActivity * 1.05, data.ended)];
  let width = Math.max(LEAST_WINDOW, Math.min(until - from, last - first));
  from = Math.max(first, Math.min(from, last - width));
  view.from = from;
  view.until = from + width;
  redraw();
}

function zoom(factor, around = (view.from + view.until) / 2) {
  show(around + (view.from - around) * factor, around + (view.until - around) * factor);
}

function pan(part) {
  const by = (view.until - view.from) * part;
  show(view.from + by, view.until + by);
}

/** How wide time is drawn; asking the page each time would be slow. */
let plot = 50;
const plotWidth = () => plot;
const toX = (time) => LEFT + ((time - view.from) / (view.until - view.from)) * plot;
const toTime = (x) => view.from + ((x - LEFT) / plot) * (view.until - view.from);

/** A step between ticks: 1, 2 or 5 times a power of ten. */
function tickStep(width, pixels) {
  const rough = (width * 95) / pixels;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((factor) => power * factor >= rough);
}
