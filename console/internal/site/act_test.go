package site

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/console/internal/audit"
	"github.com/holdfastmq/holdfast/console/internal/confirm"
	"github.com/holdfastmq/holdfast/console/internal/login"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

func TestAConfirmedAction(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.as("operator")
	page := b.get("/saga?id=" + sagaID)
	require.Contains(t, page.body, "1. Undo pay.")
	require.Contains(t, page.body, "2. Undo create.")
	page = b.get("/do?" + retrySaga)
	require.Contains(t, page.body, "pay is tried again at once, with all its tries anew.")
	require.Empty(t, h.desk.acts(), "a page that is looked at does nothing")

	form := b.confirm(retrySaga)
	form.Set("operator", "somebody else")
	form.Set("reason", "the card\nworks \u202eagain")
	got := b.post("/do", form)
	require.Equal(t, http.StatusSeeOther, got.status)
	require.Equal(t, []string{"retry  " + sagaID + " by operator (authenticated by file): the card works again"}, h.desk.acts())
	done := b.get(got.to)
	require.Contains(t, done.body, "Retry: retried, it is running.")
	require.Contains(t, done.body, "/saga?id="+url.QueryEscape(sagaID))

	entries := h.entries()
	require.Len(t, entries, 2)
	require.Equal(t, []string{audit.Asked, "retried"}, []string{entries[0].Outcome, entries[1].Outcome})
	require.Equal(t, entries[0].Request, entries[1].Request)
	require.NotContains(t, form.Get("form"), entries[0].Request)
	require.Equal(t, []string{"operator (authenticated by file)", "operator", "saga retry", sagaID, "the card works again"},
		[]string{entries[0].Who, entries[0].Role, entries[0].Action, entries[0].Target, entries[0].Reason})
}

func TestAFormThatIsSentAgainActsOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.as("operator")
	form := b.confirm(retrySaga)
	began, finish := make(chan struct{}), make(chan struct{})
	var once sync.Once
	h.desk.onAct = func() {
		once.Do(func() { close(began) })
		<-finish
	}
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() { require.Equal(t, http.StatusSeeOther, b.post("/do", form).status) })
	}
	<-began
	close(finish)
	both.Wait()
	h.desk.change(func(d *sagas.Detail) { d.State = core.StateRunning })
	got := b.post("/do", form) // a reload, or the button after the browser went back
	require.Equal(t, http.StatusSeeOther, got.status)
	require.Contains(t, b.get(got.to).body, "Retry: retried")
	require.Len(t, h.desk.acts(), 1)
	require.Len(t, h.entries(), 2)
}

func TestAStalePageIsRefused(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.as("operator")
	form := b.confirm(retrySaga)
	h.desk.change(func(d *sagas.Detail) {
		d.State = core.StateCompensating
		d.Status.Core.Phase = core.Backwards
	})
	got := b.post("/do", form)
	require.Equal(t, http.StatusConflict, got.status)
	require.Contains(t, got.body, "Nothing was done")
	require.Contains(t, got.body, "<td>state</td><td>parked</td><td>compensating</td>")
	require.Empty(t, h.desk.acts())
	entries := h.entries()
	require.Len(t, entries, 1)
	require.Equal(t, audit.Refused, entries[0].Outcome)
	require.Contains(t, entries[0].Detail, "stale: it is not as it was shown: state was parked, is compensating")
	require.Equal(t, http.StatusConflict, b.post("/do", form).status, "and stays so")
	require.Len(t, h.entries(), 1)
}

// TestOfTwoOperatorsOneWins: both saw the same, and both ask.
func TestOfTwoOperatorsOneWins(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.desk.onAct = func() {
		h.desk.change(func(d *sagas.Detail) { d.State, d.Status.Core.Steps["pay"].Status = core.StateRunning, core.Running })
	}
	operator, admin := h.as("operator"), h.as("admin")
	first, second := operator.confirm(retrySaga), admin.confirm(retrySaga)
	var status [2]int
	var both sync.WaitGroup
	both.Go(func() { status[0] = operator.post("/do", first).status })
	both.Go(func() { status[1] = admin.post("/do", second).status })
	both.Wait()
	require.ElementsMatch(t, []int{http.StatusSeeOther, http.StatusConflict}, status[:])
	require.Len(t, h.desk.acts(), 1)
}

