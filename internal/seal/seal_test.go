package seal_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/blame"
	"github.com/holdfastmq/holdfast/internal/seal"
	"github.com/holdfastmq/holdfast/keyring"
	"github.com/holdfastmq/holdfast/saga/core"
)

func box(t *testing.T, mode holdfast.Encryption) *seal.Box {
	t.Helper()
	return seal.New(ring(t), mode)
}

func ring(t *testing.T) *keyring.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "k")
	_, err := keyring.New(path)
	require.NoError(t, err)
	k, err := keyring.Open(path)
	require.NoError(t, err)
	return k
}

func message() holdfast.Message {
	return holdfast.Message{ID: "m-1", Topic: "order.placed", Key: "k", ContentType: "text/plain", Headers: map[string]string{"a": "b"},
		Body: []byte("secret")}
}

func TestMessage(t *testing.T) {
	t.Parallel()
	b, ctx := box(t, holdfast.EncryptionOn), t.Context()
	for _, m := range []holdfast.Message{message(), {ID: "m", Topic: "t"}, {ID: "m", Topic: "t", Body: make([]byte, 1<<20)}} {
		sealed, err := b.Message(ctx, m)
		require.NoError(t, err)
		require.True(t, seal.IsSealed(sealed))
		require.NotEmpty(t, seal.KeyOf(sealed))
		require.NoError(t, sealed.Validate())
		require.Less(t, len(sealed.Body), len(m.Body)+len(m.ContentType)+64)
		opened, err := b.OpenOwn(ctx, sealed)
		require.NoError(t, err)
		require.True(t, opened.Equal(m), opened)

		text, err := json.Marshal(sealed)
		require.NoError(t, err)
		require.NotContains(t, string(text), "secret")
		var read holdfast.Message
		require.NoError(t, json.Unmarshal(text, &read))
		require.True(t, read.Equal(sealed))
	}
	_, err := b.Message(ctx, holdfast.Message{ContentType: seal.SealedType})
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	_, err = (*seal.Box)(nil).Message(ctx, holdfast.Message{ContentType: seal.SealedType + ";x"})
	require.ErrorIs(t, err, holdfast.ErrInvalid, "also without a keyring")
	same, err := (*seal.Box)(nil).Message(ctx, message())
	require.NoError(t, err)
	require.True(t, same.Equal(message()))
	require.False(t, seal.IsSealed(holdfast.Message{ContentType: seal.SealedType + "x"}))
}

// Of each thing that can be wrong the error says what to do, and whose fault it is.
func TestMessagesThatCannotBeOpened(t *testing.T) {
	t.Parallel()
	b, ctx := box(t, holdfast.EncryptionOn), t.Context()
	sealed, err := b.Message(ctx, message())
	require.NoError(t, err)
	for _, without := range []*seal.Box{nil, seal.New(nil, holdfast.EncryptionOn), box(t, holdfast.EncryptionOn)} {
		_, err = without.OpenOwn(ctx, sealed)
		require.ErrorIs(t, err, holdfast.ErrNoKey)
		require.True(t, seal.Missing(err))
		require.ErrorContains(t, err, "HOLDFAST_KEYRING")
		require.ErrorContains(t, err, "m-1")
		require.Equal(t, blame.Surroundings, blame.Of(err))
	}
	for name, change := range map[string]func(m *holdfast.Message){
		"another ID":    func(m *holdfast.Message) { m.ID = "m-2" },
		"another topic": func(m *holdfast.Message) { m.Topic = "order.paid" },
		"cut":           func(m *holdfast.Message) { m.Body = m.Body[:20] },
		"empty":         func(m *holdfast.Message) { m.Body = nil },
	} {
		other := sealed.Clone()
		change(&other)
		_, err = b.OpenOwn(ctx, other)
		require.ErrorIs(t, err, holdfast.ErrTampered, name)
		require.True(t, holdfast.IsPermanent(err), name)
		require.Equal(t, blame.Message, blame.Of(err), name)
	}
	for _, kind := range []string{"", "; v=1", "; v=; key=1", "; v=x; key=1", "; key=1", "; v=1; key=\"a b\"", "; v=1; key=", "; =", " ;;"} {
		other := sealed.Clone()
		other.ContentType = seal.SealedType + kind
		_, err = b.OpenOwn(ctx, other)
		require.ErrorIs(t, err, holdfast.ErrMalformed, kind)
		require.True(t, holdfast.IsPermanent(err), kind)
	}
	_, err = box(t, holdfast.EncryptionRequired).OpenOwn(ctx, message())
	require.ErrorContains(t, err, "HOLDFAST_ENCRYPTION")
	require.True(t, holdfast.IsPermanent(err))
}

