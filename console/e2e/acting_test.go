package e2e

import (
	"github.com/stretchr/testify/require"
)

// parked starts a saga that is parked, and opens its page in a tab.
func (h *house) parked(p *tab, key string) (id string) {
	p.t.Helper()
	h.breaks("pay", "no card")
	id = h.orders.does(order{Saga: "order", Key: h.key(key)})
	p.opens("/saga?id="+id, "parked")
	return id
}

// testActsOnce: two clicks, a reload and the back button, and a page that is not up to date.
func (h *house) testActsOnce() {
	t := h.t
	olga, oskar := h.login("olga", true), h.login("oskar", true)
	h.run("a double click", func() {
		id := h.parked(olga, "O-2")
		olga.click(link("Retry …"))
		olga.because("twice")
		require.Equal(t, 303, olga.twice(button("Retry")))
		olga.await("However often this form is sent, it acts once.")
		olga.shows(200, "Retry: retried")
		require.EqualValues(t, 1, h.asked("saga retry", id))
	})
	h.run("a reload of the answer", func() {
		id := h.parked(olga, "O-3")
		olga.click(link("Retry …"))
		olga.because("once")
		olga.click(button("Retry"))
		olga.shows(200, "Retry: retried")
		olga.do(nil, "reload", nil)
		olga.shows(200, "Retry: retried")
		require.EqualValues(t, 1, h.asked("saga retry", id))
	})
	h.run("the back button", func() {
		id := h.parked(olga, "O-4")
		olga.click(link("Retry …"))
		form := olga.fields()["form"]
		olga.because("once")
		olga.click(button("Retry"))
		olga.shows(200, "Retry: retried")
		olga.opens("/saga?id="+id, "parked") // again: the card is still missing
		olga.do(nil, "back", nil)
		olga.do(nil, "back", nil)
		olga.shows(200, "What this does")
		require.NotEqual(t, form, olga.fields()["form"], "the page is made anew, with a form for what is so now")
		require.EqualValues(t, 1, h.asked("saga retry", id))
		fields := olga.fields()
		fields["form"], fields["reason"] = form, "the form that was sent already"
		olga.send("/do", fields)
		olga.shows(200, "Retry: retried")
		require.EqualValues(t, 1, h.asked("saga retry", id))
	})
	h.run("a page that is not up to date", func() {
		id := h.parked(olga, "O-5")
		olga.click(link("Retry …"))
		oskar.goTo("/saga?id=" + id)
		oskar.click(link("Retry …"))
		oskar.because("the card works again")
		oskar.click(button("Retry"))
		oskar.shows(200, "Retry: retried")
		oskar.opens("/saga?id="+id, "parked") // it does not
		olga.because("the card works again, I hear")
		olga.click(button("Retry"))
		olga.shows(409, "It is not as it was when you were shown what this does. Nothing was done.")
		require.Equal(t, 1, olga.count(`tr:has(td:text-is("step pay")):has-text("tried 1 times"):has-text("tried 2 times")`), olga.text())
		require.EqualValues(t, 1, h.asked("saga retry", id), "oskar's")

		olga.goTo("/saga?id=" + id)
		olga.click(link("Retry …"))
		oskar.click(link("Compensate …"))
		oskar.because("the customer has gone")
		oskar.click(button("Compensate"))
		oskar.shows(200, "Compensate: compensated")
		olga.because("the card works again")
		olga.click(button("Retry"))
		olga.shows(409, "Nothing was done.")
		require.Equal(t, 1, olga.count(`tr:has(td:text-is("state")):has(td:text-is("parked")):has(td:text-is("compensated"))`), olga.text())
		olga.do(nil, "reload", nil) // the browser sends the form again
		olga.shows(409, "Nothing was done")
		require.EqualValues(t, 1, h.asked("saga retry", id))
	})
	h.mends("pay")
}

// testRoles: a viewer sees no action, and forging one does not help.
func (h *house) testRoles() {
	t := h.t
	vera, olga := h.login("vera", true), h.login("olga", true)
	id := h.parked(olga, "O-6")
	defer h.mends("pay")
	vera.goTo("/saga?id=" + id)
	vera.shows(200, "Your role looks and does not act.", "no card")
	require.Zero(t, vera.count(".button")+vera.count(".act"))
	require.Zero(t, vera.count(link("Audit")))
	var token string
	vera.evaluate(&token, `document.querySelector('input[name=token]').value`)
	vera.goTo("/do?kind=saga&act=retry&id=" + id)
	vera.shows(403, "It is for the role operator; yours is viewer. Nothing was done.")
	vera.goTo("/audit")
	vera.shows(403, "It is for the role admin")
	vera.goTo("/")

	olga.click(link("Retry …"))
	fields := olga.fields()
	fields["token"], fields["reason"] = token, "forged"
	vera.send("/do", fields)
	vera.shows(403, "It is for the role operator; yours is viewer. Nothing was done.")
	require.Zero(t, h.asked("saga retry", id))
	require.Contains(t, h.refused("vera"), "the role viewer may not do that")
}

// await waits until the page has a text, of itself.
func (p *tab) await(text string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return p.count(`main:has-text("`+text+`")`) > 0 }, patience, pause)
}
