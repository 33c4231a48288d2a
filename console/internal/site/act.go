package site

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/console/internal/audit"
	"github.com/holdfastmq/holdfast/console/internal/confirm"
	"github.com/holdfastmq/holdfast/console/internal/desk"
	"github.com/holdfastmq/holdfast/console/internal/login"
	"github.com/holdfastmq/holdfast/internal/guard"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/deadletters"
	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/workflows"
)

// The kinds of what is acted on.
const (
	kindSaga     = "saga"
	kindLetter   = "dead"
	kindTx       = "tx"
	kindConsumer = "consumer"
)

// maxReason is how many bytes a reason may have.
const maxReason = 1000

// target is what is acted on, as it stands now.
type target struct {
	id      string
	title   string
	state   string
	facts   confirm.Facts
	effects []string
	// possible says that the action can be asked for now.
	possible bool
	act      func(ctx context.Context, who desk.Who) (actions.Outcome, error)
	// letters are the dead letters that are acted on together, items what was shown of each, and
	// words say which they are.
	words string
	// second says why a second person is needed; empty: none is.
	second  string
	letters []deadletters.Detail
	items   []confirm.Item
}

// target looks at what an order is about.
func (s *Site) target(ctx context.Context, o confirm.Order) (target, error) {
	switch o.Kind {
	case kindSaga:
		d, err := s.Desk.Saga(ctx, o.Target)
		if err != nil {
			return target{}, err
		}
		if _, known := sagas.ActNamed(o.Act); !known {
			return target{}, text.Usagef("there is no such action on sagas")
		}
		c := sagas.Choice{Act: o.Act, Step: o.Step, Refuse: o.Refuse}
		return target{id: d.ID, title: sagaTitle(c), state: d.State, facts: sagaFacts(d, o.Act), effects: d.Effects(c),
			possible: slices.Contains(d.Choices, c), second: s.sagaSecond(ctx, d, o.Act),
			act: func(ctx context.Context, who desk.Who) (actions.Outcome, error) {
				return s.Desk.ActOnSaga(ctx, d.Row, c, who)
			}}, nil
	case kindLetter:
		d, err := s.Desk.Letter(ctx, o.Target)
		if err != nil {
			return target{}, err
		}
		if _, known := deadletters.ActNamed(o.Act); !known {
			return target{}, text.Usagef("there is no such action on dead letters")
		}
		return target{id: d.WorkflowID, title: text.Capital(o.Act), state: d.State, facts: letterFacts(d),
			effects: d.Effects(o.Act), possible: slices.Contains(d.Choices(), o.Act),
			second: s.letterSecond(ctx, d, o.Act),
			act: func(ctx context.Context, who desk.Who) (actions.Outcome, error) {
				return s.Desk.ActOnLetter(ctx, d.Row, o.Act, who)
			}}, nil
	case kindTx:
		return s.transactionTarget(ctx, o)
	case kindLetters:
		return s.togetherTarget(ctx, o)
	case kindConsumer:
		return s.consumerTarget(ctx, o)
	}
	return target{}, text.Usagef("actions are on a saga, a dead letter, a transaction or a consumer")
}

// addressOf is the page of a workflow.
func addressOf(id string) string {
	page := "/search?q="
	switch known, ok := workflows.ParseID(id); {
	case !ok:
	case known.Kind == workflows.KindSaga:
		page = "/saga?id="
	case known.Kind == workflows.KindDeadLetter:
		page = "/letter?id="
	case known.Kind == workflows.KindTransaction || known.Shared():
		page = "/transaction?id="
	}
	return page + url.QueryEscape(id)
}

// pageOfTarget is the page of what is acted on.
func pageOfTarget(kind, target string) string {
	switch kind {
	case kindLetters:
	case kindConsumer:
		return consumerAddress(target)
	default:
		return addressOf(target)
	}
	of, err := parseTogether(target)
	if err != nil {
		return "/dead"
	}
	return of.list()
}

