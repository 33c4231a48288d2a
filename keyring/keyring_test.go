package keyring

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
)

func made(t *testing.T) (*File, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keyring.json")
	_, err := New(path)
	require.NoError(t, err)
	f, err := Open(path)
	require.NoError(t, err)
	return f, path
}

func TestSealAndOpen(t *testing.T) {
	t.Parallel()
	f, path := made(t)
	ctx := t.Context()
	key, one, err := f.Seal(ctx, []byte("secret"), []byte("place"))
	require.NoError(t, err)
	_, two, err := f.Seal(ctx, []byte("secret"), []byte("place"))
	require.NoError(t, err)
	require.NotEqual(t, one, two, "the nonce is another each time")
	require.False(t, bytes.Contains(one, []byte("secret")))
	plain, err := f.Open(ctx, key, one, []byte("place"))
	require.NoError(t, err)
	require.Equal(t, "secret", string(plain))

	_, err = f.Open(ctx, key, one, []byte("another place"))
	require.ErrorIs(t, err, holdfast.ErrTampered)
	_, err = f.Open(ctx, key, append(one, 0), []byte("place"))
	require.ErrorIs(t, err, holdfast.ErrTampered)
	_, err = f.Open(ctx, key, nil, []byte("place"))
	require.ErrorIs(t, err, holdfast.ErrTampered)
	_, err = f.Open(ctx, "4711", one, []byte("place"))
	require.ErrorIs(t, err, holdfast.ErrNoKey)
	require.ErrorContains(t, err, path)

	a, err := f.Digest(ctx, []byte("data"))
	require.NoError(t, err)
	b, err := f.Digest(ctx, []byte("data"))
	require.NoError(t, err)
	require.Equal(t, a, b)
	require.Len(t, a, 16)
	other, _ := made(t)
	c, err := other.Digest(ctx, []byte("data"))
	require.NoError(t, err)
	require.NotEqual(t, a, c, "it is keyed")
}

func TestRotation(t *testing.T) {
	t.Parallel()
	f, path := made(t)
	clock := time.Now()
	f.now = func() time.Time { return clock }
	ctx := t.Context()
	old, before, err := f.Seal(ctx, []byte("before"), nil)
	require.NoError(t, err)
	digest, err := f.Digest(ctx, []byte("data"))
	require.NoError(t, err)

	staged, err := Rotate(path, true)
	require.NoError(t, err)
	require.True(t, staged.Staged)
	require.False(t, staged.Primary)
	clock = clock.Add(lookEvery)
	key, _, err := f.Seal(ctx, nil, nil)
	require.NoError(t, err)
	require.Equal(t, old, key, "it does not encrypt yet")
	now, err := Rotate(path, false)
	require.NoError(t, err)
	require.Equal(t, staged.ID, now.ID, "the one that was staged")
	require.True(t, now.Primary)

	late, err := Open(path)
	require.NoError(t, err)
	_, after, err := late.Seal(ctx, []byte("after"), nil)
	require.NoError(t, err)
	plain, err := f.Open(ctx, now.ID, after, nil)
	require.NoError(t, err, "it has the staged key")
	require.Equal(t, "after", string(plain))
	next, err := Rotate(path, false)
	require.NoError(t, err)
	require.NotEqual(t, now.ID, next.ID, "a new one, as none is staged")
	_, newest, err := open(t, path).Seal(ctx, []byte("newest"), nil)
	require.NoError(t, err)
	plain, err = f.Open(ctx, next.ID, newest, nil)
	require.NoError(t, err, "a key that is asked for has the file read at once")
	require.Equal(t, "newest", string(plain))
	plain, err = f.Open(ctx, old, before, nil)
	require.NoError(t, err)
	require.Equal(t, "before", string(plain))
	again, err := f.Digest(ctx, []byte("data"))
	require.NoError(t, err)
	require.Equal(t, digest, again, "digests stay")

	list := f.List()
	require.Equal(t, []string{next.ID, now.ID, old}, []string{list[0].ID, list[1].ID, list[2].ID})
	require.Equal(t, []bool{true, false, false}, []bool{list[0].Primary, list[1].Primary, list[2].Primary})
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode().Perm())
	left, err := filepath.Glob(path + ".*")
	require.NoError(t, err)
	require.Empty(t, left)
}

