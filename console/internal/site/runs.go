package site

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/holdfastmq/holdfast/console/internal/audit"
	"github.com/holdfastmq/holdfast/console/internal/batch"
	"github.com/holdfastmq/holdfast/console/internal/confirm"
	"github.com/holdfastmq/holdfast/console/internal/login"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/workflows"
)

// runShown is how many outcomes the page of a run shows, the latest ones.
const runShown = 500

// runView is the page of a run.
type runView struct {
	batch.View
	Title  string
	Of     string // which dead letters, in words
	List   string // the page that lists those that are left
	Again  string // the page by which another run goes on with what is left
	Rates  []int
	Mine   bool // it waits for who looks
	Reason string
	// Effects are what it does, for who has to say whether it goes on.
	Effects []string
	Says    string // who has to say whether it goes on
	// Second says why nothing is done without a second person, One that it is one thing and no run
	// on many.
	Second string
	One    bool
	Counts string
	Latest []batch.Outcome
	at     string
}

// Before reports whether nothing of it was done yet.
func (v runView) Before() bool { return len(v.Outcomes) == 0 }

// Go names the form by which it goes on: that before its first one is another than that after it.
func (v runView) Go() string {
	if v.Before() {
		return "run-agree"
	}
	return "run-go"
}

// refresh has the page look again while something comes by itself.
func (v runView) refresh() string {
	if v.State.Final() || v.State == batch.Asks {
		return ""
	}
	return v.at + "&auto=1"
}

// every is after how many seconds it does so.
func (v runView) every() int { return 3 }

// knownRun is a run in a list.
type knownRun struct {
	batch.View
	To, What string
}

func knownRunOf(v batch.View) knownRun {
	a, _ := v.About.(about)
	k := knownRun{View: v, To: runAddress(v.ID, a), What: a.Act}
	if a.Kind != "" {
		k.What = a.order().words()
		return k
	}
	if of, err := parseTogether(a.Target); err == nil {
		k.What += ": " + of.words()
	}
	return k
}

// runAddress is the page of a run. It says of what it is: when the console has died, who opens
// it can go on with what is left.
func runAddress(run string, a about) string {
	q := url.Values{"id": {run}, "act": {a.Act}, "of": {a.Target}}
	if a.Kind != "" {
		q.Set("kind", a.Kind)
	}
	return "/dead/run?" + q.Encode()
}

// waiting is an order that waits for a second person.
type waiting confirm.Order

func (a about) order() waiting {
	return waiting{Kind: a.Kind, Target: a.Target, Act: a.Act, Step: a.Step, Refuse: a.Refuse}
}

// words say what is done to what.
func (o waiting) words() string { return titleOf(confirm.Order(o)) + ": " + o.Target }

// to is the page by which it is asked for again.
func (o waiting) to() string {
	q := url.Values{"kind": {o.Kind}, "id": {o.Target}, "act": {o.Act}}
	if o.Step != "" {
		q.Set("step", o.Step)
	}
	if o.Refuse {
		q.Set("refuse", "1")
	}
	return "/do?" + q.Encode()
}

// action is what the audit calls it.
func (a about) action() string {
	action := cmp.Or(a.Kind, kindLetters) + " " + a.Act
	if a.Refuse {
		action += " no"
	}
	return action
}

// goesOn is the page by which another run goes on with what one left.
func goesOn(run string, a about) string {
	of, err := parseTogether(a.Target)
	if err != nil {
		return "/dead"
	}
	if of.again == "" {
		of.again = run
	}
	return "/do?" + url.Values{"kind": {kindLetters}, "act": {a.Act}, "id": {of.String()}}.Encode()
}

func (s *Site) runPage(w http.ResponseWriter, r *http.Request, of login.Session) {
	q := r.URL.Query()
	v, ok := s.runs.See(q.Get("id"))
	if !ok {
		m := message{Title: "This run is not known any more", Text: "The console was started again, or the run is too old. " +
			"What it did is in the audit, and in the history of each dead letter."}
		if !q.Has("kind") && isRun.MatchString(q.Get("id")) && slices.Contains(togetherActs, q.Get("act")) {
			left := about{Act: q.Get("act"), Target: q.Get("of")}
			m.Links = append(m.Links, link{"Go on with what it left", goesOn(q.Get("id"), left)})
		}
		s.say(w, r, http.StatusNotFound, of, append1(m, link{"Dead letters", "/dead"}))
		return
	}
	s.renderRun(w, r, http.StatusOK, of, v)
}

func append1(m message, l link) message {
	m.Links = append(m.Links, l)
	return m
}

func (s *Site) renderRun(w http.ResponseWriter, r *http.Request, status int, of login.Session, v batch.View) {
	a, _ := v.About.(about)
	shows := runView{View: v, Title: text.Capital(a.Act), Rates: batch.Rates, Counts: countsText(v),
		at: runAddress(v.ID, a), Again: goesOn(v.ID, a), Mine: v.State == batch.Asks && maySayGo(v, of),
		Says: whoSaysGo(v), Reason: a.Reason, Effects: a.Effects, Second: a.Why}
	if which, err := parseTogether(a.Target); a.Kind != "" {
		shows.One, shows.Title, shows.Again = true, titleOf(confirm.Order(a.order())), a.order().to()
		shows.Of, shows.List = a.Target, pageOfTarget(a.Kind, a.Target)
	} else if err == nil {
		shows.Of, shows.List = which.words(), which.list()
	}
	shows.Latest = slices.Clone(v.Outcomes[max(0, len(v.Outcomes)-runShown):])
	slices.Reverse(shows.Latest)
	s.render(w, r, status, of, "run.html", "Run: "+a.Act, shows)
}

