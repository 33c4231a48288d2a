package site

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/console/internal/batch"
	"github.com/holdfastmq/holdfast/console/internal/desk"
	"github.com/holdfastmq/holdfast/console/internal/login"
	"github.com/holdfastmq/holdfast/internal/guard"
	"github.com/holdfastmq/holdfast/internal/operator/deadletters"
	"github.com/holdfastmq/holdfast/internal/operator/doctor"
	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// runbookAt is where the runbook is.
const runbookAt = "https://github.com/holdfastmq/holdfast/blob/main/docs/runbook/"

// homeShown is how many of a kind the first page shows.
const homeShown = 20

// seen is what was seen of the whole installation.
type seen struct {
	Diagnosis doctor.Diagnosis
	// Unseen says what could not be looked at.
	Unseen []string
	// blind are the looks that failed.
	blind []string

	Sagas      []sagas.Row
	MoreSagas  string // what is not there; empty: nothing
	Letters    desk.LetterCount
	FewLetters bool // not all groups are here
	Parked     []transactions.Row
	MoreParked string
}

// The looks of which the whole is made.
const (
	lookDoctor       = "what doctor looks at"
	lookSagas        = "sagas that are parked"
	lookLetters      = "dead letters that are parked"
	lookTransactions = "transactions that are parked"
)

// look looks at the whole installation, at everything at once.
func (s *Site) look(ctx context.Context) (all seen) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	see := func(what string, look func() error) {
		wg.Go(func() {
			if err := guard.Call(look); err != nil {
				s.logPanic(what, err)
				mu.Lock()
				defer mu.Unlock()
				why, _ := text.SplitRemedy(err)
				all.Unseen, all.blind = append(all.Unseen, what+": "+why), append(all.blind, what)
			}
		})
	}
	see(lookDoctor, func() error {
		found, unset := s.Desk.Examine(ctx)
		mu.Lock()
		defer mu.Unlock()
		all.Diagnosis = found
		all.Unseen = append(all.Unseen, unset...)
		return nil
	})
	see(lookSagas, func() (err error) {
		all.Sagas, all.MoreSagas, err = s.Desk.Sagas(ctx, sagas.Filter{States: []string{core.StateParked,
			core.StateCompensationFailed}}, homeShown)
		return err
	})
	see(lookLetters, func() (err error) {
		all.Letters, err = s.Desk.LetterGroups(ctx, "error",
			deadletters.Filter{States: []string{string(workflows.Parked)}})
		return err
	})
	see(lookTransactions, func() (err error) {
		all.Parked, all.MoreParked, err = s.Desk.Transactions(ctx,
			transactions.Filter{States: []string{string(workflows.Parked)},
				Reasons: true}, homeShown)
		return err
	})
	wg.Wait()
	if groups := all.Letters.Groups; len(groups) > homeShown {
		all.Letters.Groups, all.FewLetters = groups[:homeShown], true
	}
	for _, f := range all.Diagnosis.Findings {
		if f.Unseen() {
			all.Unseen = append(all.Unseen, f.Part+", "+f.Check+": "+f.Detail)
		}
	}
	slices.Sort(all.Unseen)
	return all
}

// logPanic logs a panic with where it was.
func (s *Site) logPanic(what string, err error) {
	var panicked *holdfast.PanicError
	if errors.As(err, &panicked) {
		s.Log.Error("a look panicked", "what", what, "error", err, "stack", string(panicked.Stack))
	}
}

// home is the first page.
type home struct {
	seen
	At     time.Time
	Kinds  []kind
	Good   int  // checks that found nothing
	Nobody bool // nothing needs a person
	Still  bool // it does not look again by itself
	// Approvals are what waits for a second person.
	Approvals []knownRun
}

// homeAgain is the first page as it is looked at again by itself.
const homeAgain = "/?auto=1"

func (h home) refresh() string {
	if h.Still {
		return ""
	}
	return homeAgain
}

// kind are findings about the same.
type kind struct {
	Name     string
	Level    text.Level
	Findings []finding
}

type finding struct {
	doctor.Finding
	Page string // of the runbook
	To   string // the page of the console
}

// ageFor is how old what a page shows at first may be. One that does not change by itself, or
// that is looked at again, shows what is so now.
func (s *Site) ageFor(r *http.Request) time.Duration {
	again := r.Context().Value(shotKey{}) != nil || r.URL.Query().Get("auto") != ""
	if !s.Ahead || again || stays(r) {
		return 0
	}
	return aheadShown
}

// goAhead looks at everything, unless somebody has every ago.
func (s *Site) goAhead(every time.Duration) {
	if s.Ahead {
		s.home.Peek(every)
	}
}

