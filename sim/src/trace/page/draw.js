// The picture.

/** More datagrams than this at one time are drawn as columns that count them. */
const ARROWS_MAX = 12_000;
/** More arrows than this at one time are drawn without heads. */
const HEADS_MAX = 700;
/** More arrows than this are drawn without names. */
const NAMES_MAX = 160;

let colours = {};
let selected = null;
/** What can be pointed at, beside datagrams: rectangles of the last picture. */
let targets = [];
let queued = false;

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["page", "panel", "line", "text", "quiet", "select", "violation", "settings",
    "links", "nodes", "new", "connecting", "connected", "disconnected", "failed", ...CLASSES];
  colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

function redraw() {
  if (queued) return;
  queued = true;
  requestAnimationFrame(drawAll);
}

function drawAll() {
  queued = false;
  draw();
  drawOverview();
}

function prepare(canvas, width, height) {
  const scale = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.style.height = `${height}px`;
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = '11px system-ui, "Segoe UI", "DejaVu Sans", sans-serif';
  pen.textBaseline = "middle";
  return pen;
}

function draw() {
  const [width, height] = [stage.clientWidth, stage.clientHeight];
  const pen = prepare(chart, width, height);
  const top = stage.scrollTop;
  targets = [];
  pen.save();
  pen.beginPath();
  pen.rect(LEFT, 0, plotWidth() + RIGHT, height);
  pen.clip();
  pen.translate(0, -top);
  drawGrid(pen, top, height);
  drawKeys(pen);
  drawShades(pen);
  drawFaults(pen);
  drawLanes(pen);
  drawDatagrams(pen);
  drawSelection(pen);
  pen.restore();
  drawAxis(pen, width);
  drawViolations(pen, height);
}

function ticks() {
  const step = tickStep(view.until - view.from, plotWidth());
  const times = [];
  for (let time = Math.ceil(view.from / step) * step; time <= view.until; time += step) {
    if (time > -step / 2) times.push(time);
  }
  return [step, times];
}

function drawGrid(pen, top, height) {
  pen.strokeStyle = colours.line;
  pen.lineWidth = 1;
  pen.globalAlpha = 0.6;
  pen.beginPath();
  for (const time of ticks()[1]) {
    const x = Math.round(toX(time)) + 0.5;
    pen.moveTo(x, top);
    pen.lineTo(x, top + height);
  }
  pen.stroke();
  pen.globalAlpha = 1;
}

/** The axis stays at the top, and so does not scroll with the lanes. */
function drawAxis(pen, width) {
  pen.fillStyle = colours.page;
  pen.fillRect(0, 0, width, AXIS - 2);
  pen.strokeStyle = colours.line;
  pen.beginPath();
  pen.moveTo(0, AXIS - 1.5);
  pen.lineTo(width, AXIS - 1.5);
  pen.stroke();
  pen.fillStyle = colours.quiet;
  const [step, times] = ticks();
  pen.textAlign = "center";
  for (const time of times) {
    const x = toX(time);
    if (x > LEFT + 18 && x < width - 24) pen.fillText(seconds(time, step), x, 12);
  }
  pen.textAlign = "left";
  pen.fillText("seconds", 14, 12);
}

// What shapes and colours mean, beside the headlines. Datagrams are explained by their filters.

function drawKeys(pen) {
  for (const [name, y] of place.sections) {
    if (name === "Faults") drawFaultKeys(pen, y + SECTION / 2 - 1);
    if (name === "Connections") drawConnectionKeys(pen, y + SECTION / 2 - 1);
  }
}

function drawKey(pen, x, y, text, width, shape) {
  shape(x, y);
  pen.fillStyle = colours.quiet;
  pen.fillText(text, x + width + 5, y + 0.5);
  return x + width + 5 + pen.measureText(text).width + 16;
}

function drawFaultKeys(pen, y) {
  let x = LEFT + 8;
  for (const [name, text] of [["settings", "on all links"], ["links", "between two nodes"], ["nodes", "at one node"]]) {
    x = drawKey(pen, x, y, text, 14, (x, y) => {
      pen.fillStyle = colours[name];
      pen.globalAlpha = 0.3;
      pen.fillRect(x, y - 5, 14, 10);
      pen.globalAlpha = 1;
      pen.fillRect(x, y - 5, 2, 10);
    });
  }
}

