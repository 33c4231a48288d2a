package sagacohort

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
)

// company is a process whose sagas do what the test says.
type company struct {
	round func(in activities.SagaCohort) (activities.SagaMemberEnds, error)
	leave func(in activities.SagaCohort) (activities.SagaMemberEnds, error)
}

func (c company) Round(_ context.Context, in activities.SagaCohort) (activities.SagaMemberEnds, error) {
	return c.round(in)
}

func (c company) Leave(_ context.Context, in activities.SagaCohort) (activities.SagaMemberEnds, error) {
	return c.leave(in)
}

func (c company) run(t *testing.T, in Input) (result Result, err error) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	env.RegisterWorkflow(SagaCohort)
	(&activities.SagaCohorts{Runner: c}).Register(env)
	env.ExecuteWorkflow(SagaCohort, in)
	if err = env.GetWorkflowError(); err == nil {
		require.NoError(t, env.GetWorkflowResult(&result))
	}
	return result, err
}

func three() Input {
	in := Input{Group: "orders"}
	for _, key := range []string{"a", "b", "c"} {
		in.Members = append(in.Members, member("pay", key, `{}`))
	}
	return in
}

func member(name, key, state string) activities.SagaMember {
	return activities.SagaMember{ID: "saga/orders/" + name + "/" + key, Start: holdfast.SagaStart{Name: name, Version: 1, Key: key,
		State: json.RawMessage(state)}}
}

// names are the keys of members.
func names(in activities.SagaCohort) (keys string) {
	for _, m := range in.Members {
		keys += m.Start.Key
	}
	return keys
}

// ends says that each member of a step stands like this, by its key.
func ends(in activities.SagaCohort, states map[string]string) (out activities.SagaMemberEnds) {
	for _, m := range in.Members {
		out.Members = append(out.Members, activities.SagaMemberEnd{ID: m.ID, State: states[m.Start.Key],
			Steps: []activities.SagaMemberStep{{Step: "x", Outcome: "done"}}})
	}
	return out
}

func states(r Result) (all []string) {
	for _, m := range r.Members {
		all = append(all, m.State)
	}
	return all
}

// A round is for those that run, and those that do not go on leave at the end, however often that
// has to be tried.
func TestRounds(t *testing.T) {
	const runs, completed, leaving, left = activities.MemberRuns, activities.MemberCompleted, activities.MemberLeaving,
		activities.MemberLeft
	var asked []string
	tries := 0
	c := company{
		round: func(in activities.SagaCohort) (activities.SagaMemberEnds, error) {
			asked = append(asked, fmt.Sprint(in.Round, names(in)))
			if in.Round == 1 {
				return ends(in, map[string]string{"a": runs, "b": leaving, "c": runs}), nil
			}
			return ends(in, map[string]string{"a": completed, "c": leaving}), nil
		},
		leave: func(in activities.SagaCohort) (activities.SagaMemberEnds, error) {
			asked = append(asked, "leave "+names(in))
			if tries++; tries == 1 {
				return activities.SagaMemberEnds{}, errors.New("no database")
			}
			return ends(in, map[string]string{"b": left, "c": completed}), nil
		},
	}
	result, err := c.run(t, three())
	require.NoError(t, err)
	require.Equal(t, []string{"1abc", "2ac", "leave bc", "leave bc"}, asked)
	require.Equal(t, []string{completed, left, completed}, states(result))
	require.Empty(t, result.Members[0].Steps, "the round has them")
}

// Where a round cannot be run, all that have not ended leave.
func TestRoundThatFails(t *testing.T) {
	c := company{
		round: func(activities.SagaCohort) (activities.SagaMemberEnds, error) {
			return activities.SagaMemberEnds{}, holdfast.ErrNotRunning
		},
		leave: func(in activities.SagaCohort) (activities.SagaMemberEnds, error) {
			return ends(in, map[string]string{"a": activities.MemberLeft, "b": activities.MemberLeft, "c": activities.MemberLeft}), nil
		},
	}
	result, err := c.run(t, three())
	require.NoError(t, err)
	require.Equal(t, []string{activities.MemberLeft, activities.MemberLeft, activities.MemberLeft}, states(result))
}

