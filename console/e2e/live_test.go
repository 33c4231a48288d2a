package e2e

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// isLive matches a page that says that it is kept up to date.
const isLive = `#live-state[data-live="yes"]`

// TestPagesAreLive: they change by themselves, and leave alone what somebody is at.
func TestPagesAreLive(t *testing.T) {
	h := newHouse(t)
	h.orders = h.program("orders")
	h.program("payments")
	p, other := h.login("olga", true), h.login("ada", true)
	h.breaks("payments", "the bank is closed")
	for _, key := range []string{"L-1", "L-2", "L-3"} {
		h.orders.does(order{Topic: "order.placed", Key: h.key(key), Body: `{}`})
	}
	letter := letterOf(other, h.key("L-1"))
	other.until("/dead/list?state=parked&consumer=payments", "three", func() bool { return other.count("tbody tr") == 3 })

	h.run("a page changes", func() {
		p.goTo("/letter?id=" + query(letter))
		p.awaits(isLive)
		p.evaluate(new(int), `window.mark = 1`)
		p.evaluate(new(bool), `(document.querySelector('a.button[href*="act=compensate"]').focus(), true)`)
		other.goTo("/do?kind=dead&act=discard&id=" + query(letter))
		other.because("nobody needs it")
		other.click(button("Discard"))
		p.awaits(`#live .state:has-text("discarded")`)
		require.True(t, p.sees(`window.mark === 1`), "it was not loaded again")
		require.True(t, p.sees(`document.getElementById('live').contains(document.activeElement)`), "the focus is on the page still")
		require.Contains(t, p.text(), "Live: last looked at ")
		require.True(t, p.sees(`document.getElementById('live-said').textContent.startsWith('This page has changed.')`))
	})
	h.run("what somebody is at stays", func() {
		h.mends("payments")
		p.goTo("/do?kind=dead+letters&act=redeliver&id=" + query("consumer=payments"))
		p.because("as agreed")
		p.click(button("Redeliver together"))
		run := p.see().URL[len(h.base):]
		p.awaits(`select#rate`)
		p.awaits(isLive)
		p.evaluate(new(string), `document.querySelector('select#rate').value = '20'`)
		other.goTo(run)
		other.click(button("End it: no further one is begun"))
		p.awaits(`#live:has-text("ended it")`)
		require.True(t, p.sees(`document.querySelector('select#rate').value === '20'`))
	})
	h.run("a list keeps its focus and its selection", func() {
		p.goTo("/")
		p.awaits(isLive)
		p.evaluate(new(bool), `(() => {
			const l = document.querySelector('#live a[href^="/dead/list"]')
			l.focus()
			window.focused = l.getAttribute('href')
			document.getSelection().selectAllChildren(document.querySelector('#live section h2'))
			return true
		})()`)
		h.breaks("payments", "a second cause")
		h.orders.does(order{Topic: "order.placed", Key: h.key("L-4"), Body: `{}`})
		letterOf(other, h.key("L-4"))
		p.awaits(`#live-word:has-text("once nothing is selected")`)
		require.True(t, p.sees(`String(document.getSelection()) !== ''`))
		require.Zero(t, p.count(`#live:has-text("a second cause")`))
		p.evaluate(new(bool), `(document.getSelection().removeAllRanges(), true)`)
		p.awaits(`#live:has-text("a second cause")`)
		require.True(t, p.sees(`document.activeElement.getAttribute('href') === window.focused`))
	})
	h.run("what is pressed stays where it is", func() {
		changes := func(key, cause string) {
			h.breaks("payments", cause)
			h.orders.does(order{Topic: "order.placed", Key: h.key(key), Body: `{}`})
			letterOf(other, h.key(key))
			p.awaits(`#live-state[data-waits="yes"]`)
			require.Zero(t, p.count(fmt.Sprintf(`#live:has-text(%q)`, cause)))
		}
		p.goTo("/")
		p.awaits(isLive)
		top := `document.getElementById('live').getBoundingClientRect().top`
		require.True(t, p.sees(`((was) => (document.getElementById('live-state').hidden = true, was === `+top+`))(`+top+`)`),
			"what says that the page is live moves nothing when it comes")
		p.evaluate(new(bool), `document.dispatchEvent(new PointerEvent('pointerdown'))`)
		changes("L-5", "a third cause")
		p.evaluate(new(bool), `document.dispatchEvent(new PointerEvent('pointermove'))`) // let go outside of the window
		p.awaits(`#live:has-text("a third cause")`)

		p.do(nil, "down", map[string]any{"target": `#live a[href^="/dead/list"]`})
		changes("L-6", "a fourth cause")
		p.do(nil, "up", nil)
		require.Contains(t, p.see().URL, "/dead/list")
	})
	h.run("a stream that is lost", func() {
		base, lost := h.console("127.0.0.1:0")
		q := h.b.open(base, true)
		q.goTo("/")
		q.enter("olga")
		q.awaits(isLive)
		lost.kill()
		q.awaits(`#live-word:has-text("Not live, last looked at ")`)
	})
	h.run("a session that ends", func() {
		q := h.login("vera", true)
		q.awaits(isLive)
		q.evaluate(new(bool), `(fetch('/logout', { method: 'POST', headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
			body: 'token=' + encodeURIComponent(document.querySelector('.who input').value) }).catch(() => {}), true)`)
		q.awaits(`input[name="password"]`)
	})
}

// awaits waits until the page has what a selector means, of itself.
func (p *tab) awaits(selector string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return p.count(selector) > 0 }, patience, pause, selector)
}

// sees evaluates a condition in the page.
func (p *tab) sees(condition string) (is bool) {
	p.t.Helper()
	p.evaluate(&is, `Boolean(`+condition+`)`)
	return is
}
