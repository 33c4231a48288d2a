package worker

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
)

// postbox is a broker that takes alerts, or does not: errs are what it answers one after
// the other, the last one again and again.
type postbox struct {
	publishes, keeps []error
	calls            []string
}

func (p *postbox) answer(what string, errs *[]error) (err error) {
	p.calls = append(p.calls, what)
	if len(*errs) > 0 {
		err = (*errs)[0]
	}
	if len(*errs) > 1 {
		*errs = (*errs)[1:]
	}
	return err
}

func (p *postbox) PublishAlert(_ context.Context, _ holdfast.Alert, keys ...string) (string, error) {
	return keys[0], p.answer("publish", &p.publishes)
}

func (p *postbox) KeepAlert(context.Context, holdfast.Alert) error {
	return p.answer("keep", &p.keeps)
}

// TestAlertsAreNotLost: an alert gets to those whose it is, to a hook that is here, or is
// kept until somebody comes.
func TestAlertsAreNotLost(t *testing.T) {
	nobody, away := fmt.Errorf("alert: %w", holdfast.ErrUnroutable), fmt.Errorf("away")
	for name, c := range map[string]struct {
		publishes, keeps []error
		hook             bool // that has room
		calls            []string
		told             bool
		dropped          string
		waited           time.Duration
	}{
		"somebody takes it":                       {nil, nil, true, []string{"publish"}, false, "", 0},
		"nobody does, there is a hook here":       {[]error{nobody}, nil, true, []string{"publish"}, true, "", 0},
		"nobody does":                             {[]error{nobody}, nil, false, []string{"publish", "keep"}, false, "", 0},
		"RabbitMQ is away, there is a hook here":  {[]error{away}, nil, true, []string{"publish"}, true, "", 0},
		"RabbitMQ is away for a moment":           {[]error{away, nil}, nil, false, []string{"publish", "publish"}, false, "", relayPause},
		"it cannot be kept at first":              {[]error{nobody}, []error{away, nil}, false, []string{"publish", "keep", "publish", "keep"}, false, "", relayPause},
		"it is too large":                         {[]error{holdfast.ErrTooLarge}, nil, false, []string{"publish"}, false, whyRefused, 0},
		"its queue's name is too long":            {[]error{holdfast.ErrInvalid}, nil, false, []string{"publish"}, false, whyRefused, 0},
		"the user may not, there is a hook here":  {[]error{broker.ErrAlertsDenied}, nil, true, []string{"publish"}, true, "", 0},
		"the user may not":                        {[]error{broker.ErrAlertsDenied}, nil, false, []string{"publish"}, false, whyRefused, 0},
		"the process ends while RabbitMQ is away": {[]error{away}, nil, false, []string{"publish", "publish"}, false, whyShutdown, relayPause - time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, box, told := newBell(t, nil, Webhook{}), &postbox{publishes: c.publishes, keeps: c.keeps}, 0
				r := &relay{alertQueue: newAlertQueue(toRelay, slog.New(slog.NewTextHandler(b.journal, nil)), b.meter.metrics), to: box, local: func(holdfast.Alert) bool {
					told++
					return c.hook
				}, note: func(error) {}}
				hard, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.dropped == whyShutdown {
					time.AfterFunc(c.waited, cancel)
				}
				began := time.Now()
				r.one(hard, holdfast.Alert{Kind: holdfast.AlertParked, ID: "1"})
				require.Equal(t, c.calls, box.calls)
				require.Equal(t, c.told, c.hook && told > 0)
				require.Equal(t, c.waited, time.Since(began))
				for _, why := range []string{whyRefused, whyShutdown} {
					require.Equal(t, map[bool]int{true: 1}[why == c.dropped], b.dropped(toRelay, why))
				}
			})
		})
	}
}

