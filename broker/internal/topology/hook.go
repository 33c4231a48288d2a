package topology

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
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
	maxAlerts = 10_000
	// maxAlertName is how long the name of those who take the same alerts may be.
	maxAlertName = 150
)

// The routing keys of alerts that are no group's and no consumer's.
const (
	AlertsAll  = "all"  // that nobody else takes
	AlertsNone = "none" // that nobody takes at all
)

// AlertsOfGroup and AlertsOfConsumer are keys of the alerts of a group or a consumer.
func AlertsOfGroup(name string) string    { return "group." + name }
func AlertsOfConsumer(name string) string { return "consumer." + name }

// OwnAlertQueue is the name of the queue that the processes of a Hook make themselves.
func (t *Maker) OwnAlertQueue(h Hook) string {
	name := h.Name
	if strings.HasPrefix(name, "@") { // no group's
		name = digestName(strings.Join(h.Keys, "\n"))
	}
	return t.c.Prefix + wire.AlertsName + "." + name
}

// Hook are processes that take the same alerts: each alert goes to one of them.
type Hook struct {
	// Name is theirs: a group's name, or one that begins with @.
	Name string
	// Keys are whose alerts they take: [AlertsOfGroup], [AlertsOfConsumer],
	// [AlertsAll].
	Keys []string
}

// HookOf is the hook of processes of a group, which is empty if they have none, and of
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
		h.Keys = append(h.Keys, AlertsAll)
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

// Check says what is wrong with the name and the keys.
func (h Hook) Check() error {
	name := strings.NewReplacer("@", "x", ",", "x", "*", "x").Replace(h.Name)
	if err := holdfast.ValidateName("hook", name); err != nil || len(h.Name) > holdfast.MaxName || len(h.Keys) == 0 {
		return fmt.Errorf("%w: hook %q: want NAME=KEY,KEY…, with the name of a group, or @ and those of consumers",
			holdfast.ErrInvalid, h.Name)
	}
	for _, key := range h.Keys {
		kind, name, _ := strings.Cut(key, ".")
		if key != AlertsAll && (kind != "group" && kind != "consumer" || holdfast.ValidateName(kind, name) != nil) {
			return fmt.Errorf("%w: hook %q: key %q: want group.NAME, consumer.NAME or %s", holdfast.ErrInvalid, h.Name,
				key, AlertsAll)
		}
	}
	return nil
}

// AlertSteps declare what alerts need in any case.
func (t *Maker) AlertSteps() []Step {
	args := quorum()
	args["x-max-length"] = int64(maxAlerts)
	return sharedBy(ExchangeStep(t.c.AlertsExchange(), amqp.ExchangeDirect, nil), queueStep(t.c.AlertQueue(), args),
		bindStep(t.c.AlertQueue(), AlertsNone, t.c.AlertsExchange()))
}

// HookSteps declare the queue of those who may not make theirs: it stays.
func (t *Maker) HookSteps(h Hook) []Step {
	args := quorum()
	args["x-message-ttl"], args["x-max-length"] = alertTTL.Milliseconds(), int64(maxAlerts)
	args["x-dead-letter-exchange"], args["x-dead-letter-routing-key"] = t.c.AlertsExchange(), AlertsNone
	steps := []Step{queueStep(t.c.HookQueue(h.Name), args)}
	for _, key := range h.Keys {
		steps = append(steps, bindStep(t.c.HookQueue(h.Name), key, t.c.AlertsExchange()))
	}
	return steps
}

// OwnAlertSteps declare the queue of those who take the alerts of keys.
func (t *Maker) OwnAlertSteps(queue string, keys []string) []Step {
	args := quorum()
	args["x-message-ttl"], args["x-expires"] = alertTTL.Milliseconds(), alertExpires.Milliseconds()
	args["x-dead-letter-exchange"], args["x-dead-letter-routing-key"] = t.c.AlertsExchange(), AlertsNone
	steps := []Step{queueStep(queue, args)}
	for _, key := range keys {
		steps = append(steps, bindStep(queue, key, t.c.AlertsExchange()))
	}
	return steps
}
