// The charts of a training run. Each takes a canvas and the view, draws, and gives what it shows in words; when there is
// nothing to draw yet the canvas says so.

const HUES = ["after", "missing", "beat", "extra", "jitter", "soft"];
const hue = (theme, number) => theme[HUES[number % HUES.length]];
const known = (values) => values.filter((value) => Number.isFinite(value));
const number = (value, digits = 3) => (Number.isFinite(value) ? value.toFixed(digits).replace("-", "−") : "–");
const signed = (value, digits = 3) => (Number.isFinite(value) && value >= 0 ? `+${number(value, digits)}` : number(value, digits));

/** Title above, units below; gives the panel inside, or nothing when the data are not there. */
function begin(canvas, view, title, { x, y, empty, left = 46, bottom = 34, square = false }) {
  const { theme } = view;
  const { context, width, height } = prepare(canvas, theme);
  drawText(context, title, 0, 8, { colour: theme.ink, font: theme.font, weight: "600", size: 12 });
  if (empty) {
    drawText(context, empty, width / 2, height / 2, { colour: theme.soft, align: "center", font: theme.font });
    return null;
  }
  const panel = frame({ left, top: 20, width: (square ? height - 20 - bottom : width - left - 16), height: height - 20 - bottom }, x.range, y.range);
  context.strokeStyle = theme.line;
  context.strokeRect(panel.left + 0.5, panel.top + 0.5, panel.width - 1, panel.height - 1);
  for (const value of y.marks ?? ticks(...y.range, 4)) {
    drawText(context, written(value), left - 5, panel.y(value), { colour: theme.soft, align: "right", font: theme.font, size: 10 });
  }
  if (y.name) {
    context.save();
    context.translate(8, panel.top + panel.height / 2);
    context.rotate(-Math.PI / 2);
    drawText(context, y.name, 0, 0, { colour: theme.soft, align: "center", font: theme.font, size: 10 });
    context.restore();
  }
  for (const value of x.marks ?? ticks(...x.range, 6)) {
    drawText(context, written(value), panel.x(value), panel.top + panel.height + 10, { colour: theme.soft, align: "center", font: theme.font, size: 10 });
  }
  drawText(context, x.name, panel.left + panel.width / 2, panel.top + panel.height + (x.marks?.length === 0 ? 11 : 25), { colour: theme.soft, align: "center", font: theme.font, size: 10 });
  return { context, panel, theme };
}

/** Names in their colours, from the right end of the title line. */
function keyed(context, canvas, theme, entries) {
  let right = canvas.getBoundingClientRect().width - 16;
  for (const [name, colour] of [...entries].reverse()) {
    drawText(context, name, right, 8, { colour, align: "right", font: theme.font, size: 11 });
    context.font = `11px ${theme.font}`;
    right -= context.measureText(name).width + 12;
  }
}

function around(values, { zero = true, room = 0.08 } = {}) {
  const all = zero ? [0, ...values] : values;
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const margin = (high - low || 0.1) * room;
  return [low - margin, high + margin];
}

function line(context, points, panel, colour, width = 1.6) {
  context.strokeStyle = colour;
  context.lineWidth = width;
  polyline(context, points.map(([, y]) => y), (k) => panel.x(points[k][0]), panel.y);
}

function dots(context, points, panel, colour, size = 3) {
  context.fillStyle = colour;
  for (const [x, y] of points.filter(([, value]) => Number.isFinite(value))) {
    context.beginPath();
    context.arc(panel.x(x), panel.y(y), size, 0, 2 * Math.PI);
    context.fill();
  }
}

