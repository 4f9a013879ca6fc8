// The picture.

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

/** Gives where the next one goes. One that has no room is left out, and so are those behind it. */
function drawKey(pen, x, y, text, width, shape) {
  const end = x + width + 5 + pen.measureText(text).width;
  if (end > LEFT + plot + RIGHT) return Infinity;
  shape(x, y);
  pen.fillStyle = colours.quiet;
  pen.fillText(text, x + width + 5, y + 0.5);
  return end + 16;
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
