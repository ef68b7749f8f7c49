// A model that `rekindle export --with-preprocessing` wrote, run by onnxruntime-web. No picture leaves the page.
"use strict";

const of = (id) => document.getElementById(id);
const asked = new URLSearchParams(location.search);

/// Returns a picture as bytes [1, height, width, 3]. Browsers turn it upright themselves.
async function pixels(blob) {
  // Colours as they are in the file, as elsewhere, and not those of the screen.
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const rgba = context.getImageData(0, 0, bitmap.width, bitmap.height).data;
  const rgb = new Uint8Array((rgba.length / 4) * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4) {
    rgb[to++] = rgba[from];
    rgb[to++] = rgba[from + 1];
    rgb[to++] = rgba[from + 2];
  }
  return new ort.Tensor("uint8", rgb, [1, bitmap.height, bitmap.width, 3]);
}

/// Returns what the file says about itself, which onnxruntime-web doesn't give out: field 14 of ONNX's ModelProto, entries of a
/// key (1) and a value (2).
function metadata(bytes) {
  const text = new TextDecoder();
  const entries = {};
  for (const [number, entry] of fields(bytes)) {
    if (number !== 14) continue;
    const parts = Object.fromEntries(fields(entry));
    entries[text.decode(parts[1])] = text.decode(parts[2] ?? new Uint8Array());
  }
  return entries;
}

/// Lists the fields of a protocol buffer's message: number and bytes, of whole numbers no bytes.
function fields(bytes) {
  const found = [];
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    if (tag % 8 === 0) {
      varint();
      continue;
    }
    const length = { 1: 8, 2: 0, 5: 4 }[tag % 8] || varint();
    found.push([Math.floor(tag / 8), bytes.subarray(at, at + length)]);
    at += length;
  }
  return found;
}

async function answer(session, classes, blob) {
  of("shown").src = URL.createObjectURL(blob);
  of("shown").hidden = false;
  const start = performance.now();
  const { probabilities } = await session.run({ pixels: await pixels(blob) });
  of("state").textContent = `${Math.round(performance.now() - start)} ms`;
  const best = Array.from(probabilities.data, (p, index) => [p, index]).sort((a, b) => b[0] - a[0]);
  of("answers").replaceChildren(
    ...best.slice(0, 5).map(([p, index]) => {
      const row = document.createElement("tr");
      for (const text of [classes[index] ?? `class ${index}`, p.toFixed(6)]) {
        row.insertCell().textContent = text;
      }
      return row;
    }),
  );
}

async function main() {
  // One thread needs no special headers of the server.
  ort.env.wasm.numThreads = 1;
  const file = await fetch(asked.get("model") ?? "model.onnx");
  if (!file.ok) throw new Error(`${file.url}: ${file.status}`);
  const model = new Uint8Array(await file.arrayBuffer());
  const classes = JSON.parse(metadata(model).classes ?? "[]");
  const session = await ort.InferenceSession.create(model);
  of("state").textContent = "Ready.";
  of("picture").disabled = false;
  of("picture").onchange = ({ target }) => answer(session, classes, target.files[0]).catch(say);
  if (asked.has("picture")) {
    const file = await fetch(asked.get("picture"));
    if (!file.ok) throw new Error(`${file.url}: ${file.status}`);
    await answer(session, classes, await file.blob());
  }
}

function say(error) {
  of("state").textContent = String(error);
}

main().catch(say);