// What a local transaction does not change stays as it was, to the byte.
func TestChange(t *testing.T) {
	t.Parallel()
	b, ctx := box(t, holdfast.EncryptionOn), t.Context()
	one, two := message(), message()
	two.ID = "m-2"
	ms := []holdfast.Message{one, two}
	require.NoError(t, b.Messages(ctx, ms))
	was := holdfast.CloneMessages(ms)
	refs := []*holdfast.Message{&ms[0], &ms[1]}
	require.NoError(t, b.Change(ctx, refs, func(given []*holdfast.Message) error {
		require.Equal(t, "secret", string(given[0].Body))
		given[1].Body, given[1].Key = []byte("completed"), "k-2"
		return nil
	}))
	require.True(t, ms[0].Equal(was[0]))
	require.Equal(t, "k-2", ms[1].Key)
	opened, err := b.OpenAll(ctx, ms)
	require.NoError(t, err)
	require.Equal(t, "completed text/plain", string(opened[1].Body)+" "+opened[1].ContentType)
	require.NoError(t, b.Change(ctx, refs, func(given []*holdfast.Message) error {
		given[0].Topic, given[1] = "order.paid", nil
		return nil
	}))
	require.Equal(t, "order.paid", ms[0].Topic, "who checks what may change finds it")
	require.Nil(t, refs[1])
	require.ErrorContains(t, b.Change(ctx, refs[:1], func([]*holdfast.Message) error { return errors.New("oops") }), "not genuine")
}

// Patches are applied to states by who has no key, and give what they would give in clear.
func TestStateAndPatches(t *testing.T) {
	t.Parallel()
	b, ctx := box(t, holdfast.EncryptionOn), t.Context()
	const id = "saga/g/pay/1"
	states := []string{`{"a":"secret","n":12.50,"l":[1,"secret"],"in":{"x":true,"deep":{"y":"secret"}},"none":null}`,
		`{"a":"<secret>","n":12.50,"l":[],"in":{"x":false,"deep":{}},"none":3}`, `{"a":"x","in":{"deep":{"y":"z"}}}`, `{}`}
	first, err := b.State(ctx, id, json.RawMessage(states[0]))
	require.NoError(t, err)
	again, err := b.State(ctx, id, json.RawMessage(` {"none":null, "in":{"deep":{"y":"secret"},"x":true},"l":[1,"secret"],"n":12.50,"a":"secret"}`))
	require.NoError(t, err)
	header, ok := core.SealedOf(first)
	require.True(t, ok)
	other, _ := core.SealedOf(again)
	require.Equal(t, header, other, "the same content")
	require.NotEqual(t, string(first), string(again))
	now := first
	for i, want := range states {
		o, err := b.OpenState(ctx, id, nil, now)
		require.NoError(t, err)
		require.JSONEq(t, want, string(o.Data))
		require.NotContains(t, string(now), "secret>")
		require.NotContains(t, string(now), `"secret"`)
		if i+1 == len(states) {
			break
		}
		plain, err := core.Diff(o.Data, json.RawMessage(states[i+1]))
		require.NoError(t, err)
		patch, err := b.Patch(ctx, o.Owner, o.Began, plain)
		require.NoError(t, err)
		now, err = core.Merge(now, patch) // without a key
		require.NoError(t, err)
	}
	kept, _ := core.SealedOf(now)
	require.Equal(t, header, kept)
	empty, err := b.Patch(ctx, id, true, nil)
	require.NoError(t, err)
	require.Empty(t, empty)
	for _, odd := range []string{`"text"`, `[1]`, `null`, `12`, `{"holdfast-sealed":1}`} {
		_, err = b.State(ctx, id, json.RawMessage(odd))
		require.ErrorIs(t, err, holdfast.ErrInvalid, odd)
	}
}

