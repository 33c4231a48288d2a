package core_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga/core"
)

// TestScripts runs the scenarios of testdata. Each begins with "== title" and a
// plan, a step a line, the steps of a group indented. Then come events and
// questions, one a line, and behind → what the machine wants done or answers.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, scenario := range strings.Split("\n"+string(text), "\n== ")[1:] {
			title, body, _ := strings.Cut(scenario, "\n")
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txt")+"/"+title, func(t *testing.T) {
				(&script{}).run(t, strings.Split(body, "\n"))
			})
		}
	}
}

type script struct {
	plan core.Plan
	m    *core.Machine
	now  time.Time
}

func (s *script) run(t *testing.T, lines []string) {
	s.now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var plan []string
	for _, line := range lines {
		switch {
		case strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#"):
		case s.m == nil && !strings.Contains(line, "→"):
			plan = append(plan, line)
		default:
			if s.m == nil {
				var err error
				s.plan, err = core.Plan{Name: "test", Steps: parse(t, &plan, 0)}.Complete()
				require.NoError(t, err)
				s.m = core.New(&s.plan, json.RawMessage(`{}`))
			}
			do, want, found := strings.Cut(line, "→")
			require.True(t, found, "no → in %q", line)
			require.Equal(t, strings.TrimSpace(want), s.line(t, strings.Fields(do)), "%s", line)
		}
	}
	require.NotNil(t, s.m, "no events")
}

// parse reads the steps that stand deep spaces in.
func parse(t *testing.T, lines *[]string, deep int) (out []core.Step) {
	for len(*lines) > 0 {
		line := (*lines)[0]
		if indent := len(line) - len(strings.TrimLeft(line, " ")); indent < deep {
			return out
		}
		*lines = (*lines)[1:]
		words := strings.Fields(line)
		s := core.Step{Kind: core.Kind(words[0]), Undo: true}
		words = words[1:]
		switch s.Kind {
		case "case":
			s.Kind, s.Case, s.Name = core.Sequence, words[0], "case-"+words[0]
		case "otherwise":
			s.Kind, s.Name, words = core.Sequence, "otherwise", []string{""}
		default:
			s.Name = words[0]
		}
		switch s.Kind {
		case core.Message:
			s.Topic, s.UndoTopic = s.Name+".do", s.Name+".undo"
		case core.Activity:
			s.Type, s.UndoType = "Do", "Undo"
		case core.Saga:
			s.Saga = &core.Plan{Name: "inner", Steps: []core.Step{{Name: "x", Kind: core.Wait}}}
		case core.Wait, core.Sequence, core.Parallel, core.Choice:
			s.Undo = false
		}
		for _, w := range words[1:] {
			switch w {
			case "no-undo", "without":
				s.Undo, s.NoUndo = false, w == "no-undo"
			case "pivot":
				s.Pivot = true
			case "conditional":
				s.Conditional = true
			case "receives":
				s.Receives = true
			case "forward", "park", "backward":
				s.OnFailure = core.OnFailure(w)
			default:
				_, err := fmt.Sscanf(w, "attempts=%d", &s.Retry.Attempts)
				require.NoError(t, err, line)
			}
		}
		if s.Group() {
			s.Steps = parse(t, lines, deep+2)
		}
		out = append(out, s)
	}
	return out
}