func TestAFormIsOfOneSession(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	form := h.as("operator").confirm(retrySaga)
	b := h.as("operator")
	form.Set("token", fields(t, b.get("/").body, "/logout").Get("token"))
	got := b.post("/do", form)
	require.Equal(t, http.StatusConflict, got.status)
	require.Contains(t, got.body, "not known any more")
	for _, id := range []string{"", "guess"} {
		form.Set("form", id)
		require.Equal(t, http.StatusConflict, b.post("/do", form).status)
	}
	require.Empty(t, h.desk.acts())
	require.Contains(t, h.entries()[0].Detail, "stale")
	require.Equal(t, http.StatusBadGateway, b.get("/done?form=guess").status)
}

func TestAReasonIsRequired(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.as("operator")
	form := b.confirm(retrySaga)
	for _, reason := range []string{"", " \n\t", "\u202e", strings.Repeat("x", maxReason+1)} {
		form.Set("reason", reason)
		got := b.post("/do", form)
		require.Equal(t, http.StatusUnprocessableEntity, got.status, reason)
		require.Equal(t, form.Get("form"), fields(t, got.body, "/do").Get("form"), "the form is still good")
	}
	require.Empty(t, h.desk.acts())
	form.Set("reason", "as agreed")
	require.Equal(t, http.StatusSeeOther, b.post("/do", form).status)
}

// TestWhatCannotBeAuditedIsNotDone: but what was done is not told as if it was not.
func TestWhatCannotBeAuditedIsNotDone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.as("operator")
	form := b.confirm(retrySaga)
	h.audit.breaks(errAway)
	got := b.post("/do", form)
	require.Equal(t, http.StatusConflict, got.status)
	require.Contains(t, got.body, "the audit cannot be written: PostgreSQL is away")
	require.Empty(t, h.desk.acts())
	h.audit.breaks(nil)
	form = b.confirm(retrySaga)
	h.desk.onAct = func() { h.audit.breaks(errAway) }
	got = b.post("/do", form)
	require.Equal(t, http.StatusSeeOther, got.status)
	require.Len(t, h.desk.acts(), 1)
	require.Equal(t, audit.Asked, h.entries()[0].Outcome)
}

func TestWhatIsNotPossibleIsNotOffered(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.as("operator")
	for query, want := range map[string]int{
		"kind=saga&id=" + sagaID + "&act=resume":           http.StatusConflict,
		"kind=saga&id=" + sagaID + "&act=skip&step=create": http.StatusConflict,
		"kind=saga&id=" + sagaID + "&act=<script>":         http.StatusBadRequest,
		"kind=saga&id=" + sagaID + "&act=":                 http.StatusBadRequest,
		"kind=saga&id=nobody&act=retry":                    http.StatusNotFound,
		"kind=dead&id=" + letterID + "&act=restart":        http.StatusConflict,
		"kind=dead&id=" + letterID + "&act=explode":        http.StatusBadRequest,
		"kind=tx&id=1&act=commit":                          http.StatusConflict,
		"kind=tx&id=1&act=explode":                         http.StatusBadRequest,
		"kind=nothing&id=1&act=commit":                     http.StatusBadRequest,
		"":                                                 http.StatusBadRequest,
	} {
		got := b.get("/do?" + query)
		require.Equal(t, want, got.status, query)
		require.NotContains(t, got.body, "<script>")
	}
}

