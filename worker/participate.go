package worker

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/consuming"
	"github.com/holdfastmq/holdfast/internal/databases"
	"github.com/holdfastmq/holdfast/internal/jsonerr"
	"github.com/holdfastmq/holdfast/internal/sagarun"
)

// Participation is what a participant does for a saga's step, or to undo it: with
// tx, which is committed together with the step row that makes it happen once.
// What it returns is sent back in JSON and kept in the step row, for those who ask
// again; nil is nothing, and 512 KiB are the limit. [saga.Refuse] is the answer no.
// Another error is tried again, by Tries and Ladder; after the last one, or if it
// is [holdfast.Permanent], the saga is told that the step has failed.
type Participation func(ctx context.Context, tx *gorm.DB, m holdfast.Message) (result any, err error)

// Participant does one kind of step for the sagas of any producer group.
type Participant struct {
	// Topic is the topic of a saga's message step. Required.
	Topic string
	// UndoTopic is the topic of its Undo. Required where Undo is set.
	UndoTopic string
	// Do does the step. Required.
	Do Participation
	// Undo undoes it. It is run once, and only where Do took effect; where it did
	// not, it never will, and the saga shows the step as unknown outside the database.
	// It gets what Do got, with what the saga received of its result. An Undo must not
	// refuse. Nil where UndoTopic is set: there
	// is nothing to run, but a Do that comes late is kept from running.
	Undo Participation
	// UndoUncertain has Undo run also where Do was never committed, once: it may have
	// had an effect outside the database, such as a call of an API. Undo has to know
	// whether there is something to undo.
	UndoUncertain bool
	// Name names the participant's queue. Default: Topic.
	Name string
	// DB is the participant's database; nil means the worker's.
	DB *gorm.DB
	// Concurrency, Prefetch, Tries, Ladder, Breaker and Timeout are as in a
	// [Consumer]; the default of Ladder is 1 s, 5 s, 30 s.
	Concurrency int
	Prefetch    int
	Tries       int
	Ladder      []time.Duration
	Breaker     BreakerOptions
	Timeout     time.Duration
	// Middleware is put around Do and Undo, as in a [Consumer].
	Middleware []Middleware
}

// Participate adds a participant. Call it before Run, which returns what is wrong
// with it. It needs no Temporal.
func (w *Worker) Participate(p Participant) {
	p = p.withDefaults(w.o.DB)
	if err := p.validate(); err != nil {
		w.problem(err)
		return
	}
	if w.observer.Has(p.Name) {
		w.problem(fmt.Errorf("%w: two consumers or participants are named %q: they would share a queue",
			holdfast.ErrInvalid, p.Name))
		return
	}
	w.databases.Use(databases.Use{Kind: "participant", Name: p.Name, DB: p.DB, Concurrency: p.Concurrency})
	w.participants = append(w.participants, p)
	w.observer.Add(p.Name)
}

func (p Participant) withDefaults(db *gorm.DB) Participant {
	setDefault(&p.Name, p.Topic)
	setDefault(&p.DB, db)
	if p.Ladder == nil {
		p.Ladder = broker.ParticipantLadder()
	}
	return p
}

// validate checks p after withDefaults.
func (p Participant) validate() error {
	for what, topic := range map[string]string{"Topic": p.Topic, "UndoTopic": p.UndoTopic} {
		if what == "UndoTopic" && topic == "" {
			continue
		}
		if err := (holdfast.Message{Topic: topic}).Validate(); err != nil {
			return fmt.Errorf("participant %s: its %s: %w", p.Name, what, err)
		}
	}
	if err := holdfast.ValidateName("participant's name", p.Name); err != nil {
		return fmt.Errorf("%w (the default is its Topic: set Name)", err)
	}
	switch {
	case p.Do == nil:
		return fmt.Errorf("%w: participant %s: Do is nil", holdfast.ErrInvalid, p.Name)
	case p.Undo != nil && p.UndoTopic == "":
		return fmt.Errorf("%w: participant %s: Undo needs an UndoTopic, which is the second topic of the saga's step",
			holdfast.ErrInvalid, p.Name)
	case p.UndoUncertain && p.Undo == nil:
		return fmt.Errorf("%w: participant %s: UndoUncertain needs an Undo, which it has run also where Do was not committed",
			holdfast.ErrInvalid, p.Name)
	case p.UndoTopic == p.Topic:
		return fmt.Errorf("%w: participant %s: Topic and UndoTopic are both %s: give the Undo its own",
			holdfast.ErrInvalid, p.Name, p.Topic)
	case slices.ContainsFunc(p.Middleware, isNil):
		return fmt.Errorf("%w: participant %s: a nil Middleware", holdfast.ErrInvalid, p.Name)
	case p.DB == nil:
		return fmt.Errorf("%w: participant %s needs a DB, for the step rows that make it act once",
			holdfast.ErrInvalid, p.Name)
	case p.Prefetch > 0 && p.Prefetch < p.Concurrency:
		return fmt.Errorf("%w: participant %s: Prefetch is %d, want at least Concurrency, which is %d",
			holdfast.ErrInvalid, p.Name, p.Prefetch, p.Concurrency)
	case p.Concurrency < 0 || p.Prefetch < 0 || p.Tries < 0 || p.Timeout < 0:
		return fmt.Errorf("%w: participant %s: a negative limit", holdfast.ErrInvalid, p.Name)
	}
	return nil
}

// topics are what its queue is bound to.
func (p Participant) topics() []string {
	if p.UndoTopic == "" {
		return []string{p.Topic}
	}
	return []string{p.Topic, p.UndoTopic}
}

// TypedParticipation turns a function on values into a [Participation]: v is the
// message's body, decoded from JSON. A body that does not decode is a permanent
// error.
func TypedParticipation[V, R any](do func(ctx context.Context, tx *gorm.DB, v V) (R, error)) Participation {
	return func(ctx context.Context, tx *gorm.DB, m holdfast.Message) (any, error) {
		var v V
		if err := json.Unmarshal(m.Body, &v); err != nil {
			return nil, holdfast.Permanent(fmt.Errorf("%w: decode message %s to %q as %T: %w",
				holdfast.ErrMalformed, m.ID, m.Topic, v, jsonerr.Clean(err)))
		}
		return do(ctx, tx, v)
	}
}

// participate runs one participant until ctx is done and what it is doing is done.
func (w *Worker) participate(ctx context.Context, p Participant) error {
	w.observer.Begins(p.Name)
	limit, wrap := w.databases.Pool(p.DB), w.wrapper(p.Middleware)
	do, err := consuming.WrapParticipation(p.Do, wrap)
	undo, wrong := consuming.WrapParticipation(p.Undo, wrap)
	if err = cmp.Or(err, wrong); err != nil {
		return fmt.Errorf("participant %s: %w", p.Name, err)
	}
	run := &sagarun.Participant{Name: p.Name, Topic: p.Topic, UndoTopic: p.UndoTopic, DB: p.DB, Do: do, Undo: undo,
		UndoUncertain: p.UndoUncertain, Replies: w.broker, Box: w.box, Trace: w.trace}
	return w.broker.Consume(ctx, broker.Subscription{
		Name: p.Name, Topics: p.topics(), Prefetch: p.Prefetch, Concurrency: limit.Concurrency(p.Concurrency), Tries: p.Tries,
		Ladder: p.Ladder, Breaker: p.Breaker, Observe: w.observer.Event,
		HandlerTimeout: p.Timeout, DrainTimeout: w.o.Timeouts.Drain,
		Handle: w.processing(limit.Handling(run.Handle)), GiveUp: run.GiveUp, Participant: true,
	})
}
