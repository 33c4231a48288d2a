package site

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/holdfastmq/holdfast/console/internal/audit"
	"github.com/holdfastmq/holdfast/console/internal/batch"
	"github.com/holdfastmq/holdfast/console/internal/confirm"
	"github.com/holdfastmq/holdfast/console/internal/desk"
	"github.com/holdfastmq/holdfast/console/internal/login"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/deadletters"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/workflows"
	deadflow "github.com/holdfastmq/holdfast/workflows/deadletters"
)

const (
	// kindLetters are the dead letters that have something in common.
	kindLetters = "dead letters"
	// togetherMost is how many are acted on together, togetherShown how many of them the
	// page that asks for it shows.
	togetherMost, togetherShown = 500, 20
)

// togetherActs are the acts that can be done to many.
var togetherActs = []string{deadflow.UpdateRedeliver, workflows.UpdateCompensate, deadflow.UpdateDiscard}

// together says which dead letters are meant: those of one consumer that are parked, and
// what else the filter says. As text it is the target of an order.
type together struct {
	filter url.Values
	// again is the run that began with them and did not come to its end: what it did is
	// left out. Empty: none.
	again string
}

// isRun matches what requestOf makes.
var isRun = regexp.MustCompile(`^[0-9a-f]{16}$`)

// parseTogether reads what String writes.
func parseTogether(s string) (of together, err error) {
	q, err := url.ParseQuery(s)
	if err != nil {
		return of, text.Usagef("this does not say which dead letters are meant")
	}
	of.filter = groups{Filter: q}.kept("state")
	if of.again = q.Get("run"); of.again != "" && !isRun.MatchString(of.again) {
		return of, text.Usagef("there is no run of this name")
	}
	if of.filter.Get("consumer") == "" {
		return of, text.Usagef("say of which consumer: dead letters of one consumer are acted on together")
	}
	return of, nil
}

// String is the target of an order, and a part of the addresses of its pages.
func (t together) String() string {
	q := url.Values{}
	for name, values := range t.filter {
		q[name] = values
	}
	if t.again != "" {
		q.Set("run", t.again)
	}
	return q.Encode()
}

// wordShown is how many characters of what a filter is by stand in a sentence.
const wordShown = 80

// words say which are meant. Others wrote what is in them: what an act does is said elsewhere.
func (t together) words() string {
	short := func(value string) string { return text.CutText(text.OneLine(value), wordShown) }
	said := "consumer " + short(t.filter.Get("consumer"))
	for _, name := range letterFilters {
		if value := t.filter.Get(name); value != "" && name != "consumer" {
			said += ", " + filterText(name, short(value))
		}
	}
	return said
}

// list is the page that lists them.
func (t together) list() string {
	q := maps.Clone(t.filter)
	q.Set("state", string(workflows.Parked))
	return "/dead/list?" + q.Encode()
}

// togetherLinks lead to the acts on all that a filter means; none, if it does not name a
// consumer, or means others than those that are parked.
func togetherLinks(filter url.Values) (links []link) {
	of := together{filter: groups{Filter: filter}.kept("state")}
	if state := filter.Get("state"); of.filter.Get("consumer") == "" || state != "" && state != string(workflows.Parked) {
		return nil
	}
	for _, act := range togetherActs {
		q := url.Values{"kind": {kindLetters}, "act": {act}, "id": {of.String()}}
		links = append(links, link{text.Capital(act), "/do?" + q.Encode()})
	}
	return links
}

// gathered are the dead letters that are meant, as they stand.
type gathered struct {
	together
	letters []deadletters.Detail // that can be acted on, the oldest first
	before  int                  // those that the run did already
	other   int                  // those that have changed, or cannot be acted on so
	unknown int                  // those of which nobody tells how they stand
	more    bool
}

// gather looks at all that are meant.
func (s *Site) gather(ctx context.Context, o confirm.Order) (g gathered, err error) {
	if g.together, err = parseTogether(o.Target); err != nil {
		return g, err
	}
	if !slices.Contains(togetherActs, o.Act) {
		return g, text.Usagef("dead letters are not acted on together so: want %s", text.Join(togetherActs))
	}
	f, err := letterFilter(g.filter)
	if err != nil {
		return g, err
	}
	f.States = []string{string(workflows.Parked)}
	// What the run did before must not take the place of what it did not come to.
	all, more, err := s.Desk.LettersTogether(ctx, f, togetherMost, func(d deadletters.Detail) bool {
		did := g.again != "" && d.State == string(workflows.Parked) && didBefore(d, o.Act, g.again)
		if did {
			g.before++
		}
		return did
	})
	if err != nil {
		return g, err
	}
	g.more = more
	for _, d := range all {
		switch {
		case d.Status == nil:
			g.unknown++
		case d.State != string(workflows.Parked) || !slices.Contains(d.Choices(), o.Act):
			g.other++
		default:
			g.letters = append(g.letters, d)
		}
	}
	return g, nil
}

// markOf begins the reason of everything that a run asks for: by it, a run that goes on after
// the console died tells what it did before.
func markOf(run string) string { return "run " + run + ": " }

