// How a person moves through the run: along time, between channels, from one doubtful marker to the next.

const HELP = [
  ["← →", "cursor by a volume, with Shift by a twentieth of the window"], ["Page Up/Down", "scroll"], ["+ −", "zoom"],
  ["Home End", "first, last volume"], ["0", "whole run"], ["↑ ↓", "channel"], ["n p", "next, previous marker in doubt"],
  ["[ ]", "begin and end of a span at the cursor"], ["o", "before, after or both"], ["< >", "smaller, larger traces"],
  ["Tab", "to the buttons and decisions"], ["Esc", "back to the panels"],
];

/** The moves that keys, mouse and notebook share. */
function makeMoves(view, { draw, askWindow, askDetail, tellPicked, tell: say }) {
  function go(t0, t1) {
    const [begin, end] = view.span;
    const length = clamp(t1 - t0, 0.05, end - begin);
    view.t0 = clamp(t0, begin, end - length);
    view.t1 = view.t0 + length;
    draw();
    askWindow();
  }
  const zoom = (factor, at = view.picked ?? (view.t0 + view.t1) / 2) => {
    const centre = at < view.t0 || at > view.t1 ? (view.t0 + view.t1) / 2 : at;
    go(centre - (centre - view.t0) * factor, centre + (view.t1 - centre) * factor);
  };
  function pick(time, { tell = true } = {}) {
    view.picked = clamp(time, ...view.span);
    if (view.picked < view.t0 || view.picked > view.t1) {
      const half = (view.t1 - view.t0) / 2;
      go(view.picked - half, view.picked + half);
    }
    if (tell) tellPicked();
    draw();
  }
  function choose(number) {
    const { channels } = view.facts;
    view.channel = channels[clamp(number, 0, channels.length - 1)];
    draw();
    askDetail();
  }
  function doubtful(direction) {
    const { clocks, data } = view;
    const times = [...clocks.missing.map((volume) => volume * clocks.repetition_time), ...[...data.marker].filter((_, k) => [KIND.extra, KIND.jittered].includes(data.kind[k]))];
    const at = view.picked ?? view.span[0] - 1;
    const ahead = times.filter((time) => (time - at) * direction > 1e-6).sort((one, other) => (one - other) * direction);
    if (ahead.length) pick(ahead[0]);
    else say(times.length ? "no further marker in doubt" : "no marker is in doubt");
  }
  function mark(end) {
    const at = view.picked ?? (view.t0 + view.t1) / 2;
    view.selection = end ? [view.selection?.[0] ?? at, at] : [at, at];
    draw();
  }
  return { go, zoom, pick, choose, doubtful, mark };
}

function keysOf(view, moves, { draw, undo }) {
  const tr = () => view.clocks.repetition_time;
  const channel = () => view.facts.channels.indexOf(view.channel);
  return {
    ArrowLeft: (event) => moves.pick((view.picked ?? view.t0) - (event.shiftKey ? (view.t1 - view.t0) / 20 : tr())),
    ArrowRight: (event) => moves.pick((view.picked ?? view.t0) + (event.shiftKey ? (view.t1 - view.t0) / 20 : tr())),
    PageUp: () => moves.go(view.t0 - (view.t1 - view.t0) * 0.8, view.t1 - (view.t1 - view.t0) * 0.8),
    PageDown: () => moves.go(view.t0 + (view.t1 - view.t0) * 0.8, view.t1 + (view.t1 - view.t0) * 0.8),
    "+": () => moves.zoom(0.5), "=": () => moves.zoom(0.5), "-": () => moves.zoom(2), 0: () => moves.go(...view.span),
    Home: () => moves.pick(0), End: () => moves.pick((view.facts.volumes - 1) * tr()),
    ArrowUp: () => moves.choose(channel() - 1), ArrowDown: () => moves.choose(channel() + 1),
    n: () => moves.doubtful(1), p: () => moves.doubtful(-1), "[": () => moves.mark(false), "]": () => moves.mark(true),
    o: () => { view.mode = MODES[(MODES.indexOf(view.mode) + 1) % MODES.length]; draw(); },
    "<": () => { view.gain *= 2; draw(); }, ">": () => { view.gain /= 2; draw(); },
    u: undo, Escape: () => { view.selection = null; draw(); },
  };
}

/** Wheel zooms (with Shift it scrolls), dragging scrolls, Shift and dragging marks a span, a click picks. */
function listen({ timeline, traces }, view, { go, zoom, pick, choose }, { draw, root }) {
  const timeAt = (panel, event) => {
    const { x0, x1 } = panel.range;
    return x0 + ((event.offsetX - panel.left) / panel.width) * (x1 - x0);
  };
  traces.addEventListener("wheel", (event) => {
    event.preventDefault();
    const along = (view.t1 - view.t0) * 0.002 * (event.deltaX || event.deltaY);
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) go(view.t0 + along, view.t1 + along);
    else zoom(event.deltaY > 0 ? 1.25 : 0.8, timeAt(view.tracesPanel, event));
  }, { passive: false });
  let held = null;
  traces.addEventListener("pointerdown", (event) => {
    root.focus({ preventScroll: true });
    traces.setPointerCapture(event.pointerId);
    held = { x: event.offsetX, time: timeAt(view.tracesPanel, event), t0: view.t0, t1: view.t1, moved: false, marks: event.shiftKey };
  });
  traces.addEventListener("pointermove", (event) => {
    if (!held) return;
    held.moved ||= Math.abs(event.offsetX - held.x) > 3;
    if (!held.moved) return;
    if (held.marks) { view.selection = [held.time, timeAt(view.tracesPanel, event)]; draw(); return; }
    const along = ((event.offsetX - held.x) / view.tracesPanel.width) * (held.t1 - held.t0);
    go(held.t0 - along, held.t1 - along);
  });
  traces.addEventListener("pointerup", (event) => {
    if (held && !held.moved) {
      const panel = view.tracesPanel;
      const row = Math.floor(((event.offsetY - panel.top) / panel.height) * view.facts.channels.length);
      if (event.offsetX > panel.left) pick(held.time);
      choose(row);
    }
    held = null;
  });
  timeline.addEventListener("pointerdown", (event) => {
    root.focus({ preventScroll: true });
    const time = timeAt(view.timelinePanel, event);
    const half = (view.t1 - view.t0) / 2;
    pick(time);
    go(view.picked - half, view.picked + half);
  });
}
