// The EEG of a window: before cleaning in grey, after it in colour; below it one channel's average volume and spectrum.

const MODES = ["both", "before", "after"];
const LESS = 5; // other channels than EEG are that much larger

function unpackRecording(stored) {
  return stored && { ...stored, values: packed(Int16Array, stored.values) };
}

function drawTraces(canvas, view) {
  const { theme, facts, clocks } = view;
  const { context, width, height } = prepare(canvas, theme);
  const box = { left: MARGIN.left, top: 18, width: width - MARGIN.left - MARGIN.right, height: height - 18 - MARGIN.bottom };
  const panel = frame(box, [view.t0, view.t1], [facts.channels.length, 0]);
  panel.y = (row) => box.top + (row / facts.channels.length) * box.height;
  const row = box.height / facts.channels.length;
  context.strokeStyle = theme.line;
  context.strokeRect(box.left + 0.5, box.top + 0.5, box.width - 1, box.height - 1);
  drawSpans(context, panel, view);
  drawLabels(context, panel, row, view);
  context.save();
  context.beginPath();
  context.rect(box.left, box.top, box.width, box.height);
  context.clip();
  drawVolumes(context, panel, view);
  if (view.mode !== "after") drawRecording(context, panel, row, view.window.before, theme.before, view.mode === "both" ? 0.45 : 1, view);
  if (view.mode !== "before") drawRecording(context, panel, row, view.window.after, theme.after, 1, view);
  for (const at of view.data.beat) if (at >= view.t0 && at <= view.t1) drawBeat(context, panel, at, theme);
  if (view.picked !== null) vertical(context, panel, view.picked, theme.pick, { width: 1.5, dash: [4, 3] });
  context.restore();
  bottomAxis(context, panel, theme, "scanner time (s)");
  drawScale(context, panel, row, view);
  if (clocks.fault) drawText(context, "no alignment: times are those of the EEG clock", box.left + 6, box.top + 12, { colour: theme.missing, font: theme.font });
  view.tracesPanel = panel;
}

function drawSpans(context, panel, view) {
  const spans = view.clocks.bad_spans.map((span) => [span, view.theme.missing]);
  if (view.selection) spans.push([view.selection, view.theme.pick]);
  context.globalAlpha = 0.16;
  for (const [[begin, end], colour] of spans) {
    const x0 = clamp(panel.x(Math.min(begin, end)), panel.left, panel.left + panel.width);
    const x1 = clamp(panel.x(Math.max(begin, end)), panel.left, panel.left + panel.width);
    context.fillStyle = colour;
    context.fillRect(x0, panel.top, x1 - x0, panel.height);
  }
  context.globalAlpha = 1;
}

function drawLabels(context, panel, row, view) {
  const every = Math.ceil(11 / row); // names stay apart, the chosen one is always there
  view.facts.channels.forEach((channel, k) => {
    const chosen = channel === view.channel;
    if (k % every && !chosen) return;
    const bad = view.clocks.bad_channels.includes(channel);
    const y = panel.top + row * (k + 0.5);
    if (chosen) {
      context.fillStyle = view.theme.paper;
      context.fillRect(0, y - 7, panel.left - 2, 14);
      context.fillStyle = view.theme.pick;
      context.fillRect(panel.left - 5, panel.top + row * k, 3, Math.max(row, 3));
    }
    const text = bad ? `${channel} (bad)` : channel;
    const colour = bad ? view.theme.missing : chosen ? view.theme.ink : view.theme.soft;
    drawText(context, text, panel.left - 9, y, { colour, align: "right", font: view.theme.font, weight: chosen ? "600" : "", size: 10 });
  });
}

/** Start of each volume and what became of its marker. */
function drawVolumes(context, panel, view) {
  const { theme, clocks, data } = view;
  const tr = clocks.repetition_time;
  const shown = (view.t1 - view.t0) / tr;
  if (shown < 120) {
    context.globalAlpha = shown < 30 ? 1 : 0.5;
    for (let volume = Math.max(0, Math.ceil(view.t0 / tr)); volume * tr <= view.t1 && volume < view.facts.volumes; volume += 1) {
      const missing = clocks.missing.includes(volume);
      vertical(context, panel, volume * tr, missing ? theme.missing : theme.line, missing ? { width: 2, dash: [6, 3] } : {});
    }
    context.globalAlpha = 1;
  }
  const colours = { [KIND.extra]: theme.extra, [KIND.jittered]: theme.jitter };
  data.marker.forEach((at, k) => {
    if (at >= view.t0 && at <= view.t1 && colours[data.kind[k]]) vertical(context, panel, at, colours[data.kind[k]], { width: 2 });
  });
}

/**
 * A recording's envelopes, row by row, in a picture that is put together pixel by pixel: a few milliseconds on any
 * machine, where stroking lines of thousands of points takes seconds on a graphics card that is only emulated.
 */
