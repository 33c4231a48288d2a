// Package consumers looks at each consumer of an installation: what is in its queue, which
// processes consume it, how their circuit breakers are, what is on its retry ladder. It also
// looks at the half queues and their Keepers. It changes nothing.
package consumers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/waits"
	"github.com/holdfastmq/holdfast/internal/shell"
)

const (
	// most is how many consumers are looked at, and how many groups.
	most = 300
	// busy is how many messages in a queue are worth a warning.
	busy = 10_000
)

// Consumer is a consumer, or a participant of sagas, and its queue.
type Consumer struct {
	Name, Queue string
	// Topics are what the queue is bound to, as processes or the database say.
	Topics []string
	// Bound are the topics that RabbitMQ says that it is bound to; nil where it was not asked.
	Bound []string
	// Exists says that the queue is there. Ready are the messages in it that wait; Readers
	// are the subscriptions that RabbitMQ knows. Alone are those that wait to be tried one
	// by one, because a process was lost with them, NoRoom those that wait for room in the queue.
	Exists  bool
	Ready   int
	Readers int
	Alone   int
	NoRoom  int
	// Unacknowledged are the messages that processes hold, as RabbitMQ says; nil where it
	// was not asked. InWork are those of them that a handler works on, as the processes
	// say.
	Unacknowledged *int
	InWork         int
	// Oldest is when the message at the queue's head was published. Zero: not known.
	Oldest time.Time
	// Processes are those that answered and consume.
	Processes []Process
	// Remembered says that a database, or a process, remembers it; it was seen last so
	// long ago.
	Remembered bool
	Seen       time.Duration
	Ladder     Ladder
	// Pause is the pause by hand that lasts; nil: there is none.
	Pause *broker.ConsumerPause
}

// Process is a consumer in one process.
type Process struct {
	Instance string
	broker.ConsumerStatus
}

// Ladder is what waits of one consumer in the delays of the retry ladder.
type Ladder struct {
	Count int
	// AtLeast says that there may be more: not all messages were looked at.
	AtLeast bool
	// Since is when the message failed first that failed first of all, Next when the
	// first one is tried again. Zero: not known.
	Since, Next time.Time
	// Delays say how many are in which.
	Delays []string
}

// Seen is what was seen.
type Seen struct {
	Consumers []Consumer
	Halves    []processes.KeptQueue
	// Answering is how many processes answered.
	Answering int
	// Unknown says what could not be looked at, or is not known, and why.
	Unknown []string
	// More says that there are more consumers than are looked at.
	More bool
}

// Orphaned reports whether the queue is there and nobody consumes it: neither RabbitMQ knows
// a subscription, nor does a process answer that has the consumer.
func (c Consumer) Orphaned() bool { return c.Exists && c.Readers == 0 && len(c.Processes) == 0 }

// Unwanted are the topics that its queue is bound to, as far as that is known, and that none of its
// processes listens to that answered. Where none answers, such as while the consumer is merely
// stopped, nobody can tell, and there are none.
func (c Consumer) Unwanted() []string {
	if len(c.Processes) == 0 {
		return nil
	}
	return slices.DeleteFunc(union(c.Topics, c.Bound), func(topic string) bool {
		return slices.ContainsFunc(c.Processes, func(p Process) bool { return slices.Contains(p.Topics, topic) })
	})
}

// Removable reports whether it can be asked that it is removed: nobody consumes it.
func (c Consumer) Removable() bool { return c.Orphaned() }

// Waiting counts the messages that a removal loses.
func (c Consumer) Waiting() int { return c.Ready + c.Alone + c.NoRoom }

// Breaker is the worst state of the circuit breakers; empty: no process answered.
func (c Consumer) Breaker() string {
	if len(c.Processes) == 0 {
		return ""
	}
	return slices.MaxFunc(c.Processes, func(x, y Process) int {
		return cmp.Compare(processes.Severity(x.ConsumerStatus), processes.Severity(y.ConsumerStatus))
	}).Breaker
}

