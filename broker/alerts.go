package broker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// An alert is raised in whichever process happens to notice, which may have nobody to
// tell. It goes to the processes that have: each kind of them has a queue, bound for
// those whose alerts it takes. What none of these takes waits in a common queue.
//
// Such a queue is made by the processes that read it, and goes some minutes after them.
// Where their user may not make it, an administrator makes one that stays, under
// another name, and they read that.
const (
	// alertTTL is how long an alert waits for the processes that it is meant for, before
	// any other process that has somebody to tell may take it.
	alertTTL = 10 * time.Minute
	// alertExpires is how long a queue of alerts stays that nobody reads. What is in it
	// has gone to the common queue before.
	alertExpires = 15 * time.Minute
	// maxAlerts is how many alerts wait for anybody at all; then the oldest go.
	maxAlerts     = 10_000
	alertPrefetch = 5
	// maxAlertName is how long the name of those who take the same alerts may be.
	maxAlertName = 150
)

// ErrAlertsDenied means that this user may not raise alerts, or not take them, or that
// what that needs is not there and is not his to make.
var ErrAlertsDenied = link.Final("holdfast: alerts between processes are not possible for this user")

// The routing keys of alerts.
const (
	alertsAll  = "all"
	alertsNone = "none" // nobody's
)

// AlertsOfGroup and AlertsOfConsumer are keys of the alerts of a group or a consumer.
func AlertsOfGroup(name string) string    { return "group." + name }
func AlertsOfConsumer(name string) string { return "consumer." + name }

// AlertsOfAll is the key of the alerts that nobody else takes.
func AlertsOfAll() string { return alertsAll }

// ownAlertQueue is the name of the queue that these make themselves.
func (b *Broker) ownAlertQueue(h Hook) string {
	name := h.Name
	if strings.HasPrefix(name, "@") { // no group's
		name = digestName(strings.Join(h.Keys, "\n"))
	}
	return b.o.Prefix + wire.AlertsName + "." + name
}

// Hook are processes that take the same alerts: each alert goes to one of them.
type Hook struct {
	// Name is theirs: a group's name, or one that begins with @.
	Name string
	// Keys are whose alerts they take: [AlertsOfGroup], [AlertsOfConsumer],
	// [AlertsOfAll].
	Keys []string
}

// HookOf is the Hook of processes of a group, which is empty if they have none, and of
// consumers; all says that they take everybody's alerts.
func HookOf(group string, consumers []string, all bool) (h Hook) {
	for _, name := range consumers {
		h.Keys = append(h.Keys, AlertsOfConsumer(name))
	}
	h.Name = "@" + strings.Join(consumers, ",")
	if group != "" {
		h.Keys, h.Name = append(h.Keys, AlertsOfGroup(group)), group
	}
	if all {
		h.Keys = append(h.Keys, AlertsOfAll())
		if group == "" {
			h.Name += "*"
		}
	}
	if len(h.Name) > maxAlertName {
		h.Name = digestName(h.Name)
	}
	return h
}

// digestName is a short name for what has none of a group, or too long a one.
func digestName(of string) string {
	sum := sha256.Sum256([]byte(of))
	return "@" + hex.EncodeToString(sum[:8])
}

func (h Hook) validate() error {
	name := strings.NewReplacer("@", "x", ",", "x", "*", "x").Replace(h.Name)
	if err := holdfast.ValidateName("hook", name); err != nil || len(h.Name) > holdfast.MaxName || len(h.Keys) == 0 {
		return fmt.Errorf("%w: hook %q: want NAME=KEY,KEY…, with the name of a group, or @ and those of consumers",
			holdfast.ErrInvalid, h.Name)
	}
	for _, key := range h.Keys {
		kind, name, _ := strings.Cut(key, ".")
		if key != alertsAll && (kind != "group" && kind != "consumer" || holdfast.ValidateName(kind, name) != nil) {
			return fmt.Errorf("%w: hook %q: key %q: want group.NAME, consumer.NAME or %s", holdfast.ErrInvalid, h.Name,
				key, alertsAll)
		}
	}
	return nil
}

