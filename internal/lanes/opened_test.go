package lanes

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/seal"
	"github.com/holdfastmq/holdfast/keyring"
)

// deadlines notes whether a keyring is asked without an end.
type deadlines struct {
	holdfast.Keyring
	bounded bool
}

func (d *deadlines) Open(ctx context.Context, key string, ciphertext, bound []byte) ([]byte, error) {
	_, d.bounded = ctx.Deadline()
	return d.Keyring.Open(ctx, key, ciphertext, bound)
}

// A keyring that hangs does not hold the receipt of a transaction that has ended for ever.
func TestReceiptsAreOpenedInTime(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "k")
	_, err := keyring.New(path)
	require.NoError(t, err)
	k, err := keyring.Open(path)
	require.NoError(t, err)
	ring := &deadlines{Keyring: k}
	l := &Lanes{Options: Options{Box: seal.New(ring, holdfast.EncryptionOn)}}
	m, err := l.Box.Message(t.Context(), holdfast.Message{ID: "m", Topic: "t", Body: []byte("secret")})
	require.NoError(t, err)
	r, err := l.opened(holdfast.Receipt{Messages: []holdfast.Message{m}}, nil)
	require.NoError(t, err)
	require.Equal(t, "secret", string(r.Messages[0].Body))
	require.True(t, ring.bounded)
}
