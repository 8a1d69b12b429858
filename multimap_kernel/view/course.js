// The voxel under the cross-hair: its BOLD, what the EEG predicted, and the events.
const EDGE = {left: 48, right: 10, top: 20, bottom: 24};
const EVENT_COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"];
const course = {found: null, asked: "", waiting: 0};

function beginCourse() {
  if (!told.courses) return;
  document.querySelector("footer").hidden = element("course").hidden = false;
  const chart = element("course").querySelector("svg");
  window.addEventListener("resize", drawCourse);
  chart.onclick = (event) => { if (told.volumes && course.found?.inside) pickTime(timeAt(event.offsetX)); };
  chart.onkeydown = ({key}) => { if (told.volumes && /^Arrow(Left|Right)$/.test(key)) step(key === "ArrowLeft" ? -1 : 1); };
}

function ask() {
  if (!told.courses) return;
  drawCourse();
  const point = here().map((one) => one.toFixed(2)), address = `${told.courses}?x=${point[0]}&y=${point[1]}&z=${point[2]}`;
  if (address === course.asked) return;
  course.asked = address;
  clearTimeout(course.waiting);
  course.waiting = setTimeout(async () => {
    let found;
    try {
      const answer = await fetch(address);
      found = answer.ok ? await answer.json() : {fault: `the course was refused (${answer.status})`};
    } catch { found = {fault: "the course could not be read: nobody answers"}; }
    if (address !== course.asked) return; // the cross-hair went on
    course.found = found;
    drawCourse();
  }, 120);
}

const width = () => element("course").querySelector("svg").clientWidth;
const span = () => { const {time} = course.found; return [time[0], time[time.length - 1] + (time[1] - time[0] || 1)]; };
const timeAt = (x) => span()[0] + (span()[1] - span()[0]) * (x - EDGE.left) / (width() - EDGE.left - EDGE.right);

function drawCourse() {
  const chart = element("course").querySelector("svg"), caption = element("course").querySelector("figcaption");
  const {found} = course;
  if (!found || !found.inside) {
    chart.replaceChildren();
    caption.textContent = found ? found.fault || "no voxel of the brain under the cross-hair: click on one to see its BOLD" : "reading…";
    return;
  }
  const [begin, end] = span(), height = chart.clientHeight, bottom = height - EDGE.bottom;
  const x = (time) => EDGE.left + (width() - EDGE.left - EDGE.right) * (time - begin) / (end - begin);
  const values = [...found.measured, ...(found.predicted || [])].filter((one) => one !== null);
  const largest = Math.max(...values.map(Math.abs)) || 1;
  const y = (value) => (EDGE.top + bottom) / 2 - (bottom - EDGE.top) / 2 * value / largest;
  const parts = [...eventMarks(found, x, bottom), ...grid(x, y, begin, end, largest, bottom)];
  parts.push(drawn("path", {class: "measured", d: path(found.time, found.measured, x, y)}));
  if (found.predicted) parts.push(drawn("path", {class: "predicted", d: path(found.time, found.predicted, x, y)}));
  if (told.volumes) parts.push(drawn("path", {class: "picked", d: `M${x(pickedTime())} ${EDGE.top}V${bottom}`}));
  chart.setAttribute("aria-label", "BOLD of this voxel against time");
  chart.replaceChildren(...parts);
  caption.replaceChildren(...words(found));
}

function words(found) {
  const bold = (text) => Object.assign(document.createElement("b"), {textContent: text});
  const coloured = (text, name) => { const made = bold(text); made.style.color = `var(--${name})`; return made; };
  const made = [bold(`Voxel at ${found.position.map((one) => Math.round(one)).join(" ").replaceAll("-", "−")} mm`), `: `, coloured("BOLD measured", "measured")];
  if (found.predicted) made.push(", ", coloured("predicted from EEG, out of fold", "predicted"));
  return made;
}

function path(time, values, x, y) {
  let drawing = false; // a gap in the values is a gap in the line
  return values.map((value, k) => {
    const command = value === null ? "" : `${drawing ? "L" : "M"}${x(time[k]).toFixed(1)} ${y(value).toFixed(1)}`;
    drawing = value !== null;
    return command;
  }).join("");
}

function eventMarks(found, x, bottom) {
  const names = [...new Set(found.events.map(({condition}) => condition))];
  const colour = (name) => EVENT_COLOURS[names.indexOf(name) % EVENT_COLOURS.length];
  const spans = found.events.map(({onset, duration, condition}) => drawn("rect", {
    x: x(onset), y: EDGE.top, width: Math.max(2, x(onset + duration) - x(onset)), height: bottom - EDGE.top, fill: colour(condition), "fill-opacity": 0.22,
  }));
  let left = EDGE.left;
  const legend = names.flatMap((name) => {
    const pair = [drawn("rect", {x: left, y: 3, width: 11, height: 11, fill: colour(name), "fill-opacity": 0.6}), drawn("text", {x: left + 15, y: 13}, name)];
    left += 32 + 6.5 * name.length;
    return pair;
  });
  return [...spans, ...legend];
}

function grid(x, y, begin, end, largest, bottom) {
  const round = 10 ** Math.floor(Math.log10((end - begin) / 4)), wanted = (end - begin) / 8;
  const every = [1, 2, 5, 10].map((one) => one * round).find((one) => one >= wanted) || 10 * round;
  const parts = [drawn("path", {class: "line", d: `M${EDGE.left} ${EDGE.top}V${bottom}H${x(end)}M${EDGE.left} ${y(0)}H${x(end)}`})];
  for (let time = Math.ceil(begin / every) * every; time < end; time += every) {
    const last = time + every >= end;
    parts.push(drawn("text", {x: x(time), y: bottom + 14, "text-anchor": "middle"}, last ? `${written(time)} s` : written(time)));
  }
  for (const value of [-largest, 0, largest]) {
    parts.push(drawn("text", {x: EDGE.left - 5, y: y(value) + 4, "text-anchor": "end"}, written(Number(value.toPrecision(2)))));
  }
  const middle = (EDGE.top + bottom) / 2;
  parts.push(drawn("text", {x: 0, y: 0, "text-anchor": "middle", transform: `translate(11 ${middle}) rotate(-90)`}, course.found.unit === "% of the mean" ? "BOLD (%)" : "BOLD"));
  return parts;
}
