package topology

import (
	"context"
	"errors"

	amqp "github.com/rabbitmq/amqp091-go"
)

// The kinds of an [Object].
const (
	KindExchange = "exchange"
	KindQueue    = "queue"
	KindBinding  = "binding"
)

// Object is an exchange, a queue or a binding, as `holdfast topology list --json` writes it.
type Object struct {
	// Kind is exchange, queue or binding.
	Kind string `json:"kind"`
	// Name is that of an exchange or queue; a binding's is its queue's.
	Name string `json:"name"`
	// Type is an exchange's: direct, fanout or topic.
	Type string `json:"type,omitempty"`
	// Arguments are those of an exchange or queue.
	Arguments amqp.Table `json:"arguments,omitempty"`
	// Exchange is where a binding leads from, Key its routing key.
	Exchange string `json:"exchange,omitempty"`
	Key      string `json:"key,omitempty"`
	// Optional says that processes go on without it, with less.
	Optional bool `json:"optional,omitempty"`
	// Later says that processes which may make it do so when they first need it.
	Later bool `json:"later,omitempty"`
	// Removed says of a binding that it is not made, but removed: an older version made it,
	// for the compensation notices of a consumer, which come through another exchange now.
	Removed bool `json:"removed,omitempty"`
}

// String is how `holdfast topology list` writes it.
func (o Object) String() string {
	if o.Kind != KindBinding {
		return o.Kind + " " + o.Name
	}
	s := "binding of " + o.Name + " to " + o.Exchange
	if o.Key != "" {
		s += " for " + o.Key
	}
	if o.Removed {
		s = "removal of the " + s
	}
	return s
}

// Objects are what Require makes or removes, each once.
func (t *Maker) Objects(x Wanted) (out []Object, err error) {
	if err := x.validate(); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, s := range t.steps(x) {
		if s.object.Kind == "" || seen[s.What] {
			continue
		}
		seen[s.What] = true
		s.object.Optional, s.object.Later = s.handy, s.late
		out = append(out, s.object)
	}
	return out, nil
}

// The states of a [Compared] object, other than that it is as it should be.
const (
	Missing   = "missing"   // it is not there
	Different = "different" // it has other arguments, or another type
	Unknown   = "unknown"   // it is there; what it is like this user may not ask
)

// Compared is an object that is not as it should be, or of which that is not known.
type Compared struct {
	Object
	// State is missing, different or unknown.
	State string
	// Reason is what RabbitMQ says of a different one.
	Reason string
	// Whose says, in a sentence's part, which other installation's it may be.
	Whose string
}

// Compare looks for the exchanges and queues of x. It makes none. What a thing is like is
// asked by declaring it as it should be, once it has been seen to be there: that changes
// nothing, and needs the right to declare. Bindings cannot be asked for over AMQP.
func (t *Maker) Compare(ctx context.Context, x Wanted) (out []Compared, err error) {
	if err := x.validate(); err != nil {
		return nil, err
	}
	conn, err := t.connection(ctx)
	if err != nil {
		return nil, err
	}
	var looks, there []Step
	seen := map[string]bool{}
	for _, s := range t.steps(x) {
		if s.There != nil && !seen[s.What] {
			seen[s.What] = true
			s.object.Optional, s.object.Later = s.handy, s.late
			looks = append(looks, s)
		}
	}
	gone := map[string]bool{}
	asking := make([]Step, len(looks))
	for i, s := range looks {
		asking[i] = Step{What: s.What, brief: true, object: s.object, Do: s.There}
	}
	err = t.each(ctx, conn, asking, func(s Step, err error) (bool, error) {
		var ae *amqp.Error
		if !errors.As(err, &ae) || ae.Code != amqp.NotFound {
			return false, explainDeclare(s.What, err)
		}
		gone[s.What] = true
		out = append(out, Compared{Object: s.object, State: Missing})
		return false, nil
	})
	if err != nil {
		return out, err
	}
	for _, s := range looks {
		if !gone[s.What] {
			s.brief = true
			there = append(there, s)
		}
	}
	return out, t.each(ctx, conn, there, func(s Step, err error) (bool, error) {
		c := Compared{Object: s.object, State: Unknown}
		var ae *amqp.Error
		switch is := errors.As(err, &ae); {
		case is && ae.Code == amqp.PreconditionFailed:
			c.State, c.Reason, c.Whose = Different, ae.Reason, t.whoseElse(ctx, conn, s.Of)
		case !is || ae.Code != amqp.AccessRefused:
			return false, explainDeclare(s.What, err)
		}
		out = append(out, c)
		return false, nil
	})
}