// Level says how bad it is.
func (c Consumer) Level() text.Level {
	_, level, _ := c.judge()
	return level
}

// Note says what is wrong, in words; Remedy what to do. Empty: nothing.
func (c Consumer) Note() string {
	note, _, _ := c.judge()
	return note
}

// Remedy is what to do about the note.
func (c Consumer) Remedy() string {
	_, _, remedy := c.judge()
	return remedy
}

func (c Consumer) judge() (note string, level text.Level, remedy string) {
	const gone = "start a process of the consumer, or, if it is gone on purpose, have it forgotten and removed: "
	waits := slices.ContainsFunc(c.Processes, func(p Process) bool { return !p.WaitsSince.IsZero() })
	switch {
	case !c.Exists:
		return "its queue is missing: what is sent to it does not reach it", text.LevelProblem,
			"start a process of the consumer, or, if it is gone on purpose: " + shell.Holdfast("consumers forget", c.Name)
	case c.Pause != nil && slices.ContainsFunc(c.Processes, func(p Process) bool { return p.Paused == nil }):
		return c.Pause.String() + "; a process does not heed it", text.LevelProblem,
			"stop that process, or see what it says: its user may not read the pauses, or it is of an earlier version"
	case c.Pause != nil:
		return c.Pause.String(), text.LevelWarning, "resume it: " + shell.Holdfast("consumers resume", c.Name,
			"--reason", shell.Text)
	case c.Orphaned() && c.Waiting() > 0:
		return "orphaned: no process consumes it, and messages wait", text.LevelProblem,
			gone + shell.Holdfast("consumers forget", c.Name) + ", " + removal(c.Name)
	case c.Orphaned():
		return "orphaned: no process consumes it", text.LevelWarning,
			gone + shell.Holdfast("consumers forget", c.Name) + ", " + removal(c.Name)
	case c.Breaker() == broker.BreakerOpen:
		return "a circuit breaker is open: everything failed", text.LevelWarning,
			"mend the dependency that the error names; it resumes by itself"
	case c.Breaker() == broker.BreakerProbing:
		return "a circuit breaker tries one message at a time", text.LevelWarning,
			"wait: it resumes by itself once its dependency is mended"
	case waits:
		return "its messages wait for what their handler needs", text.LevelWarning,
			"mend what the error names; it goes on by itself"
	case c.Readers == 0:
		return "its processes run, but read nothing at the moment", text.LevelWarning,
			"look again; if it stays so, see the log of its processes"
	case len(c.Processes) == 0:
		return "somebody reads its queue, but no process with it answers", text.LevelWarning,
			"see whether its processes are overloaded, or of a version that does not answer yet"
	case c.Ready > busy:
		return "it lags behind", text.LevelWarning, "start more processes of the consumer, or raise its concurrency"
	}
	return "", text.LevelOK, ""
}

// removal is the command line that removes a consumer.
func removal(name string) string {
	return shell.Holdfast("consumers remove", name, "--reason", shell.Text)
}

// Look looks at all consumers that are known: those of processes that answer, those that the
// database or a process remembers, and where RabbitMQ's management API is reached all that
// have a queue. The error says that RabbitMQ is not reached.
func Look(ctx context.Context, c *reach.Config) (seen Seen, err error) {
	err = c.WithBroker(ctx, func(ctx context.Context, b *broker.Broker) error {
		l := looking{c: c, b: b}
		return l.look(ctx, &seen)
	})
	return seen, err
}

// looking is one look.
type looking struct {
	c       *reach.Config
	b       *broker.Broker
	answers []broker.ProcessStatus
	managed map[string]processes.ManagedQueue
	bound   []processes.Binding // to topics, as the management API lists them
	paused  []broker.ConsumerPause
	by      map[string]*Consumer
}

