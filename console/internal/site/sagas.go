package site

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/holdfastmq/holdfast/console/internal/confirm"
	"github.com/holdfastmq/holdfast/console/internal/login"
	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/saga/core"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

// listShown is how many rows a list shows.
const listShown = 50

// list is a page of rows with a filter.
type list[R any] struct {
	Filter url.Values
	States []string // that can be chosen
	Rows   []R
	Rest   string // says what is not there; empty: nothing
}

// Chosen reports whether a state is chosen.
func (l list[R]) Chosen(state string) bool { return l.Filter.Get("state") == state }

// Other is the choice of several states, by a link; empty: it is none.
func (l list[R]) Other() string {
	if chosen := l.Filter.Get("state"); strings.Contains(chosen, ",") {
		return chosen
	}
	return ""
}

// statesOf are the states that a filter's value names.
func statesOf(value string) []string {
	if value == "" {
		return nil
	}
	return strings.Split(value, ",")
}

func (s *Site) sagasPage(w http.ResponseWriter, r *http.Request, of login.Session) {
	q := r.URL.Query()
	f := sagas.Filter{Group: q.Get("group"), Name: q.Get("name"), Key: q.Get("key"), States: statesOf(q.Get("state"))}
	if err := f.Validate(); err != nil {
		s.failed(w, r, of, text.Usage(err))
		return
	}
	rows, rest, err := s.Desk.Sagas(r.Context(), f, listShown)
	if err != nil {
		s.failed(w, r, of, err)
		return
	}
	s.render(w, r, http.StatusOK, of, "sagas.html", "Sagas", list[sagas.Row]{Filter: q, States: sagas.States, Rows: rows,
		Rest: rest})
}

// sagaView is one saga's page.
type sagaView struct {
	sagas.Detail
	Lines   []sagas.Line
	Choices []choice
}

// choice is an action that can be chosen on a page.
type choice struct {
	Title, Short string
	Effects      []string
	To           string // the page that asks for confirmation
}

func (s *Site) sagaPage(w http.ResponseWriter, r *http.Request, of login.Session) {
	d, err := s.Desk.Saga(r.Context(), r.URL.Query().Get("id"))
	if err != nil {
		s.failed(w, r, of, err)
		return
	}
	v := sagaView{Detail: d, Lines: d.Lines(s.Now())}
	for _, c := range d.Choices {
		q := url.Values{"kind": {kindSaga}, "id": {d.ID}, "act": {c.Act}}
		if c.Step != "" {
			q.Set("step", c.Step)
		}
		if c.Refuse {
			q.Set("refuse", "1")
		}
		v.Choices = append(v.Choices, choice{Title: sagaTitle(c), Effects: d.Effects(c), To: "/do?" + q.Encode()})
	}
	s.render(w, r, http.StatusOK, of, "saga.html", "Saga "+d.ID, v)
}

// sagaTitle is a choice in words.
func sagaTitle(c sagas.Choice) string {
	switch {
	case c.Act == sagaflow.UpdateAnswer && c.Refuse:
		return "Answer " + c.Step + " with no"
	case c.Act == sagaflow.UpdateAnswer:
		return "Answer " + c.Step + " with yes"
	case c.Step != "":
		return text.Capital(c.Act) + " " + c.Step
	}
	return text.Capital(c.Act)
}

// sagaFacts are what an operator decides by: not how often a step that is under way was
// tried, which changes by itself.
func sagaFacts(d sagas.Detail, act string) confirm.Facts {
	facts := confirm.Facts{{Name: "state", Value: d.State}, {Name: "workflow", Value: d.WorkflowID},
		{Name: "run", Value: d.RunID}}
	if d.Status == nil {
		return append(facts, confirm.Fact{Name: "steps", Value: "unknown"})
	}
	facts = append(facts, confirm.Fact{Name: "direction", Value: string(d.Status.Core.Phase)})
	if d.Status.Core.Paused {
		facts = append(facts, confirm.Fact{Name: "paused", Value: "yes"})
	}
	d.Status.Plan.Each(func(step *core.Step, _ int) {
		if at := d.Status.Core.Steps[step.Name]; at != nil {
			facts = append(facts, confirm.Fact{Name: "step " + step.Name, Value: stepFact(*at, act)})
		}
	})
	return facts
}

// stepFact is what counts of a step for an action: for retry, whether it waits for its next
// try, which somebody else may have ended.
func stepFact(at core.StepState, act string) string {
	waits := act == sagaflow.UpdateRetry && (at.Status == core.Retrying || at.Status == core.Reundoing)
	switch at.Status {
	case core.Running, core.Retrying:
		if waits {
			return "waits for its next try"
		}
		return "under way"
	case core.Undoing, core.Reundoing:
		if waits {
			return "waits for the next try of its Undo"
		}
		return "being undone"
	case core.Failed, core.Refused, core.UndoFailed:
		return at.Status.String() + ", " + "tried " + strconv.Itoa(at.Tries+at.UndoTries) + " times" + ": " + at.Error
	}
	return at.Status.String()
}