func TestLettersAreActedOn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.as("operator")
	for _, act := range []string{"redeliver", "compensate", "discard"} {
		got := b.post("/do", b.confirm("kind=dead&id="+letterID+"&act="+act))
		require.Equal(t, http.StatusSeeOther, got.status)
	}
	require.Equal(t, []string{"redeliver " + letterID + " by operator (authenticated by file): as agreed", "compensate " + letterID +
		" by operator (authenticated by file): as agreed", "discard " + letterID + " by operator (authenticated by file): as agreed"}, h.desk.acts())
	form := b.confirm("kind=dead&id=" + letterID + "&act=redeliver")
	h.desk.letter.State = string(workflows.Discarded)
	require.Equal(t, http.StatusConflict, b.post("/do", form).status)
	require.Len(t, h.desk.acts(), 3)
}

// TestFactsOfWhatIsUnderWay: what changes by itself does not keep an operator from acting.
func TestFactsOfWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	d := parkedSaga(t)
	at := d.Status.Core.Steps["pay"]
	at.Status, at.Tries = core.Running, 1
	shown, forRetry := sagaFacts(d, workflows.UpdateCompensate), sagaFacts(d, sagaflow.UpdateRetry)
	at.Status, at.Tries, at.Error = core.Retrying, 7, "another"
	require.Empty(t, shown.Changes(sagaFacts(d, workflows.UpdateCompensate)))
	require.Equal(t, []confirm.Change{{Name: "step pay", Was: "under way", Is: "waits for its next try"}},
		forRetry.Changes(sagaFacts(d, sagaflow.UpdateRetry)))
	at.Status = core.Failed
	require.Equal(t, []confirm.Change{{Name: "step pay", Was: "under way", Is: "failed, tried 7 times: another"}},
		shown.Changes(sagaFacts(d, workflows.UpdateCompensate)))
	at.Tries++
	require.Len(t, shown.Changes(sagaFacts(d, workflows.UpdateCompensate)), 1)
}

// TestOfTwoWhoRetryTheSecondIsTold: the step waited for its next try, and does no longer.
func TestOfTwoWhoRetryTheSecondIsTold(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	set := func(status core.Status) {
		h.desk.change(func(d *sagas.Detail) { d.State, d.Status.Core.Steps["pay"].Status = core.StateRunning, status })
	}
	set(core.Retrying)
	first, second := h.as("operator"), h.as("admin")
	form, other := first.confirm(retrySaga), second.confirm(retrySaga)
	require.Equal(t, http.StatusSeeOther, first.post("/do", form).status)
	set(core.Running)
	got := second.post("/do", other)
	require.Equal(t, http.StatusConflict, got.status)
	require.Contains(t, got.body, "<td>step pay</td><td>waits for its next try</td><td>under way</td>")
	require.Len(t, h.desk.acts(), 1)
}

// TestWhatIsNotPossibleAnyMoreIsNotDone: although nothing that was shown has changed.
func TestWhatIsNotPossibleAnyMoreIsNotDone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.as("operator")
	form := b.confirm(retrySaga)
	h.desk.change(func(d *sagas.Detail) { d.Choices = nil })
	got := b.post("/do", form)
	require.Equal(t, http.StatusConflict, got.status)
	require.Contains(t, got.body, "it is not possible now: it is parked")
	require.Empty(t, h.desk.acts())
}

func TestAFormIsForOneRun(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.as("operator")
	saga, letter := b.confirm(retrySaga), b.confirm("kind=dead&id="+letterID+"&act=redeliver")
	h.desk.change(func(d *sagas.Detail) { d.RunID = "another" })
	h.desk.letter.RunID = "another"
	for _, form := range []url.Values{saga, letter} {
		got := b.post("/do", form)
		require.Equal(t, http.StatusConflict, got.status)
		require.Contains(t, got.body, "<td>run</td>")
	}
	require.Empty(t, h.desk.acts())
}

