package seal_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/blame"
	"github.com/holdfastmq/holdfast/internal/seal"
	"github.com/holdfastmq/holdfast/saga/core"
)

// A text that looks like a ciphertext is a text, in a state and a value that do not say that
// they are sealed: with a keyring, and without one.
func TestTextsThatLookSealed(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	sealing := box(t, holdfast.EncryptionOn)
	for _, b := range []*seal.Box{nil, sealing} {
		for _, data := range []string{`{"note":"holdfast-sealed:1:1:AAAA","in":{"x":"holdfast-sealed:2:x"}}`,
			`{"note":"holdfast-sealed:1:"}`, `"holdfast-sealed:1:1:AAAA"`, `["holdfast-sealed:1:1:AAAA"]`} {
			o, err := b.OpenState(ctx, "s", nil, json.RawMessage(data))
			require.NoError(t, err, data)
			require.Equal(t, data, string(o.Data))
		}
		for _, data := range []string{`"holdfast-sealed:1:1:AAAA"`, `{"value":"holdfast-sealed:1:1:AAAA"}`,
			`{"value":"holdfast-sealed:9:x","other":1}`} {
			got, err := b.OpenValue(ctx, seal.Result, "s", "step", json.RawMessage(data))
			require.NoError(t, err, data)
			require.Equal(t, data, string(got))
		}
	}
	text := `{"note":"holdfast-sealed:1:1:AAAA"}`
	state, err := sealing.State(ctx, "s", json.RawMessage(text))
	require.NoError(t, err)
	o, err := sealing.OpenState(ctx, "s", nil, state)
	require.NoError(t, err, "sealed like any other text")
	require.JSONEq(t, text, string(o.Data))
	require.True(t, o.Began)
}

// What a later version encrypted is for processes of that version: it is no fault of the
// message, and never taken for clear text.
func TestLaterForms(t *testing.T) {
	t.Parallel()
	b, ctx := box(t, holdfast.EncryptionOn), t.Context()
	check := func(err error) {
		t.Helper()
		require.ErrorContains(t, err, "upgrade this process")
		require.True(t, seal.Missing(err))
		require.False(t, holdfast.IsPermanent(err))
		require.Equal(t, blame.Surroundings, blame.Of(err))
	}
	m, err := b.Message(ctx, message())
	require.NoError(t, err)
	m.ContentType = strings.Replace(m.ContentType, "v=1", "v=2", 1)
	_, err = b.OpenOwn(ctx, m)
	check(err)
	later := func(data json.RawMessage) json.RawMessage {
		return json.RawMessage(strings.ReplaceAll(string(data), `"holdfast-sealed:1:`, `"holdfast-sealed:2:`))
	}
	state, err := b.State(ctx, "s", json.RawMessage(`{"a":1}`))
	require.NoError(t, err)
	_, err = b.OpenState(ctx, "s", nil, later(state))
	check(err)
	value, err := b.Value(ctx, seal.Answer, "s", "step", json.RawMessage(`1`))
	require.NoError(t, err)
	_, err = b.OpenValue(ctx, seal.Answer, "s", "step", later(value))
	check(err)
	_, err = b.OpenValue(ctx, seal.Answer, "s", "step", json.RawMessage(`{"holdfast-sealed":{"owner":"s","step":"step",`+
		`"kind":"answer"},"value":"x"}`))
	require.ErrorIs(t, err, holdfast.ErrMalformed)
}

// A state that was begun in clear, and is no object, stays in clear when encryption is
// switched on; nothing is turned back.
func TestStatesBegunInClear(t *testing.T) {
	t.Parallel()
	b, ctx := box(t, holdfast.EncryptionOn), t.Context()
	for _, data := range []string{`1`, `"x"`, `["x"]`} {
		o, err := b.OpenState(ctx, "s", nil, json.RawMessage(data))
		require.NoError(t, err)
		require.False(t, o.Began)
		patch, err := core.Diff(o.Data, json.RawMessage(`"y"`))
		require.NoError(t, err)
		sealed, err := b.Patch(ctx, o.Owner, o.Began, patch)
		require.NoError(t, err, data)
		require.Equal(t, string(patch), string(sealed))
	}
	state, err := core.Merge(json.RawMessage(`{"a":"x"}`), patched(t, b, `{"b":"secret"}`))
	require.NoError(t, err)
	o, err := b.OpenState(ctx, "s", nil, state)
	require.NoError(t, err)
	require.False(t, o.Began)
	require.JSONEq(t, `{"a":"x","b":"secret"}`, string(o.Data))
	_, err = b.Patch(ctx, "s", true, json.RawMessage(`"secret"`))
	require.ErrorIs(t, err, holdfast.ErrInvalid, "what was sealed from its beginning is not put in clear")
	required := box(t, holdfast.EncryptionRequired)
	for data, fine := range map[string]bool{`{}`: true, `{"a":{"b":null}}`: true, `{"a":{"b":1}}`: false, `"x"`: false} {
		_, err := required.OpenState(ctx, "s", nil, json.RawMessage(data))
		require.Equal(t, fine, err == nil, data)
		require.Equal(t, !fine, seal.Missing(err), data)
	}
}

func patched(t *testing.T, b *seal.Box, patch string) json.RawMessage {
	t.Helper()
	out, err := b.Patch(t.Context(), "s", false, json.RawMessage(patch))
	require.NoError(t, err)
	require.NotContains(t, string(out), "secret")
	return out
}