// confirmView is the page that asks whether to do it.
type confirmView struct {
	Form    string
	Action  string
	Order   confirm.Order
	Of      string // what it is done to, in words
	State   string
	Effects []string
	Back    string
	Reason  string
	Wrong   string
	// Letters are some of those that are acted on together, All counts them.
	Letters []deadletters.Detail
	All     int
}

// viewOf is the page that asks whether to carry out an order on what stands so.
func viewOf(form string, o confirm.Order, t target) confirmView {
	if t.second != "" {
		t.effects = append([]string{secondEffect(t.second)}, t.effects...)
	}
	return confirmView{Form: form, Action: t.title, Order: o, Of: cmp.Or(t.words, t.id), State: t.state,
		Effects: t.effects, Back: pageOfTarget(o.Kind, t.id),
		Letters: t.letters[:min(len(t.letters), togetherShown)], All: len(t.letters)}
}

// confirmPage says what an action would do, and has the form that does it.
func (s *Site) confirmPage(w http.ResponseWriter, r *http.Request, of login.Session) {
	q := r.URL.Query()
	o := confirm.Order{Kind: q.Get("kind"), Target: q.Get("id"), Act: q.Get("act"), Step: q.Get("step"),
		Refuse: q.Get("refuse") != ""}
	if s.mayNot(w, r, of, o) {
		return
	}
	t, err := s.target(r.Context(), o)
	if err != nil {
		s.failed(w, r, of, err)
		return
	}
	if !t.possible {
		s.say(w, r, http.StatusConflict, of, message{Title: t.title + " is not possible now", Text: "It is " + t.state + ".",
			Links: []link{{"What can be done", pageOfTarget(o.Kind, t.id)}}})
		return
	}
	o.User, o.Target, o.Shown, o.Items = of.Signed(), t.id, t.facts, t.items
	id := s.forms.Show(of.Key, o)
	s.render(w, r, http.StatusOK, of, "confirm.html", t.title, viewOf(id, o, t))
}

// mayNot refuses what somebody's role may not ask for.
func (s *Site) mayNot(w http.ResponseWriter, r *http.Request, of login.Session, o confirm.Order) bool {
	if of.Role.May(roleOf(o)) {
		return false
	}
	s.refuse(r, of, o.Kind+" "+o.Act, o.Target, o.Step, "the role "+of.Role.String()+" may not do that")
	s.say(w, r, http.StatusForbidden, of, message{Title: "You may not do that",
		Text: "It is for the role " + roleOf(o).String() + "; yours is " + of.Role.String() + ". Nothing was done."})
	return true
}

// do carries out what was confirmed, once.
func (s *Site) do(w http.ResponseWriter, r *http.Request, of login.Session) {
	id := r.PostForm.Get("form")
	o, err := s.forms.Find(of.Key, id)
	if err != nil {
		s.refuse(r, of, "form /do", "", "", "stale: the form is not known any more")
		s.say(w, r, http.StatusConflict, of, message{Title: "This form is not known any more",
			Text: "It is too old, or the console was started again. Nothing was done by sending it now."})
		return
	}
	if s.mayNot(w, r, of, o) {
		return
	}
	reason := text.OneLine(strings.TrimSpace(r.PostForm.Get("reason")))
	if _, _, sent := s.forms.Result(of.Key, id); !sent && wrongReason(reason) != "" {
		s.askReason(w, r, of, id, o, reason)
		return
	}
	wait, cancel := context.WithTimeout(r.Context(), pageTime)
	defer cancel()
	o, result, err := s.forms.Do(wait, of.Key, id, func(o confirm.Order) confirm.Result {
		if o.Kind == kindLetters {
			return s.beginRun(r.Context(), of, requestOf(id), o, reason)
		}
		return s.carryOut(r.Context(), of, requestOf(id), o, reason, "")
	})
	done := doneView{Order: o, Result: result, To: pageOfTarget(o.Kind, o.Target), Action: titleOf(o)}
	switch {
	case err != nil:
		s.say(w, r, http.StatusServiceUnavailable, of, message{Title: "It is under way",
			Links: []link{{"Look again", pageOfTarget(o.Kind, o.Target)}}})
	case result.Again:
		done.Form, done.Reason = id, reason
		s.render(w, r, http.StatusServiceUnavailable, of, "done.html", "Nothing was done", done)
	case !result.Done:
		s.render(w, r, http.StatusConflict, of, "done.html", "Nothing was done", done)
	case o.Kind == kindLetters:
		http.Redirect(w, r, runAddress(requestOf(id), about{Act: o.Act, Target: o.Target}), http.StatusSeeOther)
	case result.Outcome == waitsForSecond:
		http.Redirect(w, r, runAddress(requestOf(id), about{Kind: o.Kind, Act: o.Act, Target: o.Target}),
			http.StatusSeeOther)
	default:
		http.Redirect(w, r, "/done?form="+url.QueryEscape(id), http.StatusSeeOther)
	}
}