// steerRun lets a run go on, or ends it. Who began it lets it go on, since that is who signs, or
// a second person where one is needed; every operator may end it.
func (s *Site) steerRun(w http.ResponseWriter, r *http.Request, of login.Session) {
	v, ok := s.runs.See(r.PostForm.Get("id"))
	if !ok {
		s.say(w, r, http.StatusConflict, of, message{Title: "This run is not known any more",
			Text: "The console was started again, or the run is too old. Nothing was done by sending this now."})
		return
	}
	a, _ := v.About.(about)
	e := audit.Entry{Request: v.ID, Who: of.Signed(), Role: of.Role.String(), Action: a.action(),
		Target: a.Target, Step: a.Step}
	switch r.PostForm.Get("do") {
	case "go":
		e.Action += ": go on"
		s.goOn(w, r, of, v, e)
	case "stop":
		e.Action += ": stop"
		// To end it must be possible although the audit is away: nothing is done by it.
		if s.runs.Stop(v.ID, of.Signed()+" ended it") != nil {
			s.tooLate(w, r, of, v.ID, e)
			return
		}
		e.Outcome = audit.Done
		s.note(r.Context(), e)
		http.Redirect(w, r, runAddress(v.ID, a), http.StatusSeeOther)
	default:
		s.failed(w, r, of, text.Usagef("a run goes on, or is ended"))
	}
}

// goOn lets a run go on, if the audit has it; e is the audit's entry.
func (s *Site) goOn(w http.ResponseWriter, r *http.Request, of login.Session, v batch.View, e audit.Entry) {
	a, _ := v.About.(about)
	rate, err := strconv.Atoi(r.PostForm.Get("rate"))
	switch {
	case err != nil || !slices.Contains(batch.Rates, rate):
		s.failed(w, r, of, text.Usagef("the rate is none of those that can be chosen"))
		return
	case !maySayGo(v, of):
		s.refuse(r, of, e.Action, e.Target, "", "that is for "+whoSaysGo(v))
		s.say(w, r, http.StatusForbidden, of, message{Title: "You may not do that",
			Text: "Whether it goes on is for " + whoSaysGo(v) + ", to say. Nothing was done."})
		return
	case !v.Waits(), r.PostForm.Has("done") && r.PostForm.Get("done") != strconv.Itoa(len(v.Outcomes)):
		s.tooLate(w, r, of, v.ID, e)
		return
	}
	if why, remedy := s.firstFailed(r.Context(), v); why != "" {
		s.refuse(r, of, e.Action, e.Target, "", why)
		s.say(w, r, http.StatusConflict, of, message{Title: "Nothing was done", Text: text.Capital(why) + ".", Remedy: remedy,
			Links: []link{{"The run", runAddress(v.ID, a)}}})
		return
	}
	e.Outcome, e.Detail = audit.Asked, strconv.Itoa(rate)+" a second"
	if refused := s.ask(r.Context(), of, e); refused != nil {
		s.say(w, r, http.StatusConflict, of, message{Title: "Nothing was done", Text: refused.Detail, Remedy: refused.Remedy})
		return
	}
	if err := s.runs.GoOn(v.ID, rate, of.Signed()); err != nil { // since then: what was asked for has its outcome
		e.Outcome, e.Detail = audit.Refused, err.Error()
		s.note(r.Context(), e)
		s.showRun(w, r, http.StatusConflict, of, v.ID)
		return
	}
	http.Redirect(w, r, runAddress(v.ID, a), http.StatusSeeOther)
}

// firstFailed looks at the first one once more: a redelivery may fail after its answer was
// waited for. It says why the rest is not done; empty: it is. What failed ends the run.
func (s *Site) firstFailed(ctx context.Context, v batch.View) (why, remedy string) {
	first := v.Tried()
	if first == nil {
		return "", ""
	}
	d, err := s.Desk.LetterNow(ctx, first.ID)
	switch {
	case err != nil:
		why, remedy = text.SplitRemedy(err)
		return "the first one cannot be looked at: " + why, remedy
	case d.State != string(workflows.Parked):
		return "", ""
	}
	why = "the first one is parked again"
	_ = s.runs.Stop(v.ID, why) // else it has ended already
	return why, ""
}

// tooLate refuses what a run does not wait for any more, and shows it.
func (s *Site) tooLate(w http.ResponseWriter, r *http.Request, of login.Session, run string, e audit.Entry) {
	s.refuse(r, of, e.Action, e.Target, "", "stale: "+batch.ErrState.Error())
	s.showRun(w, r, http.StatusConflict, of, run)
}

// showRun shows a run as it stands now.
func (s *Site) showRun(w http.ResponseWriter, r *http.Request, status int, of login.Session, run string) {
	v, ok := s.runs.See(run)
	if !ok { // it was the oldest one, and went
		http.Redirect(w, r, "/dead", http.StatusSeeOther)
		return
	}
	s.renderRun(w, r, status, of, v)
}
