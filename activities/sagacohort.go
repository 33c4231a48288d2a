package activities

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"

	holdfast "github.com/holdfastmq/holdfast"
)

// The names of the steps of the workflow SagaCohort. Both take a [SagaCohort], and return
// SagaMemberEnds.
const (
	// SagaRound waits until each of the members has come through a round, or has ended. The
	// first one begins them.
	SagaRound = "SagaCohort round"
	// SagaLeave gives each of the members that has not completed the workflow Saga.
	SagaLeave = "SagaCohort leave"
)

// SagaCohort is the input of a step about sagas that share a workflow.
type SagaCohort struct {
	// Workflow and Run are of the workflow that they share, Group is its group.
	Workflow string `json:"workflow"`
	Run      string `json:"run"`
	Group    string `json:"group"`
	// Database is the identity of the database that the local steps run in.
	Database string `json:"database,omitempty"`
	// Round counts from 1; 0 in SagaLeave.
	Round   int          `json:"round,omitempty"`
	Members []SagaMember `json:"members"`
}

// SagaMember is a saga that shares a workflow.
type SagaMember struct {
	// ID is the saga's ID: the owner of its step rows, and its own workflow's ID once it has one.
	ID string `json:"id"`
	// Began is when it was started, by the clock of who did that.
	Began time.Time          `json:"began"`
	Start holdfast.SagaStart `json:"start"`
}

// How a member of a cohort of sagas stands.
const (
	// MemberRuns: it goes on here, in the next round.
	MemberRuns = "running"
	// MemberCompleted: it has completed.
	MemberCompleted = "completed"
	// MemberLeft: it goes on in a workflow Saga.
	MemberLeft = "left"
	// MemberElsewhere: its key was started before, and is driven there.
	MemberElsewhere = "elsewhere"
	// MemberRefused: its key is another saga's, with other content. Nothing was done.
	MemberRefused = "refused"
	// MemberLeaving: it does not go on here, and has to be given its workflow.
	MemberLeaving = "leaving"
)

// SagaMemberEnd says how a member stands after a step.
type SagaMemberEnd struct {
	ID    string `json:"id"`
	State string `json:"state"`
	// Why is why it does not go on here.
	Why string `json:"why,omitempty"`
	// Steps are what was done in the round; More counts those that are left out, so that
	// Temporal takes the answer.
	Steps []SagaMemberStep `json:"steps,omitempty"`
	More  int              `json:"more,omitempty"`
	// Last is all that is known of one that has completed, a core.State in JSON; missing where it
	// is too large with those of the others: the begin row has it.
	Last json.RawMessage `json:"last,omitempty"`
}

// Settled reports whether nothing is left to do with the member here.
func (e SagaMemberEnd) Settled() bool {
	switch e.State {
	case MemberCompleted, MemberLeft, MemberElsewhere, MemberRefused:
		return true
	}
	return false
}

// SagaMemberStep says how a step's try ended.
type SagaMemberStep struct {
	Step    string `json:"step"`
	Outcome string `json:"outcome"`
	Error   string `json:"error,omitempty"`
	// Millis is how long it took.
	Millis int64 `json:"ms"`
}

// SagaMemberEnds is what these steps return.
type SagaMemberEnds struct {
	Members []SagaMemberEnd `json:"members"`
}

// maxRound limits what a round tells, in bytes of JSON: Temporal refuses 2 MiB.
const maxRound = 512 << 10

// Fitting leaves out what is too much: last states, which the begin rows have, then steps.
func (e SagaMemberEnds) Fitting() SagaMemberEnds {
	room := maxRound
	for i := range e.Members {
		room -= 600 + len(e.Members[i].ID) + len(e.Members[i].Why)
	}
	for i := range e.Members {
		m := &e.Members[i]
		if room -= 2 * len(m.Last); room < 0 {
			room += 2 * len(m.Last)
			m.Last = nil
		}
	}
	for i := range e.Members {
		m := &e.Members[i]
		for n, s := range m.Steps {
			if room -= 80 + len(s.Step) + 2*len(s.Error); room < 0 {
				m.Steps, m.More = m.Steps[:n], len(m.Steps)-n
				break
			}
		}
	}
	return e
}

// SagaCohortRunner runs sagas that share a workflow. An error says that the step is to be
// run again, there or in another process.
type SagaCohortRunner interface {
	Round(ctx context.Context, in SagaCohort) (SagaMemberEnds, error)
	Leave(ctx context.Context, in SagaCohort) (SagaMemberEnds, error)
}

// SagaCohorts are the steps of the workflow SagaCohort. Its methods may be called from many
// goroutines.
type SagaCohorts struct {
	// Runner runs them; nil: this process cannot.
	Runner SagaCohortRunner
}

// Register registers the steps of a producer group's task queue.
func (a *SagaCohorts) Register(w worker.ActivityRegistry) {
	w.RegisterActivityWithOptions(a.round, activity.RegisterOptions{Name: SagaRound})
	w.RegisterActivityWithOptions(a.leave, activity.RegisterOptions{Name: SagaLeave})
}

func (a *SagaCohorts) round(ctx context.Context, in SagaCohort) (SagaMemberEnds, error) {
	if a.Runner == nil {
		return SagaMemberEnds{}, cannotRun(in)
	}
	return a.Runner.Round(ctx, in)
}

func (a *SagaCohorts) leave(ctx context.Context, in SagaCohort) (SagaMemberEnds, error) {
	if a.Runner == nil {
		return SagaMemberEnds{}, cannotRun(in)
	}
	defer heartbeat(ctx)()
	return a.Runner.Leave(ctx, in)
}

func cannotRun(in SagaCohort) error {
	return &holdfast.UnavailableError{Part: "PostgreSQL", Err: errors.New("this process has no sagas, or no database"),
		Remedy: "start a process of group " + in.Group + " that has its sagas and its database"}
}