function drawRecording(context, panel, row, recording, colour, alpha, view) {
  if (!recording?.columns) return;
  const sharp = context.getTransform().a;
  const { picture, image } = emptyPicture(Math.round(panel.width * sharp), Math.round(panel.height * sharp));
  const channels = recording.values.length / (2 * recording.columns);
  const pace = (view.t1 - view.t0) / image.width / recording.step; // columns in a pixel
  const begin = (view.t0 - recording.start) / recording.step - 0.5;
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  const ink = (blue << 16) | (green << 8) | red;
  for (let channel = 0; channel < channels; channel += 1) {
    const size = ((row * recording.scale) / view.gain) * sharp / (view.facts.kinds[channel] === "eeg" ? 1 : LESS);
    const band = { middle: row * (channel + 0.5) * sharp, reach: row * 0.62 * sharp, size, thick: sharp };
    drawEnvelope(image, recording, channel, { begin, pace, ink, ...band });
  }
  picture.getContext("2d", IN_MEMORY).putImageData(image, 0, 0);
  context.globalAlpha = alpha;
  context.drawImage(picture, panel.left, panel.top, panel.width, panel.height);
  context.globalAlpha = 1;
}

let room = null;

/** The same picture again while the size is the same: to make and to collect one each time costs as much as to paint. */
function emptyPicture(width, height) {
  if (room?.image.width !== width || room.image.height !== height) {
    room = { picture: new OffscreenCanvas(width, height), image: new ImageData(width, height) };
  }
  room.image.data.fill(0);
  return room;
}

/** One row: each pixel column is filled from the least to the largest value that the line takes in it. */
function drawEnvelope(image, { values, columns }, channel, { begin, pace, ink, middle, reach, size, thick }) {
  const pixels = new Uint32Array(image.data.buffer); // red is the lowest byte
  const [top, bottom] = [Math.max(middle - reach, 0), Math.min(middle + reach, image.height)];
  const base = channel * columns * 2;
  const edge = (place, side) => { // between the middles of two columns
    const at = clamp(place, 0, columns - 1);
    const k = Math.min(Math.floor(at), columns - 2);
    const before = values[base + 2 * Math.max(k, 0) + side];
    return k < 0 ? before : before + (values[base + 2 * k + 2 + side] - before) * (at - k);
  };
  const first = Math.max(0, Math.ceil((-0.5 - begin) / pace));
  const last = Math.min(image.width, Math.floor((columns - 0.5 - begin) / pace));
  let place = begin + first * pace;
  let [low, high] = [edge(place, 0), edge(place, 1)];
  for (let x = first; x < last; x += 1) {
    const next = begin + (x + 1) * pace;
    const [lowNext, highNext] = [edge(next, 0), edge(next, 1)];
    let [least, most] = [Math.min(low, lowNext), Math.max(high, highNext)];
    for (let k = Math.max(Math.ceil(place), 0); k < next && k < columns; k += 1) {
      least = Math.min(least, values[base + 2 * k]);
      most = Math.max(most, values[base + 2 * k + 1]);
    }
    const thin = Math.max(thick - (most - least) * size, 0) / 2;
    const from = clamp(middle - most * size - thin, top, bottom - thick);
    const to = clamp(middle - least * size + thin, from + thick, bottom);
    for (let y = Math.floor(from); y < to; y += 1) {
      const cover = Math.round(255 * (Math.min(to, y + 1) - Math.max(from, y)));
      const at = y * image.width + x;
      if (cover > pixels[at] >>> 24) pixels[at] = (cover << 24) | ink;
    }
    [place, low, high] = [next, lowNext, highNext];
  }
}

function drawBeat(context, panel, at, theme) {
  const x = panel.x(at);
  context.fillStyle = theme.beat;
  context.beginPath();
  context.moveTo(x - 4, panel.top);
  context.lineTo(x + 4, panel.top);
  context.lineTo(x, panel.top + 6);
  context.fill();
}

/** Legend and the height of one row, above the traces. */
function drawScale(context, panel, row, view) {
  const { theme, mode, facts } = view;
  const entries = [
    ["before cleaning", theme.before, mode !== "after"],
    ["after cleaning", theme.after, mode !== "before" && view.window.after],
    ["heart beat", theme.beat, view.data.beat.length],
  ].filter(([, , shown]) => shown);
  let x = panel.left;
  for (const [name, colour] of entries) {
    context.fillStyle = colour;
    context.fillRect(x, 6, 14, 4);
    drawText(context, name, x + 19, 8, { colour: theme.soft, font: theme.font });
    x += 32 + context.measureText(name).width;
  }
  drawText(context, `one row: ${written(view.gain)} µV${facts.kinds.every((kind) => kind === "eeg") ? "" : `, other than EEG ${written(view.gain * LESS)} µV`}`, panel.left + panel.width, 8, { colour: theme.soft, align: "right", font: theme.font });
}

