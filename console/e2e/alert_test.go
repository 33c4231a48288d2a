package e2e

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
)

// pager is what a person on duty gets alerts by: a webhook.
type pager struct {
	*httptest.Server
	mu  sync.Mutex
	all []holdfast.Alert
}

func newPager() *pager {
	p := &pager{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var a holdfast.Alert
		if json.NewDecoder(r.Body).Decode(&a) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.all = append(p.all, a)
	}))
	return p
}

// of waits for an alert about something.
func (p *pager) of(t *current, id string) holdfast.Alert {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		p.mu.Lock()
		for _, a := range p.all {
			if a.ID == id {
				p.mu.Unlock()
				return a
			}
		}
		p.mu.Unlock()
		require.True(t, time.Now().Before(deadline), "nobody alerts of %s", id)
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
	p.shows(200, saga, "parked", "no card")
	h.mends("pay")
	p.click(link("Retry …"))
	p.because("the card is there")
	p.click(button("Retry"))
	p.shows(200, "Retry: retried")
	require.LessOrEqual(h.t, p.clicks, 2)
	p.opens(path, "completed")
}
