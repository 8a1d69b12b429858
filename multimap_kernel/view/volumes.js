// Stepping through the volumes of a run; the client's position holds the time.
const timeAxis = () => axes().indexOf("t");
const pickedTime = () => (told.volumes ? client().navigationState.position.value[timeAxis()] * told.volumes.repetition_time : null);

function pickTime(seconds) {
  const {count, repetition_time} = told.volumes;
  const position = Float32Array.from(client().navigationState.position.value);
  position[timeAxis()] = Math.min(Math.max(seconds / repetition_time, 0), count - 1e-3);
  client().navigationState.position.value = position;
}

function step(volumes) {
  const {repetition_time} = told.volumes;
  pickTime((Math.floor(pickedTime() / repetition_time + 1e-4) + volumes + 0.5) * repetition_time);
}

function drawTime() {
  if (!told.volumes || timeAxis() < 0) return;
  const {count, repetition_time} = told.volumes;
  const volume = Math.floor(pickedTime() / repetition_time + 1e-4);
  element("volume").value = volume;
  element("time").textContent = `volume ${volume} of ${count} · ${pickedTime().toFixed(2)} s`;
}

function beginVolumes() {
  if (!told.volumes) return;
  document.querySelector("footer").hidden = element("volumes").hidden = false;
  element("volume").max = told.volumes.count - 1;
  element("volume").oninput = () => pickTime((Number(element("volume").value) + 0.5) * told.volumes.repetition_time);
  element("before").onclick = () => step(-1);
  element("after").onclick = () => step(1);
  const below = element("below");
  const names = [...told.anatomy, told.volumes.name];
  below.replaceChildren(...names.map((name) => new Option(name)));
  below.onchange = () => { for (const name of names) show(name, name === below.value); };
  below.value = names.find((name) => managed(name).visible);
}