// didBefore reports whether a run has asked for the act, as the dead letter's story says.
func didBefore(d deadletters.Detail, act, run string) bool {
	return d.Status != nil && slices.ContainsFunc(d.Status.Story, func(e deadflow.Event) bool {
		return e.What == act && strings.HasPrefix(e.Text, markOf(run))
	})
}

// printOf tells a dead letter as it stands from all others, and from itself if it has
// changed. It is of this process only.
func (s *Site) printOf(d deadletters.Detail) uint64 {
	var h maphash.Hash
	h.SetSeed(s.seed)
	add := func(part string) { _, _ = fmt.Fprintf(&h, "%d %s ", len(part), part) } // a hash takes all
	add(d.WorkflowID)
	for _, fact := range letterFacts(d) {
		add(fact.Name)
		add(fact.Value)
	}
	return h.Sum64()
}

// effects say what the act would do to all of them: first, in sentences without a word of
// others, what it does to each.
func (g gathered) effects(act string) (all []string) {
	switch act {
	case deadflow.UpdateRedeliver:
		all = append(all, "Each message goes back into the queue of the consumer, once, and into no other. What fails "+
			"again is parked again.")
	case workflows.UpdateCompensate:
		all = append(all, "For each message, the Compensate of its producer group runs, once, and undoes what it was "+
			"sent for; then its other consumers are told.")
	case deadflow.UpdateDiscard:
		all = append(all, "Each message is dropped for good. Nothing is published, and nothing is undone.")
	}
	all = append(all, fmt.Sprintf("These are %s: %s.", text.Plural(len(g.letters), "dead letter"), g.words()),
		"The oldest of them is the first, alone. When you have seen what came of it, you say whether, and how "+
			"fast, to do the rest.", "What has changed by its turn is left out.",
		"It ends by itself when five in a row do not succeed.")
	for _, left := range []struct {
		n   int
		why string
	}{{g.before, "were done by this run before, and are left out"},
		{g.other, "cannot be acted on so now, and are left out"},
		{g.unknown, "are left out: no process tells how they stand"}} {
		if left.n > 0 {
			all = append(all, fmt.Sprintf("%d more %s.", left.n, left.why))
		}
	}
	if g.more {
		all = append(all, fmt.Sprintf("There are more than these. At most %d are done together, the oldest of those that "+
			"were looked at: do it again for the others.", togetherMost))
	}
	return all
}

// togetherTarget is many dead letters as they stand now.
func (s *Site) togetherTarget(ctx context.Context, o confirm.Order) (target, error) {
	g, err := s.gather(ctx, o)
	if err != nil {
		return target{}, err
	}
	t := target{second: s.lettersSecond(ctx, g.letters, o.Act), id: g.String(),
		words: g.words(), title: titleOf(o), state: string(workflows.Parked),
		effects: g.effects(o.Act), possible: len(g.letters) > 0, letters: g.letters}
	if !t.possible {
		t.state = fmt.Sprintf("nothing that can be done now: of what is parked of %s, %d were done by this run, %d have "+
			"changed, and of %d nobody tells how they stand", g.words(), g.before, g.other, g.unknown)
	}
	for _, d := range g.letters {
		t.items = append(t.items, confirm.Item{ID: d.WorkflowID, Print: s.printOf(d)})
	}
	return t, nil
}

// about is what the pages of a run need to know.
type about struct {
	// Kind is that of the one thing that waits for a second person; empty: dead letters together.
	Kind   string
	Act    string
	Step   string
	Refuse bool
	Target string
	// Why says why a second person is needed before anything is done.
	Why string
	// Second says that another operator has to let it go on: another one than Person.
	Second bool
	Person string
	// Reason is why it was begun, Effects are what it does, in sentences.
	Reason  string
	Effects []string
}

