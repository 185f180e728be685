"use strict";
// Every text comes from elsewhere: it becomes text of a node, and never markup.
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const WINDOW_S = 600;
let points = [], failures = [], last = null, heard = 0, sorted = 1, down = true;

function put(node, text) {
  if (node.textContent !== String(text)) node.textContent = text;
}
function make(name, text, kind) {
  const node = document.createElement(name);
  if (text !== undefined) node.textContent = text;
  if (kind) node.className = kind;
  return node;
}
function number(n) {
  return n >= 1e4 ? new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(n)
    : String(Math.round(n * 100) / 100);
}
function time(s) {
  if (s === null || s === undefined) return "–";
  return s < 1 ? Math.round(s * 1000) + " ms" : s < 10 ? s.toFixed(2) + " s" : s.toFixed(0) + " s";
}
function span(s) {
  if (s < 90) return Math.round(s) + " s";
  if (s < 5400) return Math.round(s / 60) + " min";
  return s < 172800 ? Math.round(s / 3600) + " h" : Math.round(s / 86400) + " d";
}
function clock(at) { return new Date(at * 1000).toLocaleTimeString(); }

// Nodes that stay are changed in place: a screen reader and a selection keep their place.
function rows(parent, count, create) {
  while (parent.children.length > count) parent.lastElementChild.remove();
  while (parent.children.length < count) parent.append(create());
  return [...parent.children];
}
function tiles(id, found) {
  rows($(id), found.length, () => { const d = make("div"); d.append(make("dt"), make("dd")); return d; })
    .forEach((div, i) => {
      put(div.firstChild, found[i][0]);
      put(div.lastChild, found[i][1]);
      div.lastChild.className = found[i][2] ? "bad" : "";
    });
}
function table(body, lines, numeric) {
  rows(body, lines.length, () => make("tr")).forEach((tr, i) => {
    rows(tr, lines[i].length, () => make("td")).forEach((td, j) => {
      put(td, lines[i][j]);
      td.className = numeric.includes(j) ? "n" : "";
    });
  });
}

function state() {
  const late = last && (Date.now() - heard) / 1000;
  const stale = !last || late > 5;
  document.body.classList.toggle("stale", Boolean(last) && stale);
  let kind = "wait", text = "waiting for data";
  if (last && stale) text = "stale: no data since " + clock(heard / 1000) + "; trying again";
  else if (last) {
    const ill = last.health.parts.filter((part) => !part.ready);
    kind = !last.health.ready || last.health.fault ? "bad" : ill.length ? "wait" : "good";
    text = last.health.fault ? "not well: " + last.health.fault
      : kind === "good" ? "well: ready for messages"
        : (last.health.ready ? "ready, but not well: " : "not ready: ") + ill.map((part) => part.name).join(", ");
  }
  // The live region speaks when its text changes, and only then.
  put($("state"), text);
  $("state").dataset.kind = kind;
  document.title = (kind === "good" ? "" : kind === "bad" ? "✗ " : "… ") + "natsconnector";
}

const PLOTS = [
  ["calls a second", [["calls", 1, ""]], number],
  ["failures a second", [["failures", 2, "bad"]], number],
  ["duration", [["p50", 3, ""], ["p95 (dashed)", 4, "second"]], time],
].map(([title, lines, unit]) => {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 600 100");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  const paths = lines.map(([, , kind]) => {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", kind);
    svg.append(path);
    return path;
  });
  const caption = make("figcaption"), figure = make("figure");
  figure.append(caption, svg);
  return { title, lines, unit, svg, paths, caption, figure };
});

function plot(now) {
  for (const { title, lines, unit, svg, paths, caption } of PLOTS) {
    const top = Math.max(...points.flatMap((point) => lines.map(([, i]) => point[i] || 0)), 0);
    lines.forEach(([, i], n) => {
      let path = "", before = null;
      for (const point of points) {
        const x = 600 - (now - point[0]) * 600 / WINDOW_S, y = 97 - 92 * point[i] / (top || 1);
        // A step without a call has no duration, and the time while nothing ran no point: the line has a gap.
        if (point[i] !== null) {
          const joined = before !== null && point[0] - before < 12;
          path += (joined ? "L" : "M" + (x - 4).toFixed(1) + " " + y.toFixed(1) + "L") + x.toFixed(1) + " " + y.toFixed(1);
          before = point[0];
        } else before = null;
      }
      paths[n].setAttribute("d", path);
    });
    const newest = points[points.length - 1];
    const said = title + ": " + (newest ? lines.map(([name, i]) =>
      (lines.length > 1 ? name + " " : "") + (newest[i] === null ? "–" : unit(newest[i]))).join(", ")
      + "; top " + unit(top) : "nothing yet");
    put(caption, said);
    svg.setAttribute("aria-label", said);
  }
}

