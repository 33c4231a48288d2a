// Package install gets what a stack needs and the machine does not have: Debian
// packages, and programs that are downloaded, or built from source, once and kept in the
// user's cache folder.
package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/holdfastmq/holdfast/internal/stack/process"
	"github.com/holdfastmq/holdfast/internal/stack/progress"
)

// errNotInstallable is wrapped by every error that means: this machine cannot
// get the missing piece by itself; the message says what to run.
var errNotInstallable = errors.New("cannot be installed from here")

// Installer gets missing pieces: one process at a time, each piece once.
type Installer struct {
	Out   *progress.Writer
	cache string // folder for what is built and for the locks

	mu      sync.Mutex // apt-get runs one at a time in this process too
	updated bool       // apt-get update was run
}

func New(out *progress.Writer) *Installer {
	return &Installer{Out: out, cache: cacheFolder()}
}

// cacheFolder is the user's cache folder for Holdfast.
func cacheFolder() string {
	if base, err := os.UserCacheDir(); err == nil {
		return filepath.Join(base, "holdfast")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("holdfast-cache-%d", os.Getuid()))
}

// locked runs f while this process alone holds the named lock; other processes
// that want the same thing wait, and then find it there.
func (i *Installer) locked(ctx context.Context, part, name string, f func() error) error {
	if err := os.MkdirAll(i.cache, 0o755); err != nil {
		return fmt.Errorf("%s: the cache folder cannot be created: %w", part, err)
	}
	path := filepath.Join(i.cache, name+".lock")
	stop := func() {}
	defer func() { stop() }()
	for waiting := false; ; waiting = true {
		l, err := process.TryLock(path)
		if err == nil {
			stop()
			defer l.Release()
			return f()
		}
		if !errors.Is(err, process.ErrLocked) {
			return fmt.Errorf("%s: lock %s: %w", part, path, err)
		}
		if !waiting {
			stop = i.Out.Long(part, "waiting for another process that is installing it")
		}
		if err := process.Pause(ctx, 200*time.Millisecond); err != nil {
			return fmt.Errorf("%s: waiting for another process that is installing it: %w", part, err)
		}
	}
}

// IsFile says whether there is a regular file.
func IsFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
