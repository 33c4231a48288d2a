package lanes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// TestPendingScenarios runs the scripts in testdata/pending. A line is an event, and,
// behind the arrow, what it brings about: what the caller is told as its resolution, the
// messages in brackets, the conditions that its error has, and the workflow that the
// receipt names. Nothing: "-".
func TestPendingScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/pending/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			var s pendingScript
			for i, line := range strings.Split(string(text), "\n") {
				line, _, _ = strings.Cut(line, "#")
				if strings.TrimSpace(line) == "" {
					continue
				}
				event, want, ok := strings.Cut(line, "→")
				require.Truef(t, ok, "line %d has no arrow", i+1)
				got, err := s.run(strings.Fields(event))
				require.NoErrorf(t, err, "line %d: %s", i+1, line)
				require.Equalf(t, strings.TrimSpace(want), got, "line %d: %s", i+1, line)
			}
		})
	}
}

type pendingScript struct {
	core    pendingCore
	receipt holdfast.Receipt
}

// conditions are the errors that scripts name.
var conditions = []struct {
	name string
	err  error
}{
	{"rolled-back", holdfast.ErrRolledBack}, {"undecided", holdfast.ErrUndecided},
	{"pending", holdfast.ErrDeliveryPending}, {"duplicate", holdfast.ErrDuplicate},
	{"not-stored", holdfast.ErrNotStored}, {"invalid", holdfast.ErrInvalid}, {"too-large", holdfast.ErrTooLarge},
	{"unroutable", holdfast.ErrUnroutable}, {"queue-full", holdfast.ErrQueueFull}, {"late", context.DeadlineExceeded},
	{"ending", holdfast.ErrNotRunning}, {"mine", errors.New("mine")},
	{"resolved", holdfast.ErrAlreadyResolved}, {"no-outcome", holdfast.ErrNoOutcome}, {"not-found", holdfast.ErrNotFound},
	{"away", &holdfast.UnavailableError{Part: "RabbitMQ"}},
}

func errorNamed(name string) (error, bool) {
	for _, c := range conditions {
		if c.name == name {
			return c.err, true
		}
	}
	return nil, false
}

func named(err error) (names []string) {
	for _, c := range conditions {
		if errors.Is(err, c.err) {
			names = append(names, c.name)
		}
	}
	return names
}

func resolutionNamed(name string) holdfast.Resolution {
	return map[string]holdfast.Resolution{"commit": holdfast.Commit, "rollback": holdfast.Rollback}[name]
}

func messagesNamed(ids []string) (ms []holdfast.Message) {
	for _, id := range ids {
		ms = append(ms, holdfast.Message{ID: id})
	}
	return ms
}