function drawConnectionKeys(pen, y) {
  let x = LEFT + 8;
  for (const name of ["new", "connecting", "connected", "disconnected", "failed"]) {
    x = drawKey(pen, x, y, name, 16, (x, y) => drawStatus(pen, name, x, y - 5, 16, 10));
  }
  x += 8;
  const marks = [["verb", "asks, sends"], ["receive", "takes"], ["refused", "is refused"],
    ["event", "is told"], ["process", "starts, crashes"]];
  for (const [shape, text] of marks) {
    x = drawKey(pen, x, y, text, 6, (x, y) => drawMark(pen, shape, x + 3, y));
  }
}

// Faults

function faultColour(fault) {
  return { everywhere: colours.settings, node: colours.nodes }[fault.scope] ?? colours.links;
}

function faultBox(fault) {
  const from = toX(fault.from);
  const until = toX(fault.until ?? Math.max(view.until, data.ended));
  return [Math.max(from, LEFT - 4), Math.min(until, LEFT + plotWidth() + RIGHT + 4)];
}

function isInView(fault) {
  return fault.from <= view.until && (fault.until ?? Infinity) >= view.from;
}

/** Faults lie as shades on the lifelines that they concern, and on the lanes of nodes. */
function drawShades(pen) {
  data.faults.forEach((fault, n) => {
    if (!isInView(fault) || fault.until === fault.from) return;
    const [x0, x1] = faultBox(fault);
    const isChosen = selected?.kind === "fault" && selected.n === n;
    pen.fillStyle = faultColour(fault);
    const shade = (y, height, alpha) => {
      pen.globalAlpha = isChosen ? 0.28 : alpha;
      pen.fillRect(x0, y, Math.max(1, x1 - x0), height);
    };
    const lines = fault.nodes.map((node) => place.lifelines[node]);
    const last = place.lifelines.length - 1;
    if (fault.scope === "everywhere") {
      shade(place.lifelines[0] - 12, place.lifelines[last] - place.lifelines[0] + 24, 0.03);
    } else if (fault.scope === "node") {
      const node = fault.nodes[0];
      shade(lines[0] - 12, 24, 0.16);
      if (!folded.has("Connections")) shade(place.laneTops[node], laneHeight(node), 0.16);
    } else {
      hatch(pen, x0, Math.min(...lines), x1, Math.max(...lines), isChosen ? 0.5 : 0.2);
    }
  });
  pen.globalAlpha = 1;
}

/** Oblique lines, so that several cuts on one place can be told apart. */
function hatch(pen, x0, y0, x1, y1, alpha) {
  const colour = pen.fillStyle;
  pen.save();
  pen.globalAlpha = alpha * 0.35;
  pen.fillRect(x0, y0, Math.max(1, x1 - x0), y1 - y0);
  pen.beginPath();
  pen.rect(x0, y0, Math.max(1, x1 - x0), y1 - y0);
  pen.clip();
  pen.globalAlpha = alpha;
  pen.strokeStyle = colour;
  pen.lineWidth = 1;
  pen.beginPath();
  const height = y1 - y0;
  for (let x = Math.floor((x0 - height) / 9) * 9; x < x1; x += 9) {
    pen.moveTo(x, y1);
    pen.lineTo(x + height, y0);
  }
  pen.stroke();
  pen.restore();
}

function drawFaults(pen) {
  if (folded.has("Faults")) return;
  for (const row of faultRows) {
    const shown = row.faults.filter((n) => isInView(data.faults[n]));
    shown.forEach((n, i) => {
      const fault = data.faults[n];
      const next = i + 1 < shown.length ? toX(data.faults[shown[i + 1]].from) : Infinity;
      drawFault(pen, row, n, fault, next);
    });
  }
}

function drawFault(pen, row, n, fault, next) {
  const colour = faultColour(fault);
  const isChosen = selected?.kind === "fault" && selected.n === n;
  const [x0, x1] = faultBox(fault);
  const [y, height] = [row.y + 1, FAULT_ROW - 2];
  let right = x1;
  pen.fillStyle = colour;
  if (fault.until === fault.from) {
    diamond(pen, toX(fault.from), y + height / 2, 5.5);
    pen.fill();
    right = x0 + 6;
  } else {
    pen.globalAlpha = isChosen ? 0.6 : 0.3;
    pen.fillRect(x0, y, Math.max(2, x1 - x0), height);
    pen.globalAlpha = 1;
    pen.fillRect(x0, y, 2, height);
  }
  const place = fault.scope === "everywhere" ? fault.detail : `${fault.place} ${fault.detail}`.trim();
  const textWidth = pen.measureText(place).width;
  pen.fillStyle = colours.text;
  if (x1 - x0 > textWidth + 10) pen.fillText(place, x0 + 6, y + height / 2 + 0.5);
  else if (right + textWidth + 8 < Math.min(next, LEFT + plotWidth() + RIGHT) && right > LEFT) pen.fillText(place, right + 4, y + height / 2 + 0.5);
  targets.push({ kind: "fault", n, x0: x0 - 3, x1: Math.max(right, x0 + 2) + 3, y0: y - 1, y1: y + height + 1 });
}