func open(t *testing.T, path string) *File {
	t.Helper()
	f, err := Open(path)
	require.NoError(t, err)
	return f
}

// A file that cannot be read any more leaves the keys that were read.
func TestFileThatIsBroken(t *testing.T) {
	t.Parallel()
	f, path := made(t)
	clock := time.Now()
	f.now = func() time.Time { return clock }
	good, err := os.ReadFile(path)
	require.NoError(t, err)
	key, ciphertext, err := f.Seal(t.Context(), []byte("x"), nil)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, good[:len(good)/2], 0o600))
	clock = clock.Add(lookEvery)
	_, err = f.Open(t.Context(), key, ciphertext, nil)
	require.NoError(t, err)
	require.ErrorContains(t, f.Err(), "no keyring")
	_, err = f.Open(t.Context(), "1", ciphertext, nil)
	require.ErrorIs(t, err, holdfast.ErrNoKey)
	require.ErrorContains(t, err, "as it was read last")
	require.NoError(t, os.WriteFile(path, good, 0o600))
	clock = clock.Add(lookEvery)
	_, err = f.Open(t.Context(), key, ciphertext, nil)
	require.NoError(t, err)
	require.NoError(t, f.Err())
}

func TestFilesThatAreRefused(t *testing.T) {
	t.Parallel()
	_, path := made(t)
	good, err := os.ReadFile(path)
	require.NoError(t, err)
	secret := string(good[bytes.Index(good, []byte(`"value": "`))+len(`"value": "`):][:20])
	dir := t.TempDir()
	write := func(name, text string, mode fs.FileMode) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		require.NoError(t, os.Chmod(file, mode))
		return file
	}
	for file, want := range map[string]string{
		filepath.Join(dir, "none"): "holdfast keyring new",
		dir:                        "it is no file",
		write("empty", "", 0o600):  "it is no keyring",
		write("bare", "{}", 0o600): "of version 1",
		write("cut", string(good)[:len(good)-40], 0o600):                                      "it is no keyring",
		write("later", strings.Replace(string(good), `keyring": 1`, `keyring": 2`, 1), 0o600): "of version 1",
		write("odd", strings.Replace(string(good), secret, `!!`, 1), 0o600):                   "no keyset of Tink",
		write("nodigest", strings.Replace(string(good), `"digest"`, `"digests"`, 1), 0o600):   "field digest",
	} {
		_, err := Open(file)
		require.ErrorIs(t, err, holdfast.ErrInvalid, file)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, file)
		require.NotContains(t, err.Error(), secret[:8])
	}
	if runtime.GOOS == "windows" {
		return
	}
	for _, mode := range []fs.FileMode{0o644, 0o604, 0o620, 0o602, 0o601} {
		_, err := Open(write("open", string(good), mode))
		require.ErrorContains(t, err, "chmod 600", mode)
	}
	for _, mode := range []fs.FileMode{0o600, 0o400, 0o440, 0o640} {
		_, err := Open(write("fine", string(good), mode))
		require.NoError(t, err, mode)
	}
}

func TestNewLeavesWhatIsThere(t *testing.T) {
	t.Parallel()
	_, path := made(t)
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	_, err = New(path)
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	require.ErrorContains(t, err, "holdfast keyring rotate")
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, after)
	_, err = New(filepath.Join(path, "below"))
	require.Error(t, err)
	_, err = Rotate(filepath.Join(t.TempDir(), "none"), false)
	require.ErrorIs(t, err, holdfast.ErrInvalid)
}

// Rotation through a link, as Kubernetes mounts files, leaves the link.
func TestRotationThroughALink(t *testing.T) {
	t.Parallel()
	_, path := made(t)
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(path, link))
	_, err := Rotate(link, false)
	require.NoError(t, err)
	info, err := os.Lstat(link)
	require.NoError(t, err)
	require.NotZero(t, info.Mode()&fs.ModeSymlink)
	require.Len(t, open(t, path).List(), 2)
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	f, path := made(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				key, ciphertext, err := f.Seal(t.Context(), []byte("x"), nil)
				if err == nil {
					_, err = f.Open(t.Context(), key, ciphertext, nil)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	_, err := Rotate(path, false)
	require.NoError(t, err)
	all.Wait()
}