// alertSteps declare what alerts need in any case.
func (t *topology) alertSteps() []step {
	args := quorum()
	args["x-max-length"] = int64(maxAlerts)
	return sharedBy(exchangeStep(t.b.AlertsExchange(), amqp.ExchangeDirect, nil), queueStep(t.b.AlertQueue(), args),
		bindStep(t.b.AlertQueue(), alertsNone, t.b.AlertsExchange()))
}

// hookSteps declare the queue of those who may not make theirs: it stays.
func (t *topology) hookSteps(h Hook) []step {
	args := quorum()
	args["x-message-ttl"], args["x-max-length"] = alertTTL.Milliseconds(), int64(maxAlerts)
	args["x-dead-letter-exchange"], args["x-dead-letter-routing-key"] = t.b.AlertsExchange(), alertsNone
	steps := []step{queueStep(t.b.HookQueue(h.Name), args)}
	for _, key := range h.Keys {
		steps = append(steps, bindStep(t.b.HookQueue(h.Name), key, t.b.AlertsExchange()))
	}
	return steps
}

// ownAlertSteps declare the queue of those who take the alerts of keys.
func (t *topology) ownAlertSteps(queue string, keys []string) []step {
	args := quorum()
	args["x-message-ttl"], args["x-expires"] = alertTTL.Milliseconds(), alertExpires.Milliseconds()
	args["x-dead-letter-exchange"], args["x-dead-letter-routing-key"] = t.b.AlertsExchange(), alertsNone
	steps := []step{queueStep(queue, args)}
	for _, key := range keys {
		steps = append(steps, bindStep(queue, key, t.b.AlertsExchange()))
	}
	return steps
}

// PublishAlert hands an alert to a process that takes the alerts of one of keys, the
// first that some process takes, or took within the last minutes; it returns that key once
// RabbitMQ has stored it. Where there is none, an error wraps [holdfast.ErrUnroutable];
// where this user may not, [ErrAlertsDenied].
func (b *Broker) PublishAlert(ctx context.Context, a holdfast.Alert, keys ...string) (key string, err error) {
	msg, err := wire.EncodeAlert(a)
	if err != nil {
		return "", err
	}
	if err := b.declare(ctx, b.topo.alertSteps()); err != nil {
		return "", fmt.Errorf("alert: %w", deniedAlerts(err))
	}
	err = holdfast.ErrUnroutable
	for _, key := range keys {
		bounded, cancel := b.c.Timeout(ctx)
		p := link.Publication{Exchange: b.AlertsExchange(), Key: key, Mandatory: true, Msg: msg}
		err = b.c.Pub.One(bounded, &p, "")
		cancel()
		if !errors.Is(err, holdfast.ErrUnroutable) {
			return key, deniedAlerts(err)
		}
	}
	return "", err
}

// deniedAlerts marks an error that a person has to mend.
func deniedAlerts(err error) error {
	var missing *MissingError
	var refused *amqp.Error
	var forbidden *holdfast.UnavailableError
	if errors.As(err, &missing) || errors.As(err, &refused) && refused.Code == amqp.AccessRefused ||
		errors.As(err, &forbidden) {
		return fmt.Errorf("%w: %w", ErrAlertsDenied, err)
	}
	return err
}

// KeepAlert keeps an alert for whoever comes that has somebody to tell. The last 10,000
// are kept.
func (b *Broker) KeepAlert(ctx context.Context, a holdfast.Alert) error {
	_, err := b.PublishAlert(ctx, a, alertsNone)
	return err
}

// IsAlert reports whether a publish that was refused was an alert's.
func (b *Broker) IsAlert(r link.Refusal) bool {
	exchange, _, _ := strings.Cut(r.To, " ")
	return exchange == b.AlertsExchange()
}
