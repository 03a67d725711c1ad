// Drives the live page in headless Chromium: the picture moves and ratios update. Then two viewers, with a third that takes
// nothing, must not slow the run. Those two only read, because a browser on the same machine takes the run's processor:
// what two of them cost is measured as well. Usage: node check.mjs TINYSAVER [FIGURES_FOLDER [SCREENSHOT_FOLDER]]
import { chromium } from 'playwright-core';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import { createInterface } from 'node:readline';

const [binary, figures, shots] = process.argv.slice(2);
const FPS = 20, FRAMES = 300, ROUNDS = 3;
const CHROMIUM = process.env.CHROMIUM || '/usr/bin/chromium';
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];
// A hundredth of a second is what a loaded desktop's scheduler takes by itself.
const SLOWER_RATIO = 1.5, SLOWER_MS = 10;

function fail(words) { console.error(`live-check: ${words}`); process.exit(1); }
const median = list => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

/** A run with a live page; `ended` gives its frame rate and latency. */
async function start(frames) {
  const source = `test://?frames=${frames}&size=640x480&seed=5`;
  const child = spawn(binary, ['run', '--json', '-v', '--source', source, '--realtime', '--fps', `${FPS}`,
    '--threshold', '0.3', '--http', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'pipe'] });
  const lines = [];
  createInterface({ input: child.stdout }).on('line', line => lines.push(JSON.parse(line)));
  const url = await new Promise(resolve => createInterface({ input: child.stderr })
    .on('line', line => { const found = line.match(/live page: (\S+)/); if (found) resolve(found[1]); }));
  const ended = new Promise(resolve => child.on('close', code => {
    if (code !== 0 && code !== null) fail(`the run ended with ${code}`);
    const { summary } = lines.at(-1);
    const answered = lines.filter(line => line.outcome === 'answered');
    const seconds = (answered.at(-1).monotonic_us - answered[0].monotonic_us) / 1e6;
    resolve({ fps: (answered.length - 1) / seconds, p50_ms: summary.latency.p50_us / 1e3,
      p99_ms: summary.latency.p99_us / 1e3, answered: summary.answered, dropped: summary.dropped });
  }));
  return { url, ended, stop: () => child.kill('SIGINT') };
}

/** Asks for the stream and takes nothing of it. */
function stall(url) {
  const { hostname, port } = new URL(url);
  const socket = net.connect({ host: hostname, port: Number(port) });
  socket.on('error', () => {});
  socket.write('GET /stream.mjpg HTTP/1.1\r\nHost: a\r\n\r\n');
  socket.pause();
  return socket;
}

/** Takes everything and looks at nothing. */
function read(url) {
  const socket = stall(url);
  socket.on('data', () => {});
  socket.resume();
  return socket;
}

async function open(browser, url, options) {
  const page = await browser.newPage(options);
  page.on('pageerror', error => fail(`the page's script fails: ${error}`));
  // When a run ends, its stream is cut and its port is closed: that is no complaint.
  const isEnd = text => text.startsWith('Failed to load resource: net::ERR_');
  page.on('console', message => {
    if (message.type() === 'error' && !isEnd(message.text())) fail(`the page complains: ${message.text()}`);
  });
  await page.goto(url);
  await page.waitForFunction(() => document.getElementById('stream').naturalWidth > 0, null, { timeout: 60000 });
  return page;
}

const picture = async page => createHash('sha256').update(await page.locator('#stream').screenshot()).digest('hex');

/** Two different pictures and a growing count, as a person would see them. */
async function itMoves(page) {
  const before = await picture(page), count = await page.textContent('#more');
  for (let tries = 0; tries < 100; tries += 1) {
    if (await picture(page) !== before && await page.textContent('#more') !== count) break;
    if (tries === 99) fail('the picture or the counts stand still');
  }
  const widths = await page.$$eval('#bar span', parts => parts.map(part => parseFloat(part.style.width)));
  if (Math.abs(widths.reduce((a, b) => a + b) - 100) > 0.1) fail(`the ratios do not add up: ${widths}`);
  if (widths.filter(width => width > 0).length < 2) fail(`only one exit answers: ${widths}`);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  if (overflow > 0) fail(`the page is ${overflow} pixels wider than the screen`);
}