func (l *looking) look(ctx context.Context, seen *Seen) error {
	var err error
	if l.answers, err = l.b.Ask(ctx, 0); err != nil {
		seen.Unknown = append(seen.Unknown, "which processes run: "+text.Of(err))
	}
	seen.Answering = len(l.answers)
	if l.c.DatabaseURL == "" {
		seen.Unknown = append(seen.Unknown, "consumers that only the database remembers: DATABASE_URL is not set")
	}
	if err := l.manage(ctx); err != nil {
		seen.Unknown = append(seen.Unknown, "what RabbitMQ's management API tells (unacknowledged, oldest, queues that "+
			"nobody remembers): "+text.Of(err))
	}
	if l.managed != nil {
		if l.bound, err = managed(ctx, l.c); err != nil {
			seen.Unknown = append(seen.Unknown, "which topics queues are bound to, but for what processes say: "+text.Of(err))
		}
	}
	if l.paused, err = l.b.PausedConsumers(ctx); err != nil {
		seen.Unknown = append(seen.Unknown, "which consumers are paused, but for what their processes say: "+text.Of(err))
	}
	l.known(ctx)
	names := text.SortedKeys(l.by)
	if len(names) > most {
		names, seen.More = names[:most], true
	}
	if err := l.queues(ctx, names, seen); err != nil {
		return err
	}
	l.halves(ctx, seen)
	for _, name := range names {
		seen.Consumers = append(seen.Consumers, *l.by[name])
	}
	slices.SortStableFunc(seen.Consumers, func(x, y Consumer) int { return cmp.Compare(bad(x), bad(y)) })
	return nil
}

// bad orders consumers, the worst first.
func bad(c Consumer) int {
	return slices.Index([]text.Level{text.LevelProblem, text.LevelWarning, text.LevelOK}, c.Level())
}

// manage asks the management API for all queues.
func (l *looking) manage(ctx context.Context) error {
	m, err := processes.NewManagement(l.c.AMQPURL, l.c.TLS(), l.c.Management)
	if err != nil {
		return err
	}
	queues, err := m.Queues(ctx, l.c.Prefix)
	if err != nil {
		return err
	}
	l.managed = map[string]processes.ManagedQueue{}
	for _, q := range queues {
		l.managed[q.Name] = q
	}
	return nil
}

// known gathers the consumers, by name.
func (l *looking) known(ctx context.Context) {
	l.by = map[string]*Consumer{}
	of := func(name string) *Consumer {
		c := l.by[name]
		if c == nil {
			c = &Consumer{Name: name, Queue: l.b.ConsumerQueue(name)}
			l.by[name] = c
		}
		return c
	}
	for _, p := range l.answers {
		for _, s := range p.Consumers {
			c := of(s.Name)
			c.Processes = append(c.Processes, Process{text.OrDash(p.Instance), s})
			c.InWork += s.Handling
			if s.Paused != nil {
				c.Pause = s.Paused
			}
			c.Topics = union(c.Topics, s.Topics)
		}
	}
	for _, k := range processes.WithHeard(l.c.KnownConsumers(ctx, nil), l.answers) {
		c := of(k.Name)
		c.Remembered, c.Seen = true, k.Seen
		if len(c.Processes) == 0 {
			c.Topics = union(c.Topics, k.Topics)
		}
	}
	for _, p := range l.paused {
		of(p.Consumer).Pause = &p
	}
	for name := range l.managed {
		if consumer := broker.ConsumerOf(l.c.Prefix, name); consumer != "" {
			of(consumer)
		}
	}
}

func union(some, more []string) []string {
	all := append(slices.Clone(some), more...)
	slices.Sort(all)
	return slices.Compact(all)
}

