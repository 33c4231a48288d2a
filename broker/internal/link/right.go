package link

import (
	"errors"
	"fmt"
	"regexp"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
)

// Right is a right that the user lacks: a verb, and what it is about.
type Right struct {
	// Verb is configure, write or read.
	Verb string
	// Kind is queue, exchange or topic, and Name its name. In is a topic's exchange.
	Kind, Name, In string
}

// refusal is how RabbitMQ words what it refuses; older versions name no verb.
var refusal = regexp.MustCompile(`(?:(configure|write|read) )?access to (queue|exchange|topic) '([^']*)'` +
	`(?: in exchange '([^']*)')?`)

// RightOf says which right RabbitMQ found missing. verb is for a version that does not say:
// what was tried needs that right, for things of this kind and name.
func RightOf(err error, verb func(kind, name string) string) (r Right, ok bool) {
	var e *amqp.Error
	if !errors.As(err, &e) || e.Code != amqp.AccessRefused {
		return r, false
	}
	m := refusal.FindStringSubmatch(e.Reason)
	if m == nil {
		return r, false
	}
	r = Right{Verb: m[1], Kind: m[2], Name: m[3], In: m[4]}
	if r.Verb == "" {
		r.Verb = verb(r.Kind, r.Name)
	}
	return r, true
}

// String names it: read permission for queue holdfast.q.billing.
func (r Right) String() string {
	s := r.Verb + " permission for " + r.Kind + " " + r.Name
	if r.In != "" {
		s += " of exchange " + r.In
	}
	return s
}

// Remedy says how the user gets it.
func (r Right) Remedy() string {
	command := "set_permissions"
	if r.Kind == "topic" {
		command = "set_topic_permissions"
	}
	return fmt.Sprintf("give the user %s, with rabbitmqctl %s: `holdfast topology permissions` prints what "+
		"each role needs, see docs/security.md", r, command)
}

// lacks is an error that says which right is missing, and what to do; nil if that is not
// what is wrong.
func lacks(where string, err error, verb string) error {
	right, ok := RightOf(err, func(string, string) string { return verb })
	if !ok {
		return nil
	}
	return &holdfast.UnavailableError{Part: "RabbitMQ", Where: where, Err: err, Remedy: right.Remedy()}
}
