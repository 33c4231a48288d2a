package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// errNotInstallable is wrapped by every error that means: this machine cannot
// get the missing piece by itself; the message says what to run.
var errNotInstallable = errors.New("cannot be installed from here")

// installer gets missing pieces: one process at a time, each piece once.
type installer struct {
	out   *progress
	cache string // folder for what is built and for the locks

	mu      sync.Mutex // apt-get runs one at a time in this process too
	updated bool       // apt-get update was run
}

func newInstaller(out *progress) *installer {
	return &installer{out: out, cache: cacheFolder()}
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
func (i *installer) locked(ctx context.Context, part, name string, f func() error) error {
	if err := os.MkdirAll(i.cache, 0o755); err != nil {
		return fmt.Errorf("%s: the cache folder cannot be created: %w", part, err)
	}
	path := filepath.Join(i.cache, name+".lock")
	stop := func() {}
	defer func() { stop() }()
	for waiting := false; ; waiting = true {
		l, err := tryLock(path)
		if err == nil {
			stop()
			defer l.release()
			return f()
		}
		if !errors.Is(err, errLocked) {
			return fmt.Errorf("%s: lock %s: %w", part, path, err)
		}
		if !waiting {
			stop = i.out.long(part, "waiting for another process that is installing it")
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return fmt.Errorf("%s: waiting for another process that is installing it: %w", part, err)
		}
	}
}

// pause waits for d, or for the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
