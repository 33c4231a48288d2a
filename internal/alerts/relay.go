package alerts

import (
	"context"
	"errors"
	"slices"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
)

// relay hands the alerts that are not this process's to those whose they are, over
// RabbitMQ.
type relay struct {
	*alertQueue
	to    alertBroker
	local func(holdfast.Alert) bool // tells them here; false: there is nobody to tell, or no room
	told  bool                      // that it does not work
	// denied is when this user was last not allowed to hand alerts on, zero if he is.
	denied time.Time
	note   func(error) // of that, for people; nil once he is
}

// alertBroker is what a relay needs of a broker.
type alertBroker interface {
	PublishAlert(ctx context.Context, a holdfast.Alert, keys ...string) (string, error)
	KeepAlert(ctx context.Context, a holdfast.Alert) error
}

// alertKeys are whose an alert is, the nearest first; those who take all come last.
func alertKeys(a holdfast.Alert) (keys []string) {
	if a.Consumer != "" {
		keys = append(keys, broker.AlertsOfConsumer(a.Consumer))
	}
	if a.Group != "" {
		keys = append(keys, broker.AlertsOfGroup(a.Group))
	}
	return append(keys, broker.AlertsOfAll())
}

func (r *relay) run(stopping, hard context.Context) {
	defer r.end()
	for {
		e, ok := r.next(stopping, hard)
		if !ok {
			return
		}
		r.one(hard, e.alert)
	}
}

const (
	// relayPause is how long the relay waits after an alert that RabbitMQ did not take.
	relayPause = 5 * time.Second
	// relayDenied is how long it does not try again what its user may not.
	relayDenied = time.Minute
)

// one passes an alert on: to those whose it is, or else to this process's own hook, or
// else it is kept until somebody comes. While RabbitMQ is away, this process's own hook
// is better than to wait. What this user may not do is not waited for.
func (r *relay) one(hard context.Context, a holdfast.Alert) {
	for {
		err := r.pass(hard, a)
		denied := errors.Is(err, broker.ErrAlertsDenied)
		if err != nil && r.local(a) {
			return
		}
		if errors.Is(err, holdfast.ErrUnroutable) {
			err = r.to.KeepAlert(hard, a)
		}
		switch {
		case err == nil:
			r.told = false
			return
		case denied || errors.Is(err, holdfast.ErrTooLarge) || errors.Is(err, holdfast.ErrInvalid):
			r.drop(a, whyRefused, err)
			return
		case hard.Err() != nil:
			r.drop(a, whyShutdown, err)
			return
		}
		if !r.told {
			r.told = true
			r.log.Warn("alerts cannot be handed to the processes that they are for; they wait", "error", err)
		}
		select {
		case <-time.After(relayPause):
		case <-hard.Done():
		}
	}
}

// pass hands an alert to those whose it is. What was denied a moment ago is so still.
func (r *relay) pass(hard context.Context, a holdfast.Alert) error {
	if !r.denied.IsZero() && time.Since(r.denied) < relayDenied {
		return broker.ErrAlertsDenied
	}
	_, err := r.to.PublishAlert(hard, a, alertKeys(a)...)
	switch was := !r.denied.IsZero(); {
	case errors.Is(err, broker.ErrAlertsDenied):
		if r.denied = time.Now(); !was {
			r.note(err)
		}
	case was && (err == nil || errors.Is(err, holdfast.ErrUnroutable)):
		r.denied = time.Time{}
		r.note(nil)
	}
	return err
}

// Own says whose alerts this process tells: those of its group and its consumers, and,
// of all, those of everybody. Call it before the first alert is raised.
func (a *Alerter) Own(group string, consumers []string, all bool) {
	a.group, a.consumers, a.all = group, slices.Sorted(slices.Values(consumers)), all
}

// owns reports whether an alert is this process's to tell.
func (a *Alerter) owns(al holdfast.Alert) bool {
	return slices.Contains(a.consumers, al.Consumer) || al.Group != "" && al.Group == a.group && al.Consumer == "" || a.all
}

// Hook says whose alerts this process takes; ok is false if there is nobody here to
// tell.
func (a *Alerter) Hook() (h broker.Hook, ok bool) {
	h = broker.HookOf(a.group, a.consumers, a.all)
	return h, a.hasHook() && len(h.Keys) > 0
}

// RelayTo has alerts that are not this process's handed on. Call it before run.
func (a *Alerter) RelayTo(to alertBroker) {
	a.relay = &relay{alertQueue: newAlertQueue(toRelay, a.log, a.metrics), to: to, local: a.tell,
		note: a.notes.raising(a.log)}
}

// alertSource is what brings the alerts of other processes.
type alertSource interface {
	ConsumeAlerts(ctx context.Context, t broker.AlertTaker) error
}

// Take takes the alerts that are this process's, and those that nobody takes, until ctx is
// done. It returns nil: a process works as well without. prefix is the one of the queues.
func (a *Alerter) Take(ctx context.Context, from alertSource, prefix string) error {
	hook, ok := a.Hook()
	if !ok {
		return nil
	}
	command := "holdfast topology declare --prefix " + prefix + " " + broker.Topology{Hooks: []broker.Hook{hook}}.Flags()
	err := from.ConsumeAlerts(ctx, broker.AlertTaker{Hook: hook,
		Handle: func(al holdfast.Alert) error {
			if !a.tell(al) {
				return errors.New("there is no room")
			}
			return nil
		},
		Denied:  a.notes.taking(a.log, command),
		Ignored: a.notes.ignored(a.log)})
	if err != nil && ctx.Err() == nil {
		a.log.Warn("alerts that other processes raise cannot be taken", "error", err)
	}
	return nil
}

// Troubles are what is wrong with alerts between processes.
func (a *Alerter) Troubles() []broker.Trouble { return a.notes.troubles() }