// TestWhatWasNotSentCanBeSentAgain: by the same form, and the audit does not call it unknown.
func TestWhatWasNotSentCanBeSentAgain(t *testing.T) {
	t.Parallel()
	for name, acting := range map[string]func(context.Context) (actions.Outcome, error){
		"Temporal is away": func(context.Context) (actions.Outcome, error) {
			return actions.Outcome{}, text.WithRemedy(errors.New("Temporal is away"), "see that it runs")
		},
		"no worker of group orders runs": func(context.Context) (actions.Outcome, error) {
			return actions.Outcome{Outcome: actions.Unsent, Detail: "no worker of group orders runs"}, nil
		},
	} {
		h := newHouse(t)
		b := h.as("operator")
		form := b.confirm(retrySaga)
		h.desk.acting = acting
		got := b.post("/do", form)
		require.Equal(t, http.StatusServiceUnavailable, got.status)
		require.Contains(t, got.body, "Nothing was done: "+name)
		again := fields(t, got.body, "/do")
		require.Equal(t, form, again)
		h.desk.acting = nil
		require.Equal(t, http.StatusSeeOther, b.post("/do", again).status)
		require.Len(t, h.desk.acts(), 1)
		var outcomes []string
		for _, e := range h.entries() {
			outcomes = append(outcomes, e.Outcome)
		}
		require.Equal(t, []string{audit.Asked, string(actions.Unsent), audit.Asked, string(actions.Retried)}, outcomes)
	}
}

// TestAnActionThatPanics: nobody knows what came of it, and the audit says so.
func TestAnActionThatPanics(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.as("operator")
	h.desk.acting = func(context.Context) (actions.Outcome, error) { panic("oops") }
	got := b.post("/do", b.confirm(retrySaga))
	require.Equal(t, http.StatusSeeOther, got.status)
	require.Contains(t, b.get(got.to).body, "Retry: unknown, panic: oops")
	require.Equal(t, string(actions.Unknown), h.entries()[1].Outcome)
}

// TestTheAuditHasWhatTookTooLong: the action's time is over, and not the audit's.
func TestTheAuditHasWhatTookTooLong(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*fakeDesk){
		"no answer in time": func(d *fakeDesk) {
			d.acting = func(ctx context.Context) (actions.Outcome, error) {
				<-ctx.Done()
				return actions.Outcome{Outcome: actions.Unknown, Detail: "no answer in time"}, nil
			}
		},
		"it cannot be looked at: Temporal is away": func(d *fakeDesk) {
			d.looked = func(ctx context.Context) {
				<-ctx.Done()
				d.err = errors.New("Temporal is away")
			}
		},
		"stale: it is not as it was shown: workflow was , is " + sagaID: func(d *fakeDesk) {
			d.looked = func(ctx context.Context) { <-ctx.Done() }
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := build(t)
			change(h.desk)
			o := confirm.Order{Kind: kindSaga, Target: sagaID, Act: sagaflow.UpdateRetry, Shown: sagaFacts(h.desk.saga, "")}
			if strings.HasPrefix(want, "stale") {
				o.Shown[1].Value = ""
				want = strings.Replace(want, "was ,", "was -,", 1)
			}
			gone, cancel := context.WithCancel(t.Context())
			cancel()
			h.site.carryOut(gone, login.Session{User: "ann", Role: login.Operator}, "1", o, "as agreed", "")
			all := h.entries()
			require.NotEmpty(t, all)
			require.Contains(t, all[len(all)-1].Detail, want)
		})
	}
}

func TestPagesOfIDs(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{sagaID: "/saga?id=", "shop:" + sagaID: "/saga?id=", letterID: "/letter?id=",
		"tx/orders/1": "/transaction?id=", "saga/": "/search?q=", ":saga/orders/piece/1": "/search?q=", "A-1": "/search?q=",
		"saga/orders/piece": "/search?q="} {
		require.Equal(t, want+url.QueryEscape(id), addressOf(id))
	}
}

func TestGetDoesNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.as("admin")
	form := b.confirm(retrySaga)
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete} {
		b.send(method, "/do?"+form.Encode(), nil, nil)
		b.send(method, "/logout?"+url.Values{"token": form["token"]}.Encode(), nil, nil)
	}
	require.Empty(t, h.desk.acts())
	require.Equal(t, http.StatusOK, b.get("/").status)
}
