package keyring

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
)

// Of those who rotate at once each either adds its key, or is told that it did not.
func TestTwoWhoRotate(t *testing.T) {
	t.Parallel()
	_, path := made(t)
	var all sync.WaitGroup
	added := make(chan string, 20)
	for range cap(added) {
		all.Go(func() {
			key, err := Rotate(path, true)
			if err == nil {
				added <- key.ID
			}
		})
	}
	all.Wait()
	close(added)
	ids := map[string]bool{}
	for _, key := range open(t, path).List() {
		ids[key.ID] = true
	}
	n := 0
	for id := range added {
		require.True(t, ids[id], "key %s is lost", id)
		n++
	}
	require.Positive(t, n)
	require.Len(t, ids, n+1)

	require.NoError(t, os.WriteFile(path+".lock", nil, 0o600))
	_, err := Rotate(path, false)
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	require.ErrorContains(t, err, path+".lock")
	require.NoError(t, os.Remove(path+".lock"))
	f := open(t, path)
	require.NoError(t, os.WriteFile(path, []byte("another"), 0o600))
	require.ErrorContains(t, f.keys.replace(path, f.seen), "changed meanwhile")
	left, err := filepath.Glob(path + "*")
	require.NoError(t, err)
	require.Equal(t, []string{path}, left)
}

// A key that vanishes from the file goes on decrypting here; a new process does not have it.
func TestKeyThatVanishes(t *testing.T) {
	t.Parallel()
	f, path := made(t)
	clock := time.Now()
	f.now = func() time.Time { return clock }
	old, ciphertext, err := f.Seal(t.Context(), []byte("x"), nil)
	require.NoError(t, err)
	for range 2 {
		_, other := made(t)
		data, err := os.ReadFile(other)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, append(data, bytes.Repeat([]byte{' '}, len(f.keys.before)+1)...), 0o600))
		clock = clock.Add(lookEvery)
		key, _, err := f.Seal(t.Context(), nil, nil)
		require.NoError(t, err)
		require.NotEqual(t, old, key)
		plain, err := f.Open(t.Context(), old, ciphertext, nil)
		require.NoError(t, err)
		require.Equal(t, "x", string(plain))
	}
	require.Len(t, f.List(), 1, "those of the file")
	_, err = open(t, path).Open(t.Context(), old, ciphertext, nil)
	require.ErrorIs(t, err, holdfast.ErrNoKey)
}

// That a file cannot be read any more is logged once, and that it can be again.
func TestUnreadableFileIsLogged(t *testing.T) {
	f, path := made(t)
	clock := time.Now()
	f.now = func() time.Time { return clock }
	var log bytes.Buffer
	was := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(was)
	good, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, good[:20], 0o600))
	for range 3 {
		clock = clock.Add(lookEvery)
		_, _, err = f.Seal(t.Context(), nil, nil)
		require.NoError(t, err)
	}
	require.Equal(t, 1, bytes.Count(log.Bytes(), []byte("cannot be read")))
	require.NoError(t, os.WriteFile(path, good, 0o600))
	clock = clock.Add(lookEvery)
	_, _, err = f.Seal(t.Context(), nil, nil)
	require.NoError(t, err)
	require.Contains(t, log.String(), "read again")
}