function drawScores(canvas, view) {
  const { folds } = view;
  const now = folds.map((fold) => fold.so_far);
  const total = folds[0]?.folds ?? 1;
  const values = known(now.flatMap((one) => [one.joint, one.ridge, ...one.null_band]));
  const made = begin(canvas, view, "Agreement so far", {
    x: { range: [0.5, total + 0.5], name: "folds predicted", marks: Array.from({ length: total }, (_, k) => k + 1) },
    y: { range: around(values), name: "mean r over regions" },
    empty: folds.length ? "" : "after the first fold",
  });
  if (!made) return "";
  const { context, panel, theme } = made;
  const band = now.map(({ null_band: [low, , high] }, k) => [k + 1, low, high]).filter(([, low]) => Number.isFinite(low));
  context.fillStyle = theme.null;
  context.globalAlpha = 0.4;
  for (const [x, low, high] of band) context.fillRect(panel.x(x - 0.4), panel.y(high), panel.x(x + 0.4) - panel.x(x - 0.4), panel.y(low) - panel.y(high));
  context.globalAlpha = 1;
  for (const [name, colour] of [["ridge", theme.ridge], ["joint", theme.joint]]) {
    const points = now.map((one, k) => [k + 1, one[name]]);
    line(context, points, panel, colour);
    dots(context, points, panel, colour);
  }
  keyed(context, canvas, theme, [["joint", theme.joint], ["ridge", theme.ridge], ["null 95 %", theme.soft]]);
  const said = ({ joint, ridge, null_band: [low, , high] }, k) => `after ${k + 1} of ${total} folds joint r ${number(joint)}, ridge r ${number(ridge)}, null ${number(low)} to ${number(high)}`;
  return now.map(said).join("; ");
}

function drawRegions(canvas, view) {
  const so = view.folds.at(-1)?.so_far;
  const order = so ? so.region_joint.map((_, k) => k).sort((a, b) => (so.region_joint[b] ?? -2) - (so.region_joint[a] ?? -2)) : [];
  view.order = order;
  const values = so ? known([...so.region_joint, ...so.region_ridge, so.threshold_fwe]) : [];
  const passed = so ? so.region_p_fwe.filter((p) => p !== null && p < 0.05).length : 0;
  const made = begin(canvas, view, so ? `Regions: ${passed} of ${order.length} pass` : "Regions", {
    x: { range: [-0.5, order.length - 0.5], name: "regions, strongest first", marks: [] },
    y: { range: around(values), name: "r" },
    empty: so ? "" : "after the first fold",
  });
  view.regionPanel = made?.panel;
  if (!made) return "";
  const { context, panel, theme } = made;
  const wide = Math.max(1, (panel.width / order.length) * 0.7);
  order.forEach((region, place) => {
    const [r, ridge] = [so.region_joint[region], so.region_ridge[region]];
    context.fillStyle = so.region_p_fwe[region] !== null && so.region_p_fwe[region] < 0.05 ? theme.joint : theme.null;
    if (Number.isFinite(r)) context.fillRect(panel.x(place) - wide / 2, Math.min(panel.y(r), panel.y(0)), wide, Math.abs(panel.y(r) - panel.y(0)));
    context.fillStyle = theme.ridge;
    if (Number.isFinite(ridge)) context.fillRect(panel.x(place) - wide / 2, panel.y(ridge) - 1, wide, 2);
    if (place === view.region) {
      context.strokeStyle = theme.pick;
      context.strokeRect(panel.x(place) - wide / 2 - 2, panel.top + 2, wide + 4, panel.height - 4);
    }
  });
  const entries = [["joint", theme.joint], ["ridge", theme.ridge]];
  if (Number.isFinite(so.threshold_fwe)) {
    context.strokeStyle = theme.ink;
    context.setLineDash([4, 3]);
    context.beginPath();
    context.moveTo(panel.left, panel.y(so.threshold_fwe));
    context.lineTo(panel.left + panel.width, panel.y(so.threshold_fwe));
    context.stroke();
    context.setLineDash([]);
    entries.push([`FWE .05: r ${number(so.threshold_fwe, 2)}`, theme.ink]);
  }
  keyed(context, canvas, theme, entries);
  return `${passed} of ${order.length} regions pass r ${number(so.threshold_fwe)}; joint r ${order.map((region) => number(so.region_joint[region])).join(", ")}`;
}