// approvedBy is what a reason says of a second person.
func approvedBy(who string) string { return " (approved by " + who + ")" }

// isMark matches what the console itself writes into a reason: that a run asks, and who has
// approved it.
var isMark = regexp.MustCompile(`(?i)^run [0-9a-f]{16}:|\(\s*approved\s+by`)

// wrongReason says why a reason cannot be taken; empty: it can. None says what only the console
// may say.
func wrongReason(reason string) string {
	switch {
	case reason == "":
		return "Say why: it is recorded."
	case len(reason) > maxReason:
		return fmt.Sprintf("The reason has more than %d bytes.", maxReason)
	case isMark.MatchString(reason) || workflows.Marked(reason):
		return "The reason has words that the console itself adds, of who has approved, how a name is known, or of a run. " +
			"Say it without them."
	}
	return ""
}

// askReason shows the form again, which is still good.
func (s *Site) askReason(w http.ResponseWriter, r *http.Request, of login.Session, id string, o confirm.Order,
	reason string) {
	t, err := s.target(r.Context(), o)
	if err != nil {
		s.failed(w, r, of, err)
		return
	}
	v := viewOf(id, o, t)
	if v.Reason, v.Wrong = reason, wrongReason(reason); len(reason) > maxReason {
		v.Reason = text.CutText(reason, maxReason/4)
	}
	s.render(w, r, http.StatusUnprocessableEntity, of, "confirm.html", t.title, v)
}

// requestOf is what the audit calls a form: it does not let anybody send it.
func requestOf(form string) string {
	sum := sha256.Sum256([]byte(form))
	return hex.EncodeToString(sum[:8])
}

// carryOut does it, if all is as it was shown and the audit has it. Where a second person is
// needed and by is empty, it waits for one; else he is in the reason. It has its own time, and goes
// on when the browser leaves.
func (s *Site) carryOut(ctx context.Context, of login.Session, request string, o confirm.Order,
	reason, by string) confirm.Result {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), actTime)
	defer cancel()
	e := audit.Entry{Request: request, Who: of.Signed(), Role: of.Role.String(), Action: o.Kind + " " + o.Act,
		Target: o.Target,
		Step:   o.Step, Reason: reason}
	if o.Refuse {
		e.Action += " no"
	}
	t, err := s.target(ctx, o)
	if r := refusal(o, t, err); r.Bad {
		e.Outcome, e.Detail = audit.Refused, r.Detail
		s.note(ctx, e)
		return r
	}
	switch {
	case by != "":
		e.Reason += approvedBy(by)
	case t.second != "":
		return s.beginApproval(ctx, of, request, o, t, e)
	}
	e.Outcome, e.Detail = audit.Asked, ""
	if refused := s.ask(ctx, of, e); refused != nil {
		return *refused
	}
	out := act(ctx, t, desk.Who{Operator: of.Signed(), Reason: e.Reason})
	e.Outcome, e.Detail = string(out.Outcome), out.Detail
	s.note(ctx, e)
	sent := out.Outcome != actions.Unsent
	return confirm.Result{Done: sent, Again: !sent, Outcome: string(out.Outcome), Detail: out.Detail, Remedy: out.Remedy,
		Bad: out.Bad(false, true)}
}

