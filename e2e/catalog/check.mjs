// The catalog in a real browser, from a folder: accessible in light and dark, on a phone and on a desk, usable by keyboard alone,
// and asking nobody else for anything. CATALOG is its folder, BROWSER a Chromium.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

// Found through NODE_PATH: the libraries lie in the cache folder, not beside this script.
const require = createRequire(import.meta.url);
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const { CATALOG: folder, BROWSER: executablePath } = process.env;
const address = (page) => pathToFileURL(join(folder, page)).href;
const pages = readdirSync(folder, { recursive: true }).filter((path) => path.endsWith('.html')).sort();
assert(pages.length > 5, `only ${pages.length} pages in ${folder}`);

const browser = await chromium.launch({
  executablePath,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

async function open(options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.on('request', (request) => {
    const url = request.url();
    if (!url.startsWith('file:') && !url.startsWith('data:')) page.foreign.push(url);
  });
  page.on('console', (message) => message.type() === 'error' && page.errors.push(message.text()));
  page.on('pageerror', (error) => page.errors.push(String(error)));
  Object.assign(page, { foreign: [], errors: [] });
  return page;
}

async function quiet(page) {
  assert.deepEqual(page.foreign, [], 'asked elsewhere');
  assert.deepEqual(page.errors, [], 'errors of the page');
  await page.context().close();
}

async function violations(page, where, part = 'html') {
  await page.evaluate(axe);
  const found = await page.evaluate((selector) => window.axe.run(selector, {
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
    resultTypes: ['violations', 'incomplete'],
    // It would fetch the style sheet, which a page from a folder may not.
    preload: false,
  }), part);
  // What axe can't decide about the contrast of a page counts as well: the style has no picture behind text. Of a list that lies
  // over the page it can't decide all.
  const undecided = found.incomplete.filter((rule) => part === 'html' && rule.id === 'color-contrast');
  return [...found.violations, ...undecided].flatMap((rule) => rule.nodes.map(
    (node) => `${where}: ${rule.id}: ${node.html}\n  ${node.failureSummary ?? rule.help}`,
  ));
}

async function accessible() {
  const found = [];
  for (const colorScheme of ['light', 'dark']) {
    for (const viewport of [{ width: 1200, height: 900 }, { width: 320, height: 640 }]) {
      const page = await open({ colorScheme, viewport });
      for (const path of pages) {
        await page.goto(address(path));
        await page.evaluate(() => document.querySelectorAll('details').forEach((details) => { details.open = true; }));
        const where = `${path}, ${colorScheme}, ${viewport.width} wide`;
        found.push(...await violations(page, where));
        // WCAG 2.2, 1.4.10: at 320 pixels nothing but tables and code scrolls sideways.
        const width = await page.evaluate(() => document.documentElement.scrollWidth);
        if (width > viewport.width) found.push(`${where}: is ${width} wide`);
      }
      await page.locator('#search').fill('email');
      found.push(...await violations(page, `search results, ${colorScheme}, ${viewport.width} wide`, 'form[role=search]'));
      await quiet(page);
    }
  }
  assert.equal(found.join('\n'), '');
}

const focused = (page) => page.evaluate(() => document.activeElement.id || document.activeElement.textContent.trim());

async function byKeyboard() {
  const page = await open({ viewport: { width: 1200, height: 900 } });
  const key = (name) => page.keyboard.press(name);
  await page.goto(address('index.html'));
  await key('Tab');
  assert.equal(await focused(page), 'Skip to the content');
  await key('Enter');
  assert.equal(await focused(page), 'content');

  await page.goto(address('index.html'));
  for (const expected of ['Skip to the content', 'Customer data catalog', 'search']) {
    await key('Tab');
    assert.equal(await focused(page), expected);
  }
  // By the audience that rests on it, by its field, by its words; and what is not there.
  const queries = [['WIN-BACK', '1 result'], ['lifecycle__c', '1 result'], ['stage lifecycle', '1 result'], ['shoe size', 'Nothing found']];
  for (const [query, says] of queries) {
    await page.keyboard.type(query);
    assert.equal(await page.locator('#search-status').textContent(), says, query);
    await key('Escape');
    assert.equal(await page.locator('#search').inputValue(), '');
  }
  await page.keyboard.type('lifecycle_st');
  await key('ArrowDown');
  assert.equal(await focused(page), 'lifecycle_stage');
  await key('ArrowUp');
  assert.equal(await focused(page), 'search');
  await key('Enter');
  await page.waitForURL('**/person/lifecycle_stage.html');
  assert.equal(await page.locator('h1').textContent(), 'lifecycle_stage');
  const headings = await page.locator('h2').allTextContents();
  assert.deepEqual(headings.slice(0, 3), ['Where does it come from?', 'Who may have it?', 'What rests on it?']);

  // From a page two folders down, to another.
  await page.locator('#search').focus();
  await page.keyboard.type('phone');
  await key('ArrowDown');
  await key('Enter');
  await page.waitForURL('**/person/phone.html');
  await quiet(page);
}

async function withoutScript() {
  const page = await open({ javaScriptEnabled: false });
  await page.goto(address('index.html'));
  assert(!await page.locator('#search').isVisible(), 'a search that can do nothing is shown');
  await page.getByRole('link', { name: 'lifecycle_stage' }).click();
  await page.waitForURL('**/person/lifecycle_stage.html');
  await quiet(page);
}

try {
  await byKeyboard();
  await withoutScript();
  await accessible();
  console.log(`${pages.length} pages, light and dark, wide and narrow: nothing to object to`);
} finally {
  await browser.close();
}