// queues asks RabbitMQ for the queues of consumers, and looks at the retry ladder.
func (l *looking) queues(ctx context.Context, names []string, seen *Seen) error {
	var queues []string
	for _, name := range names {
		queues = append(queues, l.b.ConsumerQueue(name), l.b.AloneQueue(name), l.b.HeldQueue(name))
	}
	delays := l.delays()
	info, err := l.b.Inspect(ctx, append(queues, delays...)...)
	if err != nil {
		return text.WithRemedy(err, "see that this user may read what begins with %s", l.c.Prefix)
	}
	for i, name := range names {
		c, q := l.by[name], info.Queues[3*i]
		c.Exists, c.Ready, c.Readers = q.Exists, q.Messages, q.Consumers
		c.Alone, c.NoRoom = info.Queues[3*i+1].Messages, info.Queues[3*i+2].Messages
		if m, ok := l.managed[c.Queue]; ok {
			if m.Unacknowledged != nil {
				n := int(*m.Unacknowledged)
				c.Unacknowledged = &n
			}
			c.Oldest = m.Oldest()
		}
	}
	for _, looked := range waits.LookAtLadder(ctx, l.b, info.Queues[len(queues):], waits.LadderLook) {
		l.ladder(looked, seen)
	}
	for _, of := range l.bound {
		c := l.by[broker.ConsumerOf(l.c.Prefix, of.Destination)]
		if c != nil && of.Source == l.b.TopicsExchange() {
			c.Bound = union(c.Bound, []string{of.Key})
		}
	}
	return nil
}

// delays are the delay queues that are known.
func (l *looking) delays() []string {
	names := waits.DelayQueues(l.c.Prefix, l.answers)
	for _, name := range text.SortedKeys(l.managed) {
		delay, ok := strings.CutPrefix(name, l.c.Prefix+".retry.")
		if ok && !strings.HasPrefix(delay, "full.") && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// ladder notes whose the messages in a delay are.
func (l *looking) ladder(looked waits.Looked, seen *Seen) {
	delay := strings.TrimPrefix(looked.Name, l.c.Prefix+".retry.")
	if looked.Err != nil {
		seen.Unknown = append(seen.Unknown, fmt.Sprintf("whose the %d messages in the delay of %s are: %s", looked.Messages,
			delay, text.Of(looked.Err)))
	} else if n := looked.Unseen(); n > 0 {
		seen.Unknown = append(seen.Unknown, fmt.Sprintf("whose %d of the %d messages in the delay of %s are: so many are "+
			"not looked at", n, looked.Messages, delay))
	}
	for _, w := range looked.Waits {
		c := l.by[w.Consumer]
		if c == nil {
			continue
		}
		on := &c.Ladder
		on.Count += w.Count
		on.AtLeast = on.AtLeast || looked.Unseen() > 0
		on.Delays = append(on.Delays, fmt.Sprintf("%d in %s", w.Count, delay))
		if !w.Since.IsZero() && (on.Since.IsZero() || w.Since.Before(on.Since)) {
			on.Since = w.Since
		}
		if !w.Next.IsZero() && (on.Next.IsZero() || w.Next.Before(on.Next)) {
			on.Next = w.Next
		}
	}
}

// halves looks at the half queues of all groups that are known.
func (l *looking) halves(ctx context.Context, seen *Seen) {
	groups := processes.KeptGroups(l.answers)
	for _, p := range l.answers {
		groups = append(groups, p.Groups()...)
	}
	for name := range l.managed {
		if g := broker.GroupOf(l.c.Prefix, name); g != "" {
			groups = append(groups, g)
		}
	}
	slices.Sort(groups)
	groups = slices.Compact(groups)
	if len(groups) > most {
		groups = groups[:most]
		seen.Unknown = append(seen.Unknown, fmt.Sprintf("half queues of more than %d groups", most))
	}
	halves, err := processes.KeptQueues(ctx, l.b, groups, l.answers)
	if err != nil {
		seen.Unknown = append(seen.Unknown, "half queues: "+text.Of(err))
	}
	for _, k := range halves {
		if k.Exists || k.Answered > 0 { // else the group may not have sent yet
			seen.Halves = append(seen.Halves, k)
		}
	}
}
