// A headless Chromium that a test drives, step by step (lines.mjs has the form; tests/e2e/browser/driver.rs the other
// side).
//
// PALISADE_HOST, if it is there: `NAME ADDRESS:PORT`, a name that leads to a server of the test.
//
// Certificates are checked as always, but for those whose keys PALISADE_SPKI lists (base64 of SHA-256, by comma): the
// servers of the test. Every page has a profile of its own, and remembers what it asked for and what its console said.

import { load, say, serve } from './lines.mjs';

const { default: playwright } = await load('playwright-core');
const { default: axe } = await load('axe-core');

// Longest wait for what a step needs. Shorter than the wait of who asked (testkit/process.rs), so that this side says
// what was missing.
const PATIENCE = 20_000;
// Longest list that is kept of a page.
const MAX_KEPT = 2_000;

const host = process.env.PALISADE_HOST;
// The first rule that fits counts.
const own = host ? `MAP ${host}, ` : '';

const browser = await playwright.chromium.launch({
  executablePath: process.env.PALISADE_CHROMIUM ?? '/usr/bin/chromium',
  args: [
    // As root in a container; what it opens is the test's own.
    '--no-sandbox',
    '--disable-dev-shm-usage',
    // Nothing but the test's servers is asked for: a page that names a stranger's asset shows it in its console.
    `--host-resolver-rules=${own}MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1`,
    '--disable-background-networking',
    '--disable-component-update',
    '--no-first-run',
    `--ignore-certificate-errors-spki-list=${process.env.PALISADE_SPKI ?? ''}`,
  ],
});

const pages = new Map();
let count = 0;

function keep(list, entry) {
  if (list.length < MAX_KEPT) list.push(entry);
}

async function watch(page) {
  page.setDefaultTimeout(PATIENCE);
  const kept = { page, requests: [], console: [] };
  page.on('request', (request) => {
    const entry = { method: request.method(), url: request.url(), headers: {}, status: 0 };
    keep(kept.requests, entry);
    // Those that the browser adds last (cookies, Referer, Sec-Fetch-…) come later than the event.
    request.allHeaders().then((headers) => { entry.headers = headers; }, () => {});
    request.response().then((response) => { entry.status = response?.status() ?? 0; }, () => {});
  });
  page.on('console', (message) => {
    const { url } = message.location();
    keep(kept.console, { url: url || page.url(), kind: message.type(), text: message.text() });
  });
  page.on('pageerror', (error) => keep(kept.console, { url: page.url(), kind: 'error', text: error.message }));
  count += 1;
  pages.set(`p${count}`, kept);
  return `p${count}`;
}

function found(id) {
  const kept = pages.get(id);
  if (!kept) throw new Error(`no page ${id}`);
  return kept;
}

// What a person would name: by role and name, or a field by its label.
function element(page, { role, name, label, selector }) {
  if (selector) return page.locator(selector);
  if (label) return page.getByLabel(label, { exact: true });
  return page.getByRole(role, { name, exact: true });
}

const text = (page) => page.locator('body').innerText();

async function around(page, error) {
  const shown = await text(page).catch(() => '(no page)');
  throw new Error(`${error.message}\nat ${page.url()}\nthe page says:\n${shown}`);
}

const act = (work) => async ({ page: id, ...given }) => {
  const { page } = found(id);
  try {
    return await work(page, given);
  } catch (error) {
    return around(page, error);
  }
};

say({ ready: browser.version() });

await serve({
  // A new profile with one page.
  open: async ({ scripts = true, scheme = 'light', width = 1000, height = 720 }) => {
    const context = await browser.newContext({
      javaScriptEnabled: scripts,
      colorScheme: scheme,
      viewport: { width, height },
      reducedMotion: 'reduce',
      locale: 'en-GB',
    });
    return watch(await context.newPage());
  },
  // Another page of the same profile.
  tab: async ({ page: id }) => watch(await found(id).page.context().newPage()),
  // The profile goes with its last page.
  close: async ({ page: id }) => {
    const { page } = found(id);
    const context = page.context();
    await page.close();
    if (context.pages().length === 0) await context.close();
    pages.delete(id);
  },
  goto: act(async (page, { url }) => {
    const response = await page.goto(url, { waitUntil: 'load' });
    return response?.status() ?? 0;
  }),
  click: act(async (page, which) => { await element(page, which).click(); }),
  check: act(async (page, which) => { await element(page, which).check(); }),
  fill: act(async (page, { text: value, ...which }) => { await element(page, which).fill(value); }),
  press: act(async (page, { key }) => { await page.keyboard.press(key); }),
  type: act(async (page, { text: value }) => { await page.keyboard.type(value); }),
  count: act(async (page, which) => element(page, which).count()),
  // Waits until the page shows this; gives all that it says.
  see: act(async (page, { text: wanted }) => {
    await page.getByText(wanted).filter({ visible: true }).first().waitFor();
    return text(page);
  }),
  // Waits until the address holds this; gives the address.
  arrive: act(async (page, { part }) => {
    await page.waitForURL((url) => url.href.includes(part), { waitUntil: 'load' });
    return page.url();
  }),
  text: act(text),
  html: act(async (page) => page.content()),
  url: act(async (page) => page.url()),
  title: act(async (page) => page.title()),
  evaluate: act(async (page, { script }) => page.evaluate(script)),
  // The element that has the focus, as a person hears it: role-like tag, and name.
  focused: act(async (page) => page.evaluate(() => {
    const at = document.activeElement;
    if (!at || at === document.body) return '';
    const name = at.labels?.[0]?.innerText ?? at.getAttribute('aria-label') ?? at.innerText ?? '';
    return `${at.tagName.toLowerCase()} ${name.trim()}`.trim();
  })),
  // Waits until something has it: a page's own wish counts when the browser has drawn the page.
  focus: act(async (page) => { await page.locator(':focus').first().waitFor({ state: 'attached' }); }),
  cookies: act(async (page) => page.context().cookies()),
  forget_cookies: act(async (page) => page.context().clearCookies()),
  // Sets a cookie as another program on the machine could.
  set_cookie: act(async (page, { cookie }) => page.context().addCookies([cookie])),
  scheme: act(async (page, { scheme }) => page.emulateMedia({ colorScheme: scheme })),
  size: act(async (page, { width, height }) => page.setViewportSize({ width, height })),
  screenshot: act(async (page, { path }) => { await page.screenshot({ path, fullPage: false, animations: 'disabled' }); }),
  // What axe-core finds wrong; the script is run by the browser's own door, past the page's policy.
  axe: act(async (page) => {
    await page.evaluate(axe.source);
    const { violations, incomplete } = await page.evaluate(() => globalThis.axe.run(document, {
      runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
    }));
    const line = ({ id, impact, help, nodes }) =>
      `${id} (${impact}): ${help}: ${nodes.map((node) => node.html).slice(0, 3).join(' | ')}`;
    // What it could not tell about contrast is as bad: it must be made clear.
    return [...violations, ...incomplete.filter(({ id }) => id === 'color-contrast')].map(line);
  }),
  requests: async ({ page: id }) => found(id).requests,
  console: async ({ page: id }) => found(id).console,
});

await browser.close();
process.exit(0);