func TestStatesThatCannotBeOpened(t *testing.T) {
	t.Parallel()
	b, ctx := box(t, holdfast.EncryptionOn), t.Context()
	const id = "saga/g/pay/1"
	state, err := b.State(ctx, id, json.RawMessage(`{"a":1,"b":2,"in":{"a":3}}`))
	require.NoError(t, err)
	_, err = b.OpenState(ctx, "saga/g/pay/2", nil, state)
	require.ErrorIs(t, err, holdfast.ErrTampered)
	_, err = b.OpenState(ctx, "saga/g/pay/2", func(owner string) bool { return owner == id }, state)
	require.NoError(t, err, "it is a step of that one")
	renamed := strings.ReplaceAll(string(state), id, "saga/g/pay/2")
	_, err = b.OpenState(ctx, "saga/g/pay/2", nil, json.RawMessage(renamed))
	require.ErrorIs(t, err, holdfast.ErrTampered, "what it says of itself is not what it is bound to")

	var fields map[string]any
	require.NoError(t, json.Unmarshal(state, &fields))
	for _, swap := range [][2]string{{"a", "b"}} {
		fields[swap[0]], fields[swap[1]] = fields[swap[1]], fields[swap[0]]
	}
	swapped, err := json.Marshal(fields)
	require.NoError(t, err)
	_, err = b.OpenState(ctx, id, nil, swapped)
	require.ErrorIs(t, err, holdfast.ErrTampered, "a value is bound to its field")
	fields["a"] = "holdfast-sealed:1:zzz"
	cut, err := json.Marshal(fields)
	require.NoError(t, err)
	_, err = b.OpenState(ctx, id, nil, cut)
	require.Error(t, err)
	_, err = (*seal.Box)(nil).OpenState(ctx, id, nil, state)
	require.ErrorIs(t, err, holdfast.ErrNoKey)
	clear := json.RawMessage(`{"a":1}`)
	o, err := b.OpenState(ctx, id, nil, clear)
	require.NoError(t, err)
	require.Equal(t, clear, o.Data)
	_, err = box(t, holdfast.EncryptionRequired).OpenState(ctx, id, nil, clear)
	require.ErrorContains(t, err, "HOLDFAST_ENCRYPTION")
	require.True(t, seal.Missing(err), "which is no reason to undo what was begun in clear")
}

func TestValues(t *testing.T) {
	t.Parallel()
	b, ctx := box(t, holdfast.EncryptionOn), t.Context()
	v, err := b.Value(ctx, seal.Result, "s", "step", json.RawMessage(`{"card":"secret"}`))
	require.NoError(t, err)
	require.NotContains(t, string(v), "secret")
	got, err := b.OpenValue(ctx, seal.Result, "s", "step", v)
	require.NoError(t, err)
	require.JSONEq(t, `{"card":"secret"}`, string(got))
	for _, of := range [][3]string{{seal.Answer, "s", "step"}, {seal.Result, "t", "step"}, {seal.Result, "s", "other"}} {
		_, err = b.OpenValue(ctx, of[0], of[1], of[2], v)
		require.ErrorIs(t, err, holdfast.ErrTampered)
		forged := strings.NewReplacer(`"owner":"s"`, `"owner":"`+of[1]+`"`, `"step":"step"`, `"step":"`+of[2]+`"`,
			`"kind":"result"`, `"kind":"`+of[0]+`"`).Replace(string(v))
		_, err = b.OpenValue(ctx, of[0], of[1], of[2], json.RawMessage(forged))
		require.ErrorIs(t, err, holdfast.ErrTampered)
	}
	for _, plain := range []string{`{"a":1}`, `"text"`, `null`} {
		got, err = b.OpenValue(ctx, seal.Result, "s", "step", json.RawMessage(plain))
		require.NoError(t, err)
		require.Equal(t, plain, string(got))
		_, err = box(t, holdfast.EncryptionRequired).OpenValue(ctx, seal.Result, "s", "step", json.RawMessage(plain))
		require.Error(t, err)
	}
}

func TestActivity(t *testing.T) {
	t.Parallel()
	b, ctx := box(t, holdfast.EncryptionOn), t.Context()
	in := core.ActivityInput{Saga: "s", Step: "book", Data: json.RawMessage(`"secret"`)}
	sealed := in
	var err error
	sealed.Data, err = b.Value(ctx, seal.Input, "s", "book", in.Data)
	require.NoError(t, err)
	f := b.Activity(func(_ context.Context, in core.ActivityInput) (string, error) { return "got " + string(in.Data), nil }).(func(context.Context, core.ActivityInput) (json.RawMessage, error))
	out, err := f(ctx, sealed)
	require.NoError(t, err)
	require.NotContains(t, string(out), "secret")
	plain, err := b.OpenValue(ctx, seal.Result, "s", "book", out)
	require.NoError(t, err)
	require.Equal(t, `"got \"secret\""`, string(plain))
	g := b.Activity(func(in core.ActivityInput) error { return errors.New(string(in.Data)) }).(func(context.Context, core.ActivityInput) error)
	require.EqualError(t, g(ctx, sealed), `"secret"`)
	blind := (*seal.Box)(nil).Activity(func(core.ActivityInput) (int, error) { return 1, nil }).(func(context.Context, core.ActivityInput) (int, error))
	_, err = blind(ctx, sealed)
	var failure *temporal.ApplicationError
	require.ErrorAs(t, err, &failure)
	require.Equal(t, core.KeyMissingType, failure.Type())
	require.False(t, failure.NonRetryable())
	require.ErrorContains(t, err, "HOLDFAST_KEYRING")
	n, err := blind(ctx, in)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	for _, odd := range []any{nil, 1, func() error { return nil }, func(string) error { return nil }, func(core.ActivityInput) {},
		func(core.ActivityInput, ...int) error { return nil }, func(core.ActivityInput, context.Context) error { return nil }} {
		require.False(t, seal.Takes(odd))
	}
	require.True(t, seal.Takes(func(core.ActivityInput) error { return nil }))
}

