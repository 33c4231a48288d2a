package e2e

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
)

// pager is what a person on duty gets alerts by: a webhook.
type pager struct {
	*httptest.Server
	told chan holdfast.Alert
}

func newPager() *pager {
	p := &pager{told: make(chan holdfast.Alert, 1000)}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var a holdfast.Alert
		if json.NewDecoder(r.Body).Decode(&a) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		select {
		case p.told <- a:
		default: // nobody looks: those are enough
			w.WriteHeader(http.StatusTooManyRequests)
		}
	}))
	return p
}

// of waits for an alert about something.
func (p *pager) of(t *current, id string) holdfast.Alert {
	t.Helper()
	over := time.After(patience)
	for {
		select {
		case a := <-p.told:
			if a.ID == id {
				return a
			}
		case <-over:
			require.FailNow(t, "nobody alerts of "+id)
		}
	}
}

// testFromAnAlert: who has only an alert's link, and no session, comes to what it is about, and mends it.
func (h *house) testFromAnAlert() {
	h.breaks("pay", "no card")
	saga := h.orders.does(order{Saga: "order", Key: h.key("O-alert")})
	alert := h.pager.of(h.t, saga)
	path, here := strings.CutPrefix(alert.Link, h.base)
	require.True(h.t, here, "%+v", alert)
	p := h.b.open(h.base, false)
	p.goTo(path)
	p.enter("oskar")
	p.opens(path, "parked") // the alert is told before Temporal's lists know
	p.shows(200, saga, "no card")
	h.mends("pay")
	p.click(link("Retry …"))
	p.because("the card is there")
	p.click(button("Retry"))
	p.shows(200, "Retry: retried")
	require.LessOrEqual(h.t, p.clicks, 2)
	p.opens(path, "completed")
}