function drawRetrieval(canvas, view) {
  const fold = view.folds[view.fold];
  const table = fold?.retrieval.similarity ?? [];
  const made = begin(canvas, view, "Which moment is it?", {
    x: { range: [-0.5, table.length - 0.5], name: "moment of BOLD", marks: [] },
    y: { range: [table.length - 0.5, -0.5], name: "moment of EEG", marks: [] },
    empty: table.length ? "" : fold ? "no whole window in this fold" : "after the first fold",
    left: 24,
    square: true,
  });
  if (!made) return "";
  const { context, panel, theme } = made;
  const flat = known(table.flat());
  const [low, high] = [Math.min(...flat), Math.max(...flat)];
  const side = Math.min(panel.width / table.length, panel.height / table.length);
  const x0 = panel.left + 1;
  context.fillStyle = theme.joint;
  table.forEach((row, y) => row.forEach((value, x) => {
    context.globalAlpha = Number.isFinite(value) ? (value - low) / (high - low || 1) : 0;
    context.fillRect(x0 + x * side, panel.top + 1 + y * side, Math.ceil(side), Math.ceil(side));
  }));
  context.globalAlpha = 1;
  context.strokeStyle = theme.pick;
  table.forEach((row, y) => {
    if (row.indexOf(Math.max(...row)) === y) context.strokeRect(x0 + y * side + 0.5, panel.top + y * side + 1.5, side - 1, side - 1);
  });
  const { top_one: found, ridge, chance } = fold.retrieval;
  const words = [["found by the embedding", number(found, 2), theme.joint], ["by the ridge", number(ridge, 2), theme.ridge], ["by chance", number(chance, 2), theme.soft]];
  const left = x0 + side * table.length + 16;
  words.forEach(([name, value, colour], k) => {
    drawText(context, value, left, panel.top + 16 + 40 * k, { colour, font: theme.font, size: 17, weight: "600" });
    drawText(context, name, left, panel.top + 32 + 40 * k, { colour: theme.soft, font: theme.font });
  });
  drawText(context, "full colour: most alike · framed: found", left, panel.top + panel.height - 4, { colour: theme.soft, font: theme.font, size: 10 });
  return words.map(([name, value]) => `${value} ${name}`).join(", ");
}

function drawLags(canvas, view) {
  const lags = view.plan.lags_s ?? [];
  const heads = Object.keys(view.folds[0]?.lag_weight ?? {});
  const mean = (head, k) => view.folds.reduce((sum, fold) => sum + fold.lag_weight[head][k], 0) / view.folds.length;
  const curves = heads.map((head) => lags.map((lag, k) => [lag, mean(head, k)]));
  const made = begin(canvas, view, "How long before the volume", {
    x: { range: around(lags, { zero: false, room: 0.04 }), name: "EEG before the volume (s)" },
    y: { range: around(curves.flat().map(([, weight]) => weight)), name: "weight" },
    empty: heads.length ? "" : "after the first fold",
  });
  if (!made) return "";
  curves.forEach((points, k) => { line(made.context, points, made.panel, hue(made.theme, k)); dots(made.context, points, made.panel, hue(made.theme, k), 2); });
  keyed(made.context, canvas, made.theme, heads.map((head, k) => [`peak near ${head}`, hue(made.theme, k)]));
  return curves.map((points, k) => `weights of the head near ${heads[k]}: ${points.map(([lag, weight]) => `${number(weight)} at ${written(lag)} s`).join(", ")}`).join("; ");
}

