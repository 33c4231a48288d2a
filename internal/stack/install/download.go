package install

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/holdfastmq/holdfast/internal/stack/process"
	"github.com/holdfastmq/holdfast/internal/stack/progress"
)

// Prebuilt is a program that its makers publish as an archive (.tar.gz). What the archive
// has to be is known by its checksum; so whoever serves it cannot have another program run.
type Prebuilt struct {
	URL    string // empty: there is none
	SHA256 string // of the archive, in hex
	File   string // the regular file in the archive, and its name in the folder
	// Usable says why the program cannot be used.
	Usable func(ctx context.Context, path string) error

	// Answer and Stall are how long the server may take to answer, over all redirects, and for
	// each leastBytes after that; zero: [answerWithin], [stallAfter].
	Answer, Stall time.Duration
}

const (
	// answerWithin is what a machine without Internet loses by trying, once.
	answerWithin = 5 * time.Second
	stallAfter   = 10 * time.Second
	// leastBytes have to come in each stallAfter: slower than that, a build is sooner done,
	// and a server that sends a byte now and then would hold the start for days.
	leastBytes = 256 << 10
	// mostPacked and mostUnpacked bound what is written to the disk, in bytes.
	mostPacked, mostUnpacked = 200 << 20, 400 << 20
)

// fetchLocked downloads the program of b into a new folder, which then takes b's place, as what
// is built does. An error means that nothing is there that was not there before.
func (i *Installer) fetchLocked(ctx context.Context, b GoBuild) error {
	from, err := url.Parse(b.Prebuilt.URL)
	if err != nil {
		return errors.New("its address cannot be read") // which may have a password
	}
	tmp, err := os.MkdirTemp(i.cache, "downloading-"+strings.ToLower(b.Part)+"-")
	if err != nil {
		return err //nolint:wrapcheck // said by the caller
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	task := i.Out.Task(b.Part, fmt.Sprintf("downloading %s from %s", b.What, from.Redacted()))
	defer task.Stop()
	archive := filepath.Join(tmp, "archive.tar.gz")
	if err := b.Prebuilt.download(ctx, archive, task); err != nil {
		return err
	}
	program := filepath.Join(tmp, b.Prebuilt.File)
	if err := unpack(archive, b.Prebuilt.File, program); err != nil {
		return fmt.Errorf("the archive: %w", err)
	}
	if err := os.Remove(archive); err != nil {
		return err //nolint:wrapcheck // said by the caller
	}
	if err := b.Prebuilt.usable(ctx, program); err != nil {
		return err
	}
	if err := place(tmp, b.Dir); err != nil {
		return fmt.Errorf("it cannot be kept: %w", err)
	}
	task.Stop()
	i.Out.Line(b.Part, "downloaded %s in %s (SHA-256 %.12s… as expected), kept in %s", b.What,
		progress.Seconds(task.Took()), b.Prebuilt.SHA256, b.Dir)
	return nil
}

// download writes the archive to path, and compares its checksum.
func (p Prebuilt) download(ctx context.Context, path string, task *progress.Task) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	transport := http.DefaultTransport.(*http.Transport).Clone() // has HTTPS_PROXY and its like
	transport.DisableCompression = true                          // the archive as it is
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL, nil)
	if err != nil {
		return err //nolint:wrapcheck // said by the caller
	}
	answer, stall := cmp.Or(p.Answer, answerWithin), cmp.Or(p.Stall, stallAfter)
	late := time.AfterFunc(answer, func() { cancel(fmt.Errorf("no answer within %s", progress.Seconds(answer))) })
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if !late.Stop() && err == nil {
		_ = resp.Body.Close()
		return context.Cause(ctx) //nolint:wrapcheck // said by the caller
	}
	if err != nil {
		return why(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the server says %q", resp.Status)
	}
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err //nolint:wrapcheck // said by the caller
	}
	defer func() { _ = out.Close() }()
	sum := sha256.New()
	got := &arrived{of: resp.ContentLength, task: task}
	defer got.watch(stall, cancel)()
	n, err := io.Copy(io.MultiWriter(out, sum, got), io.LimitReader(resp.Body, mostPacked+1))
	switch {
	case err != nil:
		return why(ctx, err)
	case n > mostPacked:
		return fmt.Errorf("it is larger than %d MB", mostPacked>>20)
	}
	if found := hex.EncodeToString(sum.Sum(nil)); found != p.SHA256 {
		return fmt.Errorf("it is another file than expected: its SHA-256 is %s, and not %s", found, p.SHA256)
	}
	return out.Close() //nolint:wrapcheck // said by the caller
}

// arrived counts the bytes of a download.
type arrived struct {
	n    atomic.Int64
	of   int64 // -1: unknown
	task *progress.Task
}

// Write implements io.Writer.
func (a *arrived) Write(b []byte) (int, error) {
	n := a.n.Add(int64(len(b)))
	if a.of > 0 {
		a.task.At("%d of %d MB", n>>20, a.of>>20)
	} else {
		a.task.At("%d MB", n>>20)
	}
	return len(b), nil
}

// watch cancels the download when less than [leastBytes] came within every, until the
// returned function is called.
func (a *arrived) watch(every time.Duration, cancel context.CancelCauseFunc) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for before := int64(0); ; {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			now := a.n.Load()
			if now-before < leastBytes {
				cancel(fmt.Errorf("it stalled: %d kB came within %s", (now-before)>>10, progress.Seconds(every)))
				return
			}
			before = now
		}
	})
	return func() { close(done); wg.Wait() }
}

// unpack writes the one regular file of that name in the archive to path. Nothing else of the
// archive is written, and no name in it is used as a path.
func unpack(archive, name, path string) error {
	in, err := os.Open(archive)
	if err != nil {
		return err //nolint:wrapcheck // said by the caller
	}
	defer func() { _ = in.Close() }()
	unzipped, err := gzip.NewReader(in)
	if err != nil {
		return err //nolint:wrapcheck // said by the caller
	}
	for r := tar.NewReader(unzipped); ; {
		h, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return fmt.Errorf("it has no file %q", name)
		case err != nil:
			return err //nolint:wrapcheck // said by the caller
		case strings.TrimPrefix(h.Name, "./") != name:
			continue
		case h.Typeflag != tar.TypeReg:
			return fmt.Errorf("%q is no regular file in it", name)
		case h.Size > mostUnpacked:
			return fmt.Errorf("%q is larger than %d MB", name, mostUnpacked>>20)
		}
		return writeProgram(path, r)
	}
}

// writeProgram writes a program to a new file.
func writeProgram(path string, r io.Reader) error {
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err //nolint:wrapcheck // said by the caller
	}
	_, err = io.Copy(out, r)
	return errors.Join(err, out.Close())
}

// usable tries the program. One that was just written may be busy: a child that another goroutine
// starts has what this process has open, until it is the other program.
func (p Prebuilt) usable(ctx context.Context, path string) error {
	for left := 100; ; left-- {
		err := p.Usable(ctx, path)
		if left == 0 || !errors.Is(err, syscall.ETXTBSY) {
			return err
		}
		if err := process.Pause(ctx, 50*time.Millisecond); err != nil {
			return err //nolint:wrapcheck // said by the caller
		}
	}
}

// why is the reason that ctx was cancelled with, if it was, and err otherwise, in one line.
func why(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx) //nolint:wrapcheck // said by the caller
	}
	if of := (*url.Error)(nil); errors.As(err, &of) { // the address stands in the line before
		return of.Err
	}
	return err
}
