package install

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/stack/progress"
)

// entry is one of a test's archive.
type entry struct {
	name, text string
	kind       byte // zero: a regular file
}

func archive(t *testing.T, entries ...entry) []byte {
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	w := tar.NewWriter(zipped)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(e.text))}
		if e.kind != 0 {
			h.Typeflag, h.Linkname, h.Size = e.kind, e.text, 0
		}
		require.NoError(t, w.WriteHeader(h))
		if e.kind == 0 {
			_, err := w.Write([]byte(e.text))
			require.NoError(t, err)
		}
	}
	require.NoError(t, errors.Join(w.Close(), zipped.Close()))
	return out.Bytes()
}

// downloads is an installer, and what it is to download from a server; a build of it makes a
// program that says "built".
func downloads(t *testing.T, serve http.HandlerFunc, of []byte) (*Installer, GoBuild, *bytes.Buffer) {
	bin := t.TempDir()
	script := "#!/bin/sh\n" + `printf '#!/bin/sh\necho built\n' > "$GOBIN/temporal"`
	require.NoError(t, os.WriteFile(filepath.Join(bin, "go"), []byte(script), 0o755))
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	server := httptest.NewServer(serve)
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections) // before that, which waits for them
	sum := sha256.Sum256(of)
	var out bytes.Buffer
	i := &Installer{Out: progress.New(&out), cache: t.TempDir()}
	return i, GoBuild{Part: "Temporal", What: "the Temporal CLI v9", Dir: i.Versioned("temporal", "v9"),
		Programs: []Program{{Package: "cmd/temporal", Name: "temporal"}},
		Prebuilt: Prebuilt{URL: server.URL + "/v9/it.tar.gz", SHA256: hex.EncodeToString(sum[:]), File: "temporal", Answer: time.Minute,
			Stall: time.Minute, Usable: func(_ context.Context, path string) error {
				text, err := os.ReadFile(path)
				if err == nil && !strings.Contains(string(text), "good") {
					return errors.New("it is\ntoo old")
				}
				return err
			}}}, &out
}

func TestDownload(t *testing.T) {
	good := archive(t, entry{name: "LICENSE", text: "MIT"}, entry{name: "temporal", text: "good"}, entry{name: "../outside", text: "x"})
	asked := 0
	i, b, out := downloads(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		require.Equal(t, "/v9/it.tar.gz", r.URL.Path)
		_, _ = w.Write(good)
	}, good)
	require.NoError(t, i.Build(t.Context(), b))
	require.NoError(t, i.Build(t.Context(), b))
	require.Equal(t, 1, asked, "what is kept is not downloaded again")
	program := filepath.Join(b.Dir, "temporal")
	text, err := os.ReadFile(program)
	require.NoError(t, err)
	require.Equal(t, "good", string(text))
	info, err := os.Stat(program)
	require.NoError(t, err)
	require.EqualValues(t, 0o755, info.Mode(), "not what the archive says")
	requireOnly(t, b.Dir, "temporal")
	requireOnly(t, i.cache, filepath.Base(b.Dir), "temporal.lock")
	require.Regexp(t, `^Temporal     downloading the Temporal CLI v9 from http://127\.0\.0\.1:\d+/v9/it\.tar\.gz …\n`+
		`Temporal     downloaded the Temporal CLI v9 in .* s \(SHA-256 [0-9a-f]{12}… as expected\), kept in .*temporal-v9-.*\n$`, out.String())
}

// requireOnly: a folder has these entries and no others.
func requireOnly(t *testing.T, dir string, names ...string) {
	t.Helper()
	found, err := os.ReadDir(dir)
	require.NoError(t, err)
	var got []string
	for _, f := range found {
		got = append(got, f.Name())
	}
	require.Equal(t, names, got)
}

