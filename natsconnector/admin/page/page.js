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
function clock(at) {
  const date = new Date(at * 1000);
  return Date.now() - date < 864e5 ? date.toLocaleTimeString() : date.toLocaleString();
}

// Nodes that stay are changed in place: a screen reader and a selection keep their place.
function rows(parent, count, create) {
  while (parent.children.length > count) parent.lastElementChild.remove();
  while (parent.children.length < count) parent.append(create());
  return [...parent.children];
}
// A tile is a name, a text, whether that is bad, and how full something is, if it is about that: from 0 to 1.
function tiles(id, found) {
  rows($(id), found.length, () => {
    const div = make("div"), bar = make("dd", "", "bar");
    bar.append(make("i"));
    bar.setAttribute("aria-hidden", "true");
    div.append(make("dt"), make("dd"), bar);
    return div;
  }).forEach((div, i) => {
    const [name, text, bad, full] = found[i], bar = div.lastChild;
    put(div.firstChild, name);
    put(div.children[1], text);
    div.className = bad ? "bad" : "";
    bar.hidden = full === undefined;
    bar.firstChild.style.width = Math.min(100, 100 * (full || 0)) + "%";
  });
}
function table(id, lines, numeric) {
  const heads = [...$(id).tHead.rows[0].cells].map((cell) => cell.textContent);
  rows($(id).tBodies[0], lines.length, () => { const tr = make("tr"); tr.setAttribute("role", "row"); return tr; })
    .forEach((tr, i) => {
      rows(tr, lines[i].length, () => { const td = make("td"); td.setAttribute("role", "cell"); return td; })
        .forEach((td, j) => {
          put(td, lines[i][j]);
          td.className = (numeric.includes(j) ? "n" : "") + (id === "functions" && j === 2 && lines[i][j] !== "0" ? " bad" : "");
          // A phone shows the name beside it.
          if (heads[j] !== "function" && heads[j] !== "reason" && heads[j] !== "time") td.dataset.name = heads[j];
        });
    });
}

function state() {
  const stale = Boolean(last) && Date.now() - heard > 5000;
  document.body.classList.toggle("stale", stale);
  let kind = "wait", text = "waiting for data", advice = [];
  if (stale) {
    const since = clock(heard / 1000);
    text = "stale: no data since " + since;
    advice = [["The connector has stopped, hangs, or cannot be reached: what is below is of " + since + ".",
      "Look whether its process runs, and at the last lines of its log. This page tries again by itself."]];
  } else if (last) {
    advice = last.advice;
    const bad = !last.health.ready || last.health.fault;
    kind = bad ? "bad" : advice.length ? "wait" : "good";
    text = bad ? "not ready: no messages come in" : advice.length ? "ready, but not all is well" : "well: ready for messages";
  }
  // The live region speaks when its text changes, and only then.
  put($("state"), text);
  $("state").dataset.kind = kind;
  document.title = (kind === "good" ? "" : kind === "bad" ? "✗ " : "… ") + "natsconnector";
  $("todo").hidden = !advice.length;
  rows($("advice"), advice.length, () => { const li = make("li"); li.append(make("strong"), " ", make("span")); return li; })
    .forEach((li, i) => {
      put(li.firstChild, advice[i][0]);
      put(li.lastChild, advice[i][1]);
    });
}

// A title, lines (which number of a point, and how it is drawn), and how a value is written.
const PLOTS = [
  ["calls a second", [[1, ""]], number],
  ["failures a second", [[2, "bad"]], number],
  ["duration: p50, p95 dashed", [[3, ""], [4, "second"]], time],
  ["messages that wait", [[5, ""]], number],
].map(([title, lines, unit]) => {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 600 100");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  const draw = (kind) => {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", kind);
    svg.append(path);
    return path;
  };
  const area = lines.length === 1 ? draw("area " + lines[0][1]) : null;
  const paths = lines.map(([, kind]) => draw(kind));
  const caption = make("figcaption", title), value = make("b"), figure = make("figure"), axis = make("div", undefined, "axis");
  const top = make("span");
  caption.append(value);
  axis.append(make("span", "10 min ago"), top, make("span", "now"));
  figure.append(caption, svg, axis);
  return { title, lines, unit, svg, area, paths, value, top, figure };
});

