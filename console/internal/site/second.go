package site

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/holdfastmq/holdfast/console/internal/audit"
	"github.com/holdfastmq/holdfast/console/internal/batch"
	"github.com/holdfastmq/holdfast/console/internal/confirm"
	"github.com/holdfastmq/holdfast/console/internal/login"
	"github.com/holdfastmq/holdfast/internal/guard"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/deadletters"
	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/vouch"
)

// Item is a saga or a dead letter that somebody is about to act on.
type Item struct {
	Kind string // "saga" or "dead letter"
	ID   string
	Act  string
	// Group is the group, Name the saga's name, Consumer and Topic are the dead letter's.
	Group, Name, Consumer, Topic string
	Key                          string
	// Data is the state of the saga, or the body of the message. Nil where Unreadable says
	// why it cannot be read.
	Data       []byte
	Unreadable string
}

// bodiesAtOnce is how many bodies are read at a time, where many are acted on together.
const bodiesAtOnce = 8

// whySecond says why a second person is needed to act on something; empty: none is. Where nobody
// can tell, one is.
func (s *Site) whySecond(i Item) string {
	if s.ApproveWhen == nil {
		return ""
	}
	var why string
	needed, err := guard.Value(func() (needed bool, err error) {
		needed, why = s.ApproveWhen(i)
		return needed, nil
	})
	switch {
	case err != nil:
		s.logPanic("whether a second person is needed", err)
		return "it cannot be told whether one is needed"
	case !needed:
		return ""
	}
	return cmp.Or(text.CutText(text.OneLine(why), longest), "it is one of those for which one is")
}

// sagaSecond says why a second person is needed to act on a saga.
func (s *Site) sagaSecond(ctx context.Context, d sagas.Detail, act string) string {
	if s.ApproveWhen == nil {
		return ""
	}
	i := Item{Kind: "saga", ID: d.ID, Act: act, Group: d.Group, Name: d.Name, Key: d.Key}
	data, err := s.Desk.SagaData(ctx, d.Row)
	switch {
	case err != nil:
		i.Unreadable = "its state cannot be read: " + text.Of(err)
	case data == nil:
		i.Unreadable = "its state is not known"
	default:
		i.Data = data
	}
	return s.whySecond(i)
}

// itemOfLetter is a dead letter that is acted on, without its body.
func itemOfLetter(d deadletters.Detail, act string) Item {
	i := Item{Kind: "dead letter", ID: d.WorkflowID, Act: act, Consumer: d.Consumer, Topic: d.Topic, Key: d.Key}
	if d.Status != nil {
		i.Group = d.Status.Group
	}
	return i
}

// letterSecond says why a second person is needed to act on a dead letter.
func (s *Site) letterSecond(ctx context.Context, d deadletters.Detail, act string) string {
	if s.ApproveWhen == nil {
		return ""
	}
	i := itemOfLetter(d, act)
	body, err := s.Desk.LetterBody(ctx, d.Row)
	if i.Data = body; err != nil {
		i.Data, i.Unreadable = nil, "its body cannot be read: "+text.Of(err)
	}
	return s.whySecond(i)
}

// lettersSecond says why a second person is needed to act on many: one of them is enough.
func (s *Site) lettersSecond(ctx context.Context, all []deadletters.Detail, act string) string {
	if s.ApproveWhen == nil {
		return ""
	}
	var mu sync.Mutex
	n, first, why := 0, len(all), ""
	var group errgroup.Group
	group.SetLimit(bodiesAtOnce)
	for i, d := range all {
		group.Go(func() error {
			said := s.letterSecond(ctx, d, act)
			mu.Lock()
			defer mu.Unlock()
			if said != "" {
				n++
			}
			if said != "" && i < first {
				first, why = i, said
			}
			return nil
		})
	}
	_ = group.Wait() // none fails
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%s for which one is, such as %s: %s", text.Plural(n, "dead letter"), all[first].ID, why)
}

// secondEffect is what a page says where a second person is needed.
func secondEffect(why string) string {
	return "A second person is needed: " + why + ". Nothing is done until another operator says so, within 30 minutes."
}

