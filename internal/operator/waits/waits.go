// Package waits lists everything that waits, for what, since when and what happens next, by
// asking Temporal, RabbitMQ and the processes; and has what waits for a timer try again. The
// commands waiting and retry-now use it, and the doctor.
package waits

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// The kinds of what waits.
const (
	WaitSaga        = "saga"
	WaitTransaction = "transaction"
	WaitLetter      = "dead-letter"
	WaitGroup       = "group"
	WaitHalfQueue   = "half-queue"
	WaitConsumer    = "consumer"
	WaitRetry       = "retry"
)

// Wait is all that waits for one and the same thing.
type Wait struct {
	// Kind is what waits: saga, transaction, dead-letter, group (what a group's
	// processes have to do), half-queue, consumer, retry.
	Kind string `json:"kind"`
	// For says what for, in a word and a name, such as "participant stock.reserve".
	For string `json:"for"`
	// Count is how many wait; AtLeast that there may be more.
	Count   int  `json:"count"`
	AtLeast bool `json:"at_least,omitempty"`
	// Since is when the oldest began to wait, as far as that is known, Next when
	// something happens by itself, and Then what.
	Since time.Time `json:"since,omitzero"`
	Next  time.Time `json:"next,omitzero"`
	Then  string    `json:"then,omitempty"`
	// Missing says that what they wait for is not there.
	Missing bool `json:"missing"`
	// Detail says more, Remedy what to do.
	Detail string `json:"detail,omitempty"`
	Remedy string `json:"remedy,omitempty"`
	// Examples are some of their IDs.
	Examples []string `json:"examples,omitempty"`

	steps []string // that wait, for Detail
	held  string   // what their participant waits for, as one of them was told
}

// examplesKept is how many IDs are kept of those that wait for the same.
const examplesKept = 3

// Note counts one more.
func (w *Wait) Note(id string, since, next time.Time) {
	w.Count++
	if len(w.Examples) < examplesKept {
		w.Examples = append(w.Examples, id)
	}
	if !since.IsZero() && (w.Since.IsZero() || since.Before(w.Since)) {
		w.Since = since
	}
	if !next.IsZero() && (w.Next.IsZero() || next.Before(w.Next)) {
		w.Next = next
	}
}

// waitList is what waits, by Kind and For.
type waitList struct{ all []*Wait }

func (ws *waitList) of(kind, what string) *Wait {
	for _, w := range ws.all {
		if w.Kind == kind && w.For == what {
			return w
		}
	}
	w := &Wait{Kind: kind, For: what}
	ws.all = append(ws.all, w)
	return w
}

// Sorted are those that count something: what is missing first, then the oldest.
func (ws *waitList) Sorted() []*Wait {
	out := slices.DeleteFunc(slices.Clone(ws.all), func(w *Wait) bool { return w.Count == 0 })
	slices.SortStableFunc(out, func(x, y *Wait) int {
		return cmp.Or(-processes.CompareBool(x.Missing, y.Missing), cmp.Compare(x.Kind, y.Kind), x.Since.Compare(y.Since))
	})
	return out
}

// Survey looks at everything that waits.
type Survey struct {
	*reach.Config
	text.Suggester
	waitList
	Now     time.Time
	Ask     reach.Asked
	Asks    int  // workflows that are asked at most
	whole   bool // also what doctor's other parts tell
	answers []broker.ProcessStatus
	unasked error // why the processes are not known
	guessed bool  // parked transactions were not all asked why they are
	// unlooked counts the workflows that were not asked, since there are more than Asks.
	unlooked int
	Server   *server.Temporal // nil: not reached
	Broker   *broker.Broker   // nil: not reached
	groups   map[string]*groupSight
	// uncalled are the participants that nothing waits for and that nobody runs.
	Uncalled []*Wait
	// nudging has nudges gathered: what has those who wait for a timer go on at once,
	// in the name of operator.
	Nudging bool
	By, Why string
	Nudges  []Nudge
	// unknown is what could not be looked at, in words.
	Unknown []string
}

// Unlooked says how many workflows may wait for something that was not looked at; empty: none.
func (s *Survey) Unlooked() string {
	if s.unlooked == 0 {
		return ""
	}
	return fmt.Sprintf("%s were not asked what they wait for, since there are more than %d",
		text.Plural(s.unlooked, "workflow"), s.Asks)
}

// groupSight is what is seen of a producer group.
type groupSight struct {
	name      string
	open      int // workflows that wait for its processes
	oldest    time.Time
	polling   server.Polling
	unpolled  error // why Temporal's pollers are not known
	answering bool
	halves    []broker.QueueInfo
	example   string
}

// gone reports whether no process of the group runs that could carry out its
// workflows; known is false where nobody can say.
func (g *groupSight) gone(unasked error) bool {
	switch {
	case g.unpolled == nil && g.polling.Fresh == 0:
		return true
	case unasked != nil || g.answering || g.keeps():
		return false
	}
	return true // it polled a moment ago, but neither answers nor keeps the half queue
}

// keeps reports whether somebody reads the group's half queues.
func (g *groupSight) keeps() bool {
	return slices.ContainsFunc(g.halves, func(q broker.QueueInfo) bool { return q.Consumers > 0 })
}

// look looks at everything, as far as the servers are reached.
func (s *Survey) look(ctx context.Context) {
	s.groups = map[string]*groupSight{}
	s.answers, s.unasked = s.Ask()
	if s.Server != nil {
		s.lookTransactions(ctx)
		rows := s.listSagas(ctx)
		s.lookGroups(ctx)
		s.lookSagas(ctx, rows)
		if s.whole {
			s.lookLetters(ctx)
		}
	}
	if s.Broker != nil {
		s.lookParticipants(ctx)
		s.lookUncalled(ctx)
		s.lookHalfQueues(ctx)
		if s.whole {
			s.lookConsumers(ctx)
		}
	}
	s.tellGroups()
}

func (s *Survey) group(name string) *groupSight {
	g := s.groups[name]
	if g == nil {
		g = &groupSight{name: name, answering: processes.GroupAnswers(s.answers, name)}
		s.groups[name] = g
	}
	return g
}

// nudge notes how to have a workflow go on at once.
func (s *Survey) nudge(id string, w *Wait, signal string, arg any) {
	if s.Nudging {
		s.Nudges = append(s.Nudges, Nudge{ID: id, For: w.For, Signal: signal, arg: arg})
	}
}

// fail notes what could not be looked at.
func (s *Survey) fail(what string, err error) {
	s.Unknown = append(s.Unknown, what+": "+text.Of(err))
}
