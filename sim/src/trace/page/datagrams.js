// Datagrams: arrows between lifelines, or columns if there are too many.

/** More datagrams than this at one time are drawn as columns that count them. */
const ARROWS_MAX = 12_000;
/** More arrows than this at one time are drawn without heads. */
const HEADS_MAX = 700;
/** More arrows than this are drawn without names. */
const NAMES_MAX = 160;

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

