package topology

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// The further states of a [Difference].
const (
	unexpected = "unexpected" // a binding that nothing of what was named needs
	foreign    = "foreign"    // a binding of a queue that is none of the installation's
)

// Difference is something that is not as it should be.
type Difference struct {
	// State is missing, different, unexpected or foreign.
	State string `json:"state"`
	broker.Object
	// Detail says what is wrong, where the state does not.
	Detail string `json:"detail,omitempty"`
	// Remedy says what to do.
	Remedy string `json:"remedy,omitempty"`
	// Harmless says that it does not count: somebody else's queue gets committed messages,
	// or processes make it when they first need it.
	Harmless bool `json:"harmless,omitempty"`
}

// Report is what `holdfast topology check --json` writes.
type Report struct {
	// OK says that nothing differs that counts.
	OK bool `json:"ok"`
	// Complete says that everything was compared: also all arguments and bindings.
	Complete bool `json:"complete"`
	// Objects is how many exchanges, queues and bindings there should be.
	Objects int `json:"objects"`
	// Looked is how many exchanges and queues were looked for, Arguments of how many of
	// them the arguments were compared, and BindingsCompared how many bindings were looked for.
	Looked           int `json:"looked"`
	Arguments        int `json:"arguments"`
	BindingsCompared int `json:"bindings_compared"`
	// Differences are what is not as it should be.
	Differences []Difference `json:"differences"`
	// Removals are the bindings of an older version that declare removes, there or not.
	Removals []broker.Object `json:"-"`
	// Unknown is how many exchanges and queues are there whose arguments this user may
	// not ask for.
	Unknown int `json:"unknown,omitempty"`
	// Bindings says why bindings were not compared; empty: they were.
	Bindings string `json:"bindings,omitempty"`
}

// Bound tells the bindings of a virtual host.
type Bound func(ctx context.Context, prefix string) ([]processes.Binding, error)

const declare = "run `holdfast topology declare` with the same arguments, as an administrator"

// Check compares what has to be there with what is. It changes nothing.
func Check(ctx context.Context, b *broker.Broker, x broker.Topology, prefix string, bound Bound) (Report, error) {
	r := Report{Differences: []Difference{}}
	objects, err := b.Objects(x)
	if err != nil {
		return r, err
	}
	for _, o := range objects {
		switch {
		case o.Removed:
			r.Removals = append(r.Removals, o)
			continue
		case o.Kind != broker.KindBinding:
			r.Looked++
		}
		r.Objects++
	}
	found, err := b.Compare(ctx, x)
	if err != nil {
		return r, err
	}
	gone := map[string]bool{}
	for _, c := range found {
		d := Difference{State: c.State, Object: c.Object, Detail: c.Reason, Remedy: declare}
		switch c.State {
		case broker.Unknown:
			r.Unknown++
			continue
		case broker.Different:
			d.Remedy = c.Whose + "let its processes empty it with the version that made it, stop them, delete it, and " +
				declare + "; what is in it when it is deleted is lost"
		case broker.Missing:
			gone[c.Kind+" "+c.Name] = true
			if c.Later {
				d.Harmless, d.Detail = true, "processes make it when they first need it, and go on without it"
				d.Remedy = "nothing; where processes may not make it, " + declare
			}
		}
		r.Differences = append(r.Differences, d)
	}
	all, err := bound(ctx, prefix)
	if err != nil {
		r.Bindings = text.Of(err)
	} else {
		r.BindingsCompared = r.Objects - r.Looked
		r.Differences = append(r.Differences, bindings(objects, all, prefix, gone)...)
	}
	r.Arguments = r.Looked - len(gone) - r.Unknown
	r.Complete = r.Unknown == 0 && r.Bindings == ""
	r.OK = true
	for _, d := range r.Differences {
		r.OK = r.OK && d.Harmless
	}
	return r, nil
}

// own are the queues that a process makes for itself, behind the prefix.
var own = regexp.MustCompile(`^\.(status\.|alerts\.|answers\.|replies\.[^@]*@)`)

// bindings compares those that there should be with those that there are; gone is what is
// missing anyway.
func bindings(objects []broker.Object, all []processes.Binding, prefix string,
	gone map[string]bool) (out []Difference) {
	queues := map[string]bool{}
	wanted, old := map[processes.Binding]bool{}, map[processes.Binding]broker.Object{}
	for _, o := range objects {
		switch {
		case o.Kind == broker.KindQueue:
			queues[o.Name] = true
		case o.Removed:
			old[bindingOf(o)] = o
		case o.Kind == broker.KindBinding:
			wanted[bindingOf(o)] = true
		}
	}
	there := map[processes.Binding]bool{}
	for _, b := range all {
		there[b] = true
		o := broker.Object{Kind: broker.KindBinding, Name: b.Destination, Exchange: b.Source, Key: b.Key}
		rest, ours := strings.CutPrefix(b.Destination, prefix+".")
		switch {
		case wanted[b] || ours && own.MatchString("."+rest):
		case old[b].Removed && !wanted[b]:
			out = append(out, Difference{State: unexpected, Object: o, Remedy: declare + ", which removes it: an older " +
				"version made it for compensation notices, which come through another exchange now"})
		case ours && queues[b.Destination] && b.DestinationType == broker.KindQueue:
			out = append(out, Difference{State: unexpected, Object: o, Remedy: "if no process of that name listens to it " +
				"any more, remove the binding in RabbitMQ's management UI: until then such messages come to the queue"})
		case !ours:
			out = append(out, Difference{State: foreign, Object: o, Harmless: b.Source == prefix+".topics",
				Detail: fmt.Sprintf("%s %s, which is none of Holdfast's, gets what comes through %s",
					b.DestinationType, b.Destination, b.Source),
				Remedy: "see who made it; what reads it reads these messages"})
		}
	}
	for _, o := range objects {
		if o.Kind != broker.KindBinding || o.Removed || there[bindingOf(o)] ||
			gone["queue "+o.Name] || gone["exchange "+o.Exchange] {
			continue
		}
		out = append(out, Difference{State: broker.Missing, Object: o, Remedy: declare,
			Detail: "what is published for it does not come to the queue"})
	}
	return out
}

func bindingOf(o broker.Object) processes.Binding {
	return processes.Binding{Source: o.Exchange, Destination: o.Name, DestinationType: broker.KindQueue, Key: o.Key}
}
