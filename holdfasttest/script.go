package holdfasttest

import (
	"context"
	"sync"
	"time"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/sagarun"
	"github.com/holdfastmq/holdfast/saga"
)

// Answer is what a [Scripted] participant answers a saga's call with.
type Answer struct {
	kind   answerKind
	result any
	err    error
}

type answerKind int

const (
	answered answerKind = iota
	lost
	silent
)

// Done: it did what it was asked for. result, in JSON, is what the step receives;
// nil is nothing.
func Done(result any) Answer { return Answer{result: result} }

// Refused: no, for a reason. Only a Do may refuse.
func Refused(reason string) Answer { return Answer{err: saga.Refuse(reason)} }

// Failed: it tried, and gave up. It may be asked again.
func Failed(err error) Answer { return Answer{err: err} }

// Unknown: it did what it was asked for, and its answer to this call is lost. With
// Answers(Unknown(7), Done(nil)) whoever asks again is told 7.
func Unknown(result any) Answer { return Answer{kind: lost, result: result} }

// Silent: the message is taken, and nothing comes of it, as of a service that hangs.
func Silent() Answer { return Answer{kind: silent} }

// Asked is a call that came to a [Scripted] participant.
type Asked struct {
	Saga, Step string
	Undo       bool
	Message    holdfast.Message
}

// Scripted is a participant of another service, of which there is no code here: it
// answers as it is told. It remembers what it did, as a real one does: asked again for
// the same step, it answers what it answered, and what it never did, it does not undo.
type Scripted struct {
	k   *Kit
	run *sagarun.Participant

	mu    sync.Mutex
	do    script
	undo  script
	asked []Asked
}

type script struct {
	answers []Answer
	choose  func(m holdfast.Message) Answer
}

// Script adds a participant that is played: it listens to topic and undoTopic, which
// may be empty. Until it is told otherwise, it answers Done(nil).
func (k *Kit) Script(topic, undoTopic string) *Scripted {
	k.t.Helper()
	k.name(topic)
	s := &Scripted{k: k}
	s.run = &sagarun.Participant{Name: topic, Topic: topic, UndoTopic: undoTopic,
		DB: NewDB(k.t), Replies: scriptedReplies{k},
		Do: k.participation(scriptedAnswer, false), Undo: k.participation(scriptedAnswer, true)}
	topics := []string{topic}
	if undoTopic != "" {
		topics = append(topics, undoTopic)
	}
	k.broker.Subscribe(broker.Subscription{Name: topic, Topics: topics,
		Tries: 1, Ladder: []time.Duration{}, Handle: s.handle, GiveUp: s.run.GiveUp})
	return s
}

// Answers are the answers to its calls, the first one's first; the last one stays.
func (s *Scripted) Answers(answers ...Answer) *Scripted {
	return s.set(&s.do, script{answers: answers})
}

// UndoAnswers are the same for the calls to undo.
func (s *Scripted) UndoAnswers(answers ...Answer) *Scripted {
	return s.set(&s.undo, script{answers: answers})
}

// AnswersBy has choose find the answer to each call, from what it says.
func (s *Scripted) AnswersBy(choose func(m holdfast.Message) Answer) *Scripted {
	return s.set(&s.do, script{choose: choose})
}

// Asked returns the calls that have come, the oldest first.
func (s *Scripted) Asked() []Asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Asked(nil), s.asked...)
}

func (s *Scripted) set(to *script, what script) *Scripted {
	s.mu.Lock()
	defer s.mu.Unlock()
	*to = what
	return s
}

// handle plays one call.
func (s *Scripted) handle(ctx context.Context, d broker.Delivery) error {
	answer := Done(nil)
	if d.Saga != nil {
		answer = s.next(d)
	}
	if answer.kind == silent {
		return nil
	}
	ctx = context.WithValue(context.WithValue(ctx, calling{}, d.Saga), answering{}, answer)
	return s.run.Handle(ctx, d)
}

// next notes a call, and chooses its answer.
func (s *Scripted) next(d broker.Delivery) Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, Asked{d.Saga.Saga, d.Saga.Step, d.Saga.Undo, d.Message.Clone()})
	of := &s.do
	if d.Saga.Undo {
		of = &s.undo
	}
	switch {
	case of.choose != nil:
		return of.choose(d.Message.Clone())
	case len(of.answers) == 0:
		return Done(nil)
	case len(of.answers) == 1:
		return of.answers[0]
	}
	first := of.answers[0]
	of.answers = of.answers[1:]
	return first
}

// answering is the key of the answer to the call that is played, in a context.
type answering struct{}

func answerOf(ctx context.Context) Answer {
	a, _ := ctx.Value(answering{}).(Answer)
	return a
}

func scriptedAnswer(ctx context.Context, _ *gorm.DB, _ holdfast.Message) (any, error) {
	a := answerOf(ctx)
	return a.result, a.err
}

// scriptedReplies are replies, but for those that are lost.
type scriptedReplies struct{ k *Kit }

func (r scriptedReplies) PublishSagaReply(ctx context.Context, call broker.SagaCall, reply broker.SagaReply) error {
	if answerOf(ctx).kind == lost {
		return nil
	}
	return replies(r).PublishSagaReply(ctx, call, reply)
}