// orderSecond says why a second person is needed for what the command line hands over. An error
// says that nobody can tell.
func (s *Site) orderSecond(ctx context.Context, o vouch.Order) (why string, err error) {
	if s.ApproveWhen == nil || o.Kind != vouch.Saga && o.Kind != vouch.Letter {
		return "", nil
	}
	if o.Saga != nil && len(o.Saga.Value) > 0 {
		return "what comes of its value is in no state that could be looked at", nil
	}
	name, err := guard.Value(func() (string, error) { return s.Desk.Named(ctx, o) })
	if err != nil {
		return "", err
	}
	if o.Kind == vouch.Saga {
		d, err := s.Desk.Saga(ctx, name)
		if err != nil {
			return "", err
		}
		return s.sagaSecond(ctx, d, o.Act), nil
	}
	d, err := s.Desk.Letter(ctx, name)
	if err != nil {
		return "", err
	}
	if why = s.letterSecond(ctx, d, o.Act); why != "" {
		return why, nil
	}
	if body, other := otherBody(o); other { // what is sent instead counts as well
		i := itemOfLetter(d, o.Act)
		i.Data = body
		return s.whySecond(i), nil
	}
	return "", nil
}

// otherBody is the body that the command line has a message redelivered with; false: its own.
func otherBody(o vouch.Order) ([]byte, bool) {
	switch {
	case o.Letter == nil || o.Letter.Text == "" && len(o.Letter.Base64) == 0:
		return nil, false
	case len(o.Letter.Base64) > 0:
		return o.Letter.Base64, true
	}
	return []byte(o.Letter.Text), true
}

// waitsForSecond is the outcome of what a second person has to agree to.
const waitsForSecond = "waits for a second person"

// beginApproval has an order wait until a second person agrees to it; e is the audit's entry.
func (s *Site) beginApproval(ctx context.Context, of login.Session, request string, o confirm.Order, t target,
	e audit.Entry) confirm.Result {
	e.Outcome, e.Detail = audit.Asked, "a second person is needed: "+t.second
	if refused := s.ask(ctx, of, e); refused != nil {
		return *refused
	}
	act := func(ctx context.Context, _ string) batch.Outcome {
		ctx, cancel := context.WithTimeout(ctx, actTime)
		defer cancel()
		done, err := s.forms.Alone(ctx, o.Kind, o.Target)
		if err != nil {
			e.Outcome, e.Detail = string(actions.Unsent), err.Error()
			s.note(ctx, e)
			return batch.Outcome{Outcome: e.Outcome, Detail: e.Detail, Bad: true}
		}
		defer done()
		v, _ := s.runs.See(request)
		r := s.carryOut(ctx, of, request, o, e.Reason, v.By)
		return batch.Outcome{Outcome: r.Outcome, Detail: r.Detail, Remedy: r.Remedy, Sent: r.Done, Bad: r.Bad}
	}
	err := s.runs.Begin(batch.Order{ID: request, Who: of.Signed(), IDs: []string{t.id}, Do: act, AskFirst: true,
		About: about{Kind: o.Kind, Act: o.Act, Step: o.Step, Refuse: o.Refuse, Target: t.id, Second: true,
			Person: person(of), Reason: e.Reason, Effects: t.effects, Why: t.second},
		Done: func(v batch.View) {
			if len(v.Outcomes) > 0 && v.State == batch.Over {
				return // what came of it is there
			}
			e.Outcome, e.Detail = string(actions.Unsent), v.Why
			s.note(context.Background(), e)
		}})
	if err != nil {
		e.Outcome, e.Detail = string(actions.Unsent), err.Error()
		s.note(ctx, e)
		return confirm.Result{Bad: true, Again: true, Outcome: e.Outcome, Detail: e.Detail}
	}
	return confirm.Result{Done: true, Outcome: waitsForSecond}
}

// person is who somebody is where two are needed: his name, however it is written, and however
// he has logged in.
func person(of login.Session) string { return strings.ToLower(of.User) }

// needsSecond adds n things to those that somebody acts on, and reports whether that is more than
// he may act on without a second person.
func (s *Site) needsSecond(of login.Session, n int) bool {
	if s.ApproveOver <= 0 {
		return false
	}
	over := 0
	for range n {
		over, _ = s.alone.Take(person(of))
	}
	return over > 0
}

// maySayGo reports whether it is for somebody to say that a run goes on: for who began it or, where
// a second person is needed, for another one.
func maySayGo(v batch.View, of login.Session) bool {
	a, _ := v.About.(about)
	if a.Second {
		return a.Person != person(of)
	}
	return v.Who == of.Signed()
}

// whoSaysGo says for whom it is, in words.
func whoSaysGo(v batch.View) string {
	if a, _ := v.About.(about); a.Second {
		return "another operator than " + v.Who + ", who began it"
	}
	return v.Who + ", who began it"
}
