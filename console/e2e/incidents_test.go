package e2e

import (
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"
)

// mostClicks is how many clicks it may take to mend an incident, from the first page on.
const mostClicks = 4

// incident is what went wrong, and what it took to find and mend it.
type incident struct {
	name   string
	clicks int
	// how is what is done in the console, or where else it is to be done.
	how  string
	took time.Duration
}

// row is its row of the table in docs/console.md.
func (i incident) row() string {
	return fmt.Sprintf("| %s | %d | %s |", i.name, i.clicks, i.how)
}

// testIncidents brings all incidents about, finds each from the first page, and mends it. The
// clicks are asserted, the time is told.
func (h *house) testIncidents() {
	t, orders := h.t, h.orders
	p := h.login("olga", false) // without scripts, which the console does not need
	began := time.Now()
	// look begins to count: the first page shows it.
	look := func(target string) {
		t.Helper()
		p.finds(target)
		p.clicks, began = 0, time.Now()
	}
	note := func(name, how string) {
		t.Helper()
		i := incident{name: name, clicks: p.clicks, how: how, took: time.Since(began)}
		require.LessOrEqual(t, i.clicks, mostClicks, i.name)
		h.incidents = append(h.incidents, i)
	}
	// act chooses an action of the page that is shown, says why, and does it.
	act := func(choice, does, comes string) {
		t.Helper()
		p.click(link(choice + " …"))
		p.because("as agreed")
		p.click(button(does))
		p.shows(200, comes)
	}
	var mend []func() // what finds and mends each

	// What was done cannot be undone.
	h.breaks("give-back", "the shelf is locked")
	locked := orders.does(order{Saga: "return", Key: h.key("R-1")})
	p.opens("/saga?id="+locked, "compensation-failed")
	mend = append(mend, func() {
		look(link(locked))
		p.click(link(locked))
		p.shows(200, "compensation-failed", "the shelf is locked")
		h.mends("give-back")
		act("Retry", "Retry", "Retry: retried")
		note("a saga that could not be undone, once the cause is gone", "Retry")
		p.opens("/saga?id="+locked, "compensated")
	})

	// The same, undone by hand.
	h.breaks("give-back", "the shelf has burnt down")
	burnt := orders.does(order{Saga: "return", Key: h.key("R-2")})
	p.opens("/saga?id="+burnt, "compensation-failed")
	mend = append(mend, func() {
		look(link(burnt))
		p.click(link(burnt))
		p.shows(200, "the shelf has burnt down")
		act("Skip take-back", "Skip take-back", "Skip take-back: ")
		note("a saga that could not be undone, and was undone by hand", "Skip")
		p.opens("/saga?id="+burnt, "compensated")
	})

	// A step forwards.
	h.breaks("pay", "no card")
	unpaid := orders.does(order{Saga: "order", Key: h.key("O-1")})
	mend = append(mend, func() {
		look(link(unpaid))
		p.click(link(unpaid))
		p.shows(200, "parked", "no card")
		h.mends("pay")
		act("Retry", "Retry", "Retry: retried")
		note("a saga that is parked at a step, once the cause is gone", "Retry")
		p.opens("/saga?id="+unpaid, "completed")
	})

	// An answer.
	asks := orders.does(order{Saga: "discount", Key: h.key("D-1")})
	mend = append(mend, func() {
		p.opens("/sagas?state=waiting", asks)
		look(link("sagas that wait for an answer"))
		p.click(link("sagas that wait for an answer"))
		p.click(link(asks))
		act("Answer approve with yes", "Answer approve with yes", "Answer approve with yes: ")
		note("a saga that waits for an approval", "Answer")
		p.opens("/saga?id="+asks, "completed")
	})

	// A pause.
	paused := orders.does(order{Saga: "discount", Key: h.key("D-2")})
	p.opens("/saga?id="+paused, "waiting")
	act("Pause", "Pause", "Pause: ")
	mend = append(mend, func() {
		p.opens("/sagas?state=paused", paused)
		look(link("paused sagas"))
		p.click(link("paused sagas"))
		p.click(link(paused))
		act("Resume", "Resume", "Resume: ")
		note("a saga that somebody has paused", "Resume")
		p.opens("/saga?id="+paused, "waiting")
	})

	// Dead letters.
	for i, c := range []struct{ error, choice, comes, ends, name string }{
		{"the bank is closed", "Redeliver", "Redeliver: handled", "handled", "a dead letter, once the cause is gone"},
		{"no such order", "Discard", "Discard: discarded", "discarded", "a dead letter that nobody needs"},
		{"the card is stolen", "Compensate", "Compensate: compensated", "compensated", "a dead letter that cannot be handled"},
	} {
		h.breaks("payments", c.error)
		key := h.key(c.choice)
		orders.does(order{Topic: "order.placed", Key: key, Body: `{"total":12}`})
		letter := letterOf(p, key) // it has died of this
		mend = append(mend, func() {
			example := fmt.Sprintf(`tr:has-text(%q) td:last-child a`, c.error)
			look(example)
			p.click(example)
			p.shows(200, "parked", c.error, key)
			if i == 0 {
				h.mends("payments")
			}
			act(c.choice, c.choice, c.comes)
			note(c.name, c.choice)
			p.opens("/letter?id="+query(letter), c.ends)
		})
	}

	// A transaction that nobody can decide.
	tx := orders.does(order{Topic: "order.odd", Key: h.key("T-1"), Undecided: true})
	mend = append(mend, func() {
		look(link(tx))
		p.click(link(tx))
		p.shows(200, "parked")
		act("Roll back", "Roll back", "Roll back: rolled-back")
		note("a transaction that nobody can decide", "Roll back")
	})

	for _, does := range append(mend, h.bringAbout(p, look, note)...) {
		does()
	}
	h.tell()
}

