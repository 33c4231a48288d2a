//go:build !windows

package keyring

import (
	"io/fs"
	"syscall"
)

func ownerOf(info fs.FileInfo) []uint32 {
	s := info.Sys().(*syscall.Stat_t)
	return []uint32{s.Uid, s.Gid}
}
