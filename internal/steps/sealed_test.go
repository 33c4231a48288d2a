package steps

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/seal"
	"github.com/holdfastmq/holdfast/keyring"
)

type oneDatabase struct{}

func (oneDatabase) Own() string                           { return "" }
func (oneDatabase) Other(string) error                    { return nil }
func (oneDatabase) TellOther(*barrier.OtherDatabaseError) {}
func (oneDatabase) Differ() bool                          { return false }

func keyed(t *testing.T, mode holdfast.Encryption) *seal.Box {
	t.Helper()
	return seal.New(ringOf(t), mode)
}

type checker func() holdfast.Resolution

func (c checker) Check(context.Context, holdfast.Message) (holdfast.Resolution, error) {
	return c(), nil
}

// A Checker whose process does not have the key of the message is as one of another
// database: another process is asked, and no check is used up.
func TestCheckerWithoutTheKey(t *testing.T) {
	t.Parallel()
	mine, theirs := keyed(t, holdfast.EncryptionOn), keyed(t, holdfast.EncryptionOn)
	m, err := theirs.Message(t.Context(), holdfast.Message{ID: "m", Topic: "order.placed", Body: []byte("secret")})
	require.NoError(t, err)
	tx := activities.Tx{ID: "m", Messages: []holdfast.Message{m}}
	asked := 0
	s := &Steps{Group: "g", Databases: oneDatabase{}, Checkers: map[string]holdfast.Checker{
		"order.placed": checker(func() holdfast.Resolution { asked++; return holdfast.Commit })}}
	for _, box := range []*seal.Box{nil, mine} {
		s.Box = box
		out := s.CheckBack(t.Context(), "g", tx)
		require.True(t, out.Elsewhere)
		require.True(t, out.Unreached)
		require.Contains(t, out.Error, "HOLDFAST_KEYRING")
	}
	require.Zero(t, asked)
	s.Box = theirs
	out := s.CheckBack(t.Context(), "g", tx)
	require.Equal(t, holdfast.Commit, out.Resolution)
	require.Equal(t, 1, asked)
}

// A registered handler is not begun without the key, is opened its messages once, and is not
// run on what is refused.
func TestRegisteredHandlerOfSealedMessages(t *testing.T) {
	t.Parallel()
	on, ctx := keyed(t, holdfast.EncryptionOn), t.Context()
	m := holdfast.Message{ID: "m", Topic: "order.placed", Body: []byte("secret")}
	sealed, err := on.Message(ctx, m)
	require.NoError(t, err)
	ran := ""
	handler := func(_ context.Context, _ *gorm.DB, ms []*holdfast.Message) error {
		ran += string(ms[0].Body)
		return nil
	}
	run := func(box *seal.Box, m holdfast.Message) error {
		s := &Steps{Box: box}
		local, err := s.opening(ctx, activities.Tx{ID: "m", Messages: []holdfast.Message{m}}, handler)
		require.NoError(t, err)
		return local(ctx, nil, []*holdfast.Message{&m})
	}
	require.NoError(t, run(on, sealed))
	require.Equal(t, "secret", ran)
	moved := sealed.Clone()
	moved.Topic = "order.paid"
	require.ErrorIs(t, run(on, moved), holdfast.ErrTampered)
	require.ErrorContains(t, run(keyed(t, holdfast.EncryptionRequired), m), "refuses what is in clear")
	require.Equal(t, "secret", ran, "it was run no more")

	s := &Steps{Databases: oneDatabase{}, Box: keyed(t, holdfast.EncryptionOn), Handlers: map[string]Local{"place": handler}}
	out := s.runHandler(ctx, "g", activities.Tx{ID: "m", Form: activities.Registered, Handler: "place",
		Messages: []holdfast.Message{sealed}}, nil)
	require.True(t, out.Elsewhere)
	require.Equal(t, holdfast.Unknown, out.Resolution)

	s.Box = seal.New(&once{Keyring: ringOf(t)}, holdfast.EncryptionOn)
	sealed, err = s.Box.Message(ctx, m)
	require.NoError(t, err)
	local, err := s.opening(ctx, activities.Tx{ID: "m", Messages: []holdfast.Message{sealed}}, handler)
	require.NoError(t, err)
	require.NoError(t, local(ctx, nil, []*holdfast.Message{&sealed}), "the key is asked for before anything is begun")
}

func ringOf(t *testing.T) holdfast.Keyring {
	t.Helper()
	path := filepath.Join(t.TempDir(), "k")
	_, err := keyring.New(path)
	require.NoError(t, err)
	k, err := keyring.Open(path)
	require.NoError(t, err)
	return k
}

// once opens once, and is away then.
type once struct {
	holdfast.Keyring
	opened bool
}

func (o *once) Open(ctx context.Context, key string, ciphertext, bound []byte) ([]byte, error) {
	if o.opened {
		return nil, holdfast.ErrNoKey
	}
	o.opened = true
	return o.Keyring.Open(ctx, key, ciphertext, bound)
}
