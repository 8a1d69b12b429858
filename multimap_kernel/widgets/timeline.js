// The whole run on one axis: clocks, residual, motion, heart, carpet.

const MARGIN = { left: 104, right: 14, top: 6, bottom: 22 };
const GAP = 7;
const KIND = { matched: 0, extra: 1, jittered: 2, dummy: 3 };

/** The kernel's arrays, unpacked once. */
function unpackTimeline(stored) {
  return {
    marker: packed(Float64Array, stored.marker),
    kind: packed(Uint8Array, stored.kind),
    residual: packed(Float32Array, stored.residual),
    displacement: packed(Float32Array, stored.framewise_displacement),
    dvars: packed(Float32Array, stored.dvars),
    beat: packed(Float64Array, stored.beat),
    carpet: packed(Uint8Array, stored.carpet),
    rows: stored.rows ?? 0,
  };
}

/** Lanes from top to bottom: name, unit, height in pixels, and how each is drawn. */
function lanesOf(data) {
  const lanes = [
    { name: "EEG clock", unit: "drift (ms)", height: 52, draw: drawDrift },
    { name: "residual", unit: "(ms)", height: 84, draw: drawResidual },
  ];
  if (data.displacement.length) lanes.push({ name: "framewise", unit: "displ. (mm)", height: 40, draw: drawDisplacement });
  if (data.dvars.length) lanes.push({ name: "DVARS", unit: "(mean 1000)", height: 40, draw: drawDvars });
  if (data.beat.length > 1) lanes.push({ name: "heart", unit: "(beats/min)", height: 40, draw: drawHeart });
  if (data.carpet.length) lanes.push({ name: "carpet", unit: "BOLD (±2 sd)", height: 92, draw: drawCarpet });
  return lanes;
}

const timelineHeight = (lanes) =>
  lanes.reduce((sum, lane) => sum + lane.height + GAP, 0) + MARGIN.top + MARGIN.bottom - GAP;

function drawTimeline(canvas, view) {
  const { theme, clocks, data, preview } = view;
  const { context, width } = prepare(canvas, theme);
  const [begin, end] = view.span;
  let top = MARGIN.top;
  for (const lane of view.lanes) {
    const box = { left: MARGIN.left, top, width: width - MARGIN.left - MARGIN.right, height: lane.height };
    context.save();
    lane.panel = lane.draw(context, box, [begin, end], { theme, clocks, data, preview, name: lane.name, unit: lane.unit });
    context.restore();
    top += lane.height + GAP;
  }
  const last = view.lanes.at(-1).panel;
  bottomAxis(context, last, theme, "scanner time (s)");
  const whole = { ...last, top: MARGIN.top, height: last.top + last.height - MARGIN.top };
  const [x0, x1] = [whole.x(view.t0), whole.x(view.t1)].map((x) => clamp(x, whole.left, whole.left + whole.width));
  context.fillStyle = theme.pick;
  context.globalAlpha = 0.12;
  context.fillRect(x0, whole.top, Math.max(x1 - x0, 1), whole.height);
  context.globalAlpha = 1;
  for (const time of [view.t0, view.t1]) vertical(context, whole, time, theme.pick);
  if (view.picked !== null) vertical(context, whole, view.picked, theme.pick, { width: 1.5, dash: [4, 3] });
  view.timelinePanel = whole;
}

function drawDrift(context, box, time, { theme, clocks, data, name, unit }) {
  const slope = clocks.drift_ppm * 1e-3; // ms per s of scanner time
  const strayed = [...data.residual].map((residual, volume) => slope * volume * clocks.repetition_time + residual);
  const reached = [...strayed.filter(Number.isFinite), slope * time[0], slope * time[1], -0.05, 0.05];
  const [low, high] = reached.reduce(([least, most], value) => [Math.min(least, value), Math.max(most, value)], [0, 0]);
  const panel = frame(box, time, [low - 0.15 * (high - low), high + 0.15 * (high - low)]);
  leftAxis(context, panel, theme, name, unit);
  context.strokeStyle = theme.soft;
  context.lineWidth = 1.5;
  context.beginPath();
  context.moveTo(panel.x(time[0]), panel.y(slope * time[0]));
  context.lineTo(panel.x(time[1]), panel.y(slope * time[1]));
  context.stroke();
  context.fillStyle = theme.after;
  strayed.forEach((value, volume) => {
    if (Number.isFinite(value)) context.fillRect(panel.x(volume * clocks.repetition_time) - 1, panel.y(value) - 1, 2, 2);
  });
  return panel;
}