function unpackDetail(stored) {
  const side = (one) => one && { ...one, amplitude: packed(Float32Array, one.amplitude), course: packed(Float32Array, one.course) };
  return { ...stored, before: side(stored.before), after: side(stored.after) };
}

function drawCourses(canvas, view) {
  const { theme, detail } = view;
  const { context, width, height } = prepare(canvas, theme);
  const halves = [["before", detail?.before, theme.before], ["after", detail?.after, theme.after]];
  const tall = (height - 24 - MARGIN.bottom - GAP) / 2;
  drawText(context, `Average volume of ${detail?.channel ?? ""}`, 6, 10, { colour: theme.ink, font: theme.font, weight: "600" });
  const averaged = detail?.before?.averaged;
  if (averaged) drawText(context, `mean of ${averaged} volumes`, width - MARGIN.right, 10, { colour: theme.soft, align: "right", font: theme.font, size: 10 });
  halves.forEach(([name, side, colour], k) => {
    const box = { left: MARGIN.left, top: 24 + k * (tall + GAP), width: width - MARGIN.left - MARGIN.right, height: tall };
    const course = side?.course ?? new Float32Array(0);
    const largest = course.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-3) * 1.1;
    const milli = largest > 2000 ? 1e-3 : 1;
    const panel = frame(box, [0, view.clocks.repetition_time], [-largest * milli, largest * milli]);
    leftAxis(context, panel, theme, name, milli === 1 ? "(µV)" : "(mV)", ticks(-largest * milli, largest * milli, 4));
    if (course.length) {
      context.strokeStyle = colour;
      context.lineWidth = 1;
      polyline(context, course, (n) => panel.x(n / side.rate), (value) => panel.y(value * milli));
    } else {
      drawText(context, detail ? "not there" : "waiting for the kernel", box.left + 8, box.top + tall / 2, { colour: theme.soft, font: theme.font });
    }
    if (k) bottomAxis(context, panel, theme, "time (s)", 6);
  });
}

function drawSpectrum(canvas, view) {
  const { theme, detail, clocks, facts } = view;
  const { context, width, height } = prepare(canvas, theme);
  const box = { left: 46, top: 24, width: width - 46 - MARGIN.right, height: height - 24 - MARGIN.bottom };
  const sides = [[detail?.before, theme.before], [detail?.after, theme.after]].filter(([side]) => side);
  const values = sides.flatMap(([side]) => [...side.amplitude.slice(2)]).filter((value) => value > 0);
  const high = Math.log10(values.reduce((most, value) => Math.max(most, value), 1e-6)) + 0.2;
  const low = Math.max(Math.log10(values.reduce((least, value) => Math.min(least, value), 1e6)) - 0.1, high - 5);
  const panel = frame(box, [0, 100], values.length ? [low, high] : [0, 1]);
  drawText(context, `Spectrum of ${detail?.channel ?? ""} (µV/√Hz)`, 6, 10, { colour: theme.ink, font: theme.font, weight: "600" });
  const volume = 1 / clocks.repetition_time;
  context.globalAlpha = 0.5;
  for (let hz = volume; hz < 100; hz += volume) vertical(context, { ...panel, top: panel.top + panel.height - 6, height: 6 }, hz, theme.soft);
  context.globalAlpha = 1;
  const slice = facts.excitations * volume;
  if (slice) for (let hz = slice; hz < 100; hz += slice) vertical(context, panel, hz, theme.missing, { dash: [4, 3] });
  leftAxis(context, panel, theme, "", "", []);
  for (let power = Math.ceil(panel.range.y0); power <= panel.range.y1; power += 1) {
    drawText(context, written(10 ** power), box.left - 5, panel.y(power), { colour: theme.soft, align: "right", font: theme.font, size: 10 });
  }
  context.lineWidth = 1.1;
  for (const [side, colour] of sides) {
    context.strokeStyle = colour;
    context.save();
    context.beginPath();
    context.rect(box.left, box.top, box.width, box.height);
    context.clip();
    const shown = side.amplitude.slice(0, Math.floor(100 / side.resolution) + 1);
    polyline(context, shown.slice(1), (k) => panel.x((k + 1) * side.resolution), (value) => panel.y(Math.log10(Math.max(value, 1e-9))));
    context.restore();
  }
  bottomAxis(context, panel, theme, "frequency (Hz)", 8);
  const note = `${slice ? `dashed: slice harmonics (${written(slice)} Hz) · ` : ""}ticks: volume harmonics (${written(volume)} Hz)`;
  drawText(context, note, width - MARGIN.right, 10, { colour: theme.soft, align: "right", font: theme.font, size: 10 });
}