function diamond(pen, x, y, size) {
  pen.beginPath();
  pen.moveTo(x, y - size);
  pen.lineTo(x + size, y);
  pen.lineTo(x, y + size);
  pen.lineTo(x - size, y);
  pen.closePath();
}

// Connections

function drawLanes(pen) {
  if (folded.has("Connections")) return;
  data.nodes.forEach((_, node) => {
    const y = place.laneTops[node];
    pen.fillStyle = colours.line;
    if (node > 0) pen.fillRect(LEFT, y - LANE_GAP / 2, plotWidth() + RIGHT, 1);
    peersOf[node].forEach((bar, n) => drawBar(pen, bar, data.bars.indexOf(bar), y + LANE_HEAD + n * BAR_ROW));
  });
  drawMoments(pen);
}

function drawBar(pen, bar, n, y) {
  const height = BAR_ROW - 3;
  bar.spans.forEach(([from, until, status, reason], i) => {
    if (from > view.until || until < view.from) return;
    const x0 = Math.max(toX(from), LEFT - 2);
    const x1 = Math.min(toX(until), LEFT + plotWidth() + RIGHT);
    const width = Math.max(1, x1 - x0 - (x1 - x0 > 4 ? 1 : 0));
    const name = status.toLowerCase();
    drawStatus(pen, name, x0, y, width, height);
    const isChosen = selected?.kind === "bar" && selected.n === n && selected.i === i;
    if (isChosen) outline(pen, x0, y, width, height);
    if (width > 76 && (name === "connected" || name === "connecting")) {
      pen.fillStyle = name === "connected" ? colours.page : colours.quiet;
      pen.font = '9.5px system-ui, "Segoe UI", "DejaVu Sans", sans-serif';
      pen.fillText(name, x0 + 6, y + height / 2 + 0.5);
      pen.font = '11px system-ui, "Segoe UI", "DejaVu Sans", sans-serif';
    }
    targets.push({ kind: "bar", n, i, x0, x1: x0 + width, y0: y - 1, y1: y + height + 1 });
  });
}

/** Failure is lower and connecting is hollow: colour is not all that tells them apart. */
function drawStatus(pen, name, x, y, width, height) {
  pen.fillStyle = colours[name];
  if (name === "failed") pen.fillRect(x, y + height / 2, width, height / 2);
  else if (name === "new") pen.fillRect(x, y + height - 2, width, 2);
  else if (name === "disconnected") pen.fillRect(x, y + height - 3, width, 3);
  else pen.fillRect(x, y, width, height);
  if (name === "connecting" && width > 5) {
    pen.fillStyle = colours.page;
    pen.fillRect(x + 1.5, y + 1.5, width - 3, height - 3);
  }
}

function outline(pen, x, y, width, height) {
  pen.strokeStyle = colours.select;
  pen.lineWidth = 1.5;
  pen.strokeRect(x - 1, y - 1, width + 2, height + 2);
}

/** What nodes say and do; what falls on one pixel is drawn once. */
function drawMoments(pen) {
  const last = new Map();
  data.moments.forEach(([at, node, , kind, name], n) => {
    if (kind === "status" || name === "introduce" || at < view.from || at > view.until) return;
    const shape = { event: "event", refused: "refused", process: "process" }[kind] ?? (name === "receive" ? "receive" : "verb");
    const x = Math.round(toX(at));
    const y = place.laneTops[node] + 9;
    const key = `${node} ${shape}`;
    const isChosen = selected?.kind === "moment" && selected.n === n;
    if (last.get(key) === x && !isChosen) return;
    last.set(key, x);
    drawMark(pen, shape, x, y);
    if (isChosen) outline(pen, x - 4, y - 7, 8, 14);
    targets.push({ kind: "moment", n, x0: x - 4, x1: x + 4, y0: y - 8, y1: y + 8 });
  });
}