// TestWhoseAlertsAreTold: a process tells its own alerts, if it has somebody to tell, and
// hands on all others.
func TestWhoseAlertsAreTold(t *testing.T) {
	letter := func(group, consumer string) holdfast.Alert {
		return holdfast.Alert{Kind: holdfast.AlertDeadLetter, Group: group, Consumer: consumer, ID: "1"}
	}
	for name, c := range map[string]struct {
		a         holdfast.Alert
		hook, all bool
		here      bool
	}{
		"of its group":               {letter("g", ""), true, false, true},
		"of its consumer":            {letter("other", "c"), true, false, true},
		"of its group, of another's": {letter("g", "other"), true, false, false},
		"of another group":           {letter("other", ""), true, false, false},
		"of nobody":                  {letter("", ""), true, false, false},
		"it takes all":               {letter("other", "other"), true, true, true},
		"nobody to tell":             {letter("g", "c"), false, true, false},
	} {
		var heard list
		var call func(context.Context, holdfast.Alert)
		if c.hook {
			call = heard.hook
		}
		b := newBell(t, call, Webhook{})
		w := &Worker{o: Options{Group: "g", AllAlerts: c.all, Logger: slog.New(slog.NewTextHandler(b.journal, nil))}, metrics: b.meter.metrics, alerts: b.alerter, paused: map[string]*standstill{"c": nil}}
		w.relayAlerts()
		b.Alert(c.a)
		require.Equal(t, map[bool]int{true: 1}[!c.here], len(b.relay.c), name)
		if c.hook {
			require.Equal(t, map[bool]int{true: 1}[c.here], len(b.hook.c), name)
		}
	}
	require.Equal(t, []string{broker.AlertsOfConsumer("c"), broker.AlertsOfGroup("g"), broker.AlertsOfAll()}, alertKeys(letter("g", "c")), "the nearest first")
	require.Equal(t, []string{broker.AlertsOfAll()}, alertKeys(letter("", "")))
}

// TestWhoTakesTheSameAlerts: the processes that take the same share a queue, whatever the
// order in which they register; who has nobody to tell takes none.
func TestWhoTakesTheSameAlerts(t *testing.T) {
	b := newBell(t, (&list{}).hook, Webhook{})
	w := &Worker{alerts: b.alerter, paused: map[string]*standstill{}}
	var want []string
	for _, c := range "abcdefgh" {
		w.paused[string(c)] = nil
		want = append(want, broker.AlertsOfConsumer(string(c)))
	}
	for range 10 { // the order of a map
		h, ok := w.alertHook()
		require.True(t, ok)
		require.Equal(t, want, h.Keys)
	}
	w.alerts = newBell(t, nil, Webhook{}).alerter
	require.NoError(t, w.takeAlerts(t.Context()))
	_, ok := w.alertHook()
	require.False(t, ok)
}

// TestRefusalsAreTold: people are told of the first one of a kind, all are counted.
func TestRefusalsAreTold(t *testing.T) {
	w, alerts, meter := observed(t)
	w.broker = &broker.Broker{} // who is asked whether it was an alert
	for why, kind := range map[string]holdfast.AlertKind{broker.RefusedFull: holdfast.AlertQueueFull, broker.RefusedUnknown: holdfast.AlertQueueFull,
		broker.RefusedLimit: holdfast.AlertPublishRefused, broker.RefusedClosing: holdfast.AlertPublishRefused, broker.RefusedForbidden: holdfast.AlertPublishRefused} {
		for n := range 3 {
			w.refused(broker.Refusal{Why: why, Consumer: "c", Message: "m", Reason: "because", First: n == 0})
		}
		all := alerts()
		require.Len(t, all, 1, why)
		a := all[0]
		require.Equal(t, []any{kind, "c", "m", "because"}, []any{a.Kind, a.Consumer, a.ID, a.Reason}, why)
		require.NotEmpty(t, a.Remedy)
		require.EqualValues(t, 3, meter.values()["holdfast.publish.refused consumer=c,why="+why])
	}
}