function drawResidual(context, box, time, { theme, clocks, data, preview, name, unit }) {
  const shown = preview?.residual ? packed(Float32Array, preview.residual) : new Float32Array(0);
  const sizes = [...data.residual, ...shown].filter(Number.isFinite).map(Math.abs);
  const reach = sizes.reduce((largest, size) => Math.max(largest, size), 0.05) * 1.5;
  const panel = frame(box, time, [-reach, reach]);
  const bottom = box.top + box.height;
  const tr = clocks.repetition_time;
  context.fillStyle = theme.line;
  context.globalAlpha = 0.35;
  for (const volume of clocks.uncovered) context.fillRect(panel.x(volume * tr), box.top, Math.max(panel.x(tr) - panel.x(0), 1), box.height);
  context.globalAlpha = 1;
  leftAxis(context, panel, theme, name, unit, ticks(-reach, reach, 6).filter((value) => Math.abs(value) < reach * 0.9));
  context.strokeStyle = theme.line;
  context.beginPath();
  context.moveTo(box.left, panel.y(0));
  context.lineTo(box.left + box.width, panel.y(0));
  context.stroke();
  for (const volume of clocks.missing) vertical(context, panel, volume * tr, theme.missing, { width: 2 });
  const dot = clamp((box.width / Math.max(data.residual.length, 1)) * 0.35, 1.2, 2.6);
  const kinds = new Map([...data.marker].map((at, k) => [Math.round(at / tr), data.kind[k]]));
  const dots = (values, size, paint) => values.forEach((residual, volume) => {
    if (!Number.isFinite(residual)) return;
    context.beginPath();
    context.arc(panel.x(volume * tr), clamp(panel.y(residual), box.top + 2, bottom - 2), size, 0, 7);
    paint(volume);
  });
  dots(data.residual, dot, (volume) => {
    context.fillStyle = kinds.get(volume) === KIND.jittered ? theme.jitter : theme.after;
    context.fill();
  });
  context.strokeStyle = theme.pick;
  dots(shown, dot + 1, () => context.stroke());
  data.marker.forEach((at, k) => {
    if (data.kind[k] !== KIND.extra && data.kind[k] !== KIND.dummy) return;
    const x = panel.x(at);
    context.fillStyle = data.kind[k] === KIND.extra ? theme.extra : theme.soft;
    context.beginPath();
    context.moveTo(x - 4, box.top + 1);
    context.lineTo(x + 4, box.top + 1);
    context.lineTo(x, box.top + 8);
    context.fill();
  });
  return panel;
}

function drawCourse(values, colour, tr, context, box, time, { theme, name, unit }, floor = 0) {
  const largest = values.reduce((most, value) => (value > most ? value : most), floor) || 1;
  const panel = frame(box, time, [floor, floor + (largest - floor) * 1.15]);
  leftAxis(context, panel, theme, name, unit);
  context.strokeStyle = colour;
  context.lineWidth = 1.2;
  polyline(context, values, (volume) => panel.x(volume * tr), panel.y);
  return panel;
}

function drawDisplacement(context, box, time, given) {
  const { data, theme, clocks } = given;
  const panel = drawCourse(data.displacement, theme.after, clocks.repetition_time, context, box, time, given);
  if (panel.range.y1 > 0.5) {
    context.strokeStyle = theme.soft;
    context.setLineDash([4, 3]);
    context.beginPath();
    context.moveTo(box.left, panel.y(0.5));
    context.lineTo(box.left + box.width, panel.y(0.5));
    context.stroke();
  }
  return panel;
}

function drawDvars(context, box, time, given) {
  return drawCourse(given.data.dvars, given.theme.after, given.clocks.repetition_time, context, box, time, given);
}

function drawHeart(context, box, time, { theme, data, name, unit }) {
  const rates = [...data.beat].slice(1).map((at, k) => 60 / (at - data.beat[k]));
  const sorted = [...rates].sort((one, other) => one - other);
  const middle = sorted[sorted.length >> 1];
  const panel = frame(box, time, [middle * 0.6, middle * 1.4]);
  leftAxis(context, panel, theme, name, unit, ticks(middle * 0.6, middle * 1.4, 3));
  context.strokeStyle = theme.beat;
  context.lineWidth = 1;
  context.beginPath();
  context.rect(box.left, box.top, box.width, box.height);
  context.clip();
  polyline(context, rates, (k) => panel.x(data.beat[k + 1]), panel.y);
  return panel;
}

function carpetPicture(data, volumes) {
  const image = new ImageData(volumes, data.rows);
  for (let row = 0; row < data.rows; row += 1) {
    for (let volume = 0; volume < volumes; volume += 1) {
      const grey = data.carpet[row * volumes + volume];
      image.data.set([grey, grey, grey, 255], 4 * ((data.rows - 1 - row) * volumes + volume));
    }
  }
  const picture = new OffscreenCanvas(volumes, data.rows);
  picture.getContext("2d", IN_MEMORY).putImageData(image, 0, 0);
  return picture;
}

function drawCarpet(context, box, time, { theme, clocks, data, name, unit }) {
  const panel = frame(box, time, [0, 1]);
  const volumes = data.carpet.length / data.rows;
  data.picture ??= carpetPicture(data, volumes);
  const x = panel.x(0);
  context.drawImage(data.picture, x, box.top, panel.x(volumes * clocks.repetition_time) - x, box.height);
  leftAxis(context, panel, theme, name, unit, []);
  return panel;
}
