//go:build !windows

package keyring

import (
	"io/fs"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A rotated file has the mode and the owner of the one before.
func TestRotationKeepsWhoMayRead(t *testing.T) {
	t.Parallel()
	_, path := made(t)
	require.NoError(t, os.Chmod(path, 0o640))
	root := os.Getuid() == 0
	if root {
		require.NoError(t, os.Chown(path, 1234, 2345))
	}
	_, err := Rotate(path, false)
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o640), info.Mode().Perm())
	if root {
		require.Equal(t, []uint32{1234, 2345}, ownerOf(info))
	}
}

func ownerOf(info fs.FileInfo) []uint32 {
	s := info.Sys().(*syscall.Stat_t)
	return []uint32{s.Uid, s.Gid}
}