function drawMark(pen, shape, x, y) {
  pen.fillStyle = colours.text;
  pen.globalAlpha = shape === "verb" || shape === "receive" ? 0.6 : 0.9;
  pen.beginPath();
  if (shape === "verb") pen.rect(x - 0.75, y - 7, 1.5, 7);
  else if (shape === "receive") pen.rect(x - 0.75, y, 1.5, 7);
  else if (shape === "process") pen.rect(x - 1.5, y - 8, 3, 16);
  else if (shape === "refused") {
    pen.fillStyle = colours.lost;
    pen.rect(x - 0.75, y - 7, 1.5, 7);
  } else {
    pen.fillStyle = colours.violation;
    diamond(pen, x, y, 4);
  }
  pen.fill();
  pen.globalAlpha = 1;
}

// Datagrams

/** The height of one end of a way; what is outside lies beyond the last lifeline. */
function lifeline(node) {
  return node === OUTSIDE ? place.height - 8 : place.lifelines[node];
}

/** How far what is lost at once is drawn. */
const STUB = 9;

/** Where a datagram is drawn. Who is lost stops where it was lost, as far as that is known. */
function arrow(n) {
  const [y0, y1] = [lifeline(senders[n]), lifeline(receivers[n])];
  const name = CLASSES[classes[n]];
  const [x0, x1] = [toX(starts[n]), toX(ends[n])];
  // What is lost at once would be a point: it goes a part of the way.
  if (name === "lost" && ends[n] === starts[n]) return [x0, y0, x0 + STUB, y0 + (y1 - y0) * 0.22];
  return [x0, y0, x1, name === "lost" ? y0 + (y1 - y0) * 0.62 : y1];
}

/** Whether datagrams are drawn as columns. */
let isDense = false;

function drawDatagrams(pen) {
  pen.strokeStyle = colours.quiet;
  pen.lineWidth = 1.5;
  pen.beginPath();
  for (const y of place.lifelines) {
    pen.moveTo(LEFT, Math.round(y) + 0.5);
    pen.lineTo(LEFT + plotWidth() + RIGHT, Math.round(y) + 0.5);
  }
  pen.stroke();
  const shown = shownBetween(view.from, view.until);
  isDense = shown.length > ARROWS_MAX;
  if (isDense) return drawColumns(pen, shown);
  const byClass = distinct(shown);
  const drawn = byClass.reduce((sum, arrows) => sum + arrows.length, 0);
  byClass.forEach((arrows, c) => drawArrows(pen, CLASSES[c], arrows, drawn));
  if (shown.length <= NAMES_MAX) drawNames(pen, shown);
}

/** Below each lifeline, how many leave there. Those with an unusual fate lie before the others. */
function drawColumns(pen, shown) {
  const width = 3;
  const columns = Math.ceil((plot + RIGHT) / width);
  const counts = data.nodes.map(() => CLASSES.map(() => new Float64Array(columns)));
  let most = 1;
  for (const n of shown) {
    const column = Math.floor((toX(starts[n]) - LEFT) / width);
    if (senders[n] === OUTSIDE || column < 0 || column >= columns) continue;
    most = Math.max(most, ++counts[senders[n]][classes[n]][column]);
  }
  const tall = Math.min(BOTTOM, (place.lifelines[1] ?? Infinity) - place.lifelines[0]) - 8;
  counts.forEach((byClass, node) => {
    const order = byClass.map((_, c) => c).sort((a, b) => sum(byClass[b]) - sum(byClass[a]));
    for (const c of order) {
      pen.fillStyle = colours[CLASSES[c]];
      byClass[c].forEach((number, column) => {
        // A logarithm, so that one that is lost among a thousand is seen.
        const height = number === 0 ? 0 : 2 + (Math.log1p(number) / Math.log1p(most)) * (tall - 2);
        pen.fillRect(LEFT + column * width, place.lifelines[node] + 2, width - 0.5, height);
      });
    }
  });
  pen.fillStyle = colours.quiet;
  const text = `${shown.length.toLocaleString("en")} datagrams, counted where they leave, on a logarithmic scale. Zoom in to see each.`;
  pen.fillText(text, LEFT + 8, place.packetTop + SECTION / 2);
}

function sum(numbers) {
  return numbers.reduce((sum, number) => sum + number, 0);
}