// ask notes that something is about to be asked for; if that cannot be noted, it returns the
// result that nothing was done.
func (s *Site) ask(ctx context.Context, of login.Session, e audit.Entry) *confirm.Result {
	err := s.Audit.Add(ctx, e)
	if err == nil {
		return nil
	}
	what, remedy := text.SplitRemedy(err)
	s.Log.Error("the audit cannot be written: an action was refused", "operator", of.Signed(), "action", e.Action,
		"target", e.Target, "error", err)
	return &confirm.Result{Bad: true, Outcome: audit.Refused, Detail: "the audit cannot be written: " + what,
		Remedy: remedy}
}

// refusal says why an order is not carried out; one that is not Bad is. err is why the target
// cannot be looked at.
func refusal(o confirm.Order, t target, err error) confirm.Result {
	r := confirm.Result{Bad: true, Outcome: audit.Refused}
	if err != nil {
		r.Detail, r.Remedy = text.SplitRemedy(err)
		r.Detail = "it cannot be looked at: " + r.Detail
		return r
	}
	r.Changes = o.Shown.Changes(t.facts)
	switch {
	case len(r.Changes) > 0:
		r.Detail = "stale: it is not as it was shown: " + changesText(r.Changes)
	case !t.possible:
		r.Detail = "it is not possible now: it is " + t.state
	default:
		return confirm.Result{}
	}
	return r
}

// act asks for it, and says what came of that. An error of the desk's says that nothing was
// sent; after a panic, nobody knows.
func act(ctx context.Context, t target, who desk.Who) actions.Outcome {
	out, err := guard.Value(func() (actions.Outcome, error) { return t.act(ctx, who) })
	if err == nil {
		return out
	}
	out = actions.Outcome{Outcome: actions.Unsent}
	var panicked *holdfast.PanicError
	if errors.As(err, &panicked) || errors.Is(err, guard.ErrExited) {
		out.Outcome = actions.Unknown
	}
	out.Detail, out.Remedy = text.SplitRemedy(err)
	return out
}

// note adds to the audit what has happened already, whether anybody waits for that or not.
func (s *Site) note(ctx context.Context, e audit.Entry) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTime)
	defer cancel()
	if err := s.Audit.Add(ctx, e); err != nil {
		s.Log.Error("the audit cannot be written", "request", e.Request, "operator", e.Who, "action", e.Action, "target",
			e.Target, "outcome", e.Outcome, "detail", e.Detail, "error", err)
	}
}

func changesText(changes []confirm.Change) string {
	var all []string
	for _, c := range changes {
		all = append(all, fmt.Sprintf("%s was %s, is %s", c.Name, text.OrDash(c.Was), text.OrDash(c.Is)))
	}
	return strings.Join(all, "; ")
}

// doneView is the page that says what came of it.
type doneView struct {
	Order  confirm.Order
	Result confirm.Result
	To     string
	Action string
	// Form and Reason are of the form, if it may be sent again.
	Form, Reason string
}

func titleOf(o confirm.Order) string {
	if o.Kind == kindSaga {
		return sagaTitle(sagas.Choice{Act: o.Act, Step: o.Step, Refuse: o.Refuse})
	}
	switch o.Kind {
	case kindTx:
		return transactionTitle(o.Act)
	case kindLetters:
		return text.Capital(o.Act) + " together"
	case kindConsumer:
		return consumerTitle(o.Act, o.Step)
	}
	return text.Capital(o.Act)
}

func (s *Site) donePage(w http.ResponseWriter, r *http.Request, of login.Session) {
	o, result, ok := s.forms.Result(of.Key, r.URL.Query().Get("form"))
	if !ok {
		s.failed(w, r, of, errors.New("it is not known what came of this form"))
		return
	}
	s.render(w, r, http.StatusOK, of, "done.html", titleOf(o), doneView{Order: o, Result: result,
		To: pageOfTarget(o.Kind, o.Target), Action: titleOf(o)})
}
