// Keeps the page that it is on up to date, by server-sent events, and says whether it does.
// Without it, all of the page works.
(() => {
  'use strict'
  const page = document.getElementById('live')
  const state = document.getElementById('live-state')
  const word = document.getElementById('live-word')
  const said = document.getElementById('live-said')
  if (!page || !window.EventSource || !window.Idiomorph) return

  const graceful = 10 * 1000 // a stream may be away so long, such as between two
  const again = 30 * 1000 // after this, a stream that was refused is asked for again
  const silent = 90 * 1000 // a stream of which nothing was heard for so long is lost
  const seldom = 30 * 1000 // changes are announced no more often
  let { print, at } = page.dataset
  let source, lost, heard, announced = 0
  let begun = false // something was heard of this stream
  let held // an update that waits until somebody is done with what it would disturb
  let pressed = false // a button of the mouse, or a finger, is down: what is under it stays there
  let leaving = false // a form was sent: its answer takes the place of this page
  let why = '' // why nothing is seen

  function tell() {
    const live = source && begun && source.readyState === EventSource.OPEN && !why
    let text = (live ? 'Live: last looked at ' : 'Not live, last looked at ') + at + '.'
    if (why) text += ' ' + why
    if (held && selecting()) text += ' It has changed: that is shown once nothing is selected here.'
    state.hidden = false
    state.dataset.waits = held ? 'yes' : 'no'
    state.dataset.live = live ? 'yes' : 'no'
    state.className = live ? '' : 'warning'
    if (word.textContent !== text) word.textContent = text
  }

  function announce(text) {
    if (Date.now() - announced < seldom) return
    announced = Date.now()
    said.textContent = said.textContent === text ? text + ' ' : text
  }

  // gone says that the page is not live any more.
  function gone() {
    clearTimeout(lost)
    lost = undefined
    said.textContent = 'This page is not live any more.'
    tell()
  }

  // touched reports whether somebody has begun to fill in a form, or is at one of its fields or
  // buttons: what is about to be pressed stays what it is.
  function touched(form) {
    return [...form.elements].some((e) => {
      if (e === document.activeElement && e.matches('input, select, textarea, button')) return true
      if (e.matches('select')) {
        const begun = [...e.options].findIndex((o) => o.defaultSelected)
        return e.selectedIndex !== Math.max(begun, 0)
      }
      if (e.matches('input[type=checkbox], input[type=radio]')) return e.checked !== e.defaultChecked
      return e.matches('input:not([type=hidden]), textarea') && e.value !== e.defaultValue
    })
  }

  const kept = (node) => node instanceof Element &&
    [node, ...node.querySelectorAll('form')].some((e) => e.matches('form') && touched(e))

  // selecting reports whether somebody has selected something here.
  function selecting() {
    const s = document.getSelection()
    return Boolean(s && !s.isCollapsed && (page.contains(s.anchorNode) || page.contains(s.focusNode)))
  }

  // name gives what leads to a page its name, so that what has the focus stays what it is when
  // something comes before it.
  function name(root) {
    const taken = new Set()
    root.querySelectorAll('table, ul').forEach((list, n) => {
      for (const row of list.querySelectorAll('tr, li')) {
        const to = row.querySelector('a[href]')?.getAttribute('href')
        const id = 'row ' + n + ' ' + to
        if (!to || taken.has(id) || row.id && !row.id.startsWith('row ')) continue
        taken.add(id)
        row.id = id
      }
    })
  }

  function show({ html, quiet, at: when }) {
    at = when
    if (pressed || selecting()) {
      held = { html, quiet: quiet && (!held || held.quiet), at: when }
      tell()
      return
    }
    held = undefined
    const fresh = document.createElement('div')
    const parsed = document.createElement('template')
    parsed.innerHTML = html
    fresh.append(parsed.content)
    name(page)
    name(fresh)
    const active = document.activeElement
    const was = page.contains(active) ? active : undefined
    Idiomorph.morph(page, [...fresh.childNodes], {
      morphStyle: 'innerHTML',
      ignoreActiveValue: true,
      callbacks: {
        beforeNodeMorphed: (old) => !(old instanceof HTMLFormElement && touched(old)),
        beforeNodeRemoved: (old) => !kept(old),
        beforeAttributeUpdated: (attribute, node) => !(attribute === 'open' && node.matches('details')),
      },
    })
    if (was && document.activeElement !== was) {
      if (was.isConnected) was.focus({ preventScroll: true })
      else {
        page.tabIndex = -1
        page.focus({ preventScroll: true })
      }
    }
    if (!quiet) announce('This page has changed.')
    tell()
  }

  // arm has a stream given up of which nothing is heard for long, also if nothing ever was.
  function arm() {
    clearTimeout(heard)
    heard = setTimeout(() => { shut(); gone(); open() }, silent)
  }

  function hear(event) {
    arm()
    begun = true
    return JSON.parse(event.data)
  }

  function shut() {
    clearTimeout(heard)
    if (source) source.close()
    source = undefined
  }

  function open() {
    if (source || document.hidden) return
    const mine = source = new EventSource(page.dataset.events + '&print=' + encodeURIComponent(print))
    begun = false
    arm()
    mine.addEventListener('open', () => {
      clearTimeout(lost)
      lost = undefined
      if (begun) tell()
    })
    mine.addEventListener('page', (event) => {
      print = event.lastEventId
      why = ''
      show(hear(event))
    })
    mine.addEventListener('looked', (event) => {
      at = hear(event)
      why = ''
      tell()
    })
    mine.addEventListener('failed', (event) => {
      why = hear(event)
      announce('This page is not live now.')
      tell()
    })
    mine.addEventListener('over', () => {
      shut()
      if (leaving) gone() // such as by logging out, whose answer a reload would cut off
      else location.reload() // which leads to the login
    })
    mine.addEventListener('error', () => {
      if (source !== mine) return
      if (mine.readyState !== EventSource.CLOSED) {
        lost ??= setTimeout(gone, graceful)
        return
      }
      shut()
      gone()
      setTimeout(open, again)
    })
  }

  function showHeld() {
    if (held && !pressed && !selecting()) show(held)
  }

  function release() {
    pressed = false
    showHeld()
  }

  document.addEventListener('selectionchange', showHeld)
  document.addEventListener('pointerdown', () => { pressed = true })
  for (const end of ['pointerup', 'pointercancel']) document.addEventListener(end, () => setTimeout(release)) // a click comes before
  document.addEventListener('pointermove', (event) => event.buttons || release()) // it was let go outside of the window
  // Browsers have few connections to one site: a page that nobody sees has none.
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) return open()
    shut()
    tell()
  })
  document.addEventListener('submit', () => { leaving = true })
  window.addEventListener('pagehide', shut)
  window.addEventListener('pageshow', (event) => {
    leaving = false
    if (event.persisted) open()
  })
  open()
})()
