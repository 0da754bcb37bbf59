"use strict";
const VIEWS = ["source", "alpha", "composite"];
const RATIOS = [0.125, 0.2, 0.25, 0.375, 0.4, 0.5, 0.6, 0.75, 1];
const LEAST_SIDE = 16; // of what the network sees
const find = (id) => document.getElementById(id);
const chosenView = () => document.querySelector("input[name=view]:checked").value;

let socket = null;
let about = null;
let status = null;
let seeking = false;

function send(message) {
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function connect() {
  const address = new URL(`stream${location.search}`, location.href);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(address);
  socket.binaryType = "arraybuffer";
  socket.addEventListener("open", tellLook);
  socket.addEventListener("message", receive);
  socket.addEventListener("close", lost);
}

async function receive(event) {
  const from = event.target;
  const size = new DataView(event.data).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(event.data, 4, size)));
  try {
    if (header.about) describe(header.about);
    await draw(header.pictures, event.data, 4 + size);
    // Else what is drawn last would hide why it was the last.
    if (from.readyState === WebSocket.OPEN) show(header.status);
  } finally {
    // Until this is said, nothing more is sent: a slow page is never behind.
    if (from.readyState === WebSocket.OPEN) from.send('{"do":"drawn"}');
  }
}

function lost(event) {
  const over = event.code === 1001;
  note("problem", over ? "The preview was stopped." : "The connection is lost. Trying again.");
  if (!over) setTimeout(connect, 1000);
}

async function draw(pictures, data, start) {
  const parts = [];
  for (const [view, bytes] of pictures) {
    parts.push([view, new Blob([new Uint8Array(data, start, bytes)], { type: "image/jpeg" })]);
    start += bytes;
  }
  const images = await Promise.all(parts.map(([, blob]) => createImageBitmap(blob)));
  images.forEach((image, index) => {
    const canvas = find(parts[index][0]);
    if (canvas.width !== image.width || canvas.height !== image.height) {
      canvas.width = image.width;
      canvas.height = image.height;
    }
    canvas.getContext("2d").drawImage(image, 0, 0);
    image.close();
  });
}

function describe(clip) {
  about = clip;
  document.title = `${clip.name} – rvm-trt preview`;
  find("name").textContent = clip.name;
  find("facts").textContent = `${clip.width} × ${clip.height}, ${number(clip.fps, 2)} FPS`;
  find("views").style.setProperty("--aspect", clip.aspect);
  find("seek").hidden = find("restart").hidden = clip.live;
  find("background").replaceChildren(
    ...Object.keys(clip.backgrounds).map((name) => new Option(name, name)), new Option("own colour", "own"),
  );
  const seen = RATIOS.filter((ratio) => Math.floor(Math.min(clip.width, clip.height) * ratio) >= LEAST_SIDE);
  find("ratios").replaceChildren(...seen.map((ratio) => new Option("", ratio)));
  status = null;
}

function show(now) {
  const before = status;
  status = now;
  find("play").textContent = now.playing ? "Pause" : "Play";
  find("fps").textContent = now.fps ? number(now.fps, 1) : "–";
  find("frame-ms").textContent = now.frame_ms ? number(now.frame_ms, 1) : "–";
  find("network").textContent = now.network.join(" × ");
  note("opening", now.opening);
  note("problem", now.problem);
  note("remarks", now.remarks.join("\n"));
  showPlace();
  if (before?.ratio !== now.ratio) find("ratio").value = shownRatio();
  if (before?.background !== now.background) showBackground(now.background);
}

function shownRatio() {
  return Number(status.ratio.toFixed(4));
}

function showPlace() {
  const seek = find("seek");
  seek.disabled = status.frames === null;
  seek.max = Math.max((status.frames ?? 1) - 1, 0);
  if (!seeking) seek.value = status.frame ?? 0;
  const total = status.frames === null ? "" : ` / ${time(status.frames / about.fps)}`;
  find("place").textContent = status.frame === null ? "–" : `${time(status.seconds)}${total}`;
}

function showBackground(name) {
  const own = name.startsWith("#");
  find("background").value = own ? "own" : name;
  const colour = own ? name : about.backgrounds[name];
  if (colour) find("colour").value = colour;
}

function note(id, text) {
  const element = find(id);
  element.hidden = !text;
  const words = element.querySelector("p");
  if (words.textContent !== (text ?? "")) words.textContent = text ?? "";
}

function number(value, digits) {
  return value.toLocaleString("en-GB", { maximumFractionDigits: digits });
}

function time(seconds) {
  const whole = Math.max(0, seconds);
  return `${Math.floor(whole / 60)}:${(whole % 60).toFixed(1).padStart(4, "0")}`;
}

function tellLook() {
  const view = chosenView();
  const views = view === "all" ? VIEWS : [view];
  const width = Math.max(...views.map((name) => find(name).clientWidth)) * devicePixelRatio;
  send({ do: "look", views, width: Math.min(4096, Math.max(1, Math.ceil(width))) });
}

find("play").addEventListener("click", () => send({ do: status?.playing ? "pause" : "play" }));
find("restart").addEventListener("click", () => send({ do: "restart" }));
find("seek").addEventListener("input", (event) => {
  seeking = true;
  send({ do: "seek", frame: event.target.valueAsNumber, rough: true });
});
find("seek").addEventListener("change", (event) => {
  seeking = false;
  send({ do: "seek", frame: event.target.valueAsNumber });
});
find("background").addEventListener("change", (event) => {
  const name = event.target.value;
  send({ do: "background", to: name === "own" ? find("colour").value : name });
});
find("colour").addEventListener("input", (event) => {
  find("background").value = "own";
  send({ do: "background", to: event.target.value });
});
find("ratio-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const wanted = find("ratio").valueAsNumber;
  send({ do: "ratio", to: wanted === shownRatio() ? status.ratio : wanted });
});
for (const radio of document.querySelectorAll("input[name=view]")) {
  radio.addEventListener("change", () => {
    find("views").dataset.view = chosenView();
    tellLook();
  });
}
let waiting = 0;
new ResizeObserver(() => {
  clearTimeout(waiting);
  waiting = setTimeout(tellLook, 200);
}).observe(find("views"));
connect();
