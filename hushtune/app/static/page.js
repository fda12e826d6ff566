// The page: record or take a file, follow what happens, show the answer.

const SECONDS = 10;
const DECODED_BY_SERVER = /\.(wav|flac|oga|ogg|opus|mp3)$/i;
const STEPS = ["preparing", "encrypting", "sending", "computing", "receiving", "decrypting"];
const $ = (id) => document.getElementById(id);

let busy = false;

function show(id, visible = true) { $(id).hidden = !visible; }

function problem(text) {
  $("problem").textContent = text;
  show("problem", Boolean(text));
}

// Not the property "disabled": it would take the keyboard's focus away from the button.
function setBusy(value) {
  busy = value;
  $("listen").setAttribute("aria-disabled", String(value));
  $("file").setAttribute("aria-disabled", String(value));
}

function say(text) {
  if ($("live").textContent !== text) $("live").textContent = text;
}

function bytes(count) {
  if (count < 1e3) return `${count} B`;
  return count < 1e6 ? `${Math.round(count / 1e3)} KB` : `${(count / 1e6).toFixed(1)} MB`;
}

function seconds(count) {
  return `${count.toFixed(count < 1 ? 2 : count < 100 ? 1 : 0)} s`;
}

function drawPicture(id, picture) {
  const canvas = $(id), context = canvas.getContext("2d");
  const grey = Uint8Array.from(atob(picture.data), (c) => c.charCodeAt(0));
  canvas.width = picture.columns;
  canvas.height = picture.rows;
  const image = context.createImageData(picture.columns, picture.rows);
  // what is not there is left clear, and shows the tint behind it
  grey.forEach((value, place) => image.data.set([value, value, value, value && 255], 4 * place));
  context.putImageData(image, 0, 0);
}

function drawWaveform(points) {
  const canvas = $("waveform"), context = canvas.getContext("2d"), half = canvas.height / 2;
  const loudest = Math.max(1e-6, ...points.flat().map(Math.abs));
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = "#7cc4e4";
  const width = canvas.width / points.length;
  points.forEach(([low, high], place) => {
    const top = half - (half * high) / loudest, bottom = half - (half * low) / loudest;
    context.fillRect(place * width, top, Math.max(1, width - 0.5), Math.max(1, bottom - top));
  });
}

function step(event) {
  const now = event.step === "waiting" ? "computing" : event.step;
  const place = event.step === "done" ? STEPS.length : STEPS.indexOf(now);
  document.querySelectorAll("#steps li").forEach((item, index) => {
    item.classList.toggle("past", index < place);
    item.classList.toggle("now", index === place);
    if (index === place) item.setAttribute("aria-current", "step");
    else item.removeAttribute("aria-current");
  });
  const fact = (name, text) => { document.querySelector(`[data-fact=${name}]`).textContent = text; };
  if (event.ciphertext) {
    drawPicture("cipher", event.ciphertext);
    show("seen");
  }
  if (event.step === "preparing") fact("preparing", event.sent_bytes ? `${bytes(event.sent_bytes)} of keys sent, once` : "");
  else if (event.sent_bytes) fact("sending", bytes(event.sent_bytes));
  if (event.received_bytes) fact("receiving", bytes(event.received_bytes));
  const ahead = event.position > 1 ? `${event.position - 1} before you` : "next in line";
  if (event.step === "waiting") fact("computing", ahead);
  if (event.step === "computing") {
    const expected = event.expected_seconds || 0;
    const about = expected > event.seconds ? ` of about ${expected.toFixed(0)} s` : "";
    fact("computing", `${event.seconds.toFixed(0)} s${about}`);
    $("progress").value = expected ? Math.min(0.99, event.seconds / expected) : 0;
  }
  if (place > STEPS.indexOf("computing")) $("progress").value = 1;
  const shown = document.querySelector("#steps li.now");
  say(event.step === "waiting" ? `Waiting: ${ahead}` : shown ? shown.firstChild.textContent.trim() : "");
}

function answer(event) {
  const sure = event.unknown_probability;
  const unknown = "Not in this catalogue" + (sure === null ? "" : ` (${Math.round(100 * sure)} % sure)`);
  $("name").textContent = event.unknown ? unknown : event.text;
  $("matches").replaceChildren(...event.matches.slice(0, 3).map((match) => {
    const item = document.createElement("li"), meter = document.createElement("meter");
    const name = match.artist ? `${match.artist} - ${match.title}` : match.title;
    if (match.probability === null) {
      item.append(name);
      return item;
    }
    const percent = `${(100 * match.probability).toFixed(1)} %`;
    meter.value = match.probability;
    meter.setAttribute("aria-label", `Probability of ${name}`);
    item.append(`${name}: ${percent}`, meter);
    return item;
  }));
  const costs = event.costs;
  $("notes").textContent = [...event.notes,
    `Sent ${bytes(costs.query_bytes)}, received ${bytes(costs.response_bytes)}, ` +
    `server ${seconds(costs.compute_seconds)}.`].join(" ");
  show("answer");
  $("name").focus();
}