/** Arrows that would lie on each other are drawn once, so that any number of them is quick. */
function distinct(shown) {
  const seen = new Set();
  const byClass = CLASSES.map(() => []);
  for (const n of shown) {
    const c = classes[n];
    const pair = (senders[n] * (OUTSIDE + 1) + receivers[n]) * 8 + c;
    // Half a pixel is as near as the eye can tell. A number below 2^53 is exact.
    const [x0, x1] = [halfPixel(starts[n]), halfPixel(ends[n])];
    const key = (pair * 8192 + x0) * 8192 + x1;
    if (seen.has(key)) continue;
    seen.add(key);
    byClass[c].push(arrow(n));
  }
  return byClass;
}

function halfPixel(time) {
  return Math.max(0, Math.min(8191, Math.round(toX(time) * 2)));
}

function drawArrows(pen, name, arrows, drawn) {
  pen.strokeStyle = colours[name];
  pen.fillStyle = colours[name];
  const isQuiet = name === "delivered" || name === "underway";
  pen.lineWidth = isQuiet ? 1 : 1.5;
  // Many quiet ones together are a texture; what has gone wrong stays in sight.
  pen.globalAlpha = isQuiet ? Math.max(0.25, Math.min(0.9, 400 / drawn)) : 0.95;
  pen.setLineDash(DASHES[name] ?? []);
  pen.beginPath();
  for (const [x0, y0, x1, y1] of arrows) {
    pen.moveTo(x0, y0);
    pen.lineTo(x1, y1);
  }
  pen.stroke();
  pen.setLineDash([]);
  const isLost = name === "lost" || name === "missed";
  if (drawn <= HEADS_MAX || isLost) {
    pen.beginPath();
    for (const ends of arrows) (isLost ? cross : head)(pen, ...ends);
    if (isLost) pen.stroke();
    else pen.fill();
  }
  pen.globalAlpha = 1;
}

function head(pen, x0, y0, x1, y1) {
  const angle = Math.atan2(y1 - y0, x1 - x0);
  for (const side of [0, 0.42, -0.42]) {
    const size = side === 0 ? 0 : 8;
    const [x, y] = [x1 - size * Math.cos(angle + side), y1 - size * Math.sin(angle + side)];
    if (side === 0) pen.moveTo(x, y);
    else pen.lineTo(x, y);
  }
  pen.closePath();
}

function cross(pen, x0, y0, x1, y1) {
  pen.moveTo(x1 - 3.5, y1 - 3.5);
  pen.lineTo(x1 + 3.5, y1 + 3.5);
  pen.moveTo(x1 - 3.5, y1 + 3.5);
  pen.lineTo(x1 + 3.5, y1 - 3.5);
}

/** Names beside arrows, as far as they have room. */
function drawNames(pen, shown) {
  const taken = [];
  pen.font = '10.5px system-ui, "Segoe UI", "DejaVu Sans", sans-serif';
  for (const n of shown) {
    const [x0, y0, x1, y1] = arrow(n);
    const text = datagramName(n);
    const width = pen.measureText(text).width;
    const spot = [0.3, 0.5, 0.7].map((part) => ({
      x: x0 + (x1 - x0) * part + 6,
      y: y0 + (y1 - y0) * part,
    })).find(({ x, y }) => x > LEFT && x + width < LEFT + plotWidth() + RIGHT &&
      !taken.some((box) => x < box.x1 && x + width > box.x0 && Math.abs(y - box.y) < 13));
    if (!spot) continue;
    taken.push({ x0: spot.x - 3, x1: spot.x + width + 3, y: spot.y });
    pen.globalAlpha = 0.8;
    pen.fillStyle = colours.page;
    pen.fillRect(spot.x - 2, spot.y - 6.5, width + 4, 13);
    pen.globalAlpha = 1;
    pen.fillStyle = colours[CLASSES[classes[n]]];
    pen.fillText(text, spot.x, spot.y);
  }
  pen.font = '11px system-ui, "Segoe UI", "DejaVu Sans", sans-serif';
}

function drawSelection(pen) {
  if (selected?.kind !== "datagram") return;
  const [x0, y0, x1, y1] = arrow(selected.n);
  pen.strokeStyle = colours[CLASSES[classes[selected.n]]];
  pen.fillStyle = pen.strokeStyle;
  pen.globalAlpha = 0.25;
  pen.lineWidth = 10;
  line(pen, x0, y0, x1, y1);
  pen.globalAlpha = 1;
  pen.lineWidth = 2.5;
  line(pen, x0, y0, x1, y1);
  for (const [x, y] of [[x0, y0], [x1, y1]]) {
    pen.beginPath();
    pen.arc(x, y, 4, 0, 7);
    pen.fill();
  }
}

