// Shared by all panels: typed arrays from the kernel's bytes, sharp canvases, axes, colours of the theme.

const packed = (Kind, view) =>
  view ? new Kind(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength)) : new Kind(0);

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** Long lines are drawn by the processor: without a real graphics card a single one can hold up the page for seconds. */
const IN_MEMORY = { willReadFrequently: true };

/** Colours and font as the theme of the page has them now. */
function themeOf(root) {
  const style = getComputedStyle(root);
  const names = ["ink", "soft", "line", "paper", "before", "after", "missing", "extra", "jitter", "beat", "pick"];
  const theme = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--mm-${name}`).trim()]));
  return { ...theme, font: style.fontFamily };
}

/** Clear a canvas at the screen's own resolution; gives its context and its size in CSS pixels. */
function prepare(canvas, theme) {
  const { width, height } = canvas.getBoundingClientRect();
  const sharp = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * sharp);
  canvas.height = Math.round(height * sharp);
  const context = canvas.getContext("2d", IN_MEMORY);
  context.setTransform(sharp, 0, 0, sharp, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = `11px ${theme.font}`;
  context.lineJoin = "round";
  return { context, width, height };
}

/** Round values for an axis, about so many. */
function ticks(low, high, count) {
  if (!(high > low)) return [];
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k += 1) found.push(Number((k * step).toPrecision(12)));
  return found;
}

const written = (value) => (Math.abs(value) < 1e-12 ? "0" : String(Number(value.toPrecision(4)))).replace("-", "−");

/** A panel inside a canvas: where data lie, and the way from data to pixels. */
function frame(box, [x0, x1], [y0, y1]) {
  return {
    ...box,
    x: (value) => box.left + ((value - x0) / (x1 - x0)) * box.width,
    y: (value) => box.top + box.height - ((value - y0) / (y1 - y0)) * box.height,
    range: { x0, x1, y0, y1 },
  };
}

function drawText(context, text, x, y, { colour, align = "left", baseline = "middle", size = 11, weight = "" , font }) {
  context.save();
  context.fillStyle = colour;
  context.textAlign = align;
  context.textBaseline = baseline;
  context.font = `${weight} ${size}px ${font}`;
  context.fillText(text, x, y);
  context.restore();
}

/** Name of a lane, its unit below it, and two to three values at its axis. */
function leftAxis(context, panel, theme, name, unit, marks) {
  const { range, left, top, height } = panel;
  context.strokeStyle = theme.line;
  context.lineWidth = 1;
  context.strokeRect(left + 0.5, top + 0.5, panel.width - 1, height - 1);
  drawText(context, name, 6, top + height / 2 - (unit ? 6 : 0), { colour: theme.ink, font: theme.font });
  if (unit) drawText(context, unit, 6, top + height / 2 + 8, { colour: theme.soft, font: theme.font, size: 10 });
  for (const value of marks ?? ticks(range.y0, range.y1, 2)) {
    const y = clamp(panel.y(value), top + 5, top + height - 5);
    drawText(context, written(value), left - 5, y, { colour: theme.soft, align: "right", font: theme.font, size: 10 });
  }
}

function bottomAxis(context, panel, theme, name, count = 10) {
  const { range, left, top, height, width } = panel;
  const bottom = top + height;
  const title = `${name}`;
  context.font = `11px ${theme.font}`;
  const taken = context.measureText(title).width + 14;
  context.strokeStyle = theme.line;
  for (const value of ticks(range.x0, range.x1, count)) {
    const x = panel.x(value);
    context.beginPath();
    context.moveTo(x, bottom);
    context.lineTo(x, bottom + 4);
    context.stroke();
    if (x < left + width - taken) drawText(context, written(value), x, bottom + 12, { colour: theme.soft, align: "center", font: theme.font, size: 10 });
  }
  drawText(context, title, left + width, bottom + 12, { colour: theme.ink, align: "right", font: theme.font });
}

/** A line through values at equal steps, each a point or least and largest; gaps where there is no number. */
function polyline(context, values, x, y) {
  let open = false;
  context.beginPath();
  for (let k = 0; k < values.length; k += 1) {
    if (!Number.isFinite(values[k])) { open = false; continue; }
    if (open) context.lineTo(x(k), y(values[k]));
    else context.moveTo(x(k), y(values[k]));
    open = true;
  }
  context.stroke();
}

function vertical(context, panel, time, colour, { width = 1, dash = [] } = {}) {
  const x = panel.x(time);
  if (x < panel.left - 1 || x > panel.left + panel.width + 1) return;
  context.save();
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.setLineDash(dash);
  context.beginPath();
  context.moveTo(x, panel.top);
  context.lineTo(x, panel.top + panel.height);
  context.stroke();
  context.restore();
}