// bringAbout brings about what the console finds, and has no means to mend: it says what to do,
// which is done then.
func (h *house) bringAbout(p *tab, look func(string), note func(name, how string)) (mend []func()) {
	orders := h.orders
	finding := func(texts ...string) string {
		target := ".findings > li"
		for _, text := range texts {
			target += fmt.Sprintf(":has-text(%q)", text)
		}
		return target
	}
	// A saga of a version that nobody has any more.
	h.breaks("number", "no number is free")
	old := h.program("billing-2")
	id := old.does(order{Saga: "invoice", Key: h.key("I-1")})
	old.stop()
	replaced := h.program("billing-1")
	mend = append(mend, func() {
		lost := finding("saga versions", "start a process of group billing that registers invoice version 2")
		look(lost)
		p.click(lost + " >> " + link("List them"))
		p.click(link(id))
		p.shows(200, "no-worker")
		note("a saga that has no worker of its version", "found: start a process that has the version")
		h.mends("number")
		replaced.stop()
		old := h.program("billing-2")
		p.opens("/saga?id="+id, "completed")
		old.stop()
	})

	// A breaker.
	h.breaks("mailer", "the mail server is away")
	for i := range 3 {
		orders.does(order{Topic: "mail.wanted", Key: h.key(fmt.Sprint("M-", i)), Body: `{}`})
	}
	mend = append(mend, func() {
		look(finding("breaker mailer", "open", "the mail server is away", "mend the dependency"))
		note("a consumer whose breaker is open", "found: mend what the error names; it resumes by itself")
	})

	// A consumer whose processes are gone.
	books := h.program("books")
	orders.does(order{Topic: "book.entry", Key: h.key("B-1"), Body: `{}`})
	require.Eventually(h.t, func() bool {
		var n int64
		err := h.db.Raw("SELECT count(*) FROM holdfast_consumers WHERE name = 'books'").Scan(&n).Error
		return err == nil && n > 0
	}, patience, pause, "the consumer is remembered")
	books.kill()
	orders.does(order{Topic: "book.entry", Key: h.key("B-2"), Body: `{}`})
	return append(mend, func() {
		look(finding("consumer books", "start a process of the consumer"))
		note("a consumer without a process", "found: start a process of it")
		books := h.program("books")
		p.until("/", "no consumer that is missing", func() bool { return p.count(finding("consumer books", "start a process")) == 0 })
		books.stop()
	})
}

// tell prints the table, and compares it with the documentation's.
func (h *house) tell() {
	t := h.t
	t.Helper()
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "INCIDENT\tCLICKS\tSECONDS\tIN THE CONSOLE")
	for _, i := range h.incidents {
		fmt.Fprintf(w, "%s\t%d\t%.1f\t%s\n", i.name, i.clicks, i.took.Seconds(), i.how)
	}
	require.NoError(t, w.Flush())
	t.Logf("from the first page on:\n%s", out.String())
	page, err := os.ReadFile("../../docs/console.md")
	require.NoError(t, err)
	for _, i := range h.incidents {
		require.Contains(t, string(page), i.row(), "the table of docs/console.md")
	}
}