// changed says that somebody has done something: what was seen before is no longer shown.
func (s *Site) changed() {
	s.home.Forget()
	s.consumers.Forget()
}

func (s *Site) homePage(w http.ResponseWriter, r *http.Request, of login.Session) {
	all, at, err := s.home.Recent(r.Context(), s.ageFor(r))
	if err != nil {
		s.logPanic("home", err)
		s.say(w, r, http.StatusServiceUnavailable, of, message{Title: "Nobody has answered in time",
			Text:  "The look at the installation is not over, or has failed. This page looks again by itself.",
			Links: []link{{"Try again", "/"}}, Refresh: homeAgain})
		return
	}
	h := home{seen: all, At: at, Still: r.URL.Query().Get("still") != ""}
	h.Kinds, h.Good = sorted(all.Diagnosis.Findings)
	for _, v := range s.runs.All() {
		if a, _ := v.About.(about); a.Second && v.State == batch.Asks {
			h.Approvals = append(h.Approvals, knownRunOf(v))
		}
	}
	h.Nobody = len(h.Approvals)+len(h.Kinds)+len(h.Sagas)+len(h.Letters.Groups)+len(h.Parked) == 0
	s.render(w, r, http.StatusOK, of, "home.html", "What needs a person", h)
}

// sorted puts findings by kind, the worst first; good counts those that are none.
func sorted(all []doctor.Finding) (kinds []kind, good int) {
	for _, f := range all {
		switch {
		case f.Level == text.LevelOK:
			good++
			continue
		case f.Unseen():
			continue
		}
		name := kindOf(f)
		i := slices.IndexFunc(kinds, func(k kind) bool { return k.Name == name })
		if i < 0 {
			i = len(kinds)
			kinds = append(kinds, kind{Name: name, Level: text.LevelWarning})
		}
		if f.Level == text.LevelProblem {
			kinds[i].Level = text.LevelProblem
		}
		found := finding{Finding: f, To: pageOf(f)}
		if page := f.Runbook(); page != "" {
			found.Page = runbookAt + page + ".md"
		}
		kinds[i].Findings = append(kinds[i].Findings, found)
	}
	slices.SortStableFunc(kinds, func(x, y kind) int { return cmp.Compare(badness(x.Level), badness(y.Level)) })
	for _, k := range kinds {
		slices.SortStableFunc(k.Findings, func(x, y finding) int { return cmp.Compare(badness(x.Level), badness(y.Level)) })
	}
	return kinds, good
}

func badness(l text.Level) int {
	if l == text.LevelProblem {
		return 0
	}
	return 1
}

// Kinds of findings that have a page.
const kindConsumers, kindHalves = "Consumers", "Half queues and their Keepers"

// pauseOf begins the check of a consumer that is paused by hand.
const pauseOf = "pause of "

// kindOf is what a finding is about.
func kindOf(f doctor.Finding) string {
	switch {
	case f.Part == "Waiting":
		return "What waits for something that is not there"
	case strings.Contains(f.Check, "saga"):
		return "Sagas"
	case strings.Contains(f.Check, "dead letter"):
		return "Dead letters"
	case f.Check == "parked" || strings.HasPrefix(f.Check, "lost"):
		return "Transactions"
	case strings.HasPrefix(f.Check, "breaker ") || strings.HasPrefix(f.Check, "consumer ") ||
		strings.HasPrefix(f.Check, pauseOf) || f.Check == "pauses" || strings.HasPrefix(f.Check, "pauses of "):
		return kindConsumers
	case strings.HasPrefix(f.Check, "keeper ") || strings.HasPrefix(f.Check, "group ") || f.Check == "half queues":
		return kindHalves
	case f.Check == "processes" || strings.HasPrefix(f.Check, "process "):
		return "Processes"
	}
	return f.Part
}

// pageOf is the page of the console that lists what a finding is about.
func pageOf(f doctor.Finding) string {
	if name, ok := strings.CutPrefix(f.Check, pauseOf); ok {
		return consumerAddress(name) // where it is resumed
	}
	if k := kindOf(f); k == kindConsumers || k == kindHalves {
		return "/consumers"
	}
	if f.Part != "Temporal" {
		return ""
	}
	lost := strings.Join(server.LostStates, ",")
	return map[string]string{"sagas": "/sagas?state=" + core.StateParked,
		"sagas not undone": "/sagas?state=" + core.StateCompensationFailed,
		"waiting sagas":    "/sagas?state=" + core.StateWaiting,
		"saga versions":    "/sagas?state=" + core.StateNoWorker, "lost sagas": "/sagas?state=" + lost,
		"undone sagas": "/sagas?state=" + core.StateCompensated, "dead letters": "/dead",
		"lost dead letters": "/dead/list?state=" + lost}[f.Check]
}
