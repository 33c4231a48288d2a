package site

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/holdfastmq/holdfast/console/internal/confirm"
	"github.com/holdfastmq/holdfast/console/internal/desk"
	"github.com/holdfastmq/holdfast/console/internal/login"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/consumers"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// consumersSeen is one look at the consumers.
type consumersSeen struct {
	desk.Consumers
	err error
}

func (s *Site) lookAtConsumers(ctx context.Context) consumersSeen {
	all, err := s.Desk.Consumers(ctx)
	return consumersSeen{all, err}
}

// consumersView is the page of all consumers.
type consumersView struct {
	desk.Consumers
	At    time.Time
	Still bool // it is not looked at again by itself
}

// consumersAgain is the page of consumers as it is looked at again by itself.
const consumersAgain = "/consumers?auto=1"

func (v consumersView) refresh() string {
	if v.Still {
		return ""
	}
	return consumersAgain
}

// LettersOf says how many open dead letters a consumer has.
func (v consumersView) LettersOf(c consumers.Consumer) string {
	switch n := v.Letters[c.Name]; {
	case v.Letters == nil:
		return "not known"
	case v.MoreLetters:
		return "at least " + strconv.Itoa(n)
	default:
		return strconv.Itoa(n)
	}
}

// LettersTo is the page that counts them by error.
func (v consumersView) LettersTo(c consumers.Consumer) string {
	return "/dead?" + url.Values{"by": {"error"}, "consumer": {c.Name}}.Encode()
}

// Held says how many messages processes hold.
func (v consumersView) Held(c consumers.Consumer) string {
	if c.Unacknowledged != nil {
		return strconv.Itoa(*c.Unacknowledged)
	}
	return strconv.Itoa(c.InWork) + " in work"
}

// BreakerOf says how its circuit breakers are.
func (v consumersView) BreakerOf(c consumers.Consumer) string { return text.OrDash(c.Breaker()) }

// LadderOf says what waits on its retry ladder.
func (v consumersView) LadderOf(c consumers.Consumer) string {
	said := strconv.Itoa(c.Ladder.Count)
	if c.Ladder.AtLeast {
		said = "at least " + said
	}
	return said
}

// Notes say what is wrong with a half queue.
func (v consumersView) Notes(k processes.KeptQueue) []string { return k.Notes(v.At) }

// OldestOf is how long a Keeper has held its oldest half message.
func (v consumersView) OldestOf(k processes.KeptQueue) string {
	if k.OldestAge == 0 {
		return ""
	}
	return text.Age(processes.Seconds(k.OldestAge))
}

// consumerView is the page of one consumer.
type consumerView struct {
	consumersView
	consumers.Consumer
	// admin says that who looks may remove it.
	admin bool
}

func (v consumerView) refresh() string {
	if v.Still {
		return ""
	}
	return "/consumer?" + url.Values{"auto": {"1"}, "name": {v.Name}}.Encode()
}

// consumerAddress is the page of a consumer.
func consumerAddress(name string) string { return "/consumer?" + url.Values{"name": {name}}.Encode() }

// Choices are what an operator can do with it.
func (v consumerView) Choices() (out []choice) {
	offer := func(act, lasts string) {
		q := url.Values{"kind": {kindConsumer}, "id": {v.Name}, "act": {act}, "step": {lasts}}
		out = append(out, choice{Title: consumerTitle(act, lasts), Effects: v.Effects(act, lasts), To: "/do?" + q.Encode()})
	}
	if !v.Exists {
		return nil
	}
	if v.Pause != nil {
		offer(consumers.ActResume, "")
	} else {
		for _, lasts := range consumers.Durations {
			offer(consumers.ActPause, lasts)
		}
	}
	if !v.admin {
		return out
	}
	for _, topic := range v.Unwanted() {
		offer(consumers.ActUnbind, topic)
	}
	if v.Removable() {
		offer(consumers.ActRemove, "")
	}
	return out
}

// consumerTitle is an act on a consumer in words.
func consumerTitle(act, lasts string) string {
	switch {
	case lasts == "":
		return text.Capital(act)
	case act == consumers.ActUnbind:
		return "Unbind from " + lasts
	}
	return text.Capital(act) + " for " + lasts
}

// roleOf is who may ask for an order.
func roleOf(o confirm.Order) login.Role {
	if o.Kind == kindConsumer && (o.Act == consumers.ActRemove || o.Act == consumers.ActUnbind) {
		return login.Admin
	}
	return login.Operator
}

