// Drives Chromium for the tests of this folder: each line of the standard input is a
// request, {"id", "op", "tab", ...}; each line of the standard output is the answer,
// {"id", "value"} or {"id", "error"}. It ends with its input.
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { createRequire } from 'node:module'
import { chromium } from 'playwright-core'

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const patience = 3 * 60 * 1000 // it bounds what must come, and says nothing about how fast it is
const browser = await chromium.launch({ executablePath: process.env.HOLDFAST_CHROMIUM, args: ['--disable-gpu'] })
const tabs = new Map()

// navigated does what leads to another page, and waits until that is there.
async function navigated(page, act) {
  const there = page.waitForNavigation({ waitUntil: 'load' })
  there.catch(() => {}) // where act fails, nobody waits for it
  await act()
  await there
}

const ops = {
  // open opens a tab of a browser that knows nothing of the others.
  async open(_, { script, width, height }) {
    const context = await browser.newContext({ javaScriptEnabled: script, viewport: { width, height } })
    context.setDefaultTimeout(patience)
    const page = await context.newPage()
    const tab = { context, page, status: 0, headers: {}, dialogs: [], requests: [] }
    page.on('dialog', (dialog) => {
      tab.dialogs.push(dialog.message())
      dialog.dismiss().catch(() => {})
    })
    const went = (request) => tab.requests.push(request.method() + ' ' + request.url())
    page.on('requestfinished', went)
    page.on('requestfailed', (request) => request.failure()?.errorText !== 'csp' && went(request)) // what the policy stopped never went
    page.on('response', (response) => {
      if (response.request().isNavigationRequest() && response.frame() === page.mainFrame()) {
        tab.status = response.status()
        tab.headers = response.headers()
      }
    })
    tabs.set(tabs.size + 1, tab)
    return tabs.size
  },
  goto: ({ page }, { url }) => page.goto(url, { waitUntil: 'load' }).then(() => null),
  reload: ({ page }) => page.reload({ waitUntil: 'load' }).then(() => null),
  back: ({ page }) => page.goBack({ waitUntil: 'load' }).then(() => null),
  click: ({ page }, { target }) => navigated(page, () => page.locator(target).first().click({ noWaitAfter: true })),
  press: ({ page }, { key, leads }) => (leads ? navigated(page, () => page.keyboard.press(key)) : page.keyboard.press(key)),
  // down presses a mouse button over something, up lets it go, which leads to another page.
  async down({ page }, { target }) {
    await page.locator(target).first().hover()
    await page.mouse.down()
  },
  up: ({ page }) => navigated(page, () => page.mouse.up()),
  // twice clicks a button of a form, and again once the form has gone to the server, before
  // anything comes back.
  async twice({ page }, { target, path }) {
    let went
    const first = new Promise((done) => { went = done })
    await page.route('**' + path, (route) => {
      if (route.request().method() !== 'POST' || !went) return route.continue()
      went({ answer: route.fetch({ maxRedirects: 0 }) }) // and the browser hears nothing of it
      went = undefined
    })
    const { x, y, width, height } = await page.locator(target).first().boundingBox()
    const click = () => page.mouse.click(x + width / 2, y + height / 2) // which waits for nothing
    await click()
    const { answer } = await first
    await click()
    const status = (await answer).status()
    await page.unroute('**' + path)
    return status
  },
  fill: ({ page }, { target, value }) => page.locator(target).fill(value),
  type: ({ page }, { value }) => page.keyboard.insertText(value),
  count: ({ page }, { target }) => page.locator(target).count(),
  text: ({ page }) => page.locator('body').innerText(),
  see: ({ page, status, headers, dialogs, requests }) => ({ url: page.url(), status, headers, dialogs, requests }),
  evaluate: ({ page }, { script }) => page.evaluate(script),
  // send sends a form as a page of the console could.
  send: ({ page }, { path, fields }) =>
    navigated(page, () =>
      page.evaluate(
        ([action, all]) => {
          const form = Object.assign(document.createElement('form'), { action, method: 'post' })
          for (const [name, value] of Object.entries(all)) {
            form.append(Object.assign(document.createElement('input'), { type: 'hidden', name, value }))
          }
          document.body.append(form)
          form.submit()
        },
        [path, fields],
      ),
    ),
  size: ({ page }, { width, height }) => page.setViewportSize({ width, height }),
  scheme: ({ page }, { value }) => page.emulateMedia({ colorScheme: value }),
  cookies: ({ context }) => context.cookies(),
  // axe returns what axe-core finds that is serious or critical.
  async axe({ page }, { but }) {
    await page.evaluate(axe)
    const found = await page.evaluate((rules) => globalThis.axe.run(document, { rules }), // as the page's own script: its policy has no say
      Object.fromEntries(but.map((rule) => [rule, { enabled: false }])))
    return found.violations
      .filter((v) => v.impact === 'serious' || v.impact === 'critical')
      .map((v) => `${v.id} (${v.impact}): ${v.help}: ${v.nodes.map((n) => n.html).join(' ')}`)
  },
  shot: ({ page }, { path }) => page.screenshot({ path, fullPage: true }).then(() => null),
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line)
  let answer
  try {
    answer = { id: request.id, value: (await ops[request.op](tabs.get(request.tab), request)) ?? null }
  } catch (err) {
    answer = { id: request.id, error: String(err) }
  }
  process.stdout.write(JSON.stringify(answer) + '\n')
}
await browser.close()
