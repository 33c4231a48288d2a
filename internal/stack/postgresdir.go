package stack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/holdfastmq/holdfast/internal/stack/process"
	"github.com/holdfastmq/holdfast/internal/stack/progress"
)

// postgresDir makes the folder for PostgreSQL's data. As another user PostgreSQL
// may be unable to reach the stack's data folder (a clone inside a 0700 home);
// its data then goes to a folder for temporary files, under a name that is
// derived from the data folder's, so that it is found again.
func postgresDir(ctx context.Context, f *folder, u *process.Account, out *progress.Writer, b *book) (string, error) {
	dir := f.join("postgresql")
	if u != nil && !reachable(ctx, f.path, u) {
		base := os.TempDir()
		if info, err := os.Stat("/var/tmp"); err == nil && info.IsDir() {
			base = "/var/tmp" // kept at a reboot
		}
		sum := sha256.Sum256([]byte(f.path))
		dir = filepath.Join(base, "holdfast-postgresql-"+hex.EncodeToString(sum[:6]))
		if !reachable(ctx, base, u) {
			return "", fmt.Errorf("PostgreSQL (as user postgres, for it refuses root) can reach neither %s nor %s: "+
				"use a data folder that it can, or run as another user", f.path, base)
		}
		out.Line(postgresName, "its user postgres cannot reach %s: the data is in %s", f.path, dir)
		if err := b.outside(dir); err != nil {
			return "", err
		}
	}
	err := os.Mkdir(dir, 0o700)
	switch {
	case err == nil:
		if u != nil {
			if err := os.Chown(dir, int(u.UID), int(u.GID)); err != nil {
				return "", fmt.Errorf("PostgreSQL's data folder: %w", err)
			}
		}
		return dir, nil
	case !errors.Is(err, os.ErrExist):
		return "", fmt.Errorf("PostgreSQL's data folder: %w", err)
	}
	// It was there: it must be a folder of the user who is to use it, and not
	// one that somebody else put there.
	info, err := os.Lstat(dir)
	if err != nil {
		return "", fmt.Errorf("PostgreSQL's data folder: %w", err)
	}
	want := uint32(os.Geteuid())
	if u != nil {
		want = u.UID
	}
	if owner, ok := process.OwnerOf(info); !info.IsDir() || ok && owner != want {
		return "", fmt.Errorf("PostgreSQL's data folder %s is not a folder of the user with ID %d: "+
			"remove it, or use another data folder", dir, want)
	}
	return dir, nil
}

// reachable says whether the user can pass through the folder.
func reachable(ctx context.Context, dir string, u *process.Account) bool {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", `cd "$1"`, "sh", dir)
	cmd.Dir = "/"
	process.AsUser(cmd, u)
	return cmd.Run() == nil
}