function line(pen, x0, y0, x1, y1) {
  pen.beginPath();
  pen.moveTo(x0, y0);
  pen.lineTo(x1, y1);
  pen.stroke();
}

// Violations

/** A line through everything, with a flag in the axis. Those of one place share a flag. */
function drawViolations(pen, height) {
  const flags = [];
  data.violations.forEach(({ at }, n) => {
    const x = Math.round(toX(at)) + 0.5;
    if (x < LEFT || x > LEFT + plotWidth() + RIGHT) return;
    const flag = flags.find((flag) => Math.abs(flag.x - x) < 26);
    if (flag) flag.last = n;
    else flags.push({ x, first: n, last: n });
  });
  pen.textAlign = "center";
  for (const { x, first, last } of flags) {
    const text = first === last ? `${first + 1}` : `${first + 1}–${last + 1}`;
    const half = Math.max(9, pen.measureText(text).width / 2 + 5);
    const middle = Math.min(x, LEFT + plotWidth() + RIGHT - half);
    pen.strokeStyle = colours.violation;
    pen.lineWidth = 2;
    line(pen, x, AXIS - 4, x, height);
    pen.fillStyle = colours.violation;
    pen.beginPath();
    pen.roundRect(middle - half, 3, half * 2, 18, 9);
    pen.fill();
    pen.fillStyle = colours.page;
    pen.font = 'bold 11px system-ui, "Segoe UI", "DejaVu Sans", sans-serif';
    pen.fillText(text, middle, 12.5);
    pen.font = '11px system-ui, "Segoe UI", "DejaVu Sans", sans-serif';
    const y = stage.scrollTop;
    targets.push({ kind: "violation", n: first, x0: x - half, x1: x + half, y0: y, y1: y + AXIS });
  }
  pen.textAlign = "left";
}

// The whole run, above

/** How many datagrams leave in each column, and how many of them do not arrive. */
const histogram = { width: 0, all: [], bad: [] };

function overviewTime() {
  return wholeRun();
}

function countColumns(width) {
  if (histogram.width === width) return;
  const [from, until] = overviewTime();
  histogram.width = width;
  histogram.all = new Float64Array(width);
  histogram.bad = new Float64Array(width);
  for (let n = 0; n < count; n++) {
    const column = Math.floor(((starts[n] - from) / (until - from)) * width);
    if (column < 0 || column >= width) continue;
    histogram.all[column]++;
    const name = CLASSES[classes[n]];
    if (name === "lost" || name === "missed") histogram.bad[column]++;
  }
}

function drawOverview() {
  const [width, height] = [overview.clientWidth, 44];
  const pen = prepare(overview, width, height);
  const plot = plotWidth();
  const column = 2;
  countColumns(Math.max(1, Math.floor(plot / column)));
  const most = histogram.all.reduce((most, all) => Math.max(most, all), 1);
  const tall = (value) => (value === 0 ? 0 : 2 + (Math.log1p(value) / Math.log1p(most)) * (height - 12));
  histogram.all.forEach((all, n) => {
    const x = LEFT + n * column;
    pen.fillStyle = colours.delivered;
    pen.globalAlpha = 0.55;
    pen.fillRect(x, height - 4 - tall(all), column - 0.4, tall(all));
    pen.globalAlpha = 1;
    pen.fillStyle = colours.lost;
    pen.fillRect(x, height - 4 - tall(histogram.bad[n]), column - 0.4, tall(histogram.bad[n]));
  });
  const [from, until] = overviewTime();
  const x = (time) => LEFT + Math.max(0, Math.min(1, (time - from) / (until - from))) * plot;
  pen.fillStyle = colours.violation;
  for (const { at } of data.violations) pen.fillRect(x(at) - 1, 0, 2, height);
  const [x0, x1] = [x(view.from), x(view.until)];
  pen.fillStyle = colours.page;
  pen.globalAlpha = 0.62;
  pen.fillRect(LEFT, 0, x0 - LEFT, height);
  pen.fillRect(x1, 0, LEFT + plot - x1, height);
  pen.globalAlpha = 1;
  pen.strokeStyle = colours.quiet;
  pen.lineWidth = 1;
  pen.strokeRect(x0 + 0.5, 0.5, Math.max(3, x1 - x0 - 1), height - 2);
  pen.fillStyle = colours.quiet;
  pen.fillText("whole run", 14, height / 2);
}