// beginRun begins what was confirmed, on all that were shown, if the audit has it and one of
// them at least is as it was shown: each is looked at again at its turn, and what has changed
// is an outcome, too. An action of its own is each one of them, in the audit, too.
func (s *Site) beginRun(ctx context.Context, of login.Session, request string, o confirm.Order,
	reason string) confirm.Result {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), actTime)
	defer cancel()
	e := audit.Entry{Request: request, Who: of.Signed(), Role: of.Role.String(), Action: o.Kind + " " + o.Act,
		Target: o.Target, Reason: reason}
	g, err := s.gather(ctx, o)
	shown := shownOf(o)
	var ids []string
	for _, item := range o.Items {
		ids = append(ids, item.ID)
	}
	asShown := func(d deadletters.Detail) bool { return shown[d.WorkflowID] == s.printOf(d) }
	r := confirm.Result{Bad: true, Outcome: audit.Refused}
	switch {
	case err != nil:
		r.Detail, r.Remedy = text.SplitRemedy(err)
		r.Detail = "they cannot be looked at: " + r.Detail
	case !slices.ContainsFunc(g.letters, asShown):
		r.Detail = "stale: none of them is as it was shown"
	default:
		r = confirm.Result{}
	}
	if r.Bad {
		e.Outcome, e.Detail = audit.Refused, r.Detail
		s.note(ctx, e)
		return r
	}
	e.Outcome, e.Detail = audit.Asked, text.Plural(len(ids), "dead letter")
	if refused := s.ask(ctx, of, e); refused != nil {
		return *refused
	}
	asBefore := shownLetters(g.letters, asShown)
	why := s.lettersSecond(ctx, asBefore, o.Act)
	if n := len(ids) - len(asBefore); why == "" && s.ApproveWhen != nil && n > 0 {
		why = "nobody can tell whether one is for " + text.Plural(n, "dead letter") + " that cannot be looked at now"
	}
	second := s.needsSecond(of, len(ids)) || why != ""
	one := s.eachOf(of, request, cmp.Or(g.again, request), o, reason)
	err = s.runs.Begin(batch.Order{ID: request, Who: of.Signed(), IDs: ids, Do: one,
		About: about{Act: o.Act, Target: o.Target, Second: second, Person: person(of), Reason: reason,
			Effects: g.effects(o.Act), Why: why},
		AskFirst: why != "",
		Done: func(v batch.View) {
			e.Outcome, e.Detail = string(v.State), strings.TrimPrefix(v.Why+"; "+countsText(v), "; ")
			s.note(ctx, e)
		}})
	if err != nil {
		e.Outcome, e.Detail = string(actions.Unsent), err.Error()
		s.note(ctx, e)
		return confirm.Result{Bad: true, Again: true, Outcome: e.Outcome, Detail: e.Detail}
	}
	return confirm.Result{Done: true, Outcome: "begun"}
}

// shownLetters are those that are as they were shown.
func shownLetters(all []deadletters.Detail, asShown func(deadletters.Detail) bool) (shown []deadletters.Detail) {
	for _, d := range all {
		if asShown(d) {
			shown = append(shown, d)
		}
	}
	return shown
}

// shownOf are the prints of what was shown, by ID.
func shownOf(o confirm.Order) map[string]uint64 {
	prints := make(map[string]uint64, len(o.Items))
	for _, item := range o.Items {
		prints[item.ID] = item.Print
	}
	return prints
}

// countsText says how many ended how.
func countsText(v batch.View) string {
	var parts []string
	counts := v.Counts()
	for _, outcome := range text.SortedKeys(counts) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[outcome], outcome))
	}
	return text.Join(parts)
}

// eachOf returns what does the act to one of many: if it is as it was shown, nobody else acts
// on it, and the audit has it. run is the one that marks it.
func (s *Site) eachOf(of login.Session, request, run string, o confirm.Order,
	reason string) func(context.Context, string) batch.Outcome {
	who := desk.Who{Operator: of.Signed(), Reason: markOf(run) + reason}
	shown := shownOf(o)
	return func(ctx context.Context, id string) batch.Outcome {
		ctx, cancel := context.WithTimeout(ctx, actTime)
		defer cancel()
		done, err := s.forms.Alone(ctx, kindLetter, id)
		if err != nil {
			return batch.Outcome{Outcome: string(actions.Unsent), Detail: err.Error(), Bad: true}
		}
		defer done()
		d, err := s.Desk.LetterNow(ctx, id)
		if err != nil {
			what, remedy := text.SplitRemedy(err)
			return batch.Outcome{Outcome: string(actions.Unsent), Detail: what, Remedy: remedy, Bad: true}
		}
		switch {
		case d.Status == nil:
			return batch.Outcome{Outcome: string(actions.Unsent), Detail: d.Unknown, Bad: true}
		case didBefore(d, o.Act, run):
			return batch.Outcome{Outcome: batch.Left, Detail: "this run did it before: it is " + d.State}
		case shown[id] != s.printOf(d):
			return batch.Outcome{Outcome: batch.Left, Detail: "it is not as it was shown: it is " + d.State}
		}
		who := who
		if v, ok := s.runs.See(request); ok && v.By != "" && v.By != v.Who {
			who.Reason += approvedBy(v.By)
		} else if why := s.letterSecond(ctx, d, o.Act); why != "" { // it could not be told when the run began
			return batch.Outcome{Outcome: batch.Left, Detail: "a second person is needed: " + why,
				Remedy: "act on it on its page, or begin another run"}
		}
		e := audit.Entry{Request: request, Who: of.Signed(), Role: of.Role.String(), Action: kindLetter + " " + o.Act,
			Target: id,
			Reason: who.Reason, Outcome: audit.Asked}
		if refused := s.ask(ctx, of, e); refused != nil {
			return batch.Outcome{Outcome: refused.Outcome, Detail: refused.Detail, Remedy: refused.Remedy, Bad: true}
		}
		out := act(ctx, target{act: func(ctx context.Context, who desk.Who) (actions.Outcome, error) {
			return s.Desk.ActOnLetter(ctx, d.Row, o.Act, who)
		}}, who)
		e.Outcome, e.Detail = string(out.Outcome), out.Detail
		s.note(ctx, e)
		return batch.Outcome{Outcome: string(out.Outcome), Detail: out.Detail, Remedy: out.Remedy,
			Sent: out.Outcome != actions.Unsent && out.Outcome != actions.Settled && out.Outcome != actions.Refused,
			Bad:  out.Bad(false, false)}
	}
}
