// The page around the network: files in, bars out.
import init, { Classifier } from './rekindle_web.js';

const element = (id) => document.getElementById(id);
let classifier = null;

function say(text) {
  element('status').textContent = text;
}

async function load(bytes, name) {
  const begun = performance.now();
  const loaded = new Classifier(bytes); // Throws what is wrong with the file.
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

async function take(file) {
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
    const answer = JSON.parse(classifier.classify(bytes));
    show(answer);
    say(`${answer[0].class}, seen in ${Math.round(performance.now() - begun)} ms.`);
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
  await init();
  const response = await fetch('model.safetensors');
  await load(new Uint8Array(await response.arrayBuffer()), 'model.safetensors');
  listen();
  await offerSamples();
  document.body.dataset.ready = 'yes';
} catch (error) {
  element('model').textContent = `The network could not be loaded: ${error.message ?? error}`;
  document.body.dataset.ready = 'no';
}