func (s *pendingScript) run(words []string) (string, error) {
	c, rest := &s.core, words[1:]
	var err error // the last word, if it is one
	if len(rest) > 0 {
		err, _ = errorNamed(rest[len(rest)-1])
	}
	switch words[0] {
	case "send", "start", "begin": // with a chosen ID, in a cohort, in the Express lane
		form := map[string]activities.Form{"send": activities.Inline, "start": activities.Registered,
			"begin": activities.Split}[words[0]]
		s.core = pendingCore{id: "1", form: form, fresh: !slices.Contains(rest, "chosen"),
			express: slices.Contains(rest, "express")}
		s.receipt = holdfast.Receipt{Group: "orders", WorkflowID: workflows.WorkflowID("", "orders", "1"), RunID: "a"}
		if slices.Contains(rest, "cohort") {
			s.receipt.WorkflowID = "cohort/orders/7"
		}
		return "-", nil
	case "wants": // the half message within its time?
		return fmt.Sprint(c.waitsForHalf()), nil
	case "stored":
		return s.effects(c.onStored()), nil
	case "not-stored":
		return s.effects(c.onNotStored(err)), nil
	case "turn":
		run, ask := c.onTurn()
		switch {
		case run:
			return "run", nil
		case ask:
			return "ask", nil
		}
		return "wait", nil
	case "local":
		res := barrier.Result{Err: err}
		switch rest[0] {
		case "commit":
			res = barrier.Result{Resolution: holdfast.Commit, Messages: messagesNamed(rest[1:])}
		case "other":
			res = barrier.Result{Resolution: holdfast.Commit, Other: true}
		case "repeated":
			res = barrier.Result{Resolution: holdfast.Commit, Repeated: true}
		case "rollback":
			res.Resolution = holdfast.Rollback
		}
		return s.effects(c.onLocal(res, messagesNamed([]string{"half"}))), nil
	case "published":
		if err != nil {
			rest = rest[:len(rest)-1]
		}
		return s.effects(c.onPublished(messagesNamed(rest), err)), nil
	case "remote":
		return s.effects(c.onRemote()), nil
	case "seen": // in a workflow, and its run
		c.onSeen(s.workflow(rest[0]), rest[1])
		return "-", nil
	case "result":
		m := transactions.MemberStatus{ID: "1", State: workflows.State(rest[0]), Reason: strings.Join(rest[1:], " ")}
		return s.effects(c.onResult(m)), nil
	case "result-committed": // where that stands
		m := transactions.MemberStatus{ID: "1", State: workflows.State(rest[0]), Resolution: holdfast.Commit}
		return s.effects(c.onResult(m)), nil
	case "no-result":
		return s.effects(c.onNoResult(s.receipt.WorkflowID, err)), nil
	case "row": // of a split transaction that is said to be committed
		return s.effects(c.onOutcome(barrier.Outcome{Resolution: resolutionNamed(rest[0])}, err)), nil
	case "decided": // by the outcome row that it is rolled back
		return s.effects(c.onDecided(err)), nil
	case "confirmed": // and whether that holds
		c.onConfirmed(resolutionNamed(rest[0]), messagesNamed([]string{"half"}), slices.Contains(rest, "holds"))
		return "-", nil
	case "settled":
		return s.effects(c.onSettled()), nil
	case "answer": // of the workflow, to a confirmation
		m := transactions.MemberStatus{ID: "1", State: workflows.State(rest[1]), Resolution: resolutionNamed(rest[2])}
		return s.effects(c.onAnswer(m, resolutionNamed(rest[0]))), nil
	case "no-answer":
		if rest[0] == "refused" {
			err = temporal.NewApplicationError("it was", "AlreadyResolved")
		}
		return s.told(c.onNoAnswer(err, s.receipt)), nil
	case "not-started":
		told, over := c.onNotStarted(err)
		if !over {
			return "goes on", nil
		}
		return "told " + strings.Join(named(told), " "), nil
	case "leave":
		return s.told(c.onLeave(err, s.receipt)), nil
	case "release":
		c.onRelease()
		return "-", nil
	}
	return "", fmt.Errorf("unknown event %s", words[0])
}

func (s *pendingScript) workflow(name string) string {
	if name == "own" {
		return workflows.WorkflowID("", "orders", "1")
	}
	return "cohort/orders/7"
}

func (s *pendingScript) effects(e pendingEffects) string {
	var out []string
	if e.stored {
		out = append(out, "stored")
	}
	if e.watch {
		out = append(out, "watch")
	}
	if e.answer {
		out = append(out, s.told(s.core.told(s.receipt)))
	}
	if len(out) == 0 {
		return "-"
	}
	return strings.Join(out, ", ")
}

func (s *pendingScript) told(r holdfast.Receipt, err error) string {
	out := "told " + r.Resolution.String()
	if len(r.Messages) > 0 {
		var ids []string
		for _, m := range r.Messages {
			ids = append(ids, m.ID)
		}
		out += " " + fmt.Sprint(ids)
	}
	for _, name := range named(err) {
		out += " " + name
	}
	where := "own"
	if r.WorkflowID != s.workflow("own") {
		where = "cohort"
	}
	return out + " in " + where + "/" + r.RunID
}
