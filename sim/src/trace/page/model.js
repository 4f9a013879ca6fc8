"use strict";
// The data of the page, in a form that is quick to draw.

const data = JSON.parse(document.getElementById("data").textContent);

/** What a row of `data.datagrams` holds, in this order. */
const [AT, END, FROM, TO, LENGTH, FATE, FLAGS, COPY_OF, ECN, SOURCE, DESTINATION, PACKETS] =
  [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];

/** The colours of datagrams; what is drawn later lies on top. */
const CLASSES = ["delivered", "underway", "marked", "copy", "damaged", "missed", "lost"];
const CLASS_NAMES = {
  delivered: "delivered", underway: "under way", marked: "marked (CE)", copy: "copy",
  damaged: "damaged", missed: "not taken", lost: "lost",
};
/** Those that are drawn with dashes, so that colour is not all that tells them apart. */
const DASHES = { copy: [6, 3], damaged: [2, 3], missed: [8, 3, 2, 3], underway: [1, 3] };

function classOf(row) {
  const fate = data.fates[row[FATE]].class;
  if (fate !== "delivered") return fate;
  if (row[FLAGS].includes("damaged")) return "damaged";
  if (row[COPY_OF] !== null) return "copy";
  return row[FLAGS].includes("marked") ? "marked" : "delivered";
}

const count = data.datagrams.length;
const starts = new Float64Array(count);
const ends = new Float64Array(count);
const classes = new Uint8Array(count);
/** From which node to which. */
const senders = new Uint16Array(count);
const receivers = new Uint16Array(count);
const OUTSIDE = data.nodes.length;
/** The longest way of a datagram: how far back those begin that are under way at some time. */
let longest = 0;
data.datagrams.forEach((row, n) => {
  starts[n] = row[AT];
  ends[n] = row[END] ?? data.ended;
  classes[n] = CLASSES.indexOf(classOf(row));
  senders[n] = row[FROM] ?? OUTSIDE;
  receivers[n] = row[TO] ?? OUTSIDE;
  longest = Math.max(longest, ends[n] - starts[n]);
});

/** The first datagram that leaves at or after a time. */
function firstFrom(time) {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (starts[middle] < time) low = middle + 1;
    else high = middle;
  }
  return low;
}

// What is shown: a fate, a class and a node can be switched off.

const hidden = { fates: new Set(), classes: new Set(), nodes: new Set() };

function isShown(n) {
  return !hidden.fates.has(data.datagrams[n][FATE]) && !hidden.classes.has(CLASSES[classes[n]]) &&
    !hidden.nodes.has(senders[n]) && !hidden.nodes.has(receivers[n]);
}

/** Those shown that are under way at some time between two. */
function shownBetween(from, until) {
  const found = [];
  const isAllShown = Object.values(hidden).every((set) => set.size === 0);
  const last = firstFrom(until);
  for (let n = firstFrom(from - longest); n < last; n++) {
    if (ends[n] >= from && (isAllShown || isShown(n))) found.push(n);
  }
  return found;
}

/** When the last thing happens: what follows is silence. */
const lastActivity = (() => {
  let last = count > 0 ? starts[count - 1] : 0;
  for (const [at] of data.moments) last = Math.max(last, at);
  for (const fault of data.faults) last = Math.max(last, fault.from);
  for (const violation of data.violations) last = Math.max(last, violation.at);
  return last > 0 ? last : Math.max(data.ended, 1);
})();

// Words

const SECOND = 1e9;

/** A time in seconds, with as many digits as a step of this size needs. */
function seconds(time, step = 1e3) {
  const digits = Math.max(0, Math.min(9, Math.ceil(-Math.log10(step / SECOND) - 1e-9)));
  return (time / SECOND).toFixed(digits);
}

/** A span of time with a unit that suits it. */
function span(time) {
  const units = [[SECOND, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]];
  const [size, unit] = units.find(([size]) => time >= size) ?? units[3];
  return `${Number((time / size).toPrecision(4))} ${unit}`;
}

function nodeName(node, address) {
  return node === null ? address : data.nodes[node].name;
}

function packetName([kind, number]) {
  return number === null ? kind : `${kind} ${number}`;
}

/** What a datagram is, in a few words. */
function datagramName(n) {
  const row = data.datagrams[n];
  return row[PACKETS].map(packetName).join(" + ");
}

function fateWords(n) {
  const row = data.datagrams[n];
  const fate = data.fates[row[FATE]];
  if (row[END] === null) return fate.explanation;
  const took = row[END] === row[AT] ? "at once" : `after ${span(row[END] - row[AT])}`;
  return fate.class === "delivered" ? `delivered ${took}` : `${fate.explanation}, ${took}`;
}

function faultTime(fault) {
  if (fault.until === fault.from) return `${seconds(fault.from)} s`;
  const until = fault.until === null ? "the end" : `${seconds(fault.until)} s`;
  return `${seconds(fault.from)} s to ${until}`;
}