function drawEmbedding(canvas, view) {
  const points = view.folds[view.fold]?.embedding;
  const places = points ? [...points.eeg, ...points.bold] : [];
  const axis = (k) => around(known(places.map((place) => place[k])), { room: 0.06 });
  const made = begin(canvas, view, `Shared space by ${view.colour}`, {
    x: { range: axis(0), name: "first direction" },
    y: { range: axis(1), name: "second direction" },
    empty: places.length ? "" : "after the first fold",
  });
  if (!made) return "";
  const { context, panel, theme } = made;
  const names = [...new Set(points[view.colour])].sort();
  for (const [kind, shape] of [["bold", 0], ["eeg", 1]]) {
    points[kind].forEach(([x, y], k) => {
      context.strokeStyle = hue(theme, names.indexOf(points[view.colour][k]));
      context.fillStyle = context.strokeStyle;
      context.beginPath();
      if (shape) context.arc(panel.x(x), panel.y(y), 3, 0, 2 * Math.PI);
      else context.rect(panel.x(x) - 3, panel.y(y) - 3, 6, 6);
      if (shape) context.fill();
      else context.stroke();
    });
  }
  const short = (name) => (name ? String(name).replace(/^sub-/, "") : "rest");
  keyed(context, canvas, theme, [...names.slice(0, 4).map((name, k) => [short(name), hue(theme, k)]), ["● EEG  □ BOLD", theme.soft]]);
  return `${points.eeg.length} moments of ${names.map(short).join(", ")}`;
}

function drawLosses(canvas, view) {
  const { losses = {}, job, step, steps, held_out: held = {} } = view.progress;
  const names = Object.keys(losses);
  const values = known(Object.values(losses).flat().map(([, value]) => value));
  const made = begin(canvas, view, "Losses", {
    x: { range: [0, 100], name: `work done (%)${view.state.state === "running" ? ` · now ${job}, step ${step} of ${steps}` : ""}` },
    y: { range: around(values), name: "loss" },
    empty: names.length ? "" : "when learning begins",
  });
  if (!made) return "";
  names.forEach((name, k) => {
    const points = losses[name].map(([part, value]) => [100 * part, value]);
    line(made.context, points, made.panel, hue(made.theme, k), 1.2);
    dots(made.context, points, made.panel, hue(made.theme, k), 1.5);
  });
  const outside = Object.entries(held).map(([name, value]) => [`${name} ${number(value, 2)}`, made.theme.soft]);
  keyed(made.context, canvas, made.theme, [...names.map((name, k) => [name.replaceAll("_", " "), hue(made.theme, k)]), ...outside]);
  return `${job}, step ${step} of ${steps}: ${Object.entries(view.progress.losses).map(([name, points]) => `${name} ${number(points.at(-1)[1])}`).join(", ")}`;
}

function drawSplit(canvas, view) {
  const split = view.plan.split;
  const runs = view.plan.runs ?? [];
  const chosen = split?.folds[view.fold] ?? split?.folds[0];
  const last = Math.max(1, ...(split?.folds ?? []).flatMap((fold) => fold.test.map(([, , stop]) => stop)));
  const made = begin(canvas, view, split ? `What is left out: by ${split.kind}, gap ${written(split.gap_s)} s` : "What is left out", {
    x: { range: [-0.5, last + 0.5], name: "volume" },
    y: { range: [runs.length - 0.5, -0.5], marks: [] },
    empty: split ? "" : "when learning begins",
    left: 150,
  });
  if (!made) return "";
  const { context, panel, theme } = made;
  const tall = Math.min(16, (panel.height / runs.length) * 0.7);
  const bar = ([run, first, stop], colour, part) => {
    context.fillStyle = colour;
    context.fillRect(panel.x(first - 0.5), panel.y(runs.indexOf(run)) - (tall * part) / 2, Math.max(1, panel.x(stop + 0.5) - panel.x(first - 0.5)), tall * part);
  };
  runs.forEach((run, k) => drawText(context, run, panel.left - 6, panel.y(k), { colour: theme.ink, align: "right", font: theme.font, size: 10 }));
  for (const segment of chosen.train) bar(segment, theme.null, 0.5);
  for (const segment of chosen.test) bar(segment, theme.joint, 1);
  const title = `fold ${split.folds.indexOf(chosen) + 1} of ${split.folds.length}`;
  keyed(context, canvas, theme, [[`${title}: predicted`, theme.joint], ["learned from", theme.soft]]);
  const said = (segments) => segments.map(([run, first, stop]) => `${run} ${first} to ${stop}`).join(", ");
  return `by ${split.kind}, ${title}: predicted volumes of ${said(chosen.test)}; learned from ${said(chosen.train)}`;
}
