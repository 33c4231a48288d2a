package keyring_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/keyring"
)

// A hashed key is the same for equal keys, also after a rotation, another one with another
// keyring, and a valid key of a message and a saga.
func TestHashKey(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "keyring.json")
	_, err := keyring.New(path)
	require.NoError(t, err)
	hash := func(path, key string) string {
		k, err := keyring.Open(path)
		require.NoError(t, err)
		h, err := holdfast.HashKey(ctx, k, key)
		require.NoError(t, err)
		return h
	}
	first := hash(path, "ann@example.com")
	require.NotContains(t, first, "ann")
	require.NotEqual(t, first, hash(path, "bob@example.com"))
	_, err = keyring.Rotate(path, false)
	require.NoError(t, err)
	require.Equal(t, first, hash(path, "ann@example.com"))
	other := filepath.Join(t.TempDir(), "keyring.json")
	_, err = keyring.New(other)
	require.NoError(t, err)
	require.NotEqual(t, first, hash(other, "ann@example.com"))
	require.NoError(t, holdfast.ValidateSagaKey(first))
	require.NoError(t, holdfast.Message{Topic: "order.placed", Key: hash(path, strings.Repeat("long", 1000))}.Validate())

	k, err := keyring.Open(path)
	require.NoError(t, err)
	_, err = holdfast.HashKey(ctx, k, "")
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	_, err = holdfast.HashKey(ctx, nil, "x")
	require.ErrorIs(t, err, holdfast.ErrInvalid)
}