async function takeScreenshots(browser, url) {
  mkdirSync(shots, { recursive: true });
  for (const [name, options] of [
    ['desktop', { viewport: { width: 1200, height: 620 } }],
    ['dark', { viewport: { width: 1200, height: 620 }, colorScheme: 'dark' }],
    ['phone', { viewport: { width: 390, height: 844 }, isMobile: true, deviceScaleFactor: 2 }],
  ]) {
    const page = await open(browser, url, options);
    await itMoves(page);
    await page.screenshot({ path: `${shots}/${name}.png` });
    await page.close();
  }
}

const browser = await chromium.launch({ executablePath: CHROMIUM, headless: true, args: FLAGS })
  .catch(error => fail(`Chromium does not start: ${error.message}`));
if (shots) {
  const run = await start(100000);
  await takeScreenshots(browser, run.url);
  run.stop();
  await run.ended;
}
const arms = { alone: [], watched: [], browsers: [] };
for (let round = 0; round < ROUNDS; round += 1) {
  arms.alone.push(await (await start(FRAMES)).ended);
  const watched = await start(FRAMES);
  const sockets = [read(watched.url), read(watched.url), stall(watched.url)];
  arms.watched.push(await watched.ended);
  sockets.forEach(socket => socket.destroy());
  const run = await start(FRAMES);
  const pages = [await open(browser, run.url), await open(browser, run.url)];
  const stalled = stall(run.url);
  await itMoves(pages[0]);
  arms.browsers.push(await run.ended);
  stalled.destroy();
  await Promise.all(pages.map(page => page.close()));
}
await browser.close();

const NAMES = { fps: 'frames a second', p50_ms: 'latency, median (ms)', p99_ms: 'latency, p99 (ms)' };
const of = (arm, key) => median(arms[arm].map(run => run[key]));
const range = (arm, key) => {
  const all = arms[arm].map(run => run[key]);
  return `${of(arm, key).toFixed(2)} (${Math.min(...all).toFixed(2)} to ${Math.max(...all).toFixed(2)})`;
};
const rows = Object.entries(NAMES).map(([key, name]) =>
  `| ${name} | ${Object.keys(arms).map(arm => range(arm, key)).join(' | ')} |`);
console.log(rows.join('\n'));
if (figures) {
  const date = new Date().toISOString().slice(0, 10), cpu = os.cpus(), load = os.loadavg()[0];
  const all = { date, processor: cpu[0].model, cores: cpu.length, load, fps: FPS, frames: FRAMES, rounds: ROUNDS, ...arms };
  writeFileSync(`${figures}/live.json`, `${JSON.stringify(all, null, 1)}\n`);
  writeFileSync(`${figures}/live.md`, `# Viewers and the run

\`make live-check\`, ${date}, ${cpu.length} cores (${cpu[0].model}), load at its end ${load.toFixed(1)}: ${ROUNDS} interleaved
rounds of ${FRAMES} frames of 640x480 at ${FPS} a second. *Watched*: two viewers that read the stream, and a third that takes
nothing. *Browsers*: two headless Chromium windows instead of the two, on the same cores as the run. Median of the rounds, and
their range.

| | alone | watched | browsers |
|---|---|---|---|
${rows.join('\n')}
`);
}
const missing = Object.values(arms).flat().filter(run => run.answered !== FRAMES || run.dropped !== 0);
if (missing.length > 0) fail('frames are missing');
if (of('watched', 'fps') < 0.98 * of('alone', 'fps')) fail('viewers slow the run: frames per second');
if (of('watched', 'p99_ms') > SLOWER_RATIO * of('alone', 'p99_ms') + SLOWER_MS) fail('viewers slow the run: p99');
console.log('live-check: ok');
