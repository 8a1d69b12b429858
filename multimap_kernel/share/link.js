// Asks for one piece of the data before the viewer does: the viewer itself would paint what it cannot read as empty.
"use strict";
const inner = document.getElementById("inner");
const state = document.getElementById("state");

function say(words) {
  state.textContent = words;
  state.className = "fault";
  inner.hidden = true;
}

async function look() {
  let answer;
  try {
    answer = await fetch(inner.dataset.probe, { method: "HEAD", cache: "no-store" });
  } catch {
    say("The server does not answer. Is the network there? Reload this page to try again.");
    return;
  }
  if (answer.ok) {
    state.hidden = true;
    inner.src = inner.dataset.source;
    inner.hidden = false;
  } else if (answer.status === 401) {
    say("You may not read these data any more, or your login ended. Reload this page.");
  } else if (answer.status === 404 || answer.status === 500) {
    say("The data behind this link are damaged or gone. Ask the person who sent it to share them again.");
  } else {
    say(`The data cannot be read (status ${answer.status}). Reload this page to try again.`);
  }
}

look();