// TestDownloadFails: whatever goes wrong is said in one line, and the program is built.
func TestDownloadFails(t *testing.T) {
	regular := archive(t, entry{name: "temporal", text: "good"})
	serve := func(body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }
	}
	silent := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	stalls := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(regular)))
		_, _ = w.Write(regular[:10])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
	trickles := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = w.Write([]byte{0})
			w.(http.Flusher).Flush()
			time.Sleep(time.Millisecond)
		}
	}
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, gone.Close())
	for name, c := range map[string]struct {
		serve  http.HandlerFunc
		of     []byte // the archive that is expected
		change func(*Prebuilt)
		why    string
	}{
		"another file":       {serve(archive(t, entry{name: "temporal", text: "good, but another"})), regular, nil, "its SHA-256 is [0-9a-f]{64}, and not "},
		"no such file":       {http.NotFound, regular, nil, `the server says "404 Not Found"`},
		"nobody there":       {http.NotFound, regular, func(p *Prebuilt) { p.URL = "http://" + gone.Addr().String() + "/it" }, "connection refused"},
		"no host":            {http.NotFound, regular, func(p *Prebuilt) { p.URL = "mirror" }, "unsupported protocol scheme"},
		"no address":         {http.NotFound, regular, func(p *Prebuilt) { p.URL = "http://u:secret@[x" }, "its address cannot be read"},
		"no answer":          {silent, regular, func(p *Prebuilt) { p.Answer = 50 * time.Millisecond }, "no answer within 0.1 s"},
		"stalls":             {stalls, regular, func(p *Prebuilt) { p.Stall = 50 * time.Millisecond }, "it stalled: 0 kB came within 0.1 s"},
		"trickles":           {trickles, regular, func(p *Prebuilt) { p.Stall = 50 * time.Millisecond }, "it stalled: 0 kB came within 0.1 s"},
		"cut off":            {serve(regular[:20]), regular, nil, "its SHA-256 is"},
		"no archive":         {serve([]byte("<html></html>")), []byte("<html></html>"), nil, "the archive: gzip: invalid header"},
		"path outside":       {serve(archive(t, entry{name: "../temporal", text: "good"})), archive(t, entry{name: "../temporal", text: "good"}), nil, `the archive: it has no file "temporal"`},
		"in a folder":        {serve(archive(t, entry{name: "x/temporal", text: "good"})), archive(t, entry{name: "x/temporal", text: "good"}), nil, `the archive: it has no file "temporal"`},
		"symlink":            {serve(archive(t, entry{"temporal", "/bin/sh", tar.TypeSymlink})), archive(t, entry{"temporal", "/bin/sh", tar.TypeSymlink}), nil, `the archive: "temporal" is no regular file`},
		"hard link":          {serve(archive(t, entry{"temporal", "/bin/sh", tar.TypeLink})), archive(t, entry{"temporal", "/bin/sh", tar.TypeLink}), nil, `the archive: "temporal" is no regular file`},
		"cannot be used":     {serve(archive(t, entry{name: "temporal", text: "bad"})), archive(t, entry{name: "temporal", text: "bad"}), nil, "it is too old"},
		"temporal is folder": {serve(archive(t, entry{"temporal", "", tar.TypeDir})), archive(t, entry{"temporal", "", tar.TypeDir}), nil, `the archive: "temporal" is no regular file`},
	} {
		t.Run(name, func(t *testing.T) {
			i, b, out := downloads(t, c.serve, c.of)
			if c.change != nil {
				c.change(&b.Prebuilt)
			}
			require.NoError(t, i.Build(t.Context(), b))
			require.Regexp(t, `(?m)^Temporal     not downloaded, so it is built: .*`+c.why+`[^\n]*$`, out.String())
			require.Contains(t, out.String(), "building the Temporal CLI v9 from source")
			require.NotContains(t, out.String(), "secret")
			text, err := os.ReadFile(filepath.Join(b.Dir, "temporal"))
			require.NoError(t, err)
			require.Contains(t, string(text), "echo built")
			requireOnly(t, i.cache, filepath.Base(b.Dir), "temporal.lock")
		})
	}
}

// TestDownloadIsCancelled: while the server is silent, and in the middle of the archive;
// nothing is built then.
func TestDownloadIsCancelled(t *testing.T) {
	for _, begun := range []bool{false, true} {
		ctx, cancel := context.WithCancelCause(t.Context())
		i, b, out := downloads(t, func(w http.ResponseWriter, r *http.Request) {
			if begun {
				w.(http.Flusher).Flush()
			}
			cancel(errors.New("Ctrl-C"))
			<-r.Context().Done()
		}, nil)
		require.ErrorContains(t, i.Build(ctx, b), "downloading the Temporal CLI v9: Ctrl-C")
		require.NotContains(t, out.String(), "built")
		requireOnly(t, i.cache, "temporal.lock")
	}
}
