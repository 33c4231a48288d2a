// Package alerts delivers alerts: to the hook and the webhook of this process, or, where an
// alert is another process's to tell, to that one over RabbitMQ. Nobody who raises an
// alert is held up. What is worth an alert is decided elsewhere: see package observe.
package alerts

import (
	"context"
	"log/slog"
	"sync"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/internal/guard"
	"github.com/holdfastmq/holdfast/internal/metrics"
)

const (
	// alertQueueSize is how many alerts wait for the hook, and for the webhook.
	alertQueueSize = 1000
	// alertDrain is how long what waits at shutdown may still take.
	alertDrain = 5 * time.Second
	// hookTimeout bounds a call of the hook; hookGrace is how long a call whose
	// context is done is waited for, before it is left alone.
	hookTimeout = time.Minute
	hookGrace   = time.Second
	// hooksRunning is how many calls may run at once: one, and those that were
	// left alone.
	hooksRunning = 8
)

// Where alerts go, and why one does not get there.
const (
	toHook    = "hook"
	toWebhook = "webhook"
	toRelay   = "relay" // to other processes

	whyFull     = "full"     // the queue
	whyTimeout  = "timeout"  // of the hook
	whyPanic    = "panic"    // of the hook
	whyRefused  = "refused"  // by the webhook's server
	whyFailed   = "failed"   // for as long as the webhook is tried
	whyShutdown = "shutdown" // before it was delivered
)

var _ activities.Alerter = (*Alerter)(nil)

// Alerter passes alerts on to a hook and to a webhook, neither of which holds up
// the other, or the one who alerts.
type Alerter struct {
	metrics *metrics.Metrics
	hook    *hook    // nil: none
	webhook *webhook // nil: none
	relay   *relay   // nil: none; what is not this process's goes there
	log     *slog.Logger
	notes   alertNotes

	// console is the console's address that alerts which are told here link to; empty: none.
	console string

	// Whose alerts are told here: see own.
	group     string
	consumers []string // sorted
	all       bool
}

// New returns an alerter; call may be nil, w may be zero, and there may be no console. Alerts wait
// until run is called.
func New(call func(context.Context, holdfast.Alert), w Target, console string, log *slog.Logger, m *metrics.Metrics) (
	*Alerter, error) {
	a := &Alerter{console: console, metrics: m, log: log}
	if call != nil {
		a.hook = &hook{alertQueue: newAlertQueue(toHook, log, m), call: call, running: make(chan struct{}, hooksRunning)}
	}
	if w.URL == "" {
		return a, nil
	}
	var err error
	a.webhook, err = newWebhook(w, newAlertQueue(toWebhook, log, m))
	return a, err
}

// Start delivers alerts until the function that it returns is called, and then what is
// queued, for a few seconds.
func (a *Alerter) Start(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = a.run(ctx) // always nil
	}()
	return func() {
		cancel()
		<-done
	}
}

// Alert takes an alert. It never blocks, also before run and after it.
func (a *Alerter) Alert(al holdfast.Alert) {
	if al.At.IsZero() {
		al.At = time.Now()
	}
	a.metrics.Alert(al.Kind)
	switch {
	case a.relay == nil || a.hasHook() && a.owns(al):
		a.tell(al)
	default:
		a.relay.put(al)
	}
}

// hasHook reports whether there is somebody to tell here.
func (a *Alerter) hasHook() bool { return a.hook != nil || a.webhook != nil }

// tell passes an alert to those who are told here, and reports whether somebody is, and
// each of them had room for it.
func (a *Alerter) tell(al holdfast.Alert) (told bool) {
	al.Link = LinkTo(a.console, al) // whoever sent it: people follow it
	told = a.hasHook()
	if a.hook != nil {
		told = a.hook.put(al) && told
	}
	if a.webhook != nil {
		told = a.webhook.put(al) && told
	}
	return told
}

// run delivers alerts until ctx is done, and then what is queued, for a few
// seconds. What raises alerts should end before ctx does. It returns nil.
func (a *Alerter) run(ctx context.Context) error {
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var lanes sync.WaitGroup
	if a.hook != nil {
		lanes.Go(func() { a.hook.run(ctx, hard) })
	}
	if a.webhook != nil {
		lanes.Go(func() { a.webhook.run(ctx, hard) })
	}
	if a.relay != nil {
		lanes.Go(func() { a.relay.run(ctx, hard) })
	}
	<-ctx.Done()
	defer time.AfterFunc(alertDrain, cancel).Stop()
	lanes.Wait()
	return nil
}