// consumerTarget is a consumer as it stands now. What a pause lasts is the order's Step, and the
// topic of a binding.
func (s *Site) consumerTarget(ctx context.Context, o confirm.Order) (target, error) {
	pauses := o.Act == consumers.ActPause
	switch o.Act {
	case consumers.ActPause, consumers.ActResume, consumers.ActRemove, consumers.ActUnbind:
	default:
		return target{}, text.Usagef("there is no such action on consumers")
	}
	if pauses && !slices.Contains(consumers.Durations, o.Step) {
		return target{}, text.Usagef("a consumer is not paused for so long")
	}
	seen, err := s.Desk.Consumers(ctx)
	if err != nil {
		return target{}, err
	}
	all := seen.Seen.Consumers
	i := slices.IndexFunc(all, func(c consumers.Consumer) bool { return c.Name == o.Target })
	if i < 0 {
		return target{}, text.NoSuch("consumer", o.Target)
	}
	c, state, id := all[i], "not paused by hand", ""
	if c.Pause != nil {
		state, id = c.Pause.String(), c.Pause.ID
	}
	if roleOf(o) == login.Admin {
		return s.goneTarget(c, o, state), nil
	}
	t := target{id: c.Name, title: consumerTitle(o.Act, o.Step), state: state,
		possible: c.Exists && pauses == (c.Pause == nil), facts: confirm.Facts{{Name: "pause", Value: id}},
		act: func(ctx context.Context, who desk.Who) (actions.Outcome, error) {
			return s.Desk.ActOnConsumer(ctx, c.Name, o.Act, o.Step, who)
		}}
	if pauses || c.Pause != nil {
		t.effects = c.Effects(o.Act, o.Step)
	}
	return t, nil
}

// goneTarget is a consumer of which something is not wanted any more.
func (s *Site) goneTarget(c consumers.Consumer, o confirm.Order, state string) target {
	t := target{id: c.Name, title: consumerTitle(o.Act, o.Step), state: state, effects: c.Effects(o.Act, o.Step),
		facts: confirm.Facts{{Name: "processes", Value: strconv.Itoa(len(c.Processes))}}}
	with := o.Step
	if o.Act == consumers.ActRemove {
		with = strconv.Itoa(c.Waiting())
		t.possible = c.Removable() && o.Step == ""
		t.facts = append(t.facts, confirm.Fact{Name: "messages", Value: with})
	} else {
		t.possible = c.Exists && slices.Contains(c.Unwanted(), o.Step)
	}
	if !t.possible {
		t.state = "consumed by " + text.ProcessCount(len(c.Processes)) + ", and bound to " + text.OrDash(text.Join(c.Topics))
	}
	t.act = func(ctx context.Context, who desk.Who) (actions.Outcome, error) {
		return s.Desk.ActOnConsumer(ctx, c.Name, o.Act, with, who)
	}
	return t
}

// seeConsumers is the look at the consumers, which many share.
func (s *Site) seeConsumers(w http.ResponseWriter, r *http.Request, of login.Session) (consumersView, bool) {
	seen, at, err := s.consumers.Recent(r.Context(), s.ageFor(r))
	if err != nil {
		s.logPanic("consumers", err)
		s.say(w, r, http.StatusServiceUnavailable, of, message{Title: "Nobody has answered in time",
			Text: "The look at the consumers is not over, or has failed.", Links: []link{{"Try again", "/consumers"}}})
		return consumersView{}, false
	}
	if seen.err != nil {
		s.logPanic("consumers", seen.err)
		s.failed(w, r, of, seen.err)
		return consumersView{}, false
	}
	return consumersView{seen.Consumers, at, r.URL.Query().Get("still") != ""}, true
}

func (s *Site) consumersPage(w http.ResponseWriter, r *http.Request, of login.Session) {
	if v, ok := s.seeConsumers(w, r, of); ok {
		s.render(w, r, http.StatusOK, of, "consumers.html", "Consumers", v)
	}
}

func (s *Site) consumerPage(w http.ResponseWriter, r *http.Request, of login.Session) {
	v, ok := s.seeConsumers(w, r, of)
	if !ok {
		return
	}
	name := r.URL.Query().Get("name")
	all := v.Seen.Consumers
	i := slices.IndexFunc(all, func(c consumers.Consumer) bool { return c.Name == name })
	if i < 0 {
		s.failed(w, r, of, text.WithRemedy(text.NoSuch("consumer", name), "see /consumers, which has all that are known"))
		return
	}
	s.render(w, r, http.StatusOK, of, "consumer.html", "Consumer "+name,
		consumerView{v, all[i], of.Role.May(login.Admin)})
}