function functions() {
  const why = new Map(failures.map((failure) => [failure[2], clock(failure[1]) + " " + failure[4]]));
  const found = last.functions.map((row) => [...row, why.get(row[0]) || why.get(row[0].replace(/\.[^.]*$/, "")) || ""]);
  found.sort((a, b) => {
    const x = a[sorted] ?? -1, y = b[sorted] ?? -1;
    return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1) || (a[0] < b[0] ? -1 : 1);
  });
  table($("functions").tBodies[0],
    found.map((row) => [row[0], number(row[1]), number(row[2]), time(row[3]), time(row[4]), row[5]]), [1, 2, 3, 4]);
  put($("more"), last.functions_left_off ? "the busiest " + found.length + "; " + last.functions_left_off + " more are not shown"
    : found.length ? "" : "no call has ended yet");
}

function show() {
  const { health, nats, gateway, work, sums, streams } = last;
  put($("version"), last.version);
  rows($("parts"), health.parts.length, () => make("li")).forEach((li, i) => {
    const part = health.parts[i];
    li.dataset.kind = part.ready ? "good" : part.needed ? "bad" : "wait";
    put(li, part.name + (part.ready ? ": well for " : ": not well for ") + span(part.for_s)
      + (part.reason ? ": " + part.reason : ""));
  });
  tiles("now", [
    ["NATS", nats.up ? "connected" : "away", !nats.up],
    ["gateway", gateway.up ? "up" : "away", !gateway.up],
    ["in flight", work.inflight + " of " + work.limit, work.inflight >= work.limit],
    ["backlog", number(work.pending) + " of " + number(work.pending_limit), work.pending >= work.pending_limit],
    ["oldest waits", time(work.oldest_s)],
    ["wait for a retry", number(sums.waiting)],
    ...streams.flatMap((each) => [
      [each.name + ": pending", number(each.pending)],
      [each.name + ": unacknowledged", number(each.unacknowledged)],
      [each.name + ": redelivered", number(each.redelivered)],
    ]),
  ]);
  tiles("sums", [
    ["received", number(sums.received)], ["succeeded", number(sums.succeeded)],
    ["failed", number(sums.failed), sums.failed], ["refused", number(sums.refused), sums.refused],
    ["shed", number(sums.shed), sums.shed], ["retries", number(sums.retries)],
    ["dead letters", number(sums.dead_letters), sums.dead_letters],
    ["not stored", number(sums.dead_letters_failed), sums.dead_letters_failed],
    ["given up", number(sums.given_up), sums.given_up], ["answers lost", number(sums.answers_lost), sums.answers_lost],
    ["NATS reconnects", number(nats.reconnects)], ["gateway outages", number(gateway.outages)],
  ]);
  plot(last.at);
  functions();
  table($("failures").tBodies[0],
    failures.length ? [...failures].reverse().map((f) => [clock(f[1]), f[2] || "–", f[3], f[4]]) : [["none", "", "", ""]], [2]);
}

function take(event) {
  last = JSON.parse(event.data);
  heard = Date.now();
  if (last.whole) points = [], failures = [];
  // Who has just come is told again what was new within this second.
  points = points.concat(last.points.filter((p) => !points.length || p[0] > points[points.length - 1][0]))
    .filter((p) => last.at - p[0] <= WINDOW_S);
  failures = failures.concat(last.failures.filter((f) => !failures.length || f[0] > failures[failures.length - 1][0])).slice(-100);
  state();
  show();
}

function listen() {
  const source = new EventSource("events");
  source.onmessage = take;
  // It comes back by itself, except after an answer that is no stream: one of a proxy, or that there is no room.
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 5000);
  };
}

$("plots").append(...PLOTS.map((each) => each.figure));
[...$("functions").tHead.rows[0].cells].forEach((cell, i) => {
  cell.firstElementChild.onclick = () => {
    down = i === sorted ? !down : i > 0 && i < 5;
    sorted = i;
    for (const each of cell.parentNode.cells) each.removeAttribute("aria-sort");
    cell.setAttribute("aria-sort", down ? "descending" : "ascending");
    if (last) functions();
  };
});
setInterval(state, 1000);
listen();