// queued is an alert, and since when it waits.
type queued struct {
	alert holdfast.Alert
	since time.Time
}

// alertQueue is what waits for the hook or the webhook. What does not fit is
// counted and logged.
type alertQueue struct {
	to      string
	log     *slog.Logger
	metrics *metrics.Metrics
	c       chan queued

	mu   sync.Mutex
	over bool
	lost int // in a row
}

func newAlertQueue(to string, log *slog.Logger, m *metrics.Metrics) *alertQueue {
	return &alertQueue{to: to, log: log, metrics: m, c: make(chan queued, alertQueueSize)}
}

// put reports whether it fitted.
func (q *alertQueue) put(a holdfast.Alert) bool {
	why, lost := q.tryPut(queued{a, time.Now()})
	if why != "" {
		q.metrics.Dropped(q.to, why, 1)
	}
	// The log says when it begins and when it is over, not each.
	if why != "" && lost == 0 {
		q.log.Warn("dropping alerts", "to", q.to, "why", why, "kind", a.Kind, "id", a.ID, "consumer", a.Consumer)
	}
	if why == "" && lost > 0 {
		q.log.Warn("alerts were dropped", "to", q.to, "alerts", lost)
	}
	return why == ""
}

// tryPut says why it did not fit, if so, and how many before it did not.
func (q *alertQueue) tryPut(e queued) (why string, lost int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	lost = q.lost
	if q.over {
		q.lost++
		return whyShutdown, lost
	}
	select {
	case q.c <- e:
		q.lost = 0
		return "", lost
	default:
		q.lost++
		return whyFull, lost
	}
}

// next waits for an alert. It returns false once stopping is done and none is
// left, and once hard is done.
func (q *alertQueue) next(stopping, hard context.Context) (e queued, ok bool) {
	select {
	case e = <-q.c:
		ok = true
	case <-stopping.Done():
		select {
		case e = <-q.c:
			ok = true
		default:
		}
	}
	if ok && hard.Err() != nil {
		q.drop(e.alert, whyShutdown, hard.Err())
		return queued{}, false
	}
	return e, ok
}

// end takes no more, and counts what is left.
func (q *alertQueue) end() {
	q.mu.Lock()
	q.over = true
	left := len(q.c)
	q.mu.Unlock()
	if left > 0 {
		q.metrics.Dropped(q.to, whyShutdown, left)
		q.log.Warn("alerts were dropped", "to", q.to, "why", whyShutdown, "alerts", left)
	}
}

// drop counts and logs an alert that was taken from the queue in vain.
func (q *alertQueue) drop(a holdfast.Alert, why string, err error) {
	q.metrics.Dropped(q.to, why, 1)
	q.log.Warn("an alert was not delivered", "to", q.to, "why", why, "error", err, "kind", a.Kind, "id", a.ID,
		"consumer", a.Consumer)
}

// hook calls a function of the user's, for one alert after the other.
type hook struct {
	*alertQueue
	call    func(context.Context, holdfast.Alert)
	running chan struct{}
}

func (h *hook) run(stopping, hard context.Context) {
	defer h.end()
	for {
		e, ok := h.next(stopping, hard)
		if !ok {
			return
		}
		select {
		case h.running <- struct{}{}:
			h.one(hard, e.alert)
		case <-hard.Done():
			h.drop(e.alert, whyShutdown, hard.Err())
		}
	}
}

// one calls the hook, and leaves it alone if it does not end when its context is
// done.
func (h *hook) one(hard context.Context, a holdfast.Alert) {
	ctx, cancel := context.WithTimeout(hard, hookTimeout)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { <-h.running }()
		err := guard.Call(func() error { h.call(ctx, a); return nil })
		if err != nil {
			h.drop(a, whyPanic, err)
		}
	}()
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	grace := time.NewTimer(hookGrace)
	defer grace.Stop()
	select {
	case <-done:
	case <-grace.C:
		h.drop(a, whyTimeout, ctx.Err())
	}
}
