// Package topology says of which exchanges, queues and bindings an installation consists, by a
// file, by flags or by what its processes say, and what of that is not as it should be in
// RabbitMQ. Making it is package broker's.
package topology

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
)

// File is what `holdfast topology --from` reads: what an installation consists of. All
// fields may be left out.
type File struct {
	// Prefix is the installation's; empty: that of the command.
	Prefix string `json:"prefix,omitempty"`
	// HalfQueues is how many half queues each group has; 0 means 1.
	HalfQueues int `json:"half_queues,omitempty"`
	// Groups are the producer groups, Sagas those of them that have sagas, Checks those
	// in other languages.
	Groups []string `json:"groups,omitempty"`
	Sagas  []string `json:"sagas,omitempty"`
	Checks []string `json:"checks,omitempty"`
	// Consumers and Participants have the topics of each; compensated:TOPIC for
	// compensation notices.
	Consumers    map[string][]string `json:"consumers,omitempty"`
	Participants map[string][]string `json:"participants,omitempty"`
	// Hooks have whose alerts processes with a hook take: group.GROUP,
	// consumer.CONSUMER, all.
	Hooks map[string][]string `json:"hooks,omitempty"`
	// Delays are those of ladders that the default ones have not, such as 7s.
	Delays []string `json:"delays,omitempty"`
}

// Read reads a File. A field that it has not is an error: it may be a slip.
func Read(text []byte) (f File, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return f, fmt.Errorf("%w: %w", holdfast.ErrInvalid, err)
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return f, fmt.Errorf("%w: there is more than one object", holdfast.ErrInvalid)
	}
	return f, nil
}

// Add adds what another File has. Where both have topics of a consumer, or keys of a hook,
// all count.
func (f *File) Add(more File) {
	f.HalfQueues = max(f.HalfQueues, more.HalfQueues)
	for _, list := range []struct {
		to   *[]string
		more []string
	}{{&f.Groups, more.Groups}, {&f.Sagas, more.Sagas}, {&f.Checks, more.Checks}, {&f.Delays, more.Delays}} {
		*list.to = merged(*list.to, list.more)
	}
	for _, named := range []struct {
		to   *map[string][]string
		more map[string][]string
	}{{&f.Consumers, more.Consumers}, {&f.Participants, more.Participants}, {&f.Hooks, more.Hooks}} {
		for name, list := range named.more {
			if *named.to == nil {
				*named.to = map[string][]string{}
			}
			(*named.to)[name] = merged((*named.to)[name], list)
		}
	}
}

func merged(a, b []string) []string {
	if len(a)+len(b) == 0 {
		return nil
	}
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// Wanted is what has to be in RabbitMQ. The error is one that [holdfast.ErrInvalid] is.
func (f File) Wanted() (x broker.Topology, err error) {
	x = broker.Topology{Groups: f.Groups, Replies: f.Sagas, Checks: f.Checks}
	for _, name := range slices.Sorted(maps.Keys(f.Consumers)) {
		if f.Participants[name] != nil {
			return x, fmt.Errorf("%w: %s is a consumer and a participant", holdfast.ErrInvalid, name)
		}
		x.Consumers = append(x.Consumers, broker.Bound{Name: name, Topics: f.Consumers[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(f.Participants)) {
		x.Consumers = append(x.Consumers, broker.Bound{Name: name, Topics: f.Participants[name]})
	}
	if len(f.Participants) > 0 {
		x.Delays = broker.ParticipantLadder()
	}
	for _, name := range slices.Sorted(maps.Keys(f.Hooks)) {
		x.Hooks = append(x.Hooks, broker.Hook{Name: name, Keys: f.Hooks[name]})
	}
	for _, text := range f.Delays {
		d, err := time.ParseDuration(text)
		if err != nil {
			return x, fmt.Errorf("%w: delay %q: want a duration such as 7s", holdfast.ErrInvalid, text)
		}
		x.Delays = append(x.Delays, d)
	}
	if len(x.Groups)+len(x.Replies)+len(x.Checks)+len(x.Consumers)+len(x.Hooks) == 0 {
		return x, fmt.Errorf("%w: it has no group, no consumer and no hook", holdfast.ErrInvalid)
	}
	return x, nil
}

// Running is what the processes say that they are. Which of them have hooks, and which groups
// are in other languages, none of them says.
func Running(answers []broker.ProcessStatus) (f File) {
	for _, p := range answers {
		one := File{Groups: p.Groups(), Consumers: map[string][]string{}, Participants: map[string][]string{}}
		for _, k := range p.Keepers {
			one.HalfQueues = max(one.HalfQueues, k.Queue)
		}
		for _, s := range p.Sagas {
			one.Sagas = append(one.Sagas, s.Group)
		}
		for _, c := range p.Consumers {
			to, standard := one.Consumers, broker.DefaultLadder()
			if c.Participant {
				to, standard = one.Participants, slices.Concat(standard, broker.ParticipantLadder())
			}
			to[c.Name] = c.Topics
			for _, d := range c.Delays {
				if !slices.Contains(standard, d) {
					one.Delays = append(one.Delays, d.String())
				}
			}
		}
		f.Add(one)
	}
	if f.HalfQueues == 1 {
		f.HalfQueues = 0
	}
	return f
}

// Named reads NAME=ITEM,ITEM… into one of a File's maps.
func Named(what string, all []string) (map[string][]string, error) {
	out := map[string][]string{}
	for _, text := range all {
		name, items, ok := strings.Cut(text, "=")
		if !ok || name == "" || items == "" {
			return nil, fmt.Errorf("%w: %s %q: want NAME=ITEM,ITEM…", holdfast.ErrInvalid, what, text)
		}
		out[name] = merged(out[name], strings.Split(items, ","))
	}
	return out, nil
}
