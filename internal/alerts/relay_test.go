package alerts

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
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
		"somebody takes it":                      {nil, nil, true, []string{"publish"}, false, "", 0},
		"nobody does, there is a hook here":      {[]error{nobody}, nil, true, []string{"publish"}, true, "", 0},
		"nobody does":                            {[]error{nobody}, nil, false, []string{"publish", "keep"}, false, "", 0},
		"RabbitMQ is away, there is a hook here": {[]error{away}, nil, true, []string{"publish"}, true, "", 0},
		"RabbitMQ is away for a moment": {[]error{away, nil}, nil, false, []string{"publish", "publish"}, false,
			"", relayPause},
		"it cannot be kept at first": {[]error{nobody}, []error{away, nil}, false,
			[]string{"publish", "keep", "publish", "keep"}, false, "", relayPause},
		"it is too large": {[]error{holdfast.ErrTooLarge}, nil, false, []string{"publish"}, false,
			whyRefused, 0},
		"its queue's name is too long": {[]error{holdfast.ErrInvalid}, nil, false, []string{"publish"}, false,
			whyRefused, 0},
		"the user may not, there is a hook here": {[]error{broker.ErrAlertsDenied}, nil, true, []string{"publish"}, true,
			"", 0},
		"the user may not": {[]error{broker.ErrAlertsDenied}, nil, false, []string{"publish"}, false,
			whyRefused, 0},
		"the process ends while RabbitMQ is away": {[]error{away}, nil, false, []string{"publish", "publish"}, false,
			whyShutdown, relayPause - time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, box, told := newBell(t, nil, Target{}), &postbox{publishes: c.publishes, keeps: c.keeps}, 0
				r := &relay{alertQueue: newAlertQueue(toRelay, slog.New(slog.NewTextHandler(b.journal, nil)), b.metrics), to: box,
					local: func(holdfast.Alert) bool {
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
		b := newBell(t, call, Target{})
		b.Own("g", []string{"c"}, c.all)
		b.RelayTo(nil)
		b.Alert(c.a)
		require.Equal(t, map[bool]int{true: 1}[!c.here], len(b.relay.c), name)
		if c.hook {
			require.Equal(t, map[bool]int{true: 1}[c.here], len(b.hook.c), name)
		}
	}
	require.Equal(t, []string{broker.AlertsOfConsumer("c"), broker.AlertsOfGroup("g"), broker.AlertsOfAll()},
		alertKeys(letter("g", "c")), "the nearest first")
	require.Equal(t, []string{broker.AlertsOfAll()}, alertKeys(letter("", "")))
}

// TestWhoTakesTheSameAlerts: the processes that take the same share a queue, whatever the
// order in which they register; who has nobody to tell takes none.
func TestWhoTakesTheSameAlerts(t *testing.T) {
	b := newBell(t, (&list{}).hook, Target{})
	var names, want []string
	for _, c := range "abcdefgh" {
		names = append(names, string(c))
		want = append(want, broker.AlertsOfConsumer(string(c)))
	}
	for range 10 {
		rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		b.Own("", names, false)
		h, ok := b.Hook()
		require.True(t, ok)
		require.Equal(t, want, h.Keys)
	}
	b = newBell(t, nil, Target{})
	b.Own("", names, false)
	require.NoError(t, b.Take(t.Context(), nil, "holdfast"))
	_, ok := b.Hook()
	require.False(t, ok)
}