async function identify(blob, name) {
  if (busy) return;
  setBusy(true);
  problem("");
  ["heard", "answer", "seen"].forEach((id) => show(id, false));
  show("steps");
  document.querySelectorAll("[data-fact]").forEach((item) => { item.textContent = ""; });
  $("progress").value = 0;
  try {
    const headers = { "X-Hushtune": "1", "X-Name": encodeURIComponent(name) };
    const taken = await fetch("/api/clips", { method: "POST", headers, body: blob });
    const { id, error } = await taken.json();
    if (error) throw new Error(error);
    await follow(id);
  } catch (error) {
    problem(error.message || String(error));
    show("steps", false);
  } finally {
    setBusy(false);
    say("");
  }
}

function follow(id) {
  return new Promise((resolve, reject) => {
    const source = new EventSource(`/api/clips/${id}/events`);
    source.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      if (event.kind === "step") step(event);
      if (event.kind === "heard") {
        $("seconds").textContent = event.seconds.toFixed(1);
        show("heard");
        drawWaveform(event.waveform);
        drawPicture("mel", event.mel);
        drawPicture("image", event.image);
      }
      if (event.kind === "answer") { source.close(); step({ step: "done" }); answer(event); resolve(); }
      if (event.kind === "error") { source.close(); reject(new Error(event.message)); }
    };
    source.onerror = () => { source.close(); reject(new Error("The connection to Hushtune on this machine broke. Is 'hushtune app' still running?")); };
  });
}

function wav(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, value) => [...value].forEach((c, n) => view.setUint8(at + n, c.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + 2 * samples.length, true); text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  text(36, "data"); view.setUint32(40, 2 * samples.length, true);
  samples.forEach((value, n) => {
    view.setInt16(44 + 2 * n, Math.max(-1, Math.min(1, value)) * 32767, true);
  });
  return new Blob([view], { type: "audio/wav" });
}

async function listen() {
  if (busy) return;
  problem("");
  setBusy(true);
  let recorded = null;
  try {
    recorded = await record();
  } catch (error) {
    const reason = error.name && error.name !== "Error" ? error.name : error.message;
    problem(`The microphone cannot be used (${reason}). Allow it for this page, or choose a file.`);
  } finally {
    show("level", false);
    $("listen").textContent = `Listen (${SECONDS} s)`;
    setBusy(false);
  }
  if (recorded) await identify(recorded, "microphone.wav");
}

async function record() {
  const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: plain });
  const context = new AudioContext(), parts = [];
  let count = 0;
  try {
    await context.resume();
    await context.audioWorklet.addModule("/static/recorder.js");
    const recorder = new AudioWorkletNode(context, "recorder");
    context.createMediaStreamSource(stream).connect(recorder);
    show("level");
    say(`Listening for ${SECONDS} seconds`);
    await new Promise((resolve, reject) => {
      stream.getAudioTracks()[0].onended = () => reject(new Error("it was taken away"));
      setTimeout(() => reject(new Error("no sound comes from it")), 2000 * SECONDS);
      recorder.port.onmessage = ({ data }) => {
        parts.push(data);
        count += data.length;
        $("level").value = Math.max(...data.map(Math.abs));
        const left = Math.ceil(SECONDS - count / context.sampleRate);
        $("listen").textContent = `Listening: ${Math.max(0, left)} s`;
        if (count >= SECONDS * context.sampleRate) resolve();
      };
    });
  } finally {
    stream.getTracks().forEach((track) => track.stop());
    await context.close();
  }
  const samples = new Float32Array(count);
  let place = 0;
  for (const part of parts) { samples.set(part, place); place += part.length; }
  return wav(samples, context.sampleRate);
}

async function take(file) {
  if (!file || busy) return;
  if (DECODED_BY_SERVER.test(file.name)) return identify(file, file.name);
  try {
    const context = new AudioContext();
    const audio = await context.decodeAudioData(await file.arrayBuffer());
    await context.close();
    return identify(wav(audio.getChannelData(0), audio.sampleRate), "decoded.wav");
  } catch {
    problem(`${file.name}: not audio that can be decoded. Use a common audio format.`);
  }
}

$("listen").addEventListener("click", listen);
$("file").addEventListener("change", () => { take($("file").files[0]); $("file").value = ""; });
addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
addEventListener("dragleave", () => document.body.classList.remove("dropping"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  take(event.dataTransfer.files[0]);
});

const status = await (await fetch("/api/status")).json();
if (status.error) problem(status.error);
else $("service").textContent = `${status.songs} songs known to ${status.service}, which sees ciphertext only`;