func TestInvalidInput(t *testing.T) {
	for name, in := range map[string]Input{"no group": {Members: three().Members}, "no members": {Group: "orders"},
		"no name": {Group: "orders", Members: []activities.SagaMember{{ID: "x"}}},
		"no ID":   {Group: "orders", Members: []activities.SagaMember{{Start: three().Members[0].Start}}}} {
		_, err := company{}.run(t, in)
		require.ErrorContains(t, err, "holdfast: ", name)
	}
}

// What Temporal takes bounds a cohort: the states, and the keys by which its members are found.
func TestLoad(t *testing.T) {
	fits := func(m func(i int) activities.SagaMember) (n int) {
		var load Load
		for ; n < 1000; n++ {
			if load = load.With(m(n)); !load.Fits() {
				break
			}
		}
		return n
	}
	require.Equal(t, 1, fits(func(int) activities.SagaMember { return member("pay", "a", strings.Repeat("x", 1<<20)) }))
	require.Equal(t, 5, fits(func(int) activities.SagaMember { return member("pay", "a", strings.Repeat("x", 100<<10)) }))
	many := fits(func(i int) activities.SagaMember { return member("pay", fmt.Sprintf("%036d", i), "{}") })
	require.Equal(t, 51, many)
	var all []activities.SagaMember
	for i := range many {
		all = append(all, member("pay", fmt.Sprintf("%036d", i), "{}"))
	}
	encoded, err := json.Marshal(keysOf(all))
	require.NoError(t, err)
	require.LessOrEqual(t, len(encoded), maxKeys)
	require.Equal(t, []string{"1", "2", "pay", "ship"}, keysOf([]activities.SagaMember{member("pay", "2", ""), member("ship", "1", ""),
		member("pay", "1", "")}))
	o := StartOptions("sagas/orders/x", Input{Group: "orders", Prefix: "hf", Members: all}, time.Second)
	require.Equal(t, "hf.orders", o.TaskQueue)
	require.Equal(t, "sagas: 51 of pay", o.StaticSummary)
}

// What a round tells is no more than Temporal takes.
func TestFitting(t *testing.T) {
	var told activities.SagaMemberEnds
	for i := range 48 {
		m := activities.SagaMemberEnd{ID: fmt.Sprint(i), State: activities.MemberCompleted,
			Last: json.RawMessage(`"` + strings.Repeat("x", 40<<10) + `"`)}
		for range 100 {
			m.Steps = append(m.Steps, activities.SagaMemberStep{Step: "step", Outcome: "failed", Error: strings.Repeat("e", 500)})
		}
		told.Members = append(told.Members, m)
	}
	fitting := told.Fitting()
	encoded, err := json.Marshal(fitting)
	require.NoError(t, err)
	require.Less(t, len(encoded), 1<<20)
	require.NotEmpty(t, fitting.Members[0].Last)
	require.Empty(t, fitting.Members[47].Last)
	require.Equal(t, 100, fitting.Members[47].More+len(fitting.Members[47].Steps))
}

// However many rounds there are, the result is no more than Temporal takes.
func TestResultIsBounded(t *testing.T) {
	last := json.RawMessage(`"` + strings.Repeat("x", 300<<10) + `"`)
	c := company{round: func(in activities.SagaCohort) (out activities.SagaMemberEnds, _ error) {
		out = ends(in, map[string]string{"a": activities.MemberRuns, "b": activities.MemberRuns, "c": activities.MemberRuns})
		out.Members[0].State, out.Members[0].Last = activities.MemberCompleted, last
		return out, nil
	}}
	result, err := c.run(t, three())
	require.NoError(t, err)
	require.NotEmpty(t, result.Members[0].Last)
	require.Empty(t, result.Members[1].Last)
	require.Equal(t, activities.MemberCompleted, result.Members[2].State)
}
