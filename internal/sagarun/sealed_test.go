package sagarun

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/seal"
	"github.com/holdfastmq/holdfast/keyring"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

// A state that is encrypted for a saga is opened for its sub-sagas, at whatever depth, and
// theirs for it; and for nobody else's.
func TestRelatedSagas(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"holdfast", "shop"} {
		for _, key := range []string{"o-1", "a/b", "x.y", "undo", "ü", "a b", "1%2"} {
			id := workflows.SagaID(prefix, "orders", "pay", key)
			sub := workflows.WithoutGroup(id) + ".step"
			subID := workflows.SagaID(prefix, "orders", "walk", sub)
			second := workflows.WithoutGroup(id) + ".step.2"
			deep := workflows.WithoutGroup(subID) + ".inner"
			deepID := workflows.SagaID(prefix, "orders", "tie", deep)
			related := func(id, key, owner string) bool {
				return (&program{ref: activities.SagaRef{ID: id, Key: key}}).related(owner)
			}
			require.True(t, related(subID, sub, id), key)
			require.True(t, related(workflows.SagaID(prefix, "orders", "walk", second), second, id), key)
			require.True(t, related(deepID, deep, id), key)
			require.True(t, related(deepID, deep, subID), key)
			require.True(t, related(id, key, subID), key)
			require.True(t, related(id, key, deepID), key)

			other := workflows.SagaID(prefix, "orders", "pay", key+"0")
			require.False(t, related(subID, sub, other), key)
			require.False(t, related(id, key, other), key)
			require.False(t, related(other, key+"0", id), key)
			require.False(t, related(other, key+"0", subID), key)
			require.False(t, related(id, key, "nonsense"), key)
		}
	}
	before := workflows.SagaID("", "orders", "pay", "1")
	p := &program{ref: activities.SagaRef{ID: before, Key: "1"}}
	require.True(t, p.related(workflows.SagaID("shop", "orders", "pay", "1")), "its ID of before the prefix was part of it")
	for _, own := range []string{"nightly", "jobs/nightly", "saga/nightly"} { // IDs of a form of one's own
		key := workflows.WithoutGroup(own) + ".step"
		p := &program{ref: activities.SagaRef{ID: workflows.SagaID("", "orders", "walk", key), Key: key}}
		require.True(t, p.related(own), own)
		deep := workflows.WithoutGroup(p.ref.ID) + ".inner"
		p = &program{ref: activities.SagaRef{ID: workflows.SagaID("", "orders", "tie", deep), Key: deep}}
		require.True(t, p.related(own), own)
		require.False(t, p.related("jobs/weekly"), own)
	}
}

// A reply that cannot be read, since its key is not here, is no fault of the step; one that
// is not genuine is the end of it. Nothing is done with a state that cannot be read.
func TestRepliesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	type state struct{ Seat string }
	def := saga.Saga[state]{Name: "pay", Steps: []saga.Step[state]{saga.Message("seat", "seat.take", "seat.leave").
		Receive(saga.Into(func(s *state, seat string) error { s.Seat = seat; return nil }))}}
	c, err := def.Compile()
	require.NoError(t, err)
	defs := &Definitions{}
	require.NoError(t, defs.Add(c))
	mine, theirs := ringBox(t), ringBox(t)
	id := workflows.SagaID("holdfast", "orders", "pay", "1")
	r := &Runner{Definitions: defs, Box: mine}
	step := activities.SagaStep{Saga: activities.SagaRef{ID: id, Key: "1", Name: "pay", Version: 1}, Step: c.Plan.Steps[0]}
	step.Data, err = mine.State(t.Context(), id, []byte(`{"Seat":""}`))
	require.NoError(t, err)
	receive := func(b *seal.Box, of string) core.Outcome {
		step.Result, err = b.Value(t.Context(), seal.Result, id, of, []byte(`"4a"`))
		require.NoError(t, err)
		return r.Receive(t.Context(), step).Outcome
	}
	require.Equal(t, core.OutcomeDone, receive(mine, "seat").Kind)
	o := receive(theirs, "seat")
	require.Equal(t, core.OutcomeNoWorker, o.Kind, "another process is asked")
	require.True(t, r.Receive(t.Context(), step).NoKey)
	require.Contains(t, o.Error, "HOLDFAST_KEYRING")
	o = receive(mine, "another")
	require.Equal(t, core.OutcomeFailed, o.Kind)
	require.False(t, o.Excused)
	require.Equal(t, holdfast.ClassPermanent, o.Class)

	step.Data, err = theirs.State(t.Context(), id, []byte(`{"Seat":""}`))
	require.NoError(t, err)
	for _, run := range []func(context.Context, activities.SagaStep) activities.SagaResult{r.Do, r.Undo, r.Prepare, r.Receive} {
		out := run(t.Context(), step)
		require.Equal(t, core.OutcomeNoWorker, out.Outcome.Kind)
		require.True(t, out.NoKey)
	}
	step.Data, err = mine.State(t.Context(), workflows.SagaID("holdfast", "orders", "pay", "2"), []byte(`{"Seat":""}`))
	require.NoError(t, err)
	for _, run := range []func(context.Context, activities.SagaStep) activities.SagaResult{r.Do, r.Undo, r.Prepare, r.Receive} {
		out := run(t.Context(), step).Outcome
		require.Equal(t, core.OutcomeFailed, out.Kind)
		require.Equal(t, holdfast.ClassPermanent, out.Class)
		require.True(t, out.Nothing)
		require.Contains(t, out.Error, holdfast.ErrTampered.Error())
	}
}

