//go:build !windows

package keyring

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// own gives the file of that name the owner and the group of another one.
func own(name string, was fs.FileInfo) error {
	want, ok := was.Sys().(*syscall.Stat_t)
	info, err := os.Stat(name)
	if err != nil || !ok {
		return err
	}
	if have, ok := info.Sys().(*syscall.Stat_t); ok && have.Uid == want.Uid && have.Gid == want.Gid {
		return nil
	}
	if err := os.Chown(name, int(want.Uid), int(want.Gid)); err != nil {
		return fmt.Errorf("the new file would not have the old one's owner and group (%d, %d), whose processes read it: "+
			"rotate as that user, or as root: %w", want.Uid, want.Gid, err)
	}
	return nil
}