// A keyring that fails is nobody's fault but its own: what needs it waits.
func TestKeyringThatIsAway(t *testing.T) {
	t.Parallel()
	k := &away{File: ring(t)}
	b, ctx := seal.New(k, holdfast.EncryptionOn), t.Context()
	sealed, err := b.Message(ctx, message())
	require.NoError(t, err)
	called := false
	f := b.Activity(func(core.ActivityInput) (int, error) { called = true; return 1, nil }).(func(context.Context, core.ActivityInput) (json.RawMessage, error))
	k.err = errors.New("the service does not answer")
	_, err = f(ctx, core.ActivityInput{Saga: "s", Step: "book", Data: json.RawMessage(`1`)})
	var failure *temporal.ApplicationError
	require.ErrorAs(t, err, &failure)
	require.Equal(t, core.KeyMissingType, failure.Type())
	require.False(t, called, "its result could not be sealed")
	k.err = errors.New("the service does not answer")
	_, err = b.OpenOwn(ctx, sealed)
	require.True(t, seal.Missing(err))
	require.NotErrorIs(t, err, holdfast.ErrNoKey)
	require.Equal(t, blame.Surroundings, blame.Of(err))
	_, err = b.Message(ctx, message())
	require.True(t, seal.Missing(err))
	k.err, k.name = nil, "a b"
	_, err = b.Message(ctx, message())
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	k.name = "arn:aws:kms:eu-west-1:123456789012:key/0f1e"
	sealed, err = b.Message(ctx, message())
	require.NoError(t, err)
	require.Equal(t, k.name, seal.KeyOf(sealed))
	state, err := b.State(ctx, "s", json.RawMessage(`{"a":"secret"}`))
	require.NoError(t, err)
	require.NotContains(t, string(state), "secret")
	k.name, k.opens = "", k.List()[0].ID
	o, err := b.OpenState(ctx, "s", nil, state)
	require.NoError(t, err)
	require.JSONEq(t, `{"a":"secret"}`, string(o.Data))
}

type away struct {
	*keyring.File
	err         error
	name, opens string
}

func (a *away) Seal(ctx context.Context, plaintext, bound []byte) (string, []byte, error) {
	key, ciphertext, err := a.File.Seal(ctx, plaintext, bound)
	if a.name != "" {
		key = a.name
	}
	return key, ciphertext, errors.Join(err, a.err)
}

func (a *away) Open(ctx context.Context, key string, ciphertext, bound []byte) ([]byte, error) {
	if a.err != nil {
		return nil, a.err
	}
	if a.opens != "" {
		key = a.opens
	}
	return a.File.Open(ctx, key, ciphertext, bound)
}

// brokenKeyring panics, whatever it is asked.
type brokenKeyring struct{}

func (brokenKeyring) Seal(context.Context, []byte, []byte) (string, []byte, error) { panic("no key") }

func (brokenKeyring) Open(context.Context, string, []byte, []byte) ([]byte, error) { panic("no key") }

func (brokenKeyring) Digest(context.Context, []byte) ([]byte, error) { panic("no key") }

// TestABrokenKeyring: what the application's Keyring does wrong is an error of that one call, nobody's
// fault but the keyring's.
func TestABrokenKeyring(t *testing.T) {
	sealed, err := box(t, holdfast.EncryptionOn).Message(t.Context(), message())
	require.NoError(t, err)
	b := seal.New(brokenKeyring{}, holdfast.EncryptionOn)
	_, err = b.Message(t.Context(), message())
	require.True(t, seal.Missing(err), err)
	require.ErrorContains(t, err, "the keyring: ")
	_, err = b.OpenOwn(t.Context(), sealed)
	require.True(t, seal.Missing(err), err)
	_, err = b.Key(t.Context(), "k")
	require.NoError(t, err, "keys are not hashed")
	_, err = b.HashingKeys(true).Key(t.Context(), "k")
	require.True(t, seal.Missing(err), err)
}
