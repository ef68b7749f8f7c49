// The page around the network: files in, bars out.
const element = (id) => document.getElementById(id);
// The program, and what it computes on.
let program = null;
let compute = null;
let classifier = null;

function say(text) {
  element('status').textContent = text;
}

// Why not the graphics processor; nothing where it is worth trying. A software adapter is slower than WebAssembly.
async function noGpu() {
  const wanted = new URLSearchParams(location.search).get('device');
  if (wanted === 'cpu') return 'the address asks for it';
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) return 'this browser offers no WebGPU';
  if (wanted !== 'gpu' && adapter.info?.isFallbackAdapter) return 'WebGPU is only emulated here';
  return '';
}

async function open(module) {
  program = await import(module);
  await program.default();
  compute = await program.Compute.open();
}

function computesOn(device, text) {
  element('device').textContent = text;
  document.body.dataset.device = device;
}

// Loads the program for the graphics processor where there is one; the one for the processor elsewhere, and where that
// fails.
async function start(bytes, name) {
  let reason = await noGpu();
  if (!reason) {
    try {
      await open('./rekindle_webgpu.js');
      await load(bytes, name);
      computesOn('gpu', 'Computed on the graphics processor (WebGPU).');
      return;
    } catch (error) {
      reason = `WebGPU failed: ${error.message ?? error}`;
      classifier = null;
    }
  }
  await open('./rekindle_web.js');
  await load(bytes, name);
  computesOn('cpu', `Computed on the processor (WebAssembly): ${reason}.`);
}

async function load(bytes, name) {
  const begun = performance.now();
  const loaded = new program.Classifier(bytes, compute); // Throws what is wrong with the file.
  classifier?.free();
  classifier = loaded;
  const { architecture, classes } = JSON.parse(classifier.describe());
  const shown = classes.length > 8 ? `${classes.length} classes` : classes.join(', ');
  const seconds = ((performance.now() - begun) / 1000).toFixed(2);
  element('model').textContent = `${architecture} from ${name}: ${shown} (loaded in ${seconds} s)`;
}

function show(answer) {
  element('answer').replaceChildren(...answer.map(({ class: name, probability }) => {
    const row = document.createElement('li');
    const label = document.createElement('b');
    const bar = document.createElement('meter');
    const share = document.createElement('span');
    label.textContent = name;
    bar.value = probability;
    share.textContent = `${(100 * probability).toFixed(1)} %`;
    row.append(label, bar, share);
    return row;
  }));
}

// The browser draws what is on the page before the network takes the thread.
const drawn = () => new Promise((resolve) => setTimeout(resolve, 30));

// One after the other: the graphics processor answers later, and the answers are to come in the order of the files.
let last = Promise.resolve();
function take(file) {
  last = last.then(() => answer(file));
}

async function answer(file) {
  try {
    const bytes = new Uint8Array(await file.arrayBuffer());
    if (file.name.endsWith('.safetensors')) {
      await load(bytes, file.name);
      say('');
      return;
    }
    const picture = element('picture');
    URL.revokeObjectURL(picture.src);
    picture.src = URL.createObjectURL(file);
    picture.hidden = false;
    element('hint').hidden = true;
    say('Looking …');
    await drawn();
    const begun = performance.now();
    const found = JSON.parse(await classifier.classify(bytes));
    show(found);
    say(`${found[0].class}, seen in ${Math.round(performance.now() - begun)} ms.`);
  } catch (error) {
    element('answer').replaceChildren();
    say(`Sorry: ${error.message ?? error}`);
  }
}

function listen() {
  const drop = element('drop');
  for (const kind of ['dragenter', 'dragover']) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.add('over');
    });
  }
  drop.addEventListener('dragleave', () => drop.classList.remove('over'));
  drop.addEventListener('drop', (event) => {
    event.preventDefault();
    drop.classList.remove('over');
    const [file] = event.dataTransfer.files;
    if (file) take(file);
  });
  drop.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' || event.key === ' ') element('file').click();
  });
  element('file').addEventListener('change', (event) => {
    const [file] = event.target.files;
    if (file) take(file);
  });
}

async function offerSamples() {
  const names = await (await fetch('samples/list.json')).json();
  element('samples').replaceChildren(...names.map((name) => {
    const button = document.createElement('button');
    const image = document.createElement('img');
    image.src = `samples/${name}`;
    image.alt = name;
    button.append(image);
    button.addEventListener('click', async () => {
      const blob = await (await fetch(image.src)).blob();
      take(new File([blob], name));
    });
    return button;
  }));
}

try {
  const response = await fetch('model.safetensors');
  await start(new Uint8Array(await response.arrayBuffer()), 'model.safetensors');
  listen();
  await offerSamples();
  document.body.dataset.ready = 'yes';
} catch (error) {
  element('model').textContent = `The network could not be loaded: ${error.message ?? error}`;
  document.body.dataset.ready = 'no';
}