// An operator's answer, and a sub-saga's last state, that this process cannot read are for
// another one; also where the state that they are taken into cannot be sealed.
func TestResultsWithoutTheirKey(t *testing.T) {
	t.Parallel()
	type inner struct{ Seat string }
	type state struct{ Seat string }
	sub := saga.Saga[inner]{Name: "sub", Steps: []saga.Step[inner]{saga.Message("seat", "seat.take", "seat.leave")}}
	def := saga.Saga[state]{Name: "pay", Steps: []saga.Step[state]{
		saga.Wait("ask", time.Hour).Receive(saga.Into(func(s *state, seat string) error { s.Seat = seat; return nil })),
		saga.Sub("sub", sub).Send(saga.From(func(s state) inner { return inner(s) })).
			Receive(saga.Into(func(s *state, in inner) error { s.Seat = in.Seat; return nil }))}}
	c, err := def.Compile()
	require.NoError(t, err)
	defs := &Definitions{}
	require.NoError(t, defs.Add(c))
	mine, theirs := ringBox(t), ringBox(t)
	ctx := t.Context()
	id := workflows.SagaID("holdfast", "orders", "pay", "1")
	r := &Runner{Definitions: defs, Box: mine}
	data, err := mine.State(ctx, id, []byte(`{"Seat":""}`))
	require.NoError(t, err)
	for i, seal := range []func(b *seal.Box) ([]byte, error){
		func(b *seal.Box) ([]byte, error) { return b.Value(ctx, seal.Answer, id, "ask", []byte(`"4a"`)) },
		func(b *seal.Box) ([]byte, error) { return b.State(ctx, id, []byte(`{"Seat":"4a"}`)) },
	} {
		step := activities.SagaStep{Saga: activities.SagaRef{ID: id, Key: "1", Name: "pay", Version: 1}, Step: c.Plan.Steps[i],
			Data: data}
		step.Result, err = seal(mine)
		require.NoError(t, err)
		require.Equal(t, core.OutcomeDone, r.Receive(ctx, step).Outcome.Kind)
		step.Result, err = seal(theirs)
		require.NoError(t, err)
		out := r.Receive(ctx, step)
		require.Equal(t, core.OutcomeNoWorker, out.Outcome.Kind, out.Outcome.Error)
		require.True(t, out.NoKey)
	}
}

func ringBox(t *testing.T) *seal.Box {
	t.Helper()
	path := filepath.Join(t.TempDir(), "k")
	_, err := keyring.New(path)
	require.NoError(t, err)
	k, err := keyring.Open(path)
	require.NoError(t, err)
	return seal.New(k, holdfast.EncryptionOn)
}

// The encrypted body of one call is not taken for that of another: of another saga, of another
// step, or of an Undo.
func TestSealedCallOfAnother(t *testing.T) {
	t.Parallel()
	box := ringBox(t)
	mine := broker.SagaCall{Saga: "saga/g/pay/1", Step: "seat", Group: "g"}
	m, err := box.Message(t.Context(), holdfast.Message{ID: mine.MessageID(), Topic: "seat.take", Body: []byte("{}")})
	require.NoError(t, err)
	p := &Participant{Name: "p", Topic: "seat.take", UndoTopic: "seat.take", Box: box}
	require.NoError(t, p.check(broker.Delivery{Message: m, Saga: &mine}))
	for _, change := range []func(*broker.SagaCall){func(c *broker.SagaCall) { c.Saga += "0" },
		func(c *broker.SagaCall) { c.Step = "other" }, func(c *broker.SagaCall) { c.Undo = true }} {
		other := mine
		change(&other)
		d := broker.Delivery{Message: m, Saga: &other}
		require.ErrorIs(t, p.check(d), holdfast.ErrMalformed)
		require.True(t, holdfast.IsPermanent(p.Handle(t.Context(), d)))
		d.Message.ContentType = "application/json"
		require.NoError(t, p.check(d), "of one in clear nothing is known")
	}
}

// A saga that was begun in clear is not turned back since encryption was switched on: what
// cannot be sealed stays in clear, its sub-saga's state, too.
func TestSagaBegunInClear(t *testing.T) {
	t.Parallel()
	type state struct{ Seats []string }
	sub := saga.Saga[[]string]{Name: "sub", Steps: []saga.Step[[]string]{saga.Wait("go", 0)}}
	c, err := saga.Saga[state]{Name: "pay", Steps: []saga.Step[state]{
		saga.Sub("sub", sub).Send(saga.From(func(s state) []string { return s.Seats }))}}.Compile()
	require.NoError(t, err)
	box, ctx := ringBox(t), t.Context()
	id := workflows.SagaID("holdfast", "orders", "pay", "1")
	p := &program{c, box, activities.SagaRef{ID: id, Key: "1"}}

	clear := []byte(`{"Seats":["4a"]}`)
	in, err := p.Input(ctx, c.Plan.Steps[0], clear)
	require.NoError(t, err)
	require.JSONEq(t, `["4a"]`, string(in))
	sealed, err := box.State(ctx, id, clear)
	require.NoError(t, err)
	_, err = p.Input(ctx, c.Plan.Steps[0], sealed)
	require.True(t, holdfast.IsPermanent(err), "what was sealed is not put in clear")

	large, err := json.Marshal(map[string]string{"x": strings.Repeat("x", core.MaxData-100)})
	require.NoError(t, err)
	for _, was := range [][]byte{clear, sealed} {
		o, err := p.open(ctx, was)
		require.NoError(t, err)
		patch, err := p.patch(ctx, was, o, large)
		if o.Began {
			require.True(t, holdfast.IsPermanent(err))
			continue
		}
		require.NoError(t, err)
		require.Equal(t, string(large), string(patch))
	}
}