// line does what a line says and returns the answer.
func (s *script) line(t *testing.T, words []string) string {
	word, step, rest := words[0], "", ""
	if len(words) > 1 {
		step, rest = words[1], strings.Join(words[2:], " ")
	}
	operator := func(kind core.EventKind) string {
		return s.event(core.Event{Kind: kind, Step: step, Operator: "ann", Reason: "because"})
	}
	did := func(kind core.OutcomeKind, class holdfast.ErrorClass) string {
		return s.event(core.Event{Kind: core.DoEnded, Step: step, Outcome: core.Outcome{Kind: kind, Class: class, Error: rest}})
	}
	undid := func(kind core.OutcomeKind, class holdfast.ErrorClass) string {
		return s.event(core.Event{Kind: core.UndoEnded, Step: step, Outcome: core.Outcome{Kind: kind, Class: class, Error: rest}})
	}
	switch word {
	case "begin":
		return s.effects(s.m.Begin(s.now))
	case "done":
		return s.event(core.Event{Kind: core.DoEnded, Step: step, Outcome: core.Outcome{Kind: core.OutcomeDone, Patch: json.RawMessage(rest)}})
	case "chose":
		return s.event(core.Event{Kind: core.DoEnded, Step: step, Outcome: core.Outcome{Kind: core.OutcomeDone, Case: rest}})
	case "skipped":
		return did(core.OutcomeSkipped, "")
	case "refused":
		return did(core.OutcomeRefused, "")
	case "failed":
		return did(core.OutcomeFailed, holdfast.ClassError)
	case "failed-for-good":
		return did(core.OutcomeFailed, holdfast.ClassPermanent)
	case "failed-with-nothing": // nothing was done, provably
		return s.event(core.Event{Kind: core.DoEnded, Step: step, Outcome: core.Outcome{Kind: core.OutcomeFailed, Class: holdfast.ClassPermanent, Error: rest, Nothing: true}})
	case "timed-out":
		return did(core.OutcomeFailed, holdfast.ClassTimeout)
	case "blocked":
		return did(core.OutcomeBlocked, "")
	case "stopped":
		return did(core.OutcomeStopped, "")
	case "undone":
		return s.event(core.Event{Kind: core.UndoEnded, Step: step, Outcome: core.Outcome{Kind: core.OutcomeDone, Patch: json.RawMessage(rest)}})
	case "undo-blocked":
		return undid(core.OutcomeBlocked, "")
	case "undo-failed":
		return undid(core.OutcomeFailed, holdfast.ClassError)
	case "undo-failed-for-good":
		return undid(core.OutcomeFailed, holdfast.ClassPermanent)
	case "undo-refused":
		return undid(core.OutcomeRefused, "")
	case "undo-stopped":
		return undid(core.OutcomeStopped, "")
	case "slept":
		if next := s.m.Step(step).Next; next.After(s.now) {
			s.now = next
		}
		return s.event(core.Event{Kind: core.Slept, Step: step})
	case "later":
		d, err := time.ParseDuration(step)
		require.NoError(t, err)
		s.now = s.now.Add(d)
		return "nothing"
	case "no-worker":
		return s.event(core.Event{Kind: core.Stranded, Step: step})
	case "worker-found":
		return s.event(core.Event{Kind: core.Stranded, Step: step, Found: true})
	case "pause":
		return operator(core.Pause)
	case "resume":
		return operator(core.Continue)
	case "retry":
		return operator(core.RetryNow)
	case "skip":
		return operator(core.Skip)
	case "compensate":
		return operator(core.Undo)
	case "restart":
		s.m = again(t, &s.plan, s.m)
		return s.effects(s.m.Restart(s.now))
	case "unsure":
		s.m.Unsure(step)
		return "nothing"
	case "assume":
		s.m.Assume()
		return "nothing"
	}
	return s.answer(t, word, step)
}

// answer is what is known.
func (s *script) answer(t *testing.T, word, step string) string {
	at := s.m.Step(step)
	switch word {
	case "standing?":
		return s.m.Standing()
	case "status?":
		status := string(at.Status)
		if status == "" {
			status = "pending"
		}
		if at.Error != "" {
			status += ": " + at.Error
		}
		return status
	case "tries?":
		return fmt.Sprintf("%d, %d undo", at.Tries, at.UndoTries)
	case "data?":
		return string(s.m.State().Data)
	case "given?":
		return string(s.m.Given(step))
	case "undo-given?":
		return string(s.m.UndoData(step))
	case "kept?":
		return fmt.Sprint(len(s.m.State().Past), " states, ", s.m.State().Kept(), " bytes")
	case "witnesses?":
		return strings.Join(s.m.Witnesses(step), " ")
	case "stack?":
		return strings.Join(s.m.State().Stack, " ")
	case "last?":
		return fmt.Sprint(s.m.Last(step))
	case "undoable?":
		undo, without := s.m.Undoable()
		return strings.TrimSpace(strings.Join(undo, " ") + "; without: " + strings.Join(without, " "))
	case "troubled?":
		name, at := s.m.Troubled()
		return strings.TrimSuffix(name+": "+at.Error, " ")
	case "cause?":
		c := s.m.State().Cause
		require.NotNil(t, c)
		return strings.TrimSpace(fmt.Sprintf("%s: %s %s%s", c.Step, c.Reason, c.Operator, map[bool]string{true: "refused"}[c.Refused]))
	}
	require.Fail(t, "unknown word", word)
	return ""
}

func (s *script) event(e core.Event) string {
	e.At = s.now
	effects, err := s.m.Apply(e)
	if err != nil {
		return "no: " + err.Error()
	}
	return s.effects(effects)
}

func (s *script) effects(effects []core.Effect) string {
	var out []string
	for _, e := range effects {
		text := string(e.Kind) + " " + e.Step.Name
		switch {
		case e.Kind == core.EffectSleep:
			text += " " + e.For.String()
		case e.Try > 1:
			text += fmt.Sprint(" try ", e.Try)
		}
		if e.Again {
			text += " again"
		}
		out = append(out, text)
	}
	if s.m.Ended() && len(effects) == 0 {
		return s.m.Standing()
	}
	if len(out) == 0 {
		return "nothing"
	}
	return strings.Join(out, ", ")
}

// again is the machine after its state went through JSON.
func again(t require.TestingT, plan *core.Plan, m *core.Machine) *core.Machine {
	text, err := json.Marshal(m.State())
	require.NoError(t, err)
	var state core.State
	require.NoError(t, json.Unmarshal(text, &state))
	return core.Resume(plan, state)
}