function plot(now) {
  for (const { title, lines, unit, svg, area, paths, value, top } of PLOTS) {
    const most = Math.max(...points.flatMap((point) => lines.map(([i]) => point[i] || 0)), 0);
    lines.forEach(([i], n) => {
      let path = "", filled = "", from = 0, before = null, x = 0;
      const close = () => { if (before !== null) filled += "L" + x.toFixed(1) + " 100L" + from + " 100Z"; };
      for (const point of points) {
        // A step without a call has no duration, and the time while nothing ran no point: the line has a gap.
        const joined = before !== null && point[0] - before < 12;
        if (!joined) close();
        before = null;
        if (point[i] === null) continue;
        x = 600 - (now - point[0]) * 600 / WINDOW_S;
        const y = (97 - 92 * point[i] / (most || 1)).toFixed(1);
        if (!joined) from = (x - 4).toFixed(1);
        const step = (joined ? "L" : "M" + from + " " + y + "L") + x.toFixed(1) + " " + y;
        path += step;
        filled += step;
        before = point[0];
      }
      close();
      paths[n].setAttribute("d", path);
      if (area) area.setAttribute("d", filled);
    });
    const newest = points[points.length - 1];
    const said = newest ? lines.map(([i]) => newest[i] === null ? "–" : unit(newest[i])).join(" / ") : "–";
    put(value, said);
    put(top, most ? "highest " + unit(most) : "");
    svg.setAttribute("aria-label", title + ": " + said + " now" + (most ? ", " + top.textContent : ""));
  }
}

function functions() {
  const found = [...last.functions].sort((a, b) => {
    const x = a[sorted] ?? -1, y = b[sorted] ?? -1;
    return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1) || (a[0] < b[0] ? -1 : 1);
  });
  table("functions", found.map((row) => [row[0], number(row[1]), number(row[2]), time(row[3]), time(row[4]), number(row[5]),
    row[6] === null ? "" : clock(row[6]) + " " + row[7]]), [1, 2, 3, 4, 5]);
  put($("more"), last.functions_left_off ? last.functions_left_off + " more are not shown: those that fail, and the busiest, are"
    : found.length ? "" : "no call has ended yet");
}

function show() {
  const { health, work, sums, streams } = last;
  put($("version"), last.version);
  rows($("parts"), health.parts.length, () => { const li = make("li"); li.append(make("b"), make("span")); return li; })
    .forEach((li, i) => {
      const part = health.parts[i];
      li.dataset.kind = part.ready ? "good" : part.needed ? "bad" : "wait";
      put(li.firstChild, part.name);
      put(li.lastChild, (part.ready ? " well for " : " not well for ") + span(part.for_s)
        + (part.reason ? ": " + part.reason : ""));
    });
  tiles("now", [
    ["in flight", work.inflight + " of " + work.limit, work.inflight >= work.limit, work.inflight / work.limit],
    ["backlog", number(work.pending) + " of " + number(work.pending_limit),
      work.pending >= work.pending_limit, work.pending / (work.pending_limit || 1)],
    ["the oldest waits", work.pending ? time(work.oldest_s) : "–"],
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
    ["NATS reconnects", number(sums.reconnects)], ["gateway outages", number(sums.outages)],
  ]);
  plot(last.at);
  functions();
  table("failures", [...failures].reverse().map((f) => [clock(f[1]), f[2] || "–", f[3], f[4]]), [2]);
  $("none").hidden = failures.length > 0;
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
    down = i === sorted ? !down : i > 0;
    sorted = i;
    for (const each of cell.parentNode.cells) each.removeAttribute("aria-sort");
    cell.setAttribute("aria-sort", down ? "descending" : "ascending");
    if (last) functions();
  };
});
setInterval(state, 1000);
listen();
